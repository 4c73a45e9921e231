"""Weights that multiply channels as matrices, so that an optimiser may treat them as linear maps.

Most weights of a network are not numbers on their own: they are the matrices of maps between
channels, one for each irrep, path or element, however a layer has packed them. Which weights these
are is said by the layer that owns them.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor, nn


class Blocks(NamedTuple):
    """How a weight is cut into matrices: rows x columns blocks of one size.

    The weight is read as one matrix, its first dimension by all others.
    """

    rows: int = 1
    columns: int = 1

    def cut(self, weight: Tensor) -> Tensor:
        """Return the matrices of a weight, or of its gradient: (rows * columns, m, n)."""
        m = weight.shape[0] // self.rows
        return weight.reshape(self.rows, m, self.columns, -1).transpose(1, 2).flatten(0, 1)

    def join(self, matrices: Tensor, like: Tensor) -> Tensor:
        """Return matrices (rows * columns, m, n) in the shape of the weight `like`."""
        return matrices.unflatten(0, (self.rows, self.columns)).transpose(1, 2).reshape(like.shape)


class MatrixWeights(abc.ABC):
    """A layer that has such weights."""

    @abc.abstractmethod
    def matrices(self) -> Iterator[tuple[Tensor, Blocks]]:
        """Name those among its own weights that are matrices, and how they are packed."""


def matrix_weights(network: nn.Module) -> list[tuple[Tensor, Blocks]]:
    """Return the trainable weights of a network that are matrices: at least 2 by 2.

    A matrix of one row or column is a list of numbers.
    """
    found = [pair for module in network.modules() for pair in _matrices_of(module)]
    return [
        (weight, blocks)
        for weight, blocks in found
        if weight.requires_grad and min(blocks.cut(weight).shape[1:]) > 1
    ]


def _matrices_of(module: nn.Module) -> Iterator[tuple[Tensor, Blocks]]:
    if isinstance(module, MatrixWeights):
        yield from module.matrices()
    elif isinstance(module, nn.Linear):
        yield module.weight, Blocks()
