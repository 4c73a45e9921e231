"""Tensor products behind one interface.

Fused kernels where they are asked for, plain torch elsewhere.
"""

from __future__ import annotations

from torch import Tensor

from molequi.kernels import inplace
from molequi.kernels.backends import BACKENDS, Backend
from molequi.kernels.edges import Edges, NodeRange, edges_of
from molequi.o3.coupling import CouplingTable
from molequi.o3.symmetric import Polynomials

__all__ = [
    "BACKENDS",
    "CPU_KERNELS",
    "Backend",
    "Edges",
    "NodeRange",
    "contract",
    "convolve",
    "couple",
    "edges_of",
    "inplace",
]

CPU_KERNELS = ("reference", "generic", "specialized")


def convolve(
    features: Tensor,
    harmonics: Tensor,
    distances: Tensor,
    coefficients: Tensor,
    edges: Edges,
    table: CouplingTable,
    cutoff: float,
    *,
    kernels: str = "reference",
) -> Tensor:
    """Sum over the edges of each receiver.

    A_i[k,c] = sum_e sum_(p;a,b,k) CG[p;a,b,k] h_j[a,c] Y_e[b] R_e[p,c].

    features: (N, components of table.first, C). harmonics: (E, components of table.second).
    distances: (E,), Å; cutoff: Å. coefficients: (K + 3, paths, C), of the splines R (see
    `splines`), or of several kinds of edges, (kinds, K + 3, paths, C), see `Edges`.
    Returns (N, components of table.output, C).
    kernels: `reference` is plain torch, on any device, differentiable to any order. On a CPU two
    fused forms are differentiable twice: `generic`, compiled once per dtype for every table
    (seconds, kept on disk), and `specialized`, compiled for each table, faster for forces. `triton`
    is their form for GPUs. Where a form does not serve the device, the reference does. The names
    are those of `BACKENDS`.
    """
    return _backend(kernels, features).convolve(
        features, harmonics, distances, coefficients, edges, table, cutoff
    )


def couple(
    first: Tensor,
    second: Tensor,
    weights: Tensor,
    species: Tensor,
    table: CouplingTable,
    *,
    kernels: str = "reference",
) -> Tensor:
    """Multiply features of the same node channel by channel.

    B_i[k,c] = sum_(p;a,b,k) CG[p;a,b,k] w[s_i,p,c] x_i[a,c] y_i[b,c].

    first: (N, components of table.first, C). second: (N, components of table.second, C). weights:
    (species, paths, C). species: (N,).
    Returns (N, components of table.output, C). kernels: as in `convolve`; the fused forms of a CPU
    are one here, and `triton` is dense matrix products, see `dense_products`.
    """
    return _backend(kernels, first).couple(first, second, weights, species, table)


def contract(
    features: Tensor,
    weights: Tensor,
    species: Tensor,
    polynomials: Polynomials,
    *,
    kernels: str = "reference",
) -> Tensor:
    """Evaluate equivariant polynomials of a node's features channel by channel.

    B_i[k,c] = sum_p w[s_i,p,c] P_p[k](x_i[:,c]), the symmetric contraction of MACE.

    features: (N, components of polynomials.irreps, C). weights: (species, paths, C), paths by
    degree. species: (N,). Returns (N, components of polynomials.output, C). kernels: as in
    `couple`; second derivatives are those of the reference.
    """
    return _backend(kernels, features).contract(features, weights, species, polynomials)


def _backend(kernels: str, features: Tensor) -> Backend:
    """Return the back end of that name where it serves the features, else the reference."""
    chosen = BACKENDS[kernels]
    return chosen if chosen.serves(features) else BACKENDS["reference"]
