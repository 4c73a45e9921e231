"""Equivarification: any network, made exactly equivariant under a finite group.

It is lifted in its output space: (F^(x))(g) = F(g^-1 x) takes X to Z^G, on which (g s)(g') = s(g^-1
g'); then F^(g x) = g F^(x), and the projection p(s) = s(e) gives F back (E. Bao and L. Song,
Equivariant neural networks and equivarification, 2019). The copies s(g) are the first axis of every
tensor here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from molequi.errors import UserError
from molequi.groups.finite import FiniteGroup, grid_sources, subgroup_of
from molequi.groups.modes import modes_kept

# How a matrix of the group acts on an input: act(matrix, x) = g x.
Action = Callable[[np.ndarray, Tensor], Tensor]


def turn_images(matrix: np.ndarray, images: Tensor) -> Tensor:
    """Let a turn or mirror act on images (..., n, n) about their centre: (g f)(x) = f(g^-1 x).

    Raises UserError for images that are not square.
    """
    if images.dim() < 2 or images.shape[-2] != images.shape[-1]:
        raise UserError(f"images are (..., n, n), square, to be turned; got {tuple(images.shape)}")
    sources = torch.as_tensor(grid_sources(matrix, images.shape[-1]), device=images.device)
    return images.flatten(-2)[..., sources].unflatten(-1, images.shape[-2:])


def turn_positions(matrix: np.ndarray, positions: Tensor) -> Tensor:
    """Let a matrix act on positions (..., d): x -> g x.

    Raises UserError for a group of another dimension.
    """
    if len(matrix) != positions.shape[-1]:
        raise UserError(
            f"a {len(matrix)} x {len(matrix)} matrix cannot turn {positions.shape[-1]} "
            "coordinates; use point_group in space"
        )
    return positions @ torch.as_tensor(matrix, dtype=positions.dtype, device=positions.device).T


class Lift(nn.Module):
    """F^: x -> (F(g^-1 x))_g, one copy for each element of the group: (|G|, *z).

    Or one for each coset g H of a subgroup H that F does not notice: (|G / H|, *z).
    network: F. act: how the group moves inputs. invariant_under: elements of H = {h: F(h x) =
    F(x)}; copies of the same coset are equal, so the minimal lift keeps one of each. at_once: F
    takes inputs with one more axis in front, so all copies are one call. It has the weights of F,
    no more.

    Raises UserError where the elements are no subgroup, and on its first input where F does notice
    one of them: a lift over its cosets would not be equivariant.
    """

    def __init__(
        self,
        network: nn.Module,
        group: FiniteGroup,
        act: Action,
        *,
        invariant_under: Sequence[int] = (0,),
        at_once: bool = False,
    ) -> None:
        super().__init__()
        self.network, self.group, self.act, self.at_once = network, group, act, at_once
        self.cosets = subgroup_of(group, invariant_under)
        self._unchecked = [element for element in self.cosets[0].tolist() if element != 0]

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        """Return the copies of the output.

        The group leaves the `context`, further arguments of F, alone.
        """
        if self._unchecked:
            self._refuse_noticed(x, context)
        turned = [
            self.act(self.group.matrices[self.group.inverse[g]], x) for g in self.cosets[:, 0]
        ]
        if self.at_once:
            return self.network(torch.stack(turned), *context)
        return torch.stack([self.network(one, *context) for one in turned])

    def _refuse_noticed(self, x: Tensor, context: tuple[Tensor, ...]) -> None:
        """Compare F(h x) with F(x) for the elements h of H, as F is in evaluation."""
        one = x[None] if self.at_once else x

        def network(moved: Tensor) -> Tensor:
            return self.network(moved, *context)

        # Half of all digits: moved inputs are summed in another order, and a network that notices
        # a motion differs by far more.
        tolerance = float(torch.finfo(one.dtype).eps ** 0.5)
        with modes_kept(self.network):
            self.network.eval()
            kept = unnoticed(
                network, self.group, self.act, one, elements=self._unchecked, tolerance=tolerance
            )
        noticed = sorted(set(self._unchecked) - set(kept))
        if noticed:
            raise UserError(
                f"the network notices elements {noticed} of {self.group.name}, so that "
                f"invariant_under={[0, *self._unchecked]} is wrong; take those of `unnoticed`"
            )
        self._unchecked = []

    def move(self, element: int, copies: Tensor) -> Tensor:
        """Return g s, (g s)(g'H) = s(g^-1 g'H)."""
        return copies[self.sources(element)]

    def sources(self, element: int) -> Tensor:
        """Return, for each copy, the number of the one that g brings there: (|G / H|,)."""
        coset_of = np.empty(self.group.order, dtype=np.int64)
        coset_of[self.cosets] = np.arange(len(self.cosets))[:, None]
        return torch.as_tensor(
            coset_of[self.group.table[self.group.inverse[element], self.cosets[:, 0]]]
        )


class LayerwiseLift(nn.Module):
    """The layer-by-layer form: a lift, then layers between Z_1^G, Z_2^G, ...

    first: the first layer, lifted. later: `EachCopy` or `StackedCopies`.
    """

    def __init__(self, first: Lift, later: Sequence[nn.Module]) -> None:
        super().__init__()
        self.first, self.later = first, nn.Sequential(*later)

    def forward(self, x: Tensor) -> Tensor:
        """Return the copies of the output: (|G|, *z)."""
        return self.later(self.first(x))


class EachCopy(nn.Module):
    """The pure lift of a layer F, s -> (F(s(g)))_g.

    The same layer for every copy, with the weights of F.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, copies: Tensor) -> Tensor:
        """Apply the layer to all copies in one call."""
        return self.layer(copies.flatten(0, 1)).unflatten(0, copies.shape[:2])


