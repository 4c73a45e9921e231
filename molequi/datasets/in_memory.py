"""Frames: many structures as flat tensors with offsets."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from molequi.datasets.offsets import as_indices, atom_rows, offsets_of
from molequi.errors import UserError
from molequi.graphs.batched import graph_of_molecules
from molequi.graphs.elements import MAX_NUMBER
from molequi.graphs.graph import AtomGraph, collate
from molequi.graphs.neighbors import build_graph
from molequi.properties import Property

# Labels beyond are damage: their squares leave the range of float32, in which networks are trained.
LARGEST_LABEL = 1e30

# Above this many atoms a cell list beats the pair matrix that the batch path forms.
_PAIR_MATRIX_LIMIT = 256


class Batch(NamedTuple):
    """Some structures as one graph, and their targets by name."""

    graph: AtomGraph
    targets: dict[str, Tensor]


@dataclasses.dataclass(frozen=True, repr=False)
class Frames:
    """Many structures and their targets; A atoms in all, B structures.

    positions: (A, 3), float64, Å. atomic_numbers: (A,), int64.
    offsets: (B + 1,), int64; structure b owns the atoms offsets[b]:offsets[b + 1].
    cell: (B, 3, 3), float64, Å. pbc: (B, 3), bool. total_charge: (B,), int64, e. spin_multiplicity:
    (B,), int64.
    targets: by property name, (B, *shape) or (A, *shape), float64, units of `properties`; NaN where
    missing.
    properties: the row of each target.
    source: where each structure came from, such as `file.xyz:12`, or empty.
    """

    positions: Tensor
    atomic_numbers: Tensor
    offsets: Tensor
    cell: Tensor
    pbc: Tensor
    total_charge: Tensor
    spin_multiplicity: Tensor
    targets: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    properties: dict[str, Property] = dataclasses.field(default_factory=dict)
    source: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n_atoms, n_frames = self.positions.shape[0], self.offsets.shape[0] - 1
        _check_shapes(self, n_frames)
        if int(self.offsets[-1]) != n_atoms or self.atomic_numbers.shape[0] != n_atoms:
            found = f"{n_atoms} positions, {self.atomic_numbers.shape[0]} atomic numbers"
            raise UserError(
                f"frames: {found}, but the atom counts add up to {int(self.offsets[-1])}"
            )
        if set(self.targets) != set(self.properties):
            raise UserError(
                f"frames: targets {sorted(self.targets)} but properties {sorted(self.properties)}; "
                "each target needs its row"
            )
        for name, row in self.properties.items():
            expected = (n_atoms if row.per_atom else n_frames, *row.shape)
            if tuple(self.targets[name].shape) != expected:
                raise UserError(
                    f"target {name!r} has shape {tuple(self.targets[name].shape)}; expected "
                    f"{expected}"
                )
        if self.source and len(self.source) != n_frames:
            raise UserError(f"frames: {len(self.source)} sources for {n_frames} structures")

    def __len__(self) -> int:
        return self.offsets.shape[0] - 1

    @property
    def n_atoms(self) -> Tensor:
        """Atoms of each structure: (B,)."""
        return self.offsets.diff()

    def __repr__(self) -> str:
        targets = ", ".join(self.targets) or "none"
        n_atoms = self.positions.shape[0]
        return f"Frames({len(self)} structures, {n_atoms} atoms, targets: {targets})"

    def elements(self) -> tuple[int, ...]:
        """Return the atomic numbers that occur, ascending."""
        return tuple(int(number) for number in torch.unique(self.atomic_numbers))

    def label(self, index: int) -> str:
        """Name structure `index` for messages."""
        return self.source[index] if self.source else f"structure {index}"

    def subset(self, indices: Tensor) -> Frames:
        """Return the structures `indices` (int64 or bool mask), in that order."""
        indices = as_indices(indices, len(self))
        rows, counts = atom_rows(self.offsets, indices)
        return Frames(
            positions=self.positions[rows],
            atomic_numbers=self.atomic_numbers[rows],
            offsets=offsets_of(counts),
            cell=self.cell[indices],
            pbc=self.pbc[indices],
            total_charge=self.total_charge[indices],
            spin_multiplicity=self.spin_multiplicity[indices],
            targets=self._select_targets(indices, rows),
            properties=dict(self.properties),
            source=tuple(self.source[i] for i in indices.tolist()) if self.source else (),
        )

    def with_targets(self, names: Sequence[str]) -> Frames:
        """Keep only the targets `names`, and what their labels belong to (`Property.along`).

        Raises UserError for a name that is not there.
        """
        rows = [self.properties[name] for name in names if name in self.properties]
        names = list(dict.fromkeys([*names, *(row.along for row in rows if row.along)]))
        for name in names:
            if name not in self.targets:
                known = ", ".join(sorted(self.targets)) or "no targets"
                raise UserError(f"target {name!r} is not in the data; it has {known}")
        return dataclasses.replace(
            self,
            targets={n: self.targets[n] for n in names},
            properties={n: self.properties[n] for n in names},
        )

    def with_unlabelled(self, rows: Sequence[Property]) -> Frames:
        """Add the targets `rows`, NaN everywhere."""
        added = {row.name: target_or_nan(self, row) for row in rows}
        return dataclasses.replace(
            self,
            targets={**self.targets, **added},
            properties={**self.properties, **{row.name: row for row in rows}},
        )

    def batch(self, indices: Tensor, cutoff: float) -> Batch:
        """Return the graph of the structures `indices`, and their targets. cutoff: Å."""
        indices = as_indices(indices, len(self))
        rows, counts = atom_rows(self.offsets, indices)
        targets = self._select_targets(indices, rows)
        pbc = self.pbc[indices]
        if not len(indices) or (not pbc.any() and int(counts.max()) <= _PAIR_MATRIX_LIMIT):
            graph = graph_of_molecules(
                self.positions[rows].numpy(),
                self.atomic_numbers[rows],
                counts.numpy(),
                cutoff,
                cell=self.cell[indices],
                pbc=pbc,
                total_charge=self.total_charge[indices],
                spin_multiplicity=self.spin_multiplicity[indices],
            )
        else:
            graph = collate([self.graph(index, cutoff) for index in indices.tolist()])
        return Batch(graph, targets)

    def graph(self, index: int, cutoff: float) -> AtomGraph:
        """Return the graph of one structure."""
        atoms = slice(int(self.offsets[index]), int(self.offsets[index + 1]))
        return build_graph(
            self.positions[atoms].numpy(),
            self.atomic_numbers[atoms].numpy(),
            cutoff,
            cell=self.cell[index].numpy(),
            pbc=self.pbc[index].numpy(),
            total_charge=int(self.total_charge[index]),
            spin_multiplicity=int(self.spin_multiplicity[index]),
        )

    def _select_targets(self, indices: Tensor, rows: Tensor) -> dict[str, Tensor]:
        return {
            name: values[rows if self.properties[name].per_atom else indices]
            for name, values in self.targets.items()
        }


def _check_shapes(frames: Frames, n_frames: int) -> None:
    """Refuse arrays that do not fit each other, and elements that there are not."""
    expected = {
        "positions": (frames.positions.shape[0], 3),
        "cell": (n_frames, 3, 3),
        "pbc": (n_frames, 3),
        "total_charge": (n_frames,),
        "spin_multiplicity": (n_frames,),
    }
    for name, shape in expected.items():
        found = tuple(getattr(frames, name).shape)
        if found != shape:
            raise UserError(f"frames: {name} has shape {found}; expected {shape}")
    numbers = frames.atomic_numbers
    unknown = numbers[(numbers < 1) | (numbers > MAX_NUMBER)]
    if len(unknown):
        raise UserError(f"frames: atomic number {int(unknown[0])} is no element")


def target_or_nan(part: Frames, row: Property) -> Tensor:
    """Return the target of that row; NaN everywhere where the structures have none."""
    if row.name in part.targets:
        return part.targets[row.name]
    n_rows = part.positions.shape[0] if row.per_atom else len(part)
    return torch.full((n_rows, *row.shape), torch.nan, dtype=torch.float64)
