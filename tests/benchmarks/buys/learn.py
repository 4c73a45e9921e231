"""What the parts of `symmetry_buys.py` share.

Fitting, rotations, networks on raw coordinates, a model of molecules, rows that are kept.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from molequi.datasets.formats.extxyz import read_frames
from molequi.datasets.in_memory import Frames
from molequi.datasets.rmd17 import load_rmd17
from molequi.graphs.graph import AtomGraph, make_graph
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.models.structure import random_rotation
from molequi.nn.linear import Perceptron
from molequi.properties import Property, declare
from molequi.runtime.resources import data_path

CUTOFF = 5.0  # Å
N_PUBLISHED, N_BUNDLED = 500, 225
DIRECT = declare("direct_forces", irreps="1o", unit="eV/Å", per_atom=True)
Row = dict[str, object]


class Settings(NamedTuple):
    """Of a run: steps of the slower models, length of the dynamics, ethanol's file or None.

    seed, and frames to train on (several sizes where there is none): of part c.
    """

    steps: int
    picoseconds: float = 10.0
    ethanol: Path | None = None
    seed: int = 0
    frames: int | None = None

    @property
    def kept(self) -> Row:
        """What a row says of the run that it is from."""
        return {
            "steps": self.steps,
            "data": "bundled sample" if self.ethanol is None else self.ethanol.name,
            **({"seed": self.seed} if self.seed else {}),
        }


class Rows:
    """Rows by name.

    With a file, those of an earlier run with the same settings are not computed again.

    settings: what the rows to come have in common; may be set anew between parts.
    """

    def __init__(self, path: Path | None, settings: Row) -> None:
        self.path, self.settings = path, settings
        self.known: dict[str, Row] = (
            json.loads(path.read_text(encoding="utf-8"))["rows"]
            if path is not None and path.is_file()
            else {}
        )

    def get(self, part: str, name: str, compute: Callable[[], Row]) -> Row:
        """Return a row, computed and written to the file if it is not there."""
        key = f"{part}: {name}"
        if key not in self.known or any(
            self.known[key].get(setting) != value for setting, value in self.settings.items()
        ):
            self.known[key] = {"model": name, **self.settings, **compute()}
            if self.path is not None:
                partial = self.path.with_name(f"{self.path.name}.partial")
                partial.write_text(json.dumps({"rows": self.known}, indent=1), encoding="utf-8")
                partial.replace(self.path)
        return self.known[key]


def fit(
    parameters: Iterable[nn.Parameter],
    loss: Callable[[int], Tensor],
    steps: int,
    rate: float = 1e-2,
) -> float:
    """Take `steps` steps of Adam with a cosine schedule down `loss(step)`.

    Return the processor seconds.
    """
    optimizer = torch.optim.Adam(list(parameters), lr=rate)
    start = time.process_time()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * 0.5 * (1.0 + math.cos(math.pi * step / steps))
        optimizer.zero_grad()
        loss(step).backward()
        optimizer.step()
    return time.process_time() - start


def rotations(seed: int, n: int) -> Tensor:
    """Draw n proper rotations uniformly: (n, 3, 3)."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([random_rotation(rng) for _ in range(n)]))


def rotations_of_x(axes: Tensor, seed: int) -> Tensor:
    """Return a rotation for each unit vector (n, 3) that carries x onto it.

    The turn about the axis is random: (n, 3, 3).
    """
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for axis in axes:
        other = torch.randn(3, generator=generator, dtype=axis.dtype)
        second = torch.nn.functional.normalize(other - (other @ axis) * axis, dim=0)
        rows.append(torch.stack([axis, second, torch.linalg.cross(axis, second)], dim=1))
    return torch.stack(rows)


def turned(values: Tensor, matrices: Tensor) -> Tensor:
    """Turn vectors (S, N, 3) of sample s by matrices[s] or by one matrix."""
    return values @ matrices.transpose(-1, -2)


class CoordinateNetwork(nn.Module):
    """A perceptron on centred coordinates, (S, N, 3) -> (S, N, 3): no symmetry but translation."""

    def __init__(
        self, positions: Tensor, vectors: Tensor, *, n_hidden: int = 128, seed: int = 0
    ) -> None:
        super().__init__()
        torch.manual_seed(seed)
        n_atoms = positions.shape[1]
        self.network = Perceptron(
            (3 * n_atoms, n_hidden, n_hidden, 3 * n_atoms), last_bias=True
        ).to(positions.dtype)
        centred = positions - positions.mean(dim=1, keepdim=True)
        # Coordinates are compared with their mean, so that a small motion is not a small number
        # beside a large one.
        self.register_buffer("mean", centred.mean(dim=0))
        self.register_buffer("spread", (centred - self.mean).std())
        self.register_buffer("size", vectors.std())

    def forward(self, positions: Tensor) -> Tensor:
        """Return the vectors."""
        centred = positions - positions.mean(dim=1, keepdim=True)
        inputs = (centred - self.mean) / self.spread
        return self.network(inputs.flatten(1)).reshape(positions.shape) * self.size


