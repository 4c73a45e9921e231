"""AtomGraph: the one batch type, and the conventions every other module refers to.

Conventions, stated once:

- Units: eV, Å, e, amu, fs. Dipoles e·Å, polarizabilities Å³, stress eV/Å³ (tension positive).
- `edge_index[0]` is the sender j, `edge_index[1]` the receiver i; edges are sorted by receiver.
- The edge vector points from the receiver to the sender, through the periodic image named by the
integer `shifts`:
  d_e = positions[j] - positions[i] + shifts @ cell.
- Several molecules share one graph as disconnected pieces; the number of molecules B is
`cell.shape[0]`, so that empty molecules count.
- N atoms, E edges, B molecules, M irrep rows, C channels.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class AtomGraph(NamedTuple):
    """A batch of molecules or crystals with their neighbour pairs.

    positions: (N, 3), float64, Å.
    atomic_numbers: (N,), int64.
    edge_index: (2, E), int64; sender j, receiver i, sorted by receiver.
    shifts: (E, 3), int64 cell counts; see the module docstring.
    cell: (B, 3, 3), float64, Å, rows are the cell vectors; zeros where there is no cell.
    pbc: (B, 3), bool.
    batch: (N,), int64, the molecule of each atom, non-decreasing.
    total_charge: (B,), int64, e.
    spin_multiplicity: (B,), int64, 2S + 1.
    receiver_ptr: (N + 1,), int64; the edges of receiver i are receiver_ptr[i]:receiver_ptr[i + 1].
    sender_order: (E,), int64; the stable permutation that sorts the edges by sender.
    """

    positions: Tensor
    atomic_numbers: Tensor
    edge_index: Tensor
    shifts: Tensor
    cell: Tensor
    pbc: Tensor
    batch: Tensor
    total_charge: Tensor
    spin_multiplicity: Tensor
    receiver_ptr: Tensor
    sender_order: Tensor

    @property
    def n_atoms(self) -> int:
        """Number of atoms N."""
        return self.positions.shape[0]

    @property
    def n_molecules(self) -> int:
        """Number of molecules B, empty ones included."""
        return self.cell.shape[0]

    def to(self, device: torch.device | str) -> AtomGraph:
        """Return the graph with every tensor on `device`."""
        return AtomGraph(*(field.to(device) for field in self))

    def out_of_inference(self) -> AtomGraph:
        """Return the graph as autograd takes it: what `torch.inference_mode` made is copied."""
        return AtomGraph(*(field.clone() if field.is_inference() else field for field in self))


def make_graph(
    positions: Tensor,
    atomic_numbers: Tensor,
    edge_index: Tensor,
    *,
    shifts: Tensor | None = None,
    cell: Tensor | None = None,
    pbc: Tensor | None = None,
    batch: Tensor | None = None,
    total_charge: Tensor | None = None,
    spin_multiplicity: Tensor | None = None,
) -> AtomGraph:
    """Complete the given tensors to an AtomGraph; edges are sorted by receiver here.

    Shapes and units are those of `AtomGraph`. Without `batch` all atoms are one molecule; without
    `cell` there are as many molecules as `total_charge` or else `batch` names.
    """
    n_atoms, n_edges = positions.shape[0], edge_index.shape[1]
    given_or = functools.partial(_given_or, positions)
    batch = given_or(batch, 0, (n_atoms,))
    n_molecules = _n_molecules(batch, cell, total_charge)
    order = torch.argsort(edge_index[1], stable=True)
    edge_index = edge_index[:, order].to(torch.int64)
    return AtomGraph(
        positions.to(torch.float64),
        atomic_numbers.to(torch.int64),
        edge_index,
        given_or(shifts, 0, (n_edges, 3))[order].to(torch.int64),
        given_or(cell, 0, (n_molecules, 3, 3), torch.float64).to(torch.float64),
        given_or(pbc, 0, (n_molecules, 3), torch.bool),
        batch,
        given_or(total_charge, 0, (n_molecules,)),
        given_or(spin_multiplicity, 1, (n_molecules,)),
        _row_pointers(edge_index[1], n_atoms),
        torch.argsort(edge_index[0], stable=True),
    )


def _given_or(
    like: Tensor,
    tensor: Tensor | None,
    default: int,
    shape: tuple[int, ...],
    dtype: torch.dtype = torch.int64,
) -> Tensor:
    """Return the tensor that was given, or one full of the default, on the device of `like`."""
    return like.new_full(shape, default, dtype=dtype) if tensor is None else tensor


def _n_molecules(batch: Tensor, cell: Tensor | None, total_charge: Tensor | None) -> int:
    """The number of molecules, from what names each of them, else from the last atom's."""
    for of_each in (cell, total_charge):
        if of_each is not None:
            return of_each.shape[0]
    return int(batch[-1]) + 1 if len(batch) else 1


