"""Rows of a table by the species of each atom."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def rows_of_species(species: Tensor, table: Tensor) -> Tensor:
    """Return table[species]: (N,), (S, C) -> (N, C).

    On a GPU by `product_with_choice`: the gradient of a look-up sorts the atoms there, which waits
    for the CPU, and a wait cannot be captured in a CUDA graph.
    """
    if table.is_cuda:
        return product_with_choice(species, table)
    return functional.embedding(species, table)


def product_with_choice(species: Tensor, table: Tensor) -> Tensor:
    """Return the same as the matrix product of a row of zeros and a one of each atom and the table.

    Exactly the same, for finite tables, and so in every run is its gradient.
    """
    choice = species[:, None] == torch.arange(len(table), device=table.device)
    return choice.to(table.dtype) @ table