class StackedCopies(nn.Module):
    """The lift of an ordinary layer F that sees all copies.

    s -> (F(g^-1 s))_g, (g^-1 s)(g') = s(g g').

    layer: takes (B, |G| * C, ...), copies after one another in the order of the group: its input,
    and its weights, are |G| times as large.
    """

    def __init__(self, layer: nn.Module, group: FiniteGroup) -> None:
        super().__init__()
        self.layer = layer
        self.orders: Tensor
        self.register_buffer("orders", torch.as_tensor(group.table), persistent=False)

    def forward(self, copies: Tensor) -> Tensor:
        """Apply the layer to the copies as each element sees them; copies (|G|, B, C, ...)."""
        seen = copies[self.orders].transpose(1, 2)  # (|G|, B, |G|, C, ...)
        return self.layer(seen.flatten(2, 3).flatten(0, 1)).unflatten(0, copies.shape[:2])


def project(copies: Tensor) -> Tensor:
    """p(s) = s(e): the output of the network that was lifted."""
    return copies[0]


def joint_classes(copies: Tensor, group: FiniteGroup) -> Tensor:
    """Give a lifted classifier one vector of logits for class and motion together.

    (|G|, B, K) -> (B, |G| K).

    Block g holds F(g^-1 x), so that an upright input moved by g has its class in block g; moving
    the input permutes the blocks.
    Raises UserError for a lift that is not over the whole group.
    """
    if len(copies) != group.order:
        raise UserError(
            f"there are {len(copies)} copies and {group.order} motions in {group.name}; label "
            "motions with a lift over the whole group"
        )
    return copies.transpose(0, 1).flatten(1)


def unnoticed(
    network: Callable[[Tensor], Tensor],
    group: FiniteGroup,
    act: Action,
    x: Tensor,
    *,
    elements: Sequence[int] | None = None,
    tolerance: float = 1e-9,
) -> list[int]:
    """Return the elements with F(g x) = F(x) on generic inputs x: the H of a minimal lift.

    elements: those that are tried, all by default. To `tolerance` of the largest output.
    """
    tried = range(group.order) if elements is None else elements
    with torch.no_grad():
        still = network(x)
        limit = tolerance * still.abs().max()
        moved = {g: network(act(group.matrices[g], x)) for g in tried}
        return [g for g, output in moved.items() if (output - still).abs().max() <= limit]