class Molecule:
    """Frames of one molecule as dense arrays, and its graph with every pair of atoms.

    positions, forces: (S, N, 3), Å and eV/Å. energies: (S,), eV. numbers: (N,).
    """

    def __init__(
        self, positions: Tensor, forces: Tensor, energies: Tensor, numbers: Tensor
    ) -> None:
        self.positions, self.forces, self.energies, self.numbers = (
            positions,
            forces,
            energies,
            numbers,
        )

    @staticmethod
    def of(frames: Frames) -> Molecule:
        """Take frames that are all of one molecule."""
        n = int(frames.n_atoms[0])
        shape = (len(frames), n, 3)
        return Molecule(
            frames.positions.reshape(shape),
            frames.targets["forces"].reshape(shape),
            frames.targets["energy"].reshape(-1),
            frames.atomic_numbers[:n],
        )

    def subset(self, rows: Tensor | slice) -> Molecule:
        """Return some of the frames."""
        return Molecule(self.positions[rows], self.forces[rows], self.energies[rows], self.numbers)

    def turned(self, matrices: Tensor) -> Molecule:
        """Return all frames turned, each by its own matrix or all by one."""
        return Molecule(
            turned(self.positions, matrices),
            turned(self.forces, matrices),
            self.energies,
            self.numbers,
        )

    def graph(self, positions: Tensor) -> AtomGraph:
        """Return one graph of frames (S, N, 3): all pairs.

        Because the kernels leave out those beyond the cutoff themselves.
        """
        return pair_graph(positions, self.numbers)


def pair_graph(positions: Tensor, numbers: Tensor) -> AtomGraph:
    """Join frames (S, N, 3) of one molecule into a graph with every pair of its atoms."""
    n_frames, n = positions.shape[:2]
    first, second = torch.nonzero(~torch.eye(n, dtype=torch.bool)).T
    offsets = n * torch.arange(n_frames)[:, None]
    edges = torch.stack([(second + offsets).flatten(), (first + offsets).flatten()])
    return make_graph(
        positions.reshape(-1, 3),
        numbers.repeat(n_frames),
        edges,
        batch=torch.arange(n_frames).repeat_interleave(n),
        total_charge=torch.zeros(n_frames, dtype=torch.int64),
    )


def ethanol(path: Path | None) -> tuple[Molecule, Molecule]:
    """Return frames of rMD17 ethanol to train on and to test.

    500 and 500 of the first published split, or 225 and 75 of the bundled sample.
    """
    if path is not None:
        loaded = load_rmd17(path, split=1)
        frames, splits = loaded.frames, loaded.splits
        every = Molecule.of(frames)
        return every.subset(splits["train"][:N_PUBLISHED]), every.subset(
            splits["test"][:N_PUBLISHED]
        )
    every = Molecule.of(
        read_frames(data_path("samples/ethanol.extxyz.gz"), targets=("energy", "forces")).frames
    )
    every = every.subset(
        torch.from_numpy(np.random.default_rng(0).permutation(len(every.positions)))
    )
    return every.subset(slice(N_BUNDLED)), every.subset(slice(N_BUNDLED, None))


def molecular_model(
    frames: Molecule, rows: list[Property | str], **settings: object
) -> MolecularModel:
    """Make a calibrated model whose outputs have the scale and the mean of `frames`."""
    model = make_model(frames.numbers.tolist(), rows, cutoff=CUTOFF, **settings)
    model.backbone.calibrate(frames.graph(frames.positions[:16]))
    size = float(frames.forces.std())
    for name, head in model.heads.items():
        head.set_statistics(
            size, float(frames.energies.mean()) / len(frames.numbers) if name == "energy" else 0.0
        )
    return model


def train_model(
    model: MolecularModel,
    frames: Molecule,
    steps: int,
    *,
    batch: int = 8,
    rate: float = 1e-2,
    direct: bool = False,
) -> float:
    """Train on energies and forces, either the gradient or, with `direct`, the head of vectors.

    Return the processor seconds.
    """
    size, n = frames.forces.std(), len(frames.numbers)
    order = batches(len(frames.positions), batch, steps)

    def loss(step: int) -> Tensor:
        rows = order[step]
        graph = frames.graph(frames.positions[rows])
        outputs = model(graph) if direct else model.compute(graph, create_graph=True)
        error = (
            (
                (outputs[DIRECT.name if direct else "forces"] - frames.forces[rows].reshape(-1, 3))
                / size
            )
            .square()
            .mean()
        )
        return (
            error + 0.1 * ((outputs["energy"] - frames.energies[rows]) / size).square().mean() / n
            if "energy" in outputs
            else error
        )

    return fit(model.parameters(), loss, steps, rate)


def predict(
    model: MolecularModel, frames: Molecule, *, direct: bool = False
) -> tuple[Tensor, Tensor]:
    """Return forces (S, N, 3) and energies (S,) of all frames, 25 at a time.

    Zeros where the model has no energy.
    """
    forces, energies = [], []
    for positions in frames.positions.split(25):
        outputs = model.compute(frames.graph(positions), forces=not direct)
        forces.append(
            outputs[DIRECT.name if direct else "forces"]
            .detach()
            .reshape(positions.shape)
            .to(torch.float64)
        )
        energies.append(
            outputs.get("energy", torch.zeros(len(positions), dtype=torch.float64)).detach()
        )
    return torch.cat(forces), torch.cat(energies)


def batches(n: int, batch: int, steps: int, seed: int = 0) -> list[Tensor]:
    """Draw the rows of each step."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(n, (min(batch, n),), generator=generator) for _ in range(steps)]


def n_weights(model: nn.Module) -> int:
    """Count trainable numbers."""
    return sum(parameter.numel() for parameter in model.parameters())


def mean_error(found: Tensor, wanted: Tensor) -> float:
    """Mean length of the error of vectors (S, N, 3): a measure that does not depend on the axes."""
    return (found - wanted).norm(dim=-1).mean().item()
