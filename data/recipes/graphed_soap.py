"""SOAP on all weights as one vector: steps that a CUDA graph can capture.

The steps are those of `molequi.training.optimizers.soap` behind the clipping of
`MolecularTraining`, with the averaged weights of `EMA`: matrices of one size are one stack, and
whatever changes from step to step, the rate and the number of the step, is a tensor.
"""

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from molequi.nn.matrices import Blocks, matrix_weights
from molequi.training.optimizers.base import State, adam_direction
from molequi.training.optimizers.soap import direction_in_bases, lay_bases, let_bases_follow

# Part of the squared lengths of columns that is added before a Cholesky decomposition; and how far
# the result may be from orthonormal.
_JITTER, _ORTHONORMAL = 1e-14, 1e-5


class Member(NamedTuple):
    """Where the matrices of a weight lie: a part of the vector, its shape, its blocks."""

    part: slice
    shape: torch.Size
    blocks: Blocks


class Stack:
    """Matrices of one size, of all weights that have some, with what SOAP keeps of them."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members, self.state = tuple(members), State()

    def cut(self, vector: Tensor) -> Tensor:
        """Return the matrices in a vector of all weights: (K, m, n)."""
        return torch.cat([m.blocks.cut(vector[m.part].view(m.shape)) for m in self.members])

    def join(self, matrices: Tensor, vector: Tensor) -> list[Tensor]:
        """Return matrices (K, m, n) as the parts of a vector like this one, in their order."""
        counts = [m.blocks.rows * m.blocks.columns for m in self.members]
        return [
            m.blocks.join(some, vector[m.part].view(m.shape)).flatten()
            for m, some in zip(self.members, matrices.split(counts), strict=True)
        ]


class FlatSoap:
    """The trainable weights of a network as views of one vector, and the steps they take.

    apart: weights whose gradient is clipped by itself. clip: the largest norm of a gradient. ema:
    decay of the averaged weights.
    weights: in the order of `values`, (W,). gradients: (W,), to be written to, as `rate`, ().
    not_finite: (), the number of steps whose gradient was not finite; they took it for zero.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        apart: Collection[nn.Parameter] = (),
        clip: float = 10.0,
        ema: float = 0.99,
        weight_decay: float = 0.0,
        orthogonal: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.clip, self.ema, self.weight_decay = clip, ema, weight_decay
        self.orthogonal = by_cholesky if orthogonal is None else orthogonal
        groups = _by_size(network)
        self.weights = [weight for group in groups.values() for weight, _ in group]
        n_matrices = sum(weight.numel() for weight in self.weights)
        known = {id(weight) for weight in self.weights}
        self.weights += [
            weight
            for weight in network.parameters()
            if weight.requires_grad and id(weight) not in known
        ]
        self._others = slice(n_matrices, None)
        self.values = torch.cat([weight.detach().flatten() for weight in self.weights])
        self.gradients, self.average = torch.zeros_like(self.values), self.values.clone()
        parts = self._become_views()
        self.stacks = [
            Stack([Member(parts[id(w)], w.shape, blocks) for w, blocks in group])
            for group in groups.values()
        ]
        self.rate, self.n_steps, self.not_finite = (
            self.values.new_zeros((), dtype=torch.float64) for _ in range(3)
        )
        self._state = _started(self.values[self._others])
        ids = {id(weight) for weight in apart}
        is_apart = torch.cat(
            [torch.full((w.numel(),), float(id(w) in ids)) for w in self.weights]
        ).to(self.values)
        self._shares = (1.0 - is_apart, is_apart)

    def _become_views(self) -> dict[int, slice]:
        """Make the weights views of the vector; return the part of each."""
        parts, start = {}, 0
        for weight in self.weights:
            part = parts[id(weight)] = slice(start, start + weight.numel())
            weight.data = self.values[part].view(weight.shape)
            start = part.stop
        return parts

    def take(self, gradients: Sequence[Tensor]) -> None:
        """Write the gradients of `weights`."""
        self.gradients.copy_(torch.cat([gradient.flatten() for gradient in gradients]))

    @torch.no_grad()
    def start(self) -> None:
        """Take the first step: it lays the bases of the matrices, which stay where they are."""
        self._clip()
        for stack in self.stacks:
            matrices = stack.cut(self.gradients)
            lay_bases(matrices, stack.state)
            stack.state |= _started(matrices)
        self._move([torch.zeros_like(self.values[: self._others.start])])

    @torch.no_grad()
    def step(self) -> None:
        """Take a step; may be captured."""
        self._clip()
        directions = [
            part
            for stack in self.stacks
            for part in stack.join(
                direction_in_bases(stack.cut(self.gradients), stack.state), self.values
            )
        ]
        self._move(directions)

    @torch.no_grad()
    def turn(self) -> None:
        """Let the bases follow, every `STEPS_PER_TURN` steps or so."""
        for stack in self.stacks:
            turned = dict(stack.state)
            let_bases_follow(turned, self.orthogonal)
            for name, kept in stack.state.items():
                if turned[name] is not kept:
                    kept.copy_(turned[name])

    def tensors(self) -> list[Tensor]:
        """Return all that a step changes."""
        states = [self._state, *(stack.state for stack in self.stacks)]
        own = [self.values, self.gradients, self.average, self.n_steps, self.not_finite]
        return [*own, *(tensor for state in states for tensor in state.values())]

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the averaged weights in the place of the weights for a while."""
        kept = self.values.clone()
        self.values.copy_(self.average)
        try:
            yield
        finally:
            self.values.copy_(kept)

    def _clip(self) -> None:
        """Clip both parts of the gradient; leave nothing of one that is not finite."""
        factors, norms = torch.zeros_like(self.gradients), []
        for share in self._shares:
            norm = torch.linalg.vector_norm(self.gradients * share)
            factors += share * (self.clip / (norm + 1e-6)).clamp(max=1.0)
            norms.append(norm)
        is_finite = torch.isfinite(torch.stack(norms)).all()
        self.gradients.copy_(torch.where(is_finite, self.gradients * factors, 0.0))
        self.not_finite += 1.0 - is_finite.to(self.not_finite.dtype)

    def _move(self, directions: Sequence[Tensor]) -> None:
        """Go against the directions of the matrices and AdamW's of the others; average."""
        others = adam_direction(self.gradients[self._others], self._state)
        if self.weight_decay:
            self.values.mul_(1.0 - self.rate * self.weight_decay)
        self.values.sub_(self.rate * torch.cat([*directions, others]))
        self.n_steps += 1.0
        rising = (1.0 + self.n_steps) / (10.0 + self.n_steps)
        self.average.lerp_(self.values, (1.0 - rising.clamp(max=self.ema)).to(self.values.dtype))


