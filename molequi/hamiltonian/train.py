"""Train a model of dynamics through the integrator, and fill a run directory.

Interrupted runs go on where they stopped.
"""

from __future__ import annotations

import csv
import json
import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from molequi.errors import NotConvergedError, RunInterruptedError, UserError
from molequi.hamiltonian.config import DynamicsConfig, load_dynamics_config
from molequi.hamiltonian.data import DynamicsData, make_data
from molequi.hamiltonian.evaluation import Rollout, measure, segment_error
from molequi.hamiltonian.mechanics import N_STAGES, N_TRANSITIONS, Segments, draw_angles
from molequi.hamiltonian.models import RECIPES, Shape, make_dynamics
from molequi.hamiltonian.potential import LEARNING_RATE, MolecularPotential, make_potential
from molequi.nn.backbones.registry import BACKBONES
from molequi.plots import learning_curve, rollout_errors
from molequi.runtime.device import as_device
from molequi.runtime.files import written_by_rename
from molequi.runtime.signals import SignalWatch
from molequi.settings import dump_settings

logger = logging.getLogger(__name__)

FORMAT = 1
_FILES = (
    "config.yaml",
    "model.safetensors",
    "last.ckpt",
    "metrics.csv",
    "result.json",
    "rollout.npz",
)
_PLOTS = ("plots/learning_curve.png", "plots/rollout.png")


def train_dynamics(
    config: DynamicsConfig,
    output: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    data: DynamicsData | None = None,
) -> Path:
    """Train a config and fill the run directory `output`; returns it.

    data: those of the config, where they are made already.
    Raises UserError for whatever does not fit, before anything is written; NotConvergedError where
    the loss is not finite; RunInterruptedError where a signal asked to stop (the run is saved).
    """
    _prepare(config, output, resume=resume, overwrite=overwrite)
    data = make_data(config) if data is None else data
    model = build(config, data)
    output.mkdir(parents=True, exist_ok=True)
    (output / "config.yaml").write_text(dump_settings(config), encoding="utf-8")
    run = DynamicsRun(config, data, model)
    if resume and (output / "last.ckpt").is_file():
        run.load_state_dict(torch.load(output / "last.ckpt", weights_only=True))
    with SignalWatch() as watch:
        while not run.is_done():
            run.epoch()
            run.save(output)
            if watch.number:
                raise RunInterruptedError(
                    f"stopped by signal {watch.number} after epoch {len(run.history)}; --resume "
                    "goes on",
                    watch.number,
                )
    model.load_state_dict(run.best)
    result, rollout = measure(model.cpu(), data)
    _write(config, run, output, rollout, result)
    return output


def build(config: DynamicsConfig, data: DynamicsData) -> nn.Module:
    """Return the untrained model of a config; its weights follow from the seed."""
    settings, seed = config.model, config.training.seed
    if settings.kind in BACKBONES:
        model = make_potential(
            settings.kind, settings.overrides(), data.truth.frames, data.train, seed
        )
    else:
        recipe, states, features = (
            RECIPES[settings.kind],
            data.train.states,
            data.train.systems.features,
        )
        shape = Shape(
            states.shape[3],
            states.shape[4],
            features.shape[2],
            settings.width or recipe.width,
            settings.n_layers or recipe.n_layers,
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = make_dynamics(settings.kind, shape)
    return model.to(as_device(config.training.device), getattr(torch, config.training.dtype))


def _learning_rate(config: DynamicsConfig) -> float:
    given = config.training.learning_rate
    return given or (
        LEARNING_RATE
        if config.model.kind in BACKBONES
        else RECIPES[config.model.kind].learning_rate
    )


class DynamicsRun:
    """The state of a training: weights, optimiser, schedule, history, the best weights so far."""

    def __init__(self, config: DynamicsConfig, data: DynamicsData, model: nn.Module) -> None:
        self.settings, self.model = config.training, model
        parameter = next(model.parameters())
        self.train, self.valid = (
            part.to(parameter.dtype).to(parameter.device) for part in (data.train, data.valid)
        )
        self.scales = data.scales.to(parameter)
        self.n_epochs = self.settings.epochs or round(100 * math.sqrt(1000 / data.train.n_systems))
        self.n_batches = math.ceil(self.train.n_systems / self.settings.batch_size)
        if isinstance(model, MolecularPotential):
            model.choose_kernels(
                self.n_epochs * self.n_batches * N_STAGES * N_TRANSITIONS * self.settings.substeps
            )
        self.optimiser = torch.optim.Adam(model.parameters(), lr=_learning_rate(config))
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.optimiser, self.n_epochs * self.n_batches
        )
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Tensor] = _copy(model)
        self.rollout_times = data.rollouts.times.numpy()

    def is_done(self) -> bool:
        """Tell whether all epochs are over, or the patience."""
        patience = self.settings.patience
        return len(self.history) >= self.n_epochs or (
            patience is not None and len(self.history) - 1 - self.best_epoch() >= patience > 0
        )

    def best_epoch(self) -> int:
        """Return the epoch with the smallest validation error, 0 before there is one."""
        return min(range(len(self.history)), key=lambda k: self.history[k]["valid"], default=0)

    def epoch(self) -> None:
        """Train for one epoch and validate.

        The order of segments and the lifts follow from seed and epoch.
        """
        generator = torch.Generator().manual_seed((self.settings.seed << 20) + len(self.history))
        order, losses = torch.randperm(self.train.n_systems, generator=generator), []
        for rows in order.split(self.settings.batch_size):
            batch = self.train.pick(rows.to(self.scales.device))
            losses.append(
                self._step(batch._replace(systems=draw_angles(batch.systems, generator)))
                * len(rows)
            )
        valid = self._validate()
        self.history.append({"loss": sum(losses) / self.train.n_systems, "valid": valid})
        if self.best_epoch() == len(self.history) - 1:
            self.best = _copy(self.model)
        logger.info(
            "epoch %d  loss %.3g  valid %.3g", len(self.history), self.history[-1]["loss"], valid
        )

    def _step(self, batch: Segments) -> float:
        loss = segment_error(self.model, batch, self.scales, n_substeps=self.settings.substeps)
        if not bool(torch.isfinite(loss)):
            raise NotConvergedError(
                f"the loss is not finite in epoch {len(self.history) + 1}; lower "
                "training.learning_rate"
            )
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.schedule.step()
        return float(loss.detach())

    def _validate(self) -> float:
        total = 0.0
        with torch.no_grad():
            for rows in torch.arange(self.valid.n_systems, device=self.scales.device).split(
                self.settings.batch_size
            ):
                total += float(
                    segment_error(
                        self.model,
                        self.valid.pick(rows),
                        self.scales,
                        n_substeps=self.settings.substeps,
                    )
                ) * len(rows)
        return total / self.valid.n_systems if math.isfinite(total) else math.inf

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the rest of the run depends on, as tensors and plain values."""
        parts = {"model": self.model, "optimiser": self.optimiser, "schedule": self.schedule}
        return {
            "format": FORMAT,
            **{name: part.state_dict() for name, part in parts.items()},
            "history": self.history,
            "best": self.best,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the state of another run with the same settings."""
        if state.get("format") != FORMAT:
            raise UserError(
                f"last.ckpt has format {state.get('format')}, format {FORMAT} can be read; start "
                "again with --overwrite"
            )
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.history, self.best = list(state["history"]), dict(state["best"])

    def save(self, output: Path) -> None:
        """Write last.ckpt and metrics.csv."""
        with written_by_rename(output / "last.ckpt") as path:
            torch.save(self.state_dict(), path)
        with (
            written_by_rename(output / "metrics.csv") as path,
            path.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, ("epoch", "loss", "valid"))
            writer.writeheader()
            writer.writerows({"epoch": k, **row} for k, row in enumerate(self.history))


