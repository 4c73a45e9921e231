"""Linear maps and scalar networks with unit variance at initialisation.

Weights are drawn from a unit normal and divided by the square root of their fan-in in the forward
pass, so that one learning rate suits every width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from molequi.nn.matrices import Blocks, MatrixWeights
from molequi.nn.weight_tables import WeightTables
from molequi.o3.irreps import Irreps
from molequi.runtime.constants import kept_constants


@kept_constants
def unit_gain(activation: Callable[[Tensor], Tensor]) -> float:
    """Return 1 / sqrt(E[f(z)^2]) for z ~ N(0, 1), by trapezoidal quadrature."""
    z = torch.linspace(-12.0, 12.0, 24001, dtype=torch.float64)
    density = torch.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    return float(torch.trapezoid(activation(z) ** 2 * density, z) ** -0.5)


def silu(x: Tensor) -> Tensor:
    """X * sigmoid(x), scaled to unit second moment under a unit normal."""
    return functional.silu(x) * unit_gain(functional.silu)


def gate(x: Tensor) -> Tensor:
    """sigmoid(x), scaled to unit second moment under a unit normal."""
    return torch.sigmoid(x) * unit_gain(torch.sigmoid)


class Perceptron(WeightTables[list[Tensor]], MatrixWeights):
    """A scalar network: linear layers with SiLU between them; (N, sizes[0]) -> (N, sizes[-1]).

    Biases start at zero; the last layer has none unless `last_bias`. Without `bias` no layer has,
    and zeros give zeros.
    """

    def __init__(self, sizes: Sequence[int], *, last_bias: bool = False, bias: bool = True) -> None:
        super().__init__()
        pairs = list(zip(sizes[:-1], sizes[1:], strict=True))
        self.weights = nn.ParameterList(nn.Parameter(torch.randn(a, b)) for a, b in pairs)
        n_biases = 0 if not bias else len(pairs) if last_bias else len(pairs) - 1
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(b)) for _, b in pairs[:n_biases])

    def forward(self, x: Tensor) -> Tensor:
        """Apply the network."""
        return self.last(self.hidden(x))

    def hidden(self, x: Tensor) -> Tensor:
        """Return what the last layer takes: (N, sizes[-2])."""
        for layer in range(len(self.weights) - 1):
            x = functional.silu(self._layer(x, layer))
        return x

    def last(self, hidden: Tensor) -> Tensor:
        """Apply the last layer."""
        return self._layer(hidden, len(self.weights) - 1)

    def _layer(self, x: Tensor, layer: int) -> Tensor:
        weight = self._frozen[layer] if self._frozen is not None else self._table(layer)
        if layer < len(self.biases):
            return torch.addmm(self.biases[layer], x, weight)
        return x @ weight

    def matrices(self) -> Iterator[tuple[nn.Parameter, Blocks]]:
        """Name one matrix per layer."""
        yield from ((weight, Blocks()) for weight in self.weights)

    def make_tables(self) -> list[Tensor]:
        """Scale the weights by the gains of the activations: fewer numbers than the features."""
        return [self._table(layer) for layer in range(len(self.weights))]

    def _table(self, layer: int) -> Tensor:
        weight, gain = self.weights[layer], unit_gain(functional.silu) if layer else 1.0
        return weight * (gain * weight.shape[0] ** -0.5)


def expand_irreps(values: Tensor, irreps: Irreps, dim: int) -> Tensor:
    """Repeat what each irrep has for each of its components.

    Size len(irreps) along `dim` becomes M.

    By views and one copy: the derivative of an index would scatter, which costs many times as much.
    """
    parts = [values.narrow(dim, k, 1) for k in range(len(irreps))]
    sizes = [irrep.dim for irrep in irreps]
    return torch.cat(
        [
            part.expand(*part.shape[:dim], size, *part.shape[dim + 1 :])
            for part, size in zip(parts, sizes, strict=True)
        ],
        dim=dim,
    )


class IrrepsLinear(WeightTables[Tensor], MatrixWeights):
    """Mix the channels of each irrep: (N, M, C_in) -> (N, M, C_out).

    No bias, so parity and rotation are untouched. n_sources: parts of equal size of which the
    channels come, each with a matrix of its own to an optimiser.
    """

    def __init__(self, irreps: Irreps, n_in: int, n_out: int, *, n_sources: int = 1) -> None:
        super().__init__()
        self.irreps, self.n_in, self.n_sources = irreps, n_in, n_sources
        self.weights = nn.ParameterDict(
            {str(irrep): nn.Parameter(torch.randn(n_in, n_out)) for irrep in irreps}
        )

    def forward(self, features: Tensor) -> Tensor:
        """Apply the map."""
        return torch.bmm(features.transpose(0, 1), self.tables()).transpose(0, 1)

    def matrices(self) -> Iterator[tuple[nn.Parameter, Blocks]]:
        """Name one matrix per irrep and source."""
        yield from ((weight, Blocks(rows=self.n_sources)) for weight in self.weights.values())

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the weights."""
        return next(iter(self.weights.values())).dtype

    def make_tables(self) -> Tensor:
        """Return the scaled weights of each component: (M, C_in, C_out)."""
        stacked = torch.stack([self.weights[str(irrep)] for irrep in self.irreps]) * (
            self.n_in**-0.5
        )
        return expand_irreps(stacked, self.irreps, dim=0)


class PathLinear(WeightTables[list[Tensor]], MatrixWeights):
    """Mix the channels of all paths into each irrep.

    (N, components of the separate paths, C) -> (N, M, C), as NequIP and MACE do after their
    convolution.

    outputs: the irrep of each path, equal ones next to each other; their components alternate as
    those of a table with `separate`.
    """

    def __init__(self, outputs: Irreps, n_channels: int) -> None:
        super().__init__()
        self.irreps = Irreps(dict.fromkeys(outputs))
        self.counts = tuple(outputs.count(irrep) for irrep in self.irreps)
        self.sizes = [
            count * irrep.dim for count, irrep in zip(self.counts, self.irreps, strict=True)
        ]
        pairs = zip(self.irreps, self.counts, strict=True)
        self.weights = nn.ParameterDict(
            {
                str(irrep): nn.Parameter(torch.randn(count * n_channels, n_channels))
                for irrep, count in pairs
            }
        )

    def forward(self, features: Tensor) -> Tensor:
        """Apply the map."""
        mixed = []
        parts = zip(
            self.irreps,
            self.counts,
            features.split(self.sizes, dim=1),
            self.tables(),
            strict=True,
        )
        for irrep, count, part, weight in parts:
            paths = part.unflatten(1, (irrep.dim, count)).flatten(2)
            mixed.append(torch.bmm(paths.transpose(0, 1), weight.expand(irrep.dim, -1, -1)))
        return torch.cat(mixed).transpose(0, 1)

    def matrices(self) -> Iterator[tuple[nn.Parameter, Blocks]]:
        """Name one matrix per path."""
        for irrep, count in zip(self.irreps, self.counts, strict=True):
            yield self.weights[str(irrep)], Blocks(rows=count)

    def make_tables(self) -> list[Tensor]:
        """Return the scaled weights of each irrep: (paths * C, C)."""
        # By name: a ParameterDict sorts its keys, and 1e comes before 1o there.
        weights = (self.weights[str(irrep)] for irrep in self.irreps)
        return [weight * weight.shape[0] ** -0.5 for weight in weights]
