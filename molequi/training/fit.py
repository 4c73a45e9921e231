"""One run from labelled structures to a run directory.

Set up Lightning, train, evaluate the best model, draw the plots.

This module imports Lightning, which takes seconds; `training.fit` loads and checks the data before
it imports this one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ase.data import chemical_symbols
from pytorch_lightning import Callback
from torch import Tensor

from molequi.config import Config, TrainingSettings, dump_config
from molequi.datasets.datamodule import MolecularDataModule
from molequi.datasets.in_memory import Frames
from molequi.errors import UserError
from molequi.models.checkpoint import load_model, save_model
from molequi.plots import learning_curve, parity
from molequi.properties import Property, part_names
from molequi.runtime.device import as_device
from molequi.training.callbacks import RunRecorder, close_log, open_log
from molequi.training.evaluation import (
    Evaluation,
    evaluate_frames,
    save_predictions,
    without_undefined,
)
from molequi.training.launch import launch
from molequi.training.log import final_table, read_metrics, units_of, with_unit
from molequi.training.loss import Objective
from molequi.training.module import MolecularTraining
from molequi.training.schedule import EarlyStopping, Schedule
from molequi.training.setup import StartingPoint, start_model
from molequi.training.state import Position, is_first_process, read_state

logger = logging.getLogger(__name__)


def fit_frames(
    config: Config,
    frames: Frames,
    splits: Mapping[str, Tensor],
    output: Path,
    *,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    messages: Sequence[str] = (),
) -> Path:
    """Train on `frames` and fill the run directory `output` (DESIGN §5); returns it.

    messages: what loading the data had to say, for log.txt.
    Raises UserError where the data cannot be trained on or the run cannot be resumed,
    NotConvergedError where a loss is not finite, and RunInterruptedError where a signal asked to
    stop.
    """
    frames = _labelled(frames, splits, config)
    state = _resumable_state(splits, output) if resume else None
    with _prepared(config, splits, output, messages):
        start = start_model(config, frames.subset(splits["train"]))
        if state is None or not _is_over(config.training, state, len(splits["train"])):
            data = MolecularDataModule(
                frames, splits, start.model.cutoff, **_loader_settings(config.training)
            )
            _run(config, start, data, output, state, callbacks)
        if is_first_process():
            _finish(config, frames, splits, output)
    return output


@contextlib.contextmanager
def _prepared(
    config: Config, splits: Mapping[str, Tensor], output: Path, messages: Sequence[str]
) -> Iterator[None]:
    """Keep the run directory and its log open for a while, in the first process."""
    if not is_first_process():
        yield
        return
    output.mkdir(parents=True, exist_ok=True)
    _write_text(output / "config.yaml", dump_config(config))
    _write_text(
        output / "split.json",
        json.dumps({name: indices.tolist() for name, indices in splits.items()}),
    )
    log = open_log(output)
    try:
        for message in messages:
            log.emit(logging.makeLogRecord({"msg": message, "created": time.time()}))
        yield
    finally:
        close_log(log)


def _run(
    config: Config,
    start: StartingPoint,
    data: MolecularDataModule,
    output: Path,
    state: dict[str, Any] | None,
    callbacks: Sequence[Callback],
) -> None:
    """Let Lightning train, from the beginning or from `state`."""
    settings = config.training
    rows = [data.batches.frames.properties[name] for name in config.data.targets]
    module = MolecularTraining(
        start.model, Objective(rows, start.scales, huber=settings.huber), make_schedule(settings),
        weight_decay=settings.weight_decay, ema=settings.ema, gradient_clip=settings.gradient_clip, seed=settings.seed,
    )  # fmt: skip
    module.n_batches = data.n_batches
    if start.model.backbone.capabilities.fused_kernels or settings.kernels != "auto":
        start.model.backbone.use_kernels(choose_kernels(settings, module.n_batches))
    if state is not None:
        module.load_run_state(state)
        data.resume_at = (module.position.epoch, module.position.batch)
    recorder = RunRecorder(
        output, csv_size=0 if state is None else state["csv_size"], minutes=settings.checkpoint_minutes, steps=settings.checkpoint_steps,
        tensorboard=settings.logger == "tensorboard",
    )  # fmt: skip
    n_weights = sum(
        parameter.numel() for parameter in start.model.parameters() if parameter.requires_grad
    )
    sizes = ", ".join(f"{name} {len(indices)}" for name, indices in data.splits.items())
    logger.info(
        "%s: %s structures; %d trainable weights; %s batches per epoch",
        config.name,
        sizes,
        n_weights,
        module.n_batches,
    )
    launch(settings, module, data, output, [recorder, *callbacks])


def choose_kernels(settings: TrainingSettings, n_batches: int) -> str:
    """Say whether compiling pays: it costs up to a minute, once per machine and architecture."""
    if settings.kernels != "auto":
        return settings.kernels
    is_long = n_batches * settings.epochs >= 2000 and (settings.max_minutes or 60.0) >= 5.0
    return (
        "specialized"
        if is_long
        else "generic"
        if n_batches * settings.epochs >= 200
        else "reference"
    )


def _finish(config: Config, frames: Frames, splits: Mapping[str, Tensor], output: Path) -> None:
    """Evaluate the best model on the test structures (the validation ones where there are none) and write the results."""
    logger.info("training ended: %s", read_state(output / "last.ckpt")["stop_reason"])
    split = "test" if len(splits.get("test", ())) else "valid"
    model = load_model(output / "model.safetensors", device=as_device(config.training.device))
    evaluation = evaluate_frames(
        model,
        frames.subset(splits[split]),
        names=config.data.targets,
        batch_size=config.training.batch_size,
    )
    model.metadata["training"] = {
        **model.metadata["training"],
        "evaluated_on": split,
        "errors": evaluation.result,
    }
    save_model(model, output / "model.safetensors")
    save_predictions(evaluation, output / f"{split}_predictions.npz")
    _write_text(output / "result.json", json.dumps(evaluation.result, indent=1, ensure_ascii=False))
    draw_run(output, evaluation, config)
    if not any(row["count"] for row in evaluation.result.values()):
        logger.warning(
            "none of the %d %s structures has a label, so nothing is known of the model's errors "
            "there",
            len(evaluation.frames),
            split,
        )
    logger.info(
        "errors on the %d %s structures:\n%s",
        len(evaluation.frames),
        split,
        final_table(evaluation.result),
    )


def draw_run(output: Path, evaluation: Evaluation, config: Config) -> None:
    """Draw the learning curve and the parity plots of a run into `output`/plots."""
    metrics = read_metrics(output / "metrics.csv")
    rows = [evaluation.frames.properties[name] for name in config.data.targets]
    units = units_of(rows)
    columns = {
        name: [line.get(name) for line in metrics] for name in (metrics[0] if metrics else ())
    }
    terms = [name for row in rows for name in part_names(row)]
    losses = {
        name: columns[f"train_loss_{name}"] for name in terms if f"train_loss_{name}" in columns
    }
    shown = [f"{row.name}_per_atom" if row.has_reference else row.name for row in rows]
    errors = {
        f"{name} MAE ({units[name]})": columns[f"valid_{name}_mae"]
        for name in shown
        if f"valid_{name}_mae" in columns
    }
    learning_curve(
        columns.get("epoch", []), losses, errors, output / "plots" / "learning_curve.png"
    )
    for row in rows:
        _draw_parity(evaluation, row, output / "plots" / f"parity_{row.name}.png")


def _draw_parity(evaluation: Evaluation, row: Property, path: Path) -> None:
    prediction, target, label = (
        evaluation.predictions[row.name],
        evaluation.frames.targets[row.name],
        row.name,
    )
    if row.binary:
        prediction, label = prediction.sigmoid(), f"{row.name} (probability)"
    if row.has_reference:
        # Totals of different compositions lie thousands of eV apart; what matters is what
        # composition alone does not tell.
        guess = evaluation.guesses[row.name]
        prediction, target, label = (
            prediction - guess,
            target - guess,
            f"{row.name} - composition fit",
        )
    errors = evaluation.result[row.name]
    note = "\n".join(
        f"{name} {with_unit(errors[key], row.unit, digits=3)}"
        for name, key in (("MAE", "mae"), ("RMSE", "rmse"))
    )
    parity(target.numpy(), prediction.numpy(), label, row.unit, path, note=note)


def make_schedule(settings: TrainingSettings) -> Schedule:
    """Return the schedule that the settings describe."""
    names = {field.name for field in dataclasses.fields(Schedule)} - {"second_stage"}
    stage = settings.second_stage
    return Schedule(
        **{name: getattr(settings, name) for name in names},
        second_stage=None if stage is None else (stage.start, stage.weights),
    )


def _loader_settings(settings: TrainingSettings) -> dict[str, int]:
    return {"batch_size": settings.batch_size, "seed": settings.seed, "workers": settings.workers}


def _labelled(frames: Frames, splits: Mapping[str, Tensor], config: Config) -> Frames:
    """Keep the targets; refuse a split without structures or labels to validate on."""
    frames = frames.with_targets(config.data.targets)
    n_labels = {name: int((~torch.isnan(values)).sum()) for name, values in frames.targets.items()}
    frames = without_undefined(frames)
    for name, values in frames.targets.items():
        lost = n_labels[name] - int((~torch.isnan(values)).sum())
        if lost:
            logger.warning(
                "%d %s values are left out: %s",
                lost,
                name,
                frames.properties[name].condition,
            )
    for split in ("train", "valid"):
        if not len(splits.get(split, ())):
            raise UserError(
                f"the {split} part has no structures; give data.split.{split} a larger share"
            )
    _refuse_new_elements(frames, splits)
    valid = frames.subset(splits["valid"])
    without = [name for name, values in valid.targets.items() if torch.isnan(values).all()]
    if len(without) == len(valid.targets):
        raise UserError(
            f"none of the {len(valid)} validation structures has a label of {', '.join(without)}; "
            "use another split"
        )
    for name in without:
        logger.warning(
            "none of the validation structures has a label of %s, so it plays no part in choosing "
            "the best model",
            name,
        )
    return frames


def _refuse_new_elements(frames: Frames, splits: Mapping[str, Tensor]) -> None:
    """Refuse parts with elements that training never sees: the model will not know them."""
    known = frames.subset(splits["train"]).elements()
    for split in ("valid", "test"):
        part = frames.subset(splits.get(split, torch.zeros(0, dtype=torch.int64)))
        new = [number for number in part.elements() if number not in known]
        if new:
            first = int(torch.isin(part.atomic_numbers, torch.tensor(new)).nonzero()[0])
            where = frames.label(
                int(splits[split][int(torch.searchsorted(part.offsets, first, right=True)) - 1])
            )
            symbols = " ".join(chemical_symbols[number] for number in new)
            raise UserError(
                f"the {split} part contains {symbols} ({where}), the training part does not: "
                "train on more structures, take another data.split.seed, or leave these structures "
                "out"
            )


def _resumable_state(splits: Mapping[str, Tensor], output: Path) -> dict[str, Any]:
    """Read last.ckpt and make sure that the split is that of the run."""
    state = read_state(output / "last.ckpt")
    saved = json.loads((output / "split.json").read_text(encoding="utf-8"))
    if saved != {name: indices.tolist() for name, indices in splits.items()}:
        raise UserError(
            f"the data give another split than {output / 'split.json'}, so this is not the run to "
            "resume; start again with --overwrite"
        )
    return state


def _is_over(settings: TrainingSettings, state: Mapping[str, Any], n_train: int) -> bool:
    """Whether nothing is left to do.

    A finished run may have been given more epochs, minutes or patience.
    """
    position = Position(**state["position"])
    return (
        position.batch == 0
        and make_schedule(settings).reason_to_stop(
            position, EarlyStopping(**state["watch"]), -(-n_train // settings.batch_size)
        )
        is not None
    )


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