def load_dynamics(folder: str | os.PathLike[str]) -> tuple[nn.Module, DynamicsConfig, DynamicsData]:
    """Return the trained model of a run directory in float64, its config, and its data made again."""
    path = Path(folder)
    if not (path / "result.json").is_file():
        raise UserError(
            f"{path} holds no finished run of dynamics (result.json is missing); train with "
            "--resume first"
        )
    config = load_dynamics_config(path / "config.yaml")
    data = make_data(config)
    model = build(
        config.model_copy(
            update={"training": config.training.model_copy(update={"device": "cpu"})}
        ),
        data,
    )
    model.load_state_dict(load_file(path / "model.safetensors"))
    return model.double().eval().requires_grad_(False), config, data


def _prepare(config: DynamicsConfig, output: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse an occupied output, and a resumption with other settings; clear what is replaced."""
    if output.is_file():
        raise UserError(f"the output {output} is a file; give the name of a folder")
    if resume:
        if not (output / "config.yaml").is_file():
            raise UserError(
                f"{output} holds no run to resume (config.yaml is missing); start without --resume"
            )
        if load_dynamics_config(output / "config.yaml") != config:
            raise UserError(
                f"--resume: the settings differ from those in {output / 'config.yaml'}; give the "
                "same ones, or --overwrite"
            )
    elif output.is_dir() and any(output.iterdir()):
        if not overwrite:
            remedy = "--resume goes on with the run there, --overwrite replaces it, --output names another place"
            raise UserError(f"the output {output} is not empty; {remedy}")
        for name in (*_FILES, *_PLOTS):
            (output / name).unlink(missing_ok=True)


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _write(
    config: DynamicsConfig,
    run: DynamicsRun,
    output: Path,
    rollout: Rollout,
    result: Mapping[str, Any],
) -> None:
    """Write the model, the figures and, last, result.json: where it is, the run is complete."""
    description = json.dumps({"format": FORMAT, "dynamics": config.model.kind})
    with written_by_rename(output / "model.safetensors") as path:
        save_file(
            {name: tensor.cpu().contiguous() for name, tensor in run.best.items()},
            path,
            metadata={"molequi_dynamics": description},
        )
    curves = {
        name: getattr(rollout, name).numpy() for name in ("state", "energy", "linear", "angular")
    }
    with written_by_rename(output / "rollout.npz") as path:
        np.savez(path, times=run.rollout_times, **curves)
    losses, errors = ([row[name] for row in run.history] for name in ("loss", "valid"))
    learning_curve(
        range(len(run.history)),
        {"states": losses},
        {"states MSE": errors},
        output / "plots" / "learning_curve.png",
    )
    rollout_errors(run.rollout_times, {config.model.kind: curves}, output / "plots" / "rollout.png")
    with written_by_rename(output / "result.json") as path:
        path.write_text(json.dumps(result, indent=1, ensure_ascii=False), encoding="utf-8")
