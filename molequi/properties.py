"""The table of properties: what a model can predict, and all that code needs to know about it.

A new target is a new row here, or a row declared in a config (`declare`); it is never a new model
class. No code asks for a property by its name where a row can say it.

Values are Cartesian wherever chemists write them so: a scalar has shape (), `1o` and `1e` have
(3,), the pairs `0e+2e` (symmetric) and `0o+1o+2o` or `0e+1e+2e` (general) have (3, 3). Other irreps
keep their components, (dim,). Per-molecule values stack to (B, *shape), per-atom values to (N,
*shape).
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from ase import units

from molequi.errors import UserError
from molequi.o3.irreps import Irreps

DEBYE = units.Debye  # e·Å in one debye


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

    def __post_init__(self) -> None:
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


_OPEN, _FULL = Periodicity.OPEN, Periodicity.FULL

# fmt: off
_ROWS = (
    Property("energy", "0e", "eV", "total energy at the model's level of theory", head="energy",
             extensive=True, has_reference=True,
             aliases=("energy", "ref_energy", "total_energy", "dft_energy", "potential_energy",
                      "u0")),
    Property("forces", "1o", "eV/Å", "minus the gradient of the energy", per_atom=True,
             derived_from="energy", aliases=("forces", "ref_forces", "force", "dft_forces")),
    Property("stress", "0e+2e", "eV/Å³",
             "strain derivative of the energy per volume, tension positive",
             derived_from="energy", periodicity=_FULL,
             aliases=("stress", "ref_stress", "dft_stress")),
    Property("charges", "0e", "e", "partial charges", per_atom=True, head="charges",
             aliases=("charges", "ref_charges", "initial_charges", "partial_charges")),
    Property("dipole", "1o", "e·Å", "electric dipole moment, from - to +", extensive=True,
             head="dipole", reads="0e+1o", gives=("dipole_magnitude", "charges"),
             periodicity=_OPEN,
             aliases=("dipole", "ref_dipole", "mu", "dipole_moment", "dft_dipole")),
    Property("dipole_magnitude", "0e", "D", "length of the dipole moment", head="dipole_magnitude",
             reads="0e+1o", serves=("charges",), periodicity=_OPEN,
             aliases=("dipole_magnitude", "mu_norm")),
    Property("polarizability", "0e+2e", "Å³", "static dipole polarizability", extensive=True,
             aliases=("polarizability", "ref_polarizability", "alpha_tensor")),
    Property("isotropic_polarizability", "0e", "Å³", "a third of the trace of the polarizability",
             extensive=True, aliases=("isotropic_polarizability", "alpha")),
    Property("homo", "0e", "eV", "energy of the highest occupied orbital", aliases=("homo",)),
    Property("lumo", "0e", "eV", "energy of the lowest empty orbital", aliases=("lumo",)),
    Property("gap", "0e", "eV", "lumo - homo", aliases=("gap",)),
    Property("r2", "0e", "Å²", "electronic spatial extent", extensive=True, head="spatial_extent",
             depends_on_origin=True, periodicity=_OPEN, aliases=("r2",)),
    Property("zpve", "0e", "eV", "zero-point vibrational energy", extensive=True,
             aliases=("zpve",)),
    Property("cv", "0e", "cal/(mol K)", "heat capacity at 298.15 K", extensive=True,
             aliases=("cv",)),
    Property("u0", "0e", "eV", "internal energy at 0 K", extensive=True, has_reference=True),
    Property("u298", "0e", "eV", "internal energy at 298.15 K", extensive=True, has_reference=True,
             aliases=("u298",)),
    Property("h298", "0e", "eV", "enthalpy at 298.15 K", extensive=True, has_reference=True,
             aliases=("h298",)),
    Property("g298", "0e", "eV", "free energy at 298.15 K", extensive=True, has_reference=True,
             aliases=("g298",)),
    Property("rosenfeld", "0o+1o+2o", "bohr⁴",
             "static Rosenfeld tensor, origin at the centre of mass", extensive=True,
             head="rosenfeld", reads="0e+0o+1o+1e+2e+2o",
             gives=("rosenfeld_isotropic", "specific_rotation"),
             depends_on_origin=True, periodicity=_OPEN, aliases=("rosenfeld", "beta")),
    Property("rosenfeld_isotropic", "0o", "bohr⁴", "a third of the trace of the Rosenfeld tensor",
             extensive=True, head="optical_rotation", gives=("specific_rotation",),
             periodicity=_OPEN, aliases=("rosenfeld_isotropic",)),
    Property("specific_rotation", "0o", "deg/[dm (g/cm³)]",
             "specific rotation at 589.3 nm from the static rosenfeld_isotropic and the molar mass",
             periodicity=_OPEN, aliases=("specific_rotation",)),
    Property("rotatory_strength", "0o", "1e-40 erg·esu·cm/G",
             "rotatory strength of an electronic transition, in cgs units",
             aliases=("rotatory_strength",)),
    Property("handedness", "0o", "1", "label of a stereocentre: R 1, S 0", per_atom=True,
             binary=True, aliases=("handedness",)),
    Property("axial_handedness", "0o", "1", "label of both ends of a chiral axis: P 1, M 0",
             per_atom=True, binary=True, aliases=("axial_handedness",)),
    Property("angular_momentum", "1e", "amu·Å²/fs", "sum of r x p about the centre of mass",
             extensive=True, depends_on_origin=True, periodicity=_OPEN,
             aliases=("angular_momentum",)),
)
# fmt: on

PROPERTIES: Mapping[str, Property] = MappingProxyType({row.name: row for row in _ROWS})


def get_property(name: str, declared: Mapping[str, Property] | None = None) -> Property:
    """Look a row up by name, in `declared` first.

    Raises PropertyError that names the nearest known property.
    """
    table = {**PROPERTIES, **(declared or {})}
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(table))};"
    raise PropertyError(
        f"unknown property {name!r}; {hint} a new one is declared in the config under `properties`"
    )


def with_company(targets: Iterable[Property]) -> dict[str, Property]:
    """Return targets by name, and behind them what a model that learns them gives unasked."""
    shown = {target.name: target for target in targets}
    asked = frozenset(shown)
    known = {**PROPERTIES, **shown}
    derived = [row for row in known.values() if row.derived_from in asked]
    given = [
        get_property(name, known)
        for row in known.values()
        if row.name in asked
        for name in row.gives
    ]
    for row in (*derived, *given):
        shown.setdefault(row.name, row)
    return shown


def declare(name: str, **fields: Any) -> Property:
    """Make a row from a config's declaration; `fields` are those of `Property` except the name.

    Raises PropertyError for an unknown field, a missing unit or irreps, or a name that the table
    already gives another meaning.
    """
    known = {field.name for field in dataclasses.fields(Property)} - {"name", "derived_from"}
    for key in fields:
        if key not in known:
            raise PropertyError(
                f"property {name!r}: unknown field {key!r}; the fields are "
                f"{', '.join(sorted(known))}"
            )
    fields.setdefault("irreps", "0e")
    if "unit" not in fields:
        raise PropertyError(
            f"property {name!r} has no unit; add for example `unit: eV` (or `unit: '1'` for a pure "
            "number)"
        )
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise PropertyError(
            f"property name {name!r} is not an identifier; use letters, digits and _"
        )
    if name in PROPERTIES:
        raise PropertyError(
            f"property {name!r} is in the table already; declare yours under another name"
        )
    fields["aliases"] = tuple(str(alias).lower() for alias in fields.get("aliases", ()))
    return _from_plain({"name": name, **fields})


def to_dict(target: Property) -> dict[str, Any]:
    """Return a row as plain data for a checkpoint."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in {
            **dataclasses.asdict(target),
            "periodicity": target.periodicity.value,
        }.items()
    }


def from_dict(data: Mapping[str, Any]) -> Property:
    """Read what `to_dict` wrote, now or in an older version.

    Rows that were written before rows named their heads take all that they lack from the table.
    """
    fields = {name: value for name, value in data.items() if name != "qm9"}
    row = PROPERTIES.get(fields["name"])
    return _from_plain(fields if row is None else {**to_dict(row), **fields})


def _from_plain(fields: Mapping[str, Any]) -> Property:
    """Make a row of plain data: lists become tuples, a word the periodicity."""
    tuples = {
        name: tuple(fields[name]) for name in ("aliases", "gives", "serves") if name in fields
    }
    word = fields.get("periodicity", Periodicity.ANY)
    try:
        periodicity = Periodicity(word)
    except ValueError:
        words = ", ".join(choice.value for choice in Periodicity)
        raise PropertyError(
            f"property {fields['name']!r}: periodicity is {word!r}; choose {words}"
        ) from None
    return Property(**{**fields, **tuples, "periodicity": periodicity})
