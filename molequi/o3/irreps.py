"""Irreps of O(3): what the components of a feature tensor are.

A feature tensor is (N, M, C): M components, 2l + 1 for each irrep in the order of its `Irreps`, and
the same C channels for each component. The basis is that of e3nn: l = 1 components are (x, y, z).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable
from typing import NamedTuple, SupportsIndex, overload

from molequi.errors import UserError

_PARITIES = {"e": 1, "o": -1}


class Irrep(NamedTuple):
    """One irrep: degree l and parity p = ±1, even or odd under inversion; `1o` is (1, -1)."""

    l: int
    p: int

    @classmethod
    def parse(cls, text: str) -> Irrep:
        """Read `1o`; raise UserError for anything else."""
        match = re.fullmatch(r"\s*(?:(\d+)x)?(\d+)([eo])\s*", text)
        if match is None:
            raise UserError(f"{text.strip()!r} is not an irrep; write for example 0e, 1o or 0e+2e")
        multiplicity, degree, parity = match.groups()
        if multiplicity not in {None, "1"}:
            raise UserError(
                f"{text.strip()!r} has a multiplicity: every irrep has all channels here, so write "
                f"{degree}{parity} and give the number of channels apart from the irreps"
            )
        return cls(int(degree), _PARITIES[parity])

    @property
    def dim(self) -> int:
        """Number of components, 2l + 1."""
        return 2 * self.l + 1

    @property
    def is_scalar(self) -> bool:
        """Whether it is 0e: unchanged by rotations and by inversion."""
        return self == (0, 1)

    def __mul__(self, other: tuple[int, int]) -> Irreps:  # type: ignore[override]  # no repetition
        """Return the irreps that a coupling can give: |l1 - l2| <= l <= l1 + l2, p = p1 p2."""
        l, p = other
        return Irreps((k, self.p * p) for k in range(abs(self.l - l), self.l + l + 1))

    def __str__(self) -> str:
        return f"{self.l}{'e' if self.p == 1 else 'o'}"


class Irreps(tuple[Irrep, ...]):
    """Irreps in the order of the components: `Irreps("0e+1o+2e")`, immutable.

    Channels are dense, (N, M, C), so there are no multiplicities: 0e+1o of 16 channels is what e3nn
    writes as 16x0e+16x1o. An irrep may stand more than once, `0e+0e`. Equal to, and hashed like,
    the tuple of its pairs (l, p).
    irreps: text, or pairs of l and p. Raises UserError for what is neither.
    """

    __slots__ = ()

    def __new__(cls, irreps: str | Iterable[tuple[int, int]] = ()) -> Irreps:
        """Read text or pairs; `Irreps` are returned as they are."""
        if isinstance(irreps, Irreps):
            return irreps
        if not isinstance(irreps, str):
            return super().__new__(cls, map(_checked, irreps))
        try:
            return super().__new__(cls, map(Irrep.parse, irreps.split("+")))
        except UserError as error:
            raise UserError(f"irreps {irreps!r}: {error}") from None

    @classmethod
    def natural(cls, l_max: int) -> Irreps:
        """Return 0e, 1o, 2e, ... up to l_max: the parities that products of positions have."""
        return cls((l, (-1) ** l) for l in range(l_max + 1))

    @classmethod
    def full(cls, l_max: int) -> Irreps:
        """Return both parities of every l up to l_max, natural ones first for each l."""
        return cls((l, sign * (-1) ** l) for l in range(l_max + 1) for sign in (1, -1))

    @classmethod
    def from_e3nn(cls, irreps: object) -> Irreps:
        """Read `e3nn.o3.Irreps`, or its text, without its channels.

        Raises UserError where not all irreps have the same number of channels.
        """
        words = [word.strip() for word in str(irreps).split("+")]
        channels = {word.rpartition("x")[0] or "1" for word in words}
        if len(channels) > 1:
            raise UserError(
                f"irreps {str(irreps)!r}: every irrep must have the same number of channels, as in "
                "8x0e+8x1o"
            )
        return cls("+".join(word.rpartition("x")[2] for word in words))

    def to_e3nn(self, n_channels: int = 1) -> str:
        """Write what `e3nn.o3.Irreps` reads: `8x0e+8x1o`."""
        return "+".join(f"{n_channels}x{irrep}" for irrep in self)

    @property
    def dim(self) -> int:
        """Number of components M."""
        return sum(irrep.dim for irrep in self)

    @property
    def degrees(self) -> tuple[int, ...]:
        """The l of each irrep."""
        return tuple(irrep.l for irrep in self)

    def slices(self) -> tuple[slice, ...]:
        """Return the components of each irrep."""
        slices, start = [], 0
        for irrep in self:
            slices.append(slice(start, start + irrep.dim))
            start += irrep.dim
        return tuple(slices)

    def slice_of(self, irrep: str | tuple[int, int]) -> slice:
        """Return the components of the first `irrep`. Raises ValueError where there is none."""
        return self.slices()[
            self.index(Irrep.parse(irrep) if isinstance(irrep, str) else Irrep(*irrep))
        ]

    def of_components(self) -> tuple[int, ...]:
        """Return, for each of the M components, the position of its irrep in the list."""
        return tuple(k for k, irrep in enumerate(self) for _ in range(irrep.dim))

    @overload
    def __getitem__(self, index: SupportsIndex) -> Irrep: ...
    @overload
    def __getitem__(self, index: slice) -> Irreps: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Irrep | Irreps:
        found = super().__getitem__(index)
        return found if isinstance(found, Irrep) else Irreps(found)

    def __add__(self, other: Iterable[tuple[int, int]]) -> Irreps:  # type: ignore[override]
        return Irreps((*self, *other))

    def __contains__(self, irrep: object) -> bool:
        return super().__contains__(Irrep.parse(irrep) if isinstance(irrep, str) else irrep)

    def __str__(self) -> str:
        return "+".join(map(str, self))

    def __repr__(self) -> str:
        return f"Irreps({str(self)!r})"


def _checked(pair: tuple[int, int]) -> Irrep:
    try:
        l, p = map(operator.index, pair)
    except (TypeError, ValueError):
        l = p = 0
    if l < 0 or p not in {1, -1}:
        raise UserError(f"{pair} is not an irrep: the degree l is 0 or more, the parity 1 or -1")
    return Irrep(l, p)
