"""One process of LAMMPS as `pair_style mliap unified` shows it: atoms, ghosts, pairs, exchanges.

LAMMPS cuts the box into domains, one a process. Each has atoms of its own, and ghosts, copies of
atoms of others (or of its own, through the walls of the box), and names the pairs of its own atoms
alone. So a ghost's features come from its owner after every layer of a network but the last, and
its gradients go back there. What LAMMPS gives and takes was read in its packages ML-IAP and KOKKOS,
`mliap_unified_couple.pyx`, `mliap_unified_couple_kokkos.pyx` and `pair_mliap_kokkos.cpp`.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

# Numbers of an atom that are exchanged at a time on a CPU. There LAMMPS' buffers are made for what
# its atoms need (`comm.cpp`, `comm_brick.cpp`), three numbers backwards, and a pair style that
# sends more writes beyond their end; on a GPU they grow.
_WIDTH = 3


class Domain(Protocol):
    """What LAMMPS tells of one process, its `MLIAPDataPy`: arrays of numpy, or of CuPy on a GPU.

    ntotal: own atoms and, behind them, ghosts. elems: (ntotal,), places in `element_types`.
    iatoms: of which the first nlistatoms are the atoms that are asked for. pair_i, pair_j, rij: of
    npairs pairs closer than the cutoff, x_j - x_i, Å. No array may be touched that has no entry.
    energy: eV, of the atoms asked for, and eatoms: (nlistatoms,), of each; these are written.
    """

    ntotal: int
    elems: Any
    nlistatoms: int
    iatoms: Any
    npairs: int
    pair_i: Any
    pair_j: Any
    rij: Any
    energy: float
    eatoms: Any

    def update_pair_forces(self, fij: Any) -> None:
        """Add (npairs, 3), eV/Å, float64, to the forces on i and take them from those on j."""


@runtime_checkable
class Exchange(Protocol):
    """What a domain of LAMMPS' package KOKKOS has beside that; all processes must call it alike.

    nlocal: own atoms. Both copy rows (ntotal, n_numbers), float32 or float64, to another tensor.
    """

    nlocal: int

    def forward_exchange(self, rows: Tensor, copies: Tensor, n_numbers: int) -> None:
        """Copy; then the row of each ghost is that of its owner."""

    def reverse_exchange(self, rows: Tensor, copies: Tensor, n_numbers: int) -> None:
        """Copy; then add the row of each ghost to that of its owner."""


class Exchanged(torch.autograd.Function):
    """Features (N, M, C) with those of the owners in the rows of ghosts."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, exchange: Exchange) -> Tensor:
        """Fetch the features of ghosts."""
        ctx.exchange = exchange
        return _moved(features, exchange.forward_exchange)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Bring the gradients of ghosts to their owners."""
        moved = _moved(gradients[0], ctx.exchange.reverse_exchange)
        moved[ctx.exchange.nlocal :] = 0.0  # what ghosts had before was written over
        return moved, None


class Pairs(NamedTuple):
    """Vectors (E, 3), float64, Å, and edges (2, E), sorted by receiver; and where they were."""

    vectors: Tensor
    edges: Tensor
    order: Tensor


def pairs_of(data: Domain, device: torch.device) -> Pairs:
    """Return the pairs of a domain, none on `device` where there are none."""
    if not data.npairs:
        none = torch.zeros(2, 0, dtype=torch.int64, device=device)
        return Pairs(none.new_zeros(0, 3, dtype=torch.float64), none, none[0])
    edges = torch.stack([torch.as_tensor(data.pair_j), torch.as_tensor(data.pair_i)]).long()
    order = torch.argsort(edges[1], stable=True)
    vectors = torch.as_tensor(data.rij).to(torch.float64).index_select(0, order)
    return Pairs(vectors, edges[:, order], order)


def write_energies(data: Domain, energies: Tensor) -> None:
    """Write them the way of either build: one lets `eatoms` be set alone, one be read alone."""
    data.energy = float(energies.sum())
    if not data.nlistatoms:
        return
    try:
        of_atoms = data.eatoms
    except AttributeError:
        data.eatoms = energies.cpu().numpy()
    else:
        torch.as_tensor(of_atoms).copy_(energies)


def _moved(features: Tensor, move: Any) -> Tensor:
    rows = features.detach().flatten(1)
    parts = [rows] if rows.is_cuda else rows.split(_WIDTH, dim=1)
    moved = []
    for part in parts:
        own = part.contiguous()
        copies = own.clone()
        move(own, copies, own.shape[1])
        moved.append(copies)
    return torch.cat(moved, dim=1).reshape(features.shape)
