"""Tensor products behind one interface: the compiled sweeps where they were asked for, plain torch elsewhere."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from molequi.kernels import cpu, reference
from molequi.kernels.edges import Edges, edges_of
from molequi.kernels.reference import couple
from molequi.symmetry.coupling import CouplingTable

__all__ = ["Edges", "compile_tables", "convolve", "couple", "edges_of"]


def convolve(features: Tensor, harmonics: Tensor, radial: Tensor, edges: Edges, table: CouplingTable) -> Tensor:
    """Sum over the edges of each receiver: A_i[k,c] = sum_e sum_(p;a,b,k) CG[p;a,b,k] h_j[a,c] Y_e[b] R_e[p,c].

    features: (N, rows of table.first, C). harmonics: (E, rows of table.second). radial: (E, paths, C).
    Returns (N, rows of table.output, C). Differentiable twice with compiled sweeps, to any order without.
    """
    kernels = cpu.lookup(table, features.dtype) if features.device.type == "cpu" else None
    if kernels is None:
        return reference.convolve(features, harmonics, radial, edges.index, table)
    return cpu.convolve(features, harmonics, radial, edges, kernels, sum(2 * l + 1 for l, _ in table.output))


def compile_tables(tables: Iterable[CouplingTable], dtype: torch.dtype) -> None:
    """Compile the sweeps of these tables (seconds, kept on disk); from then on `convolve` uses them in this process."""
    for table in tables:
        cpu.compile_table(table, dtype)