def by_cholesky(matrices: Tensor) -> Tensor:
    """Return Q of the QR decomposition of each matrix, its signs aside: (K, n, n).

    Q = A R^-1 with R^T R = A^T A, in float64 and twice, so that Q is orthonormal (CholeskyQR2: Y.
    Yamamoto et al., Electron. Trans. Numer. Anal. 44 (2015) 306): a few large products, where a GPU
    would make one QR decomposition after the other. Of a matrix without full rank, such as zero,
    which has no such Q, the identity is returned.
    """
    q = matrices.to(torch.float64)
    identity = torch.eye(q.shape[1], dtype=q.dtype, device=q.device)
    for _ in range(2):
        q = q / q.norm(dim=1, keepdim=True).clamp(min=1e-300)
        lower, _ = torch.linalg.cholesky_ex(q.mT @ q + _JITTER * identity)
        q = torch.linalg.solve_triangular(lower.mT, q, upper=True, left=False)
    deviation = (q.mT @ q - identity).abs().amax(dim=(1, 2), keepdim=True)
    return torch.where(deviation < _ORTHONORMAL, q, identity).to(matrices.dtype)


def _by_size(network: nn.Module) -> dict[torch.Size, list[tuple[nn.Parameter, Blocks]]]:
    """Return the weights that are matrices by the size of these."""
    groups: dict[torch.Size, list[tuple[nn.Parameter, Blocks]]] = {}
    for weight, blocks in matrix_weights(network):
        groups.setdefault(blocks.cut(weight).shape[1:], []).append((weight, blocks))
    return groups


def _started(like: Tensor) -> State:
    """Return the state of `adam_direction` before the first step, counted by a tensor."""
    return {
        "step": like.new_zeros((), dtype=torch.float64),
        "mean": torch.zeros_like(like),
        "square": torch.zeros_like(like),
    }
