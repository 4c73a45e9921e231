"""A trained model of dynamics as a file, with the config that its data are made again by."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from molequi.errors import UserError
from molequi.hamiltonian.config import DynamicsConfig, is_dynamics, make_dynamics_config
from molequi.hamiltonian.data import DynamicsData, digest_of, make_data
from molequi.hamiltonian.potential import MolecularPotential
from molequi.hamiltonian.setup import build
from molequi.models.checkpoint import DYNAMICS
from molequi.runtime.gate import reading
from molequi.runtime.plain import parse_json
from molequi.runtime.tensors import read_tensors, read_texts, write_tensors
from molequi.training.older_runs import present_settings
from molequi.training.run_directory import RunDirectory
from molequi.training.state import read_state

# Files of format 1 name the kind of the model alone; their run directory has the config.
FORMAT = 2
# Of last.ckpt.
STATE_FORMAT = 2


class TrainedDynamics(NamedTuple):
    """The trained model in float64, its config, and its data made again."""

    model: nn.Module
    config: DynamicsConfig
    data: DynamicsData


def save_dynamics(config: DynamicsConfig, weights: Mapping[str, Tensor], path: Path) -> None:
    """Write the weights of a model that is no model of molecules."""
    description = json.dumps({"format": FORMAT, "config": config.model_dump(mode="json")})
    write_tensors(path, weights, {DYNAMICS: description})


def is_saved_dynamics(place: str | os.PathLike[str]) -> bool:
    """Whether a path is a file of `save_dynamics`, or a run directory with one."""
    path = _file(place)
    return path.suffix == ".safetensors" and path.is_file() and DYNAMICS in read_texts(path)


def is_run_of_dynamics(place: str | os.PathLike[str]) -> bool:
    """Whether a path is a run directory of dynamics, be its model one of molecules or not."""
    run = RunDirectory(place)
    return run.config.is_file() and is_dynamics(run.read_settings())


def load_dynamics(place: str | os.PathLike[str]) -> TrainedDynamics:
    """Load the model of a finished run, from its directory or from its file of `save_dynamics`.

    Raises UserError where there is none, or where the data are others than the run's.
    """
    config = _config_of_run(RunDirectory(place)) if Path(place).is_dir() else _config_in(place)
    data = make_data(config)
    _refuse_other_data(Path(place), data)
    on_cpu = config.training.model_copy(update={"device": "cpu"})
    model = build(config.model_copy(update={"training": on_cpu}), data)
    file = read_tensors(_file(place))
    with reading(_file(place), "model of this run"):
        if isinstance(model, MolecularPotential) and "molequi" in file.texts:
            model.learner.load_state_dict(file.tensors)
        else:
            model.load_state_dict(file.tensors)
    return TrainedDynamics(model.double().eval().requires_grad_(False), config, data)


def _file(place: str | os.PathLike[str]) -> Path:
    return RunDirectory(place).model if Path(place).is_dir() else Path(place)


def _config_of_run(run: RunDirectory) -> DynamicsConfig:
    if not run.result.is_file():
        raise UserError(
            f"{run.path} holds no finished run of dynamics (result.json is missing); train with "
            "--resume first"
        )
    return make_dynamics_config(run.read_settings(), str(run.config))


def _refuse_other_data(place: Path, data: DynamicsData) -> None:
    """Compare with what last.ckpt, if it is there, says of the data: a file may have changed."""
    state = RunDirectory(place).state
    if not (place.is_dir() and state.is_file()):
        return
    found = digest_of(data)
    if read_state(state, version=STATE_FORMAT).get("data", found) != found:
        raise UserError(
            f"the trajectory, or the teacher, is not the one that {place} learned from; give it "
            "the data of then"
        )


def _config_in(path: str | os.PathLike[str]) -> DynamicsConfig:
    text = read_texts(Path(path)).get(DYNAMICS)
    with reading(Path(path), "config of a model of dynamics"):
        found = {} if text is None else parse_json(text)
        settings = found.get("config")
    if settings is None:
        raise UserError(
            f"{path} says not what it was trained on; give the run directory that it is from"
        )
    return make_dynamics_config(present_settings(settings), str(path))
