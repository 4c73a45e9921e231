"""Tensors that follow from weights alone: made in every call, or once in a frozen network.

A prediction needs no gradients of the weights. What is made of them only, scaled weights or radial
functions at the knots, is then the same in every call, and for a molecule of twenty atoms it costs
as much as all the rest.
"""

from __future__ import annotations

import abc
from typing import Generic, TypeVar

import torch
from torch import nn

T = TypeVar("T")


class WeightTables(nn.Module, abc.ABC, Generic[T]):
    """A module whose forward pass takes tables made of its weights and constants, `make_tables`."""

    # Filled by `freeze_tables` alone.
    _frozen: T | None = None

    @abc.abstractmethod
    def make_tables(self) -> T:
        """Make one or several tensors of the weights as they are; differentiable in them."""

    def tables(self) -> T:
        """Return the tables of the weights as they are, or as they were frozen."""
        return self.make_tables() if self._frozen is None else self._frozen


def freeze_tables(network: nn.Module) -> None:
    """Make all tables once and for all.

    Only for a network whose weights nobody can write: see `models.freeze`.
    """
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, WeightTables):
                module._frozen = module.make_tables()
