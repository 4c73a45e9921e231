"""Optimisers that treat matrices as linear maps, and all other weights as AdamW does."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from molequi.kernels import threads
from molequi.nn.matrices import Blocks, matrix_weights

# Of AdamW, here and in torch: decay of the two moments, and what keeps their ratio finite.
BETAS, EPSILON = (0.9, 0.999), 1e-8

State = dict[str, Any]


class _Known(NamedTuple):
    """A weight that holds matrices, its gradient, and the state that they share."""

    weight: Tensor
    gradient: Tensor
    blocks: Blocks
    state: State

    @property
    def work(self) -> int:
        """Multiplications of a product by a square matrix from either side."""
        n_rows = self.weight.shape[0]
        m, n = n_rows // self.blocks.rows, self.weight.numel() // n_rows // self.blocks.columns
        return self.weight.numel() * (m + n)


class MatrixOptimizer(torch.optim.Optimizer, abc.ABC):
    """The base of an optimiser with a rule of its own for matrices: `direction`.

    W <- (1 - rate * decay) W - rate * D. The matrices are those that the layers of the network name
    (`nn.matrices`), in stacks of one size; embeddings, factors and biases take the step of AdamW.
    Every direction has entries of order 0.2 to 1, whatever the gradient's size, so that one
    learning rate serves both kinds of weights, and all optimisers.

    The state of each weight is a dictionary of tensors and plain values; clearing it forgets the
    gradients of the past.
    """

    def __init__(self, network: nn.Module, *, learning_rate: float, weight_decay: float) -> None:
        matrices = matrix_weights(network)
        self.blocks = [blocks for _, blocks in matrices]
        weights = [weight for weight, _ in matrices]
        known = {id(weight) for weight in weights}
        others = [
            weight
            for weight in network.parameters()
            if weight.requires_grad and id(weight) not in known
        ]
        defaults = {"lr": learning_rate, "weight_decay": weight_decay}
        groups: list[dict[str, Any]] = [{"params": weights}, {"params": others}]
        super().__init__(groups, defaults)

    @abc.abstractmethod
    def direction(self, gradients: Tensor, state: State) -> Tensor:
        """Return where to go against, for matrices that share a state: (K, m, n) -> (K, m, n).

        state: of these matrices, empty before the first step; to be updated in place.
        """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; `closure` computes the gradients, and its value is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        matrices, others = self.param_groups
        known = [
            _Known(weight, weight.grad, blocks, self.state[weight])
            for weight, blocks in zip(matrices["params"], self.blocks, strict=True)
            if weight.grad is not None
        ]
        threads.each(self._step_matrices, _shares(known))
        for weight in others["params"]:
            if weight.grad is not None:
                _move(weight, adam_direction(weight.grad, self.state[weight]), others)
        return loss

    def _step_matrices(self, share: Sequence[_Known]) -> None:
        for weight, gradient, blocks, state in share:
            direction = self.direction(blocks.cut(gradient), state)
            _move(weight, blocks.join(direction, weight), self.param_groups[0])


def _shares(known: list[_Known]) -> list[list[_Known]]:
    """Deal matrices out to threads, the largest first: each has about the same work.

    A GPU has all of them in one share, in order.
    """
    n_shares = max(1, min(threads.available(), len(known)))
    if n_shares == 1 or known[0].weight.device.type != "cpu":
        return [known]
    shares: list[list[_Known]] = [[] for _ in range(n_shares)]
    loads = [0] * n_shares
    for one in sorted(known, key=lambda one: one.work, reverse=True):
        least = loads.index(min(loads))
        shares[least].append(one)
        loads[least] += one.work
    return shares


def adam_direction(
    gradient: Tensor, state: State, betas: tuple[float, float] = BETAS, epsilon: float = EPSILON
) -> Tensor:
    """Return m / (sqrt(v) + epsilon), the means of g and g^2 without the bias of their start.

    state: takes `step`, `mean` and `square`. D. P. Kingma, J. Ba, arXiv 1412.6980, algorithm 1.
    """
    if "step" not in state:
        state |= {"step": 0, "mean": torch.zeros_like(gradient)}
        state["square"] = torch.zeros_like(gradient)
    state["step"] += 1
    first, second = betas
    mean = state["mean"].lerp_(gradient, 1.0 - first)
    square = state["square"].mul_(second).addcmul_(gradient, gradient, value=1.0 - second)
    root = (square / (1.0 - second ** state["step"])).sqrt_().add_(epsilon)
    return mean / root.mul_(1.0 - first ** state["step"])


def _move(weight: Tensor, direction: Tensor, group: dict[str, Any]) -> None:
    """Decay the weight, then go against the direction; by the rate and decay of its group."""
    if group["weight_decay"]:
        weight.mul_(1.0 - group["lr"] * group["weight_decay"])
    weight.sub_(direction, alpha=group["lr"])
