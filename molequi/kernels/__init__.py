"""Tensor products behind one interface: fused sweeps where they are asked for, plain torch elsewhere."""

from __future__ import annotations

from torch import Tensor

from molequi.kernels import cpu, reference
from molequi.kernels.edges import Edges, edges_of
from molequi.kernels.reference import couple
from molequi.symmetry.coupling import CouplingTable

__all__ = ["Edges", "convolve", "couple", "edges_of"]


def convolve(
    features: Tensor,
    harmonics: Tensor,
    distances: Tensor,
    coefficients: Tensor,
    edges: Edges,
    table: CouplingTable,
    cutoff: float,
    *,
    fused: bool = False,
) -> Tensor:
    """Sum over the edges of each receiver: A_i[k,c] = sum_e sum_(p;a,b,k) CG[p;a,b,k] h_j[a,c] Y_e[b] R_e[p,c].

    features: (N, rows of table.first, C). harmonics: (E, rows of table.second). distances: (E,), Å; cutoff: Å.
    coefficients: (K + 3, paths, C), of the splines R (see `splines`). Returns (N, rows of table.output, C).
    Plain torch, differentiable to any order; with `fused` on a CPU the fused sweeps, differentiable twice and compiled at the first call
    for a table and dtype (seconds, kept on disk).
    """
    if not fused or features.device.type != "cpu":
        return reference.convolve(features, harmonics, distances, coefficients, edges.index, table, cutoff)
    return cpu.convolve(features, harmonics, distances, coefficients, edges, table, cutoff)
