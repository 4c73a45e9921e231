"""The tensor products in plain torch: any dtype and device, differentiable to any order.

The truth that faster kernels are tested against.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from molequi.kernels import splines
from molequi.o3.coupling import CouplingTable, components_of
from molequi.o3.symmetric import Polynomials
from molequi.runtime.constants import kept_constants


class Block(NamedTuple):
    """All paths into one output irrep.

    components: (2 l + 1,), of the output. path, component_first: (K,), the path and the first
    side's component of each column.
    matrix: (components of the second side, (2 l + 1) * K), the coefficients.
    """

    components: Tensor
    path: Tensor
    component_first: Tensor
    matrix: Tensor


@kept_constants
def _blocks(table: CouplingTable, dtype: torch.dtype, device: torch.device) -> tuple[Block, ...]:
    return tuple(_block(table, output, dtype, device) for output in range(len(table.output)))


def _block(table: CouplingTable, output: int, dtype: torch.dtype, device: torch.device) -> Block:
    slices = table.first.slices()
    mine = [p for p, path in enumerate(table.paths) if path.output == output]
    columns = [
        (p, component)
        for p in mine
        for component in range(table.first.dim)[slices[table.paths[p].first]]
    ]
    position = {key: column for column, key in enumerate(columns)}
    components = components_of(table.output, alternating=table.separate)[output]
    matrix = np.zeros((table.second.dim, len(components), len(columns)))
    for t in np.flatnonzero(np.isin(table.path, mine)):
        k = np.searchsorted(components, table.component_output[t])
        column = position[int(table.path[t]), int(table.component_first[t])]
        matrix[table.component_second[t], k, column] += table.value[t]
    return Block(
        torch.from_numpy(components).to(device=device),
        torch.tensor([p for p, _ in columns], dtype=torch.int64, device=device),
        torch.tensor([component for _, component in columns], dtype=torch.int64, device=device),
        torch.from_numpy(matrix.reshape(len(matrix), -1)).to(device=device, dtype=dtype),
    )


def convolve(
    features: Tensor,
    harmonics: Tensor,
    distances: Tensor,
    coefficients: Tensor,
    edge_index: Tensor,
    table: CouplingTable,
    cutoff: float,
    kinds: Tensor | None = None,
) -> Tensor:
    """Sum over the edges of each receiver.

    A_i[k,c] = sum_e sum_(p;a,b,k) CG[p;a,b,k] h_j[a,c] Y_e[b] R_e[p,c].

    features: (N, components of table.first, C). harmonics: (E, components of table.second).
    distances: (E,), Å. edge_index: (2, E). coefficients: (K + 3, paths, C), of R as a spline: see
    `splines`, with `kinds` as there. Returns (N, components of table.output, C).
    """
    radial = splines.evaluate(coefficients, distances, cutoff, kinds)
    return convolve_radial(features, harmonics, radial, edge_index, table)


def convolve_radial(
    features: Tensor, harmonics: Tensor, radial: Tensor, edge_index: Tensor, table: CouplingTable
) -> Tensor:
    """Compute `convolve` with R given for every edge: radial (E, paths, C)."""
    sender, receiver = edge_index
    n_edges, n_channels = radial.shape[0], features.shape[2]
    at_sender = features.index_select(0, sender)
    messages, blocks = [], _blocks(table, features.dtype, features.device)
    for block in blocks:
        matrix = (harmonics @ block.matrix).reshape(n_edges, len(block.components), len(block.path))
        weighted = at_sender.index_select(1, block.component_first) * radial.index_select(
            1, block.path
        )
        messages.append(torch.bmm(matrix, weighted))
    joined = _joined(messages, blocks, table)
    return features.new_zeros(features.shape[0], joined.shape[1], n_channels).index_add(
        0, receiver, joined
    )


def _joined(parts: list[Tensor], blocks: tuple[Block, ...], table: CouplingTable) -> Tensor:
    """Return the components of all blocks in the order of the output: (..., M, C)."""
    joined = torch.cat(parts, dim=1)
    if not table.separate:
        return joined
    return joined.index_select(1, torch.cat([block.components for block in blocks]).argsort())


def couple(
    first: Tensor, second: Tensor, weights: Tensor, species: Tensor, table: CouplingTable
) -> Tensor:
    """Multiply features of the same node channel by channel.

    B_i[k,c] = sum_(p;a,b,k) CG[p;a,b,k] w[s_i,p,c] x_i[a,c] y_i[b,c].

    first: (N, components of table.first, C). second: (N, components of table.second, C). weights:
    (species, paths, C). species: (N,). Returns (N, components of table.output, C).
    """
    own = functional.embedding(species, weights.flatten(1)).reshape(
        species.shape[0], *weights.shape[1:]
    )
    products, blocks = [], _blocks(table, first.dtype, first.device)
    for block in blocks:
        matrix = block.matrix.reshape(second.shape[1], len(block.components), len(block.path))
        weighted = first.index_select(1, block.component_first) * own.index_select(1, block.path)
        products.append(torch.einsum("bkp,npc,nbc->nkc", matrix, weighted, second))
    return _joined(products, blocks, table)


def contract(
    features: Tensor, weights: Tensor, species: Tensor, polynomials: Polynomials
) -> Tensor:
    """Evaluate polynomials of a node's features channel by channel.

    B_i[k,c] = sum_p w[s_i,p,c] P_p[k](x_i[:,c]), with products of three as a chain of two.

    features: (N, components of polynomials.irreps, C). weights: (species, paths, C). species: (N,).
    Returns (N, components of polynomials.output, C).
    """
    of_degree = weights.split(polynomials.counts, dim=1)
    total = _place_linear(features, of_degree[0], species, polynomials)
    if polynomials.degree > 1:
        squares = polynomials.squares
        total = total + couple(features, features, of_degree[1], species, squares)
    if polynomials.degree > 2:
        pairs, triples = polynomials.cubes
        ones = features.new_ones(1, len(pairs.paths), features.shape[2])
        products = couple(features, features, ones, torch.zeros_like(species), pairs)
        total = total + couple(products, features, of_degree[2], species, triples)
    return total


def _place_linear(
    features: Tensor, weights: Tensor, species: Tensor, polynomials: Polynomials
) -> Tensor:
    """Return the features times their weights where the output has them."""
    own = functional.embedding(species, weights.flatten(1)).unflatten(1, weights.shape[1:])
    sources, targets = polynomials.irreps.slices(), polynomials.output.slices()
    total = features.new_zeros(features.shape[0], polynomials.output.dim, features.shape[2])
    for path, (first, output) in enumerate(polynomials.linear):
        rows = features[:, sources[first]] * own[:, path, None]
        before, after = targets[output].start, polynomials.output.dim - targets[output].stop
        total = total + functional.pad(rows, (0, 0, before, after))
    return total
