"""Equivariant linear maps and feed-forward networks for any group that is given by generators."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from molequi.errors import UserError
from molequi.groups.intertwiners import intertwiners, invariants
from molequi.groups.representations import Representation, direct_sum, same_group, trivial


class _Exact(nn.Module):
    """Keeps its basis in float64 whatever the dtype of the weights.

    So that a network made in float32 is exact in float64 too.
    """

    exact: str

    def _apply(self, fn, recurse: bool = True):  # noqa: ANN001, ANN202 (as torch.nn.Module)
        basis = getattr(self, self.exact)
        super()._apply(fn, recurse)
        setattr(self, self.exact, basis.to(getattr(self, self.exact).device))
        return self


class EquivariantLinear(_Exact):
    """v -> A v with A = sum_k c_k B_k over a basis B_k of the intertwiners.

    (..., n_in) -> (..., n_out).

    The coefficients c are the weights, drawn so that each component of the output has about unit
    variance where those of the input have.
    Raises UserError where a summand of rho_out is reached by nothing in rho_in: it would stay zero.
    """

    exact = "value"
    place: Tensor
    column: Tensor
    value: Tensor

    def __init__(self, rho_in: Representation, rho_out: Representation) -> None:
        super().__init__()
        self.rho_in, self.rho_out = rho_in, rho_out
        basis = intertwiners(rho_in, rho_out).basis.tocoo()
        place = torch.as_tensor(basis.row, dtype=torch.int64)
        block_of_row = torch.repeat_interleave(torch.tensor([part.dim for part in rho_out.blocks]))
        block_of_map = torch.zeros(basis.shape[1], dtype=torch.int64)
        block_of_map[torch.as_tensor(basis.col, dtype=torch.int64)] = block_of_row[
            place // rho_in.dim
        ]
        counts = torch.bincount(block_of_map, minlength=len(rho_out.blocks))
        for number, part in enumerate(rho_out.blocks):
            if counts[number] == 0:
                raise UserError(
                    f"no equivariant linear map leads from {rho_in.name or 'the input'} to "
                    f"{part.name or 'summand'} (summand {number} of the output) "
                    f"under {rho_in.group.name}: it would stay zero; leave it out, or give the "
                    "input what it can come from"
                )
        # Columns have unit norm: n maps into a block of size d give its components the variance n /
        # d.
        sizes = torch.tensor([part.dim for part in rho_out.blocks], dtype=torch.float64)
        scale = (sizes / counts).sqrt()[block_of_map]
        column = torch.as_tensor(basis.col, dtype=torch.int64)
        self.register_buffer("place", place, persistent=False)
        self.register_buffer("column", column, persistent=False)
        self.register_buffer("value", torch.as_tensor(basis.data) * scale[column], persistent=False)
        self.coefficients = nn.Parameter(torch.randn(basis.shape[1]))

    def matrix(self) -> Tensor:
        """Return A: (n_out, n_in)."""
        flat = self.coefficients.new_zeros(self.rho_out.dim * self.rho_in.dim)
        values = self.value.to(flat.dtype) * self.coefficients[self.column]
        return flat.index_add(0, self.place, values).unflatten(
            0, (self.rho_out.dim, self.rho_in.dim)
        )

    def forward(self, v: Tensor) -> Tensor:
        """Apply the map."""
        return v @ self.matrix().T


class InvariantBias(_Exact):
    """Add a vector that the group leaves alone, v -> v + b with rho(g) b = b.

    The only biases that keep the symmetry.
    """

    exact = "basis"
    basis: Tensor

    def __init__(self, rho: Representation) -> None:
        super().__init__()
        self.register_buffer("basis", torch.as_tensor(invariants(rho)), persistent=False)
        self.coefficients = nn.Parameter(torch.zeros(len(self.basis)))

    def forward(self, v: Tensor) -> Tensor:
        """Add the bias."""
        return v + self.coefficients @ self.basis.to(self.coefficients.dtype)


class Activation(nn.Module):
    """What `EquivariantNetwork` puts between linear maps.

    It takes vectors of `rho_in` and gives vectors of `rho_out`.
    """

    rho_in: Representation
    rho_out: Representation


class PointwiseActivation(Activation):
    """s_b(v) = s(v + b), component by component, b invariant (Lim and Nelson, Definition 1).

    Raises UserError unless the group permutes the components; it may change their signs too where s
    is odd.
    """

    def __init__(self, rho: Representation, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        if not rho.is_permutation and not (rho.is_signed_permutation and _is_odd(function)):
            hint = (
                "signs need an odd function such as tanh"
                if rho.is_signed_permutation
                else "use GatedActivation, or NormActivation"
            )
            what = rho.name or "these vectors"
            raise UserError(
                f"a function of each component breaks {rho.group.name}, which does not permute the "
                f"components of {what}; {hint}"
            )
        self.rho_in = self.rho_out = rho
        self.function, self.bias = function, InvariantBias(rho)

    def forward(self, v: Tensor) -> Tensor:
        """Apply s(v + b)."""
        return self.function(self.bias(v))


class NormActivation(Activation):
    """v_k -> v_k s(|v_k| + b_k) for each summand k of an orthogonal representation.

    Raises UserError where the group changes lengths, as boosts and general linear maps do.
    """

    def __init__(
        self, rho: Representation, function: Callable[[Tensor], Tensor] = torch.sigmoid
    ) -> None:
        super().__init__()
        if not rho.is_orthogonal:
            raise UserError(
                f"{rho.group.name} changes lengths of {rho.name or 'these vectors'}, so norms "
                "break the symmetry; use GatedActivation"
            )
        self.rho_in = self.rho_out = rho
        self.function = function
        self.bias = nn.Parameter(torch.zeros(len(rho.blocks)))

    def forward(self, v: Tensor) -> Tensor:
        """Scale each summand."""
        parts = v.split([part.dim for part in self.rho_in.blocks], dim=-1)
        # The small number keeps the derivative of a length finite at zero.
        norms = torch.stack([(part.square().sum(dim=-1) + 1e-12).sqrt() for part in parts], dim=-1)
        return _scaled(parts, self.function(norms + self.bias))


class GatedActivation(Activation):
    """(z_1 ... z_n, v_1 ... v_n) -> v_k s(z_k + b_k) with an invariant z_k for each summand k.

    Right for every group and representation.
    """

    def __init__(
        self, rho: Representation, function: Callable[[Tensor], Tensor] = torch.sigmoid
    ) -> None:
        super().__init__()
        gates = trivial(rho.group, "gate")
        self.rho_in, self.rho_out = direct_sum(*[gates] * len(rho.blocks), rho), rho
        self.function = function
        self.bias = nn.Parameter(torch.zeros(len(rho.blocks)))

    def forward(self, v: Tensor) -> Tensor:
        """Scale each summand by its gate."""
        gates, rest = v.split([len(self.rho_out.blocks), self.rho_out.dim], dim=-1)
        return _scaled(
            rest.split([part.dim for part in self.rho_out.blocks], dim=-1),
            self.function(gates + self.bias),
        )


class EquivariantNetwork(nn.Module):
    """f(v) = A_k s_{b_{k-1}} A_{k-1} ... s_{b_1} A_1 v, A_i intertwiners.

    (..., n_in) -> (..., n_out).

    Definition 1 of L. H. Lim and B. J. Nelson, What is an equivariant neural network? (2022):
    biases stand inside the activations. The hidden representations are those of the activations.
    Raises UserError for representations of different groups.
    """

    def __init__(
        self, rho_in: Representation, activations: Sequence[Activation], rho_out: Representation
    ) -> None:
        super().__init__()
        same_group(rho_in, rho_out, *(activation.rho_in for activation in activations))
        before = [rho_in, *(activation.rho_out for activation in activations)]
        after = [*(activation.rho_in for activation in activations), rho_out]
        self.maps = nn.ModuleList(
            EquivariantLinear(start, end) for start, end in zip(before, after, strict=True)
        )
        self.activations = nn.ModuleList(activations)

    def forward(self, v: Tensor) -> Tensor:
        """Apply the network."""
        for linear, activation in zip(self.maps[:-1], self.activations, strict=True):
            v = activation(linear(v))
        return self.maps[-1](v)


def _scaled(parts: Sequence[Tensor], factors: Tensor) -> Tensor:
    return torch.cat(
        [part * factor for part, factor in zip(parts, factors.split(1, dim=-1), strict=True)],
        dim=-1,
    )


def _is_odd(function: Callable[[Tensor], Tensor]) -> bool:
    """Try a function on a grid of numbers that is no multiple of anything."""
    x = torch.linspace(0.0137, 4.71, 301, dtype=torch.float64)
    return bool(torch.allclose(function(-x), -function(x), rtol=0, atol=1e-12))