def collate(graphs: Sequence[AtomGraph]) -> AtomGraph:
    """Join graphs into one; molecules and atoms keep their order.

    Raises ValueError for an empty sequence, because a device cannot be told from nothing.
    """
    if not graphs:
        raise ValueError("collate got no graphs; give at least one")
    atoms = _offsets([graph.n_atoms for graph in graphs])
    molecules = _offsets([graph.n_molecules for graph in graphs])
    edges = _offsets([graph.edge_index.shape[1] for graph in graphs])

    def shifted(field: str, offsets: Sequence[int]) -> list[Tensor]:
        return [
            getattr(graph, field) + offset for graph, offset in zip(graphs, offsets, strict=False)
        ]

    def joined(field: str) -> Tensor:
        return torch.cat([getattr(graph, field) for graph in graphs])

    pointers = [
        graph.receiver_ptr[:-1] + offset for graph, offset in zip(graphs, edges, strict=False)
    ]
    return AtomGraph(
        positions=joined("positions"),
        atomic_numbers=joined("atomic_numbers"),
        edge_index=torch.cat(shifted("edge_index", atoms), dim=1),
        shifts=joined("shifts"),
        cell=joined("cell"),
        pbc=joined("pbc"),
        batch=torch.cat(shifted("batch", molecules)),
        total_charge=joined("total_charge"),
        spin_multiplicity=joined("spin_multiplicity"),
        receiver_ptr=torch.cat([*pointers, graphs[0].receiver_ptr.new_tensor([edges[-1]])]),
        sender_order=torch.cat(shifted("sender_order", edges)),
    )


def edge_vectors(graph: AtomGraph) -> Tensor:
    """Return d_e = positions[j] - positions[i] + shifts @ cell: (E, 3), float64, Å.

    Differentiable.
    """
    sender, receiver = graph.edge_index
    difference = graph.positions.index_select(0, sender) - graph.positions.index_select(0, receiver)
    if not may_have(graph.shifts):
        return difference
    cells = graph.cell[graph.batch[receiver]]
    return difference + torch.einsum("ei,eij->ej", graph.shifts.to(graph.cell.dtype), cells)


def may_have(values: Tensor) -> bool:
    """Tell whether any value is not zero, so that work may be left out where none is.

    A program that is traced, by `torch.export` or `torch.compile`, serves other graphs too, and
    must not depend on what this one holds.
    """
    return torch.compiler.is_compiling() or bool(values.any())


def _row_pointers(receivers: Tensor, n_atoms: int) -> Tensor:
    counts = torch.bincount(receivers, minlength=n_atoms)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def _offsets(sizes: Sequence[int]) -> list[int]:
    offsets = [0]
    for size in sizes:
        offsets.append(offsets[-1] + size)
    return offsets


class MassCentres(NamedTuple):
    """Of B molecules: centres of mass (B, 3), Å, and total masses (B,), g/mol."""

    centres: Tensor
    masses: Tensor


def mass_centres(
    positions: Tensor, masses: Tensor, molecule: Tensor, n_molecules: int
) -> MassCentres:
    """Return the centres of mass of many molecules; the origin for one without atoms.

    positions: (N, 3), masses: (N,), molecule: (N,), to which each atom belongs.
    """
    total = positions.new_zeros(n_molecules).index_add(0, molecule, masses).clamp(min=1e-12)
    weighted = positions.new_zeros(n_molecules, 3).index_add(
        0, molecule, masses[:, None] * positions
    )
    return MassCentres(weighted / total[:, None], total)
