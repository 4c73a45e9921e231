"""One property: its symmetry and unit, and all that code needs to know about it.

Values are Cartesian wherever chemists write them so: a scalar has shape (), `1o` and `1e` have
(3,), the pairs `0e+2e` (symmetric) and `0o+1o+2o` or `0e+1e+2e` (general) have (3, 3). Other irreps
keep their components, (dim,). Per-molecule values stack to (B, *shape), per-atom values to (N,
*shape).
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Any, Protocol

from molequi.errors import UserError
from molequi.o3.irreps import Irreps


class PropertyError(UserError):
    """A property is unknown or its declaration is wrong."""


class Periodicity(str, enum.Enum):
    """Which structures have a property.

    any: all of them. open: those without a periodic direction, for the value depends on where a
    periodic structure is cut. full: those that are periodic in all three directions.
    """

    ANY = "any"
    OPEN = "open"
    FULL = "full"


class Flags(Protocol):
    """Booleans of NumPy or torch, which this file does not import: label workers do without."""

    def all(self, axis: int, /) -> Any:
        """Reduce one axis."""

    def any(self, axis: int, /) -> Any:
        """Reduce one axis."""


@dataclasses.dataclass(frozen=True)
class Property:
    """One row of the table.

    irreps: e3nn notation without multiplicities, such as `0e`, `1o`, `0e+2e`.
    per_atom: one value per atom instead of one per molecule.
    extensive: the molecular value is a sum over atoms; otherwise a mean-like readout.
    unit: of the value everywhere outside files: in tensors, tables, JSON and checkpoints.
    has_reference: per-element reference values are subtracted before learning (total energies).
    binary: a yes/no label, 0 or 1; the model gives its logit.
    aliases: lower-case names under which files carry it.
    head: its key in `nn.heads.registry.HEADS`; empty for a sum over atoms of an extensive or
    per-atom property, a mean over atoms of any other.
    reads: irreps that its head reads from the features, where they are more than `irreps`.
    gives: properties that its head computes too, and that a model shows unasked.
    serves: properties that its head computes too, and that a model shows where they are asked for.
    derived_from: the property whose derivative this is, so that it has no head.
    depends_on_origin: refers to the centre of mass even in a neutral molecule, so that it is no sum
    over fragments.
    periodicity: which structures have it.
    free_constants: labels are defined up to a constant of each element, which training finds.
    spread_of: the property whose error this is an estimate of. Its labels, the spread of the other
    property's labels, may be missing altogether.
    members: heads that give it, whose mean it is; their spread says how far it may be off.
    along: the property that tells of which structures its labels are made, such as displacements
    or pieces, so that a model gives it only together with these.
    """

    name: str
    irreps: str
    unit: str
    description: str = ""
    per_atom: bool = False
    extensive: bool = False
    has_reference: bool = False
    binary: bool = False
    aliases: tuple[str, ...] = ()
    head: str = ""
    reads: str = ""
    gives: tuple[str, ...] = ()
    serves: tuple[str, ...] = ()
    derived_from: str = ""
    depends_on_origin: bool = False
    periodicity: Periodicity = Periodicity.ANY
    free_constants: bool = False
    spread_of: str = ""
    along: str = ""
    members: int = 1

    def __post_init__(self) -> None:
        if self.spread_of and not self.is_invariant:
            raise PropertyError(f"property {self.name!r} is a size: its irreps must be 0e")
        try:
            Irreps(self.irreps)
            Irreps(self.reads or self.irreps)
        except UserError as error:
            raise PropertyError(f"property {self.name!r}: {error}") from None
        if self.binary and self.irreps not in {"0e", "0o"}:
            raise PropertyError(
                f"property {self.name!r} is yes/no but has irreps {self.irreps}; a yes/no label is "
                "0e or 0o"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one value."""
        irreps = Irreps(self.irreps)
        known: dict[tuple[int, ...], tuple[int, ...]] = {
            (0,): (),
            (1,): (3,),
            (0, 2): (3, 3),
            (0, 1, 2): (3, 3),
        }
        return known.get(irreps.degrees, (irreps.dim,))

    @property
    def is_invariant(self) -> bool:
        """Whether the value is a true scalar (0e)."""
        return self.irreps == "0e"

    @property
    def scalar_component(self) -> int | None:
        """The component of its only 0e part, the one that a shift leaves equivariant, or None."""
        irreps = Irreps(self.irreps)
        scalars = [
            part.start
            for irrep, part in zip(irreps, irreps.slices(), strict=True)
            if irrep.is_scalar
        ]
        return scalars[0] if len(scalars) == 1 else None

    def is_defined(self, pbc: Flags) -> Any:
        """Whether structures have this property; pbc: (..., 3) booleans, the result (...)."""
        if self.periodicity is Periodicity.FULL:
            return pbc.all(-1)
        if self.periodicity is Periodicity.OPEN:
            return ~pbc.any(-1)
        return pbc.any(-1) | True

    @property
    def condition(self) -> str:
        """What a structure must be to have this property, in words; empty where all have it."""
        return {
            Periodicity.ANY: "",
            Periodicity.OPEN: f"a periodic structure has no {self.name}: it depends on the cut",
            Periodicity.FULL: f"{self.name} needs a fully periodic cell",
        }[self.periodicity]


def part_names(target: Property) -> tuple[str, ...]:
    """Name the irrep parts of a property: `rosenfeld[0o]`, ...; one irrep is its own only part.

    Repeated irreps are numbered, `pair[0e.2]`.
    """
    words = list(map(str, Irreps(target.irreps)))
    if len(words) == 1:
        return (target.name,)
    numbers = [
        f".{words[: k + 1].count(word)}" if words.count(word) > 1 else ""
        for k, word in enumerate(words)
    ]
    return tuple(
        f"{target.name}[{word}{number}]" for word, number in zip(words, numbers, strict=True)
    )
