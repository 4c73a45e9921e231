"""The jobs that faults happen to: small, and of several steps each."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.io import write

from molequi.cli.exits import ExitCode
from molequi.datasets.conversion import frames_from_atoms
from molequi.datasets.npz import save_npz
from molequi.models.checkpoint import save_model
from molequi.models.making import make_model
from molequi.models.metadata import ModelMetadata
from molequi.properties import PROPERTIES, get_property
from molequi.runtime.resources import data_path

_MOLECULES = ("H2O", "CH4", "NH3", "CO2", "C2H6", "CH3OH", "HCN", "C2H4")
_TOY = """
name: toy
data: {kind: npz, path: toy.npz, targets: [energy, dipole], split: {kind: stored}}
model: {preset: small, cutoff: 4.0, n_layers: 1, n_channels: 4, l_max: 1}
training: {epochs: 2, batch_size: 4, learning_rate: 0.01, device: cpu, checkpoint_steps: 1}
"""


@dataclasses.dataclass(frozen=True)
class Job:
    """A command whose output stands in the folder where it runs.

    inputs: files that it reads. output: option and value that say where it writes. go_on: the
    option with which an interrupted run is continued; where there is none, the same command begins
    again. growing: files that grow while it runs; all others appear whole. makes_parents: whether
    it makes the folders above its output. settings: see `commands.Command`. waits: whether other
    processes do the work. code: how it ends where nothing happens to it.
    """

    name: str
    command: tuple[str, ...]
    inputs: tuple[str, ...]
    output: tuple[str, str]
    go_on: str = ""
    growing: frozenset[str] = frozenset()
    makes_parents: bool = False
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    waits: bool = False
    code: int = ExitCode.DONE

    def arguments(self, output: str = "") -> list[str]:
        """Return the command line; the output may be another place than usual."""
        option, usual = self.output
        return [*self.command, option, output or usual]

    def __str__(self) -> str:
        return self.name


_MODEL = ("--model", "tiny.safetensors")


def _dynamics(name: str, source: str, *options: str) -> Job:
    return Job(
        name,
        ("md", source, *_MODEL, "--steps", "30", "--interval", "5", *options),
        (source, "tiny.safetensors"),
        ("--output", "path.xyz"),
        go_on="--restart",
        growing=frozenset({"path.xyz", "path.xyz.restart", "path.xyz.csv"}),
        settings={"molequi.simulation.trajectory.SECONDS_BETWEEN_SAVES": 0.01},
    )


JOBS: Sequence[Job] = (
    Job(
        "train",
        ("train", "toy.yaml"),
        ("toy.yaml", "toy.npz"),
        ("--output", "run"),
        go_on="--resume",
        growing=frozenset(
            f"run/{name}" for name in ("metrics.csv", "log.txt", "last.ckpt", "model.safetensors")
        ),
        makes_parents=True,
    ),
    Job(
        "predict",
        ("predict", "molecules.xyz", *_MODEL),
        ("molecules.xyz", "tiny.safetensors"),
        ("--output", "out.xyz"),
        growing=frozenset({"out.xyz.journal"}),
    ),
    _dynamics("md", "water.xyz", "--ensemble", "nvt"),
    _dynamics("md-many", "molecules.xyz", "--ensemble", "nvt", "--thermostat", "bussi"),
    Job(
        "relax",
        ("relax", "molecules.xyz", *_MODEL, "--steps", "5"),
        ("molecules.xyz", "tiny.safetensors"),
        ("--output", "relaxed.xyz"),
        growing=frozenset({"relaxed.xyz.journal"}),
    ),
    Job(
        "vibrations",
        ("vibrations", "water.xyz", *_MODEL),
        ("water.xyz", "tiny.safetensors"),
        ("--output", "modes"),
    ),
    Job(
        "scan",
        ("scan", "water.xyz", *_MODEL, "--bond", "0-1", "--to", "1.4", "--points", "5"),
        ("water.xyz", "tiny.safetensors"),
        ("--output", "scan"),
        growing=frozenset({"scan.journal"}),
    ),
    Job(
        "path",
        (
            *("path", "water.xyz", "other.xyz", *_MODEL, "--no-relax", "--images", "3"),
            *("--fmax", "1e-5", "--steps", "12"),
        ),
        ("water.xyz", "other.xyz", "tiny.safetensors"),
        ("--output", "path"),
        growing=frozenset({"path.journal"}),
        settings={"molequi.simulation.band.STEPS_BETWEEN_SAVES": 1},
        code=ExitCode.NOT_CONVERGED,
    ),
    Job(
        "label",
        ("label", "molecules.xyz", "--level", "gfn2-xtb", "--processes", "1"),
        ("molecules.xyz",),
        ("--output", "labels.xyz"),
        go_on="--resume",
        growing=frozenset({"labels.xyz.journal"}),
        waits=True,
    ),
    Job(
        "evaluate",
        ("evaluate", "tiny.safetensors", "toy.npz"),
        ("tiny.safetensors", "toy.npz"),
        ("--output", "judged"),
        growing=frozenset({"judged.journal"}),
    ),
    Job(
        "prepare",
        ("data", "prepare", "alanine", "--source", "alanine.npz"),
        ("alanine.npz",),
        ("--root", "sets"),
        makes_parents=True,
    ),
)
# These write as one of the others does: through the journal of predictions, or frames and a state.
_ALIKE = {"md-many", "relax", "scan", "path", "evaluate"}
EACH_WAY = [
    pytest.param(job, marks=pytest.mark.long) if job.name in _ALIKE else job for job in JOBS
]
# Of the long suite alone: what differs from the others is what they save.
MORE_JOBS: Sequence[Job] = (
    _dynamics("md-nve", "water.xyz", "--ensemble", "nve"),
    _dynamics("md-chains", "water.xyz", "--ensemble", "nvt", "--thermostat", "nose-hoover"),
    _dynamics("md-bussi", "water.xyz", "--ensemble", "nvt", "--thermostat", "bussi"),
    _dynamics("md-npt", "box.xyz", "--ensemble", "npt", "--cell", "full"),
    Job(
        "active",
        (
            *("active", "water.xyz", "--calculator", "ase.calculators.emt:EMT"),
            *("--model", "doubting.safetensors", "--rounds", "2", "--per-round", "4"),
            *("--copies", "2", "--steps", "30", "--interval", "5", "--doubt", "1e-6"),
            *("training.epochs=2", "training.batch_size=2", "training.checkpoint_steps=1"),
        ),
        ("water.xyz", "doubting.safetensors"),
        ("--output", "learned"),
        growing=frozenset(
            {
                *(f"learned/{name}" for name in ("rounds.csv", "labelled.xyz")),
                *(
                    f"learned/{place}{name}"
                    for place in ("", "round-01/training/", "round-02/training/")
                    for name in ("metrics.csv", "log.txt", "last.ckpt", "model.safetensors")
                ),
                *(
                    f"learned/round-0{number}/{name}"
                    for number in (1, 2)
                    for name in (
                        *("dynamics.xyz", "dynamics.xyz.restart", "dynamics.xyz.csv"),
                        "labels.xyz.journal",
                    )
                ),
            }
        ),
        makes_parents=True,
        settings={"molequi.simulation.trajectory.SECONDS_BETWEEN_SAVES": 0.01},
    ),
)


def make_inputs(folder: Path) -> None:
    """Write the files that the jobs read."""
    structures = [molecule(name) for name in _MOLECULES]
    for atoms in structures:
        atoms.rattle(0.05, seed=len(atoms))
    write(folder / "molecules.xyz", structures)
    write(folder / "water.xyz", structures[0])
    other = structures[0].copy()
    other.rattle(0.2, seed=3)
    write(folder / "other.xyz", other)
    box = structures[0].copy()
    box.set_cell([5.0, 5.0, 5.0])
    box.pbc = True
    write(folder / "box.xyz", box)
    shutil.copy(data_path("samples/alanine.npz"), folder)
    (folder / "toy.yaml").write_text(_TOY)
    _make_data(folder / "toy.npz", structures)
    _make_model(folder / "tiny.safetensors", "dipole")
    _make_model(folder / "doubting.safetensors", "forces_std")


def _make_data(path: Path, structures: Sequence[Atoms]) -> None:
    """Write a training set with a stored split: energies and dipoles of a simple law."""
    copies = [atoms.copy() for atoms in structures for _ in range(3)]
    for seed, atoms in enumerate(copies):
        atoms.rattle(0.1, seed=seed)
    frames = frames_from_atoms(copies)
    distances = torch.tensor([float(atoms.get_all_distances().sum()) for atoms in copies])
    centres = torch.from_numpy(np.stack([atoms.positions.mean(0) for atoms in copies]))
    targets = {"energy": distances.double(), "dipole": centres}
    rows = {name: PROPERTIES[name] for name in targets}
    parts = torch.arange(len(copies)).split([16, 4, len(copies) - 20])
    save_npz(
        dataclasses.replace(frames, targets=targets, properties=rows),
        path,
        splits=dict(zip(("train", "valid", "test"), parts, strict=True)),
    )


def _make_model(path: Path, output: str) -> None:
    """Write an untrained model with gentle forces, and another output."""
    model = make_model(
        [1, 6, 7, 8],
        [get_property("energy"), get_property(output)],
        n_channels=8,
        l_max=1,
        metadata=ModelMetadata(name=path.stem),
    )
    model.heads["energy"].set_statistics(1e-3)
    save_model(model, path)
