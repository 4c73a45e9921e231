"""One run from labelled structures to a run directory.

Set up Lightning, train, evaluate the best model, draw the plots.

This module imports Lightning, which takes seconds; `experiments.prepare` loads and checks the data
before it is imported.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback
from torch import Tensor

from molequi.datasets.datamodule import MolecularDataModule
from molequi.datasets.in_memory import Frames
from molequi.errors import UserError
from molequi.kernels import policy
from molequi.models.molecular import MolecularModel
from molequi.nn.backbones.worthwhile import worthwhile_kernels
from molequi.runtime.device import as_device
from molequi.runtime.gate import reading
from molequi.training.callbacks import RunRecorder
from molequi.training.config import Config
from molequi.training.doubt import compared_rows
from molequi.training.evaluation import NOTHING, Beside
from molequi.training.finish import finish, rows_of, started
from molequi.training.labels import choose_labels, label_digest, refuse_weightless
from molequi.training.launch import launch
from molequi.training.loss import make_objective
from molequi.training.module import MolecularTraining
from molequi.training.older_runs import OLDER_STATES, present_state
from molequi.training.processes import is_first_process
from molequi.training.run_directory import RunDirectory
from molequi.training.saved_state import refuse_unlike
from molequi.training.schedule import EarlyStopping, make_schedule
from molequi.training.settings import TrainingSettings
from molequi.training.setup import StartingPoint, start_model
from molequi.training.state import Position, read_state
from molequi.training.symmetry import way_to_keep
from molequi.training.total_charge import with_total_charge

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
    beside: Beside = NOTHING,
    plots: bool = True,
) -> Path:
    """Train on `frames` and fill the run directory `output`; returns it.

    messages: what loading the data had to say, for log.txt. beside: what else goes into the
    result and the model's record. plots: whether to draw some.
    Raises UserError where the data cannot be trained on or the run cannot be resumed,
    NotConvergedError where a loss is not finite, and RunInterruptedError where a signal asked to
    stop.
    """
    directory = RunDirectory(output)
    frames = choose_labels(frames, splits, config.data.targets)
    resume = resume and not directory.has_just_begun(config)
    labels, (whole, frames) = label_digest(frames), with_total_charge(config, frames)
    refuse_weightless(frames.subset(splits["valid"]), whole.training)
    state = _resumable_state(splits, labels, directory) if resume else None
    n_train, csv_size = len(splits["train"]), state["csv_size"] if state else 0
    with started(config, splits, directory, messages, goes_on=resume):
        start = start_model(whole, frames.subset(splits["train"]))
        is_over = state is not None and _is_over(config.training, state, n_train)
        directory.go_on(config, is_over=is_over)
        if not is_over:
            data = _make_data(whole.training, frames, splits, start.model.cutoff)
            recorder = RunRecorder(directory, whole.training, labels, csv_size=csv_size)
            _run(whole, start, data, state, recorder, callbacks)
        if is_first_process():
            ended = read_state(directory.state, older=OLDER_STATES).get("stop_reason")
            logger.info("training ended: %s", ended)
            finish(whole, frames, splits, directory, beside, plots=plots)
    return output


def _make_data(
    settings: TrainingSettings, frames: Frames, splits: Mapping[str, Tensor], cutoff: float
) -> MolecularDataModule:
    return MolecularDataModule(
        frames,
        splits,
        cutoff,
        batch_size=settings.batch_size,
        seed=settings.seed,
        workers=settings.workers,
    )


def _run(
    config: Config,
    start: StartingPoint,
    data: MolecularDataModule,
    state: dict[str, Any] | None,
    recorder: RunRecorder,
    callbacks: Sequence[Callback],
) -> None:
    """Let Lightning train, from the beginning or from `state`."""
    settings, backbone = config.training, start.model.backbone
    module = _make_module(config, start, data)
    if backbone.capabilities.fused_kernels or settings.kernels != "auto":
        start.model.use_kernels(choose_kernels(settings, start.model, data))
    if state is not None:
        with _reading_state(recorder.directory):
            module.load_run_state(present_state(state, start.model))
        data.resume_at = (module.position.epoch, module.position.batch)
    logger.info(
        "%s: %s structures; %d trainable weights; %s batches per epoch",
        config.name,
        ", ".join(f"{name} {len(indices)}" for name, indices in data.splits.items()),
        sum(weight.numel() for weight in start.model.parameters() if weight.requires_grad),
        module.n_batches,
    )
    launch(settings, module, data, recorder.directory.path, [recorder, *callbacks])


def _make_module(
    config: Config, start: StartingPoint, data: MolecularDataModule
) -> MolecularTraining:
    settings = config.training
    rows = [data.batches.frames.properties[name] for name in config.data.targets]
    objective = make_objective(compared_rows(rows), start.scales, settings)
    module = MolecularTraining(
        start.model,
        objective,
        make_schedule(settings),
        symmetry=way_to_keep(config.model, objective),
        optimizer=settings.optimizer,
        weight_decay=settings.weight_decay,
        ema=settings.ema,
        gradient_clip=settings.gradient_clip,
        seed=settings.seed,
    )
    module.n_batches = data.n_batches
    return module


def choose_kernels(
    settings: TrainingSettings, model: MolecularModel, data: MolecularDataModule
) -> str:
    """Say which kernels the work of all epochs is worth, or the memory of a step needs."""
    if settings.kernels != "auto":
        return settings.kernels
    rows, frames = data.splits["train"], data.batches.frames
    some = rows[: settings.batch_size]
    n_edges = _n_edges(data, some) / max(len(some), 1) * len(rows)
    work = settings.epochs * policy.TRAINING_STEP * model.backbone.operations(round(n_edges))
    largest = rows[frames.n_atoms[rows].argsort(descending=True)[: settings.batch_size]]
    in_one_pass = model.backbone.operations(_n_edges(data, largest))
    if {"forces", "stress"} & set(frames.targets):
        in_one_pass *= policy.TRAINING_MEMORY
    return worthwhile_kernels(
        model.backbone,
        work,
        minutes=settings.max_minutes,
        in_one_pass=in_one_pass,
        device=as_device(settings.device),
    )


def _n_edges(data: MolecularDataModule, rows: Tensor) -> int:
    return int(data.batches[rows].graph.edge_index.shape[1])


def refuse_other_data(
    config: Config, frames: Frames, splits: Mapping[str, Tensor], directory: RunDirectory
) -> None:
    """Raise UserError where a run that has ended was one on other data, as far as it can tell."""
    if directory.state.is_file():
        labels = label_digest(choose_labels(frames, splits, config.data.targets))
        _resumable_state(splits, labels, directory)


def _resumable_state(
    splits: Mapping[str, Tensor], labels: str, directory: RunDirectory
) -> dict[str, Any]:
    """Read last.ckpt and make sure that split and labels are those of the run."""
    state = read_state(directory.state, older=OLDER_STATES)
    with _reading_state(directory):
        own = {"position": dataclasses.asdict(Position()), "csv_size": 0}
        refuse_unlike(state, {**own, "watch": dataclasses.asdict(EarlyStopping())})
        Position(**state["position"]), EarlyStopping(**state["watch"])
    if directory.read_split() != rows_of(splits):
        raise UserError(
            f"the data give another split than {directory.split}, so this is not the run to "
            "resume, or another version divides them so; go on with the version and the data of "
            "then, or start again with --overwrite"
        )
    if state.get("labels", labels) != labels:  # older runs do not know
        raise UserError(
            "the labels or elements of the data are not those that the run began with; give it the "
            "data of then, or start again with --overwrite"
        )
    return state


def _reading_state(directory: RunDirectory) -> contextlib.AbstractContextManager[None]:
    return reading(directory.state, "state of this run", "start again with --overwrite")


def _is_over(settings: TrainingSettings, state: Mapping[str, Any], n_train: int) -> bool:
    """Whether nothing is left to do.

    A finished run may have been given more epochs, minutes or patience.
    """
    position, stopping = Position(**state["position"]), EarlyStopping(**state["watch"])
    n_batches = -(-n_train // settings.batch_size)
    reason = make_schedule(settings).reason_to_stop(position, stopping, n_batches)
    return position.batch == 0 and reason is not None
