"""Linear maps and gates of layers with frozen weights.

Their gradients are written out, buffers are given by the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from molequi.nn.linear import PathLinear, unit_gain


class Run(NamedTuple):
    """Neighbouring rows of an input that are mapped to neighbouring rows of the output.

    Weight: (rows, C_in, C).
    """

    start_in: int
    start_out: int
    weight: Tensor

    def rows_in(self, features: Tensor) -> Tensor:
        """Return these rows first: (rows, N, C), a view."""
        return features.narrow(1, self.start_in, len(self.weight)).transpose(0, 1)

    def rows_out(self, features: Tensor) -> Tensor:
        """Return these rows first: (rows, N, C), a view."""
        return features.narrow(1, self.start_out, len(self.weight)).transpose(0, 1)


class RowMap:
    """A linear map from rows to rows, added to what is there.

    Out[:, k] += in[:, a] W_k for the pairs (a, k) of `rows`.
    """

    def __init__(self, rows_in: Sequence[int], rows_out: Sequence[int], weight: Tensor) -> None:
        self.n_channels_in = weight.shape[1]
        starts = [
            0,
            *(
                k
                for k in range(1, len(rows_in))
                if (rows_in[k] - rows_in[k - 1], rows_out[k] - rows_out[k - 1]) != (1, 1)
            ),
            len(rows_in),
        ]
        pairs = zip(starts[:-1], starts[1:], strict=True)
        self.runs = [
            Run(rows_in[a], rows_out[a], weight[a:b].contiguous()) for a, b in pairs if b > a
        ]

    def add(self, features: Tensor, out: Tensor) -> None:
        """Add the map of features (N, M_in, C) to out (N, M_out, C)."""
        for run in self.runs:
            run.rows_out(out).baddbmm_(run.rows_in(features), run.weight)

    def add_transposed(self, gradient: Tensor, out: Tensor) -> None:
        """Add the gradient with respect to the input: (N, M_out, C) -> (N, M_in, C)."""
        for run in self.runs:
            run.rows_in(out).baddbmm_(run.rows_out(gradient), run.weight.transpose(1, 2))


class PathMap:
    """`PathLinear` on the alternating rows of separate paths, without a copy."""

    def __init__(self, paths: PathLinear, factor: float) -> None:
        self.weights = [weight * factor for weight in paths.tables()]
        self.sizes = [irrep.dim for irrep in paths.irreps]
        self.counts = paths.counts

    def _parts(self, paths: Tensor, rows: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """For each irrep its rows of the paths, of the output, and the weight.

        (2 l + 1, N, paths * C), (2 l + 1, N, C), (2 l + 1, paths * C, C).
        """
        parts, start_in, start_out = [], 0, 0
        for size, count, weight in zip(self.sizes, self.counts, self.weights, strict=True):
            block = (
                paths.narrow(1, start_in, size * count)
                .unflatten(1, (size, count))
                .flatten(2)
                .transpose(0, 1)
            )
            parts.append(
                (
                    block,
                    rows.narrow(1, start_out, size).transpose(0, 1),
                    weight.expand(size, -1, -1),
                )
            )
            start_in, start_out = start_in + size * count, start_out + size
        return parts

    def forward(self, paths: Tensor, out: Tensor) -> None:
        """Map (N, rows of the separate paths, C) -> (N, M, C)."""
        for block, rows, weight in self._parts(paths, out):
            torch.bmm(block, weight, out=rows)

    def transposed(self, gradient: Tensor, out: Tensor) -> None:
        """Map the gradient back: (N, M, C) -> (N, rows of the separate paths, C)."""
        for block, rows, weight in self._parts(out, gradient):
            torch.bmm(rows, weight.transpose(1, 2), out=block)


class FrozenGate:
    """`Gate` and its gradient."""

    def __init__(self, weight: Tensor, sizes: Sequence[int]) -> None:
        self.weight, self.sizes = weight, sizes
        self.silu_gain, self.gate_gain = unit_gain(functional.silu), unit_gain(torch.sigmoid)

    def forward(self, x: Tensor, gates: Tensor, out: Tensor) -> None:
        """Write the gated features (N, M, C) to out, and the gates (N, irreps, C), to be kept."""
        scalars = x[:, 0]
        torch.mul(functional.silu(scalars), self.silu_gain, out=out[:, 0])
        if self.sizes:
            torch.sigmoid(
                torch.mm(scalars, self.weight, out=gates.flatten(1)), out=gates.flatten(1)
            )
        for number, (rows_in, rows_out) in enumerate(self._split(x, out)):
            torch.mul(rows_in, gates[:, number : number + 1] * self.gate_gain, out=rows_out)

    def gradient(self, x: Tensor, gates: Tensor, g: Tensor, out: Tensor) -> None:
        """Write the gradient with respect to x to out."""
        scalars = x[:, 0]
        sigmoid = torch.sigmoid(scalars)
        own = g[:, 0] * (sigmoid * (1.0 + scalars * (1.0 - sigmoid)) * self.silu_gain)
        pulls = []
        for number, (rows_x, rows_g, rows_out) in enumerate(self._split(x, g, out)):
            torch.mul(rows_g, gates[:, number : number + 1] * self.gate_gain, out=rows_out)
            pulls.append((rows_g * rows_x).sum(dim=1))
        if pulls:
            flat = gates.flatten(1)
            own = (
                own
                + (torch.cat(pulls, dim=1) * (flat * (1.0 - flat) * self.gate_gain)) @ self.weight.T
            )
        out[:, 0] = own

    def _split(self, *features: Tensor) -> list[tuple[Tensor, ...]]:
        """The rows of each gated irrep, of all the features given."""
        return list(
            zip(
                *(x[:, 1:].split(self.sizes, dim=1) if self.sizes else () for x in features),
                strict=True,
            )
        )
