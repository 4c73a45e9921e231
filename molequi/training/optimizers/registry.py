"""The optimisers by name. A new one is a `MatrixOptimizer` and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import nn

from molequi.training.optimizers.muon import Muon
from molequi.training.optimizers.soap import Soap


class MakeOptimizer(Protocol):
    """What makes an optimiser of the trainable weights of a network.

    A step depends on the gradients and on `state_dict` alone, which holds tensors and plain values,
    and each group has the learning rate `lr`.
    """

    def __call__(
        self, network: nn.Module, *, learning_rate: float, weight_decay: float
    ) -> torch.optim.Optimizer:
        """Return the optimiser."""


def adamw(
    network: nn.Module, *, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Return AdamW: I. Loshchilov, F. Hutter, arXiv 1711.05101."""
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    return torch.optim.AdamW(weights, lr=learning_rate, weight_decay=weight_decay, foreach=True)


# By the name that `training.optimizer` gives them.
OPTIMIZERS: Mapping[str, MakeOptimizer] = {"adamw": adamw, "muon": Muon, "soap": Soap}
