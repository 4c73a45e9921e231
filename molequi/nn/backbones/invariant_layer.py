"""One layer of `nn.backbones.invariant`: sums over distances, angles and dihedrals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from molequi.nn.backbones.angles import Angles, Dihedrals
from molequi.nn.linear import Perceptron, gate

# Å: of the displacements that measure how steep messages are; and the length over which a message
# may change by its whole size, about what sums over distances have.
SHAKE, SMOOTH = 0.05, 0.4


class Geometry(NamedTuple):
    """The invariants of a graph in the model's dtype.

    `near` are the places of the edges shorter than the near cutoff.

    basis: radial functions (E, n_radial). envelope, near_envelope: (E, 1) and (near edges, 1),
    which carry all messages smoothly to zero at the cutoffs. dihedrals: proper, improper.
    """

    edge_index: Tensor
    basis: Tensor
    envelope: Tensor
    near: Tensor
    near_envelope: Tensor
    angles: Angles
    dihedrals: tuple[Dihedrals, Dihedrals]

    @property
    def tuples(self) -> tuple[Angles | Dihedrals, ...]:
        """Angles, proper and improper dihedrals: what has edges, a centre and cosines."""
        return self.angles, *self.dihedrals


class InvariantLayer(nn.Module):
    """One layer of `InvariantBackbone`: even features (N, C), and odd ones with signed dihedrals.

    Of the edges of a tuple, the first, the axis and the last are weighed each by a gate of its own,
    g(r_ij, h_j) u(r_ij). The gates lie between 0 and
    1: products of three factors that may be large would be dominated by a few tuples and as steep
    as these. And were the three gates one, signed improper dihedrals would nearly cancel, because
    the sine changes its sign when two edges change places.
    """

    size: Tensor
    odd_size: Tensor

    def __init__(self, n_channels: int, n_radial: int, n_hidden: int, *, is_signed: bool) -> None:
        super().__init__()
        self.n_channels, self.is_signed = n_channels, is_signed
        self.radial = Perceptron((n_radial, n_hidden, n_channels), last_bias=True)
        self.near_gate = Perceptron((n_radial, n_hidden, 3 * n_channels), last_bias=True)
        self.angular = nn.ModuleList(
            Perceptron((size, n_hidden, n_channels), last_bias=True) for size in (1, 3, 3)
        )
        self.mix = Perceptron((n_channels, 4 * n_channels))
        self.update = Perceptron(((6 if is_signed else 5) * n_channels, 2 * n_channels, n_channels))
        self.register_buffer("size", torch.ones(4, n_channels))
        self.register_buffer("odd_size", torch.ones(3 if is_signed else 0, n_channels))
        if is_signed:
            self.handed = nn.ModuleList(
                Perceptron((3, n_hidden, n_channels), last_bias=True) for _ in range(2)
            )
            self.odd_mix = Perceptron((n_channels, n_channels))
            self.odd_gate = Perceptron((n_channels, n_hidden, n_channels), last_bias=True)

    def forward(self, even: Tensor, odd: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
        """Return the new features; with unsigned dihedrals `odd` stays as it is."""
        even_messages, odd_messages = self.messages(even, odd, geometry)
        parts = [even, *(even_messages / self.size[:, None])]
        if self.is_signed:
            odd = (odd + (odd_messages / self.odd_size[:, None]).sum(dim=0)) * (
                0.5 * gate(self.odd_gate(even))
            )
            # Even in o, and no steeper than o itself where that is large.
            parts.append(odd * torch.tanh(odd))
        return (even + self.update(torch.cat(parts, dim=1))) * 0.5**0.5, odd

    def calibrate(self, messages: Sequence[Tensor], shaken: Sequence[Tensor]) -> None:
        """Set the sizes of the messages from those of some structures, also shaken by SHAKE."""
        for buffer, still, moved in zip((self.size, self.odd_size), messages, shaken, strict=True):
            buffer.copy_(_size(still, moved))

    def messages(self, even: Tensor, odd: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
        """Return the sums at each atom.

        Even: (4, N, C), over distances, angles, proper and improper dihedrals. Odd: (3, N, C), over
        neighbours, proper and improper signed dihedrals, which a mirror turns into their negatives;
        (0, N, C) with unsigned ones.
        """
        far, near = self.radial(geometry.basis) * geometry.envelope, self._near(even, geometry)
        products = [_product(near, item.edges) for item in geometry.tuples]
        sums = [_convolve(far, self.mix(even)[:, : self.n_channels], geometry)]
        for network, item, product in zip(self.angular, geometry.tuples, products, strict=True):
            sums.append(_gather(network(item.cosines) * product, item.centre, even))
        if not self.is_signed:
            return torch.stack(sums), even.new_empty(0, *even.shape)
        signed = [_convolve(far, self.odd_mix(odd), geometry)]
        for network, item, product in zip(
            self.handed, geometry.dihedrals, products[1:], strict=True
        ):
            signed.append(
                _gather(item.sine[:, None] * network(item.cosines) * product, item.centre, odd)
            )
        return torch.stack(sums), torch.stack(signed)

    def _near(self, even: Tensor, geometry: Geometry) -> tuple[Tensor, ...]:
        """What the near edges bring to angles and dihedrals as first edge, axis and last edge.

        Three (near edges, C).
        """
        senders = self.mix(even)[:, self.n_channels :].index_select(
            0, geometry.edge_index[0, geometry.near]
        )
        gates = gate(
            (self.near_gate(geometry.basis.index_select(0, geometry.near)) + senders) * 0.5**0.5
        )
        return (gates * geometry.near_envelope).chunk(3, dim=1)


def _convolve(radial: Tensor, values: Tensor, geometry: Geometry) -> Tensor:
    sender, receiver = geometry.edge_index
    return _gather(radial * values.index_select(0, sender), receiver, values)


def _gather(messages: Tensor, centre: Tensor, like: Tensor) -> Tensor:
    return torch.zeros_like(like).index_add(0, centre, messages)


def _product(near: tuple[Tensor, ...], edges: Tensor) -> Tensor:
    """Multiply what the edges of each tuple bring: (T, C)."""
    places = edges.unbind(dim=1)
    product = near[0].index_select(0, places[0])
    for role, place in zip(near[3 - len(places) + 1 :], places[1:], strict=True):
        product = product * role.index_select(0, place)
    return product


def _size(messages: Tensor, shaken: Tensor) -> Tensor:
    """Return what to divide messages (K, N, C) by.

    (K, C), per channel their root mean square, or SMOOTH times their slope if that is more.

    Their slope: by how much they change, root mean square, when every coordinate moves by SHAKE
    times a unit normal, per SHAKE. Products of edges and odd messages, which nearly cancel in most
    molecules, are small and steep: at unit size they would start with forces far too large. 1 where
    there are no messages.
    """
    size = torch.maximum(_rms(messages), (SMOOTH / SHAKE) * _rms(shaken - messages))
    return torch.where(size > 0, size, torch.ones_like(size))


def _rms(values: Tensor) -> Tensor:
    return values.square().mean(dim=1).sqrt()
