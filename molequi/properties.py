"""The table of properties: what a model can predict, of which symmetry, in which unit, and under which names files carry it.

A new target is a new row here, or a row declared in a config (`declare`); it is never a new model
class.

Values are Cartesian wherever chemists write them so: a scalar has shape (), `1o` and `1e` have
(3,), the pairs `0e+2e` (symmetric) and `0o+1o+2o` or `0e+1e+2e` (general) have (3, 3). Other irreps
keep their components, (dim,). Per-molecule values stack to (B, *shape), per-atom values to (N,
*shape).
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping
from types import MappingProxyType

from ase import units

from molequi.errors import UserError

DEBYE = units.Debye  # e·Å in one debye
_CAL_PER_MOL_K = "cal/(mol K)"


class PropertyError(UserError):
    """A property is unknown or its declaration is wrong."""


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
    qm9: QM9's column and the factor that converts it to `unit`.
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
    qm9: tuple[str, float] | None = None

    def __post_init__(self) -> None:
        parse_irreps(self.irreps)
        if self.binary and self.irreps not in {"0e", "0o"}:
            raise PropertyError(
                f"property {self.name!r} is yes/no but has irreps {self.irreps}; a yes/no label is "
                "0e or 0o"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one value."""
        parts = tuple(l for l, _ in parse_irreps(self.irreps))
        known = {(0,): (), (1,): (3,), (0, 2): (3, 3), (0, 1, 2): (3, 3)}
        return known.get(parts, (sum(2 * l + 1 for l in parts),))

    @property
    def is_invariant(self) -> bool:
        """Whether the value is a true scalar (0e)."""
        return self.irreps == "0e"


def parse_irreps(text: str) -> tuple[tuple[int, int], ...]:
    """Read `0e+2e` as ((0, 1), (2, 1)): pairs of l and parity ±1, ascending.

    Raises PropertyError for anything else.
    """
    parts = []
    for word in text.replace(" ", "").split("+"):
        match = re.fullmatch(r"(?:1x)?(\d+)([eo])", word)
        if match is None:
            raise PropertyError(
                f"irreps {text!r}: {word!r} is not an irrep; write for example 0e, 1o or 0e+2e"
            )
        parts.append((int(match.group(1)), 1 if match.group(2) == "e" else -1))
    return tuple(parts)


def part_names(row: Property) -> tuple[str, ...]:
    """Name the irrep parts of a row: `rosenfeld[0o]`, ...; a row of one irrep is its own only part.

    Repeated irreps are numbered, `pair[0e.2]`.
    """
    words = row.irreps.replace(" ", "").replace("1x", "").split("+")
    if len(words) == 1:
        return (row.name,)
    numbers = [
        f".{words[: k + 1].count(word)}" if words.count(word) > 1 else ""
        for k, word in enumerate(words)
    ]
    return tuple(f"{row.name}[{word}{number}]" for word, number in zip(words, numbers, strict=True))


_HARTREE = units.Hartree
_BOHR = units.Bohr

# fmt: off
_ROWS = (
    Property("energy", "0e", "eV", "total energy at the model's level of theory", extensive=True, has_reference=True,
             aliases=("energy", "ref_energy", "total_energy", "dft_energy", "potential_energy", "u0")),
    Property("forces", "1o", "eV/Å", "minus the gradient of the energy", per_atom=True,
             aliases=("forces", "ref_forces", "force", "dft_forces")),
    Property("stress", "0e+2e", "eV/Å³", "strain derivative of the energy per volume, tension positive",
             aliases=("stress", "ref_stress", "dft_stress")),
    Property("charges", "0e", "e", "partial charges", per_atom=True, aliases=("charges", "ref_charges", "initial_charges", "partial_charges")),
    Property("dipole", "1o", "e·Å", "electric dipole moment, from - to +", extensive=True,
             aliases=("dipole", "ref_dipole", "mu", "dipole_moment", "dft_dipole")),
    Property("dipole_magnitude", "0e", "D", "length of the dipole moment", aliases=("dipole_magnitude", "mu_norm"), qm9=("mu", 1.0)),
    Property("polarizability", "0e+2e", "Å³", "static dipole polarizability", extensive=True,
             aliases=("polarizability", "ref_polarizability", "alpha_tensor")),
    Property("isotropic_polarizability", "0e", "Å³", "a third of the trace of the polarizability", extensive=True,
             aliases=("isotropic_polarizability", "alpha"), qm9=("alpha", _BOHR**3)),
    Property("homo", "0e", "eV", "energy of the highest occupied orbital", aliases=("homo",), qm9=("homo", _HARTREE)),
    Property("lumo", "0e", "eV", "energy of the lowest empty orbital", aliases=("lumo",), qm9=("lumo", _HARTREE)),
    Property("gap", "0e", "eV", "lumo - homo", aliases=("gap",), qm9=("gap", _HARTREE)),
    Property("r2", "0e", "Å²", "electronic spatial extent", extensive=True, aliases=("r2",), qm9=("r2", _BOHR**2)),
    Property("zpve", "0e", "eV", "zero-point vibrational energy", extensive=True, aliases=("zpve",), qm9=("zpve", _HARTREE)),
    Property("cv", "0e", _CAL_PER_MOL_K, "heat capacity at 298.15 K", extensive=True, aliases=("cv",), qm9=("cv", 1.0)),
    Property("u0", "0e", "eV", "internal energy at 0 K", extensive=True, has_reference=True, qm9=("u0", _HARTREE)),
    Property("u298", "0e", "eV", "internal energy at 298.15 K", extensive=True, has_reference=True, aliases=("u298",), qm9=("u298", _HARTREE)),
    Property("h298", "0e", "eV", "enthalpy at 298.15 K", extensive=True, has_reference=True, aliases=("h298",), qm9=("h298", _HARTREE)),
    Property("g298", "0e", "eV", "free energy at 298.15 K", extensive=True, has_reference=True, aliases=("g298",), qm9=("g298", _HARTREE)),
    Property("rosenfeld", "0o+1o+2o", "bohr⁴", "static Rosenfeld tensor, origin at the centre of mass", extensive=True,
             aliases=("rosenfeld", "beta")),
    Property("rosenfeld_isotropic", "0o", "bohr⁴", "a third of the trace of the Rosenfeld tensor", extensive=True, aliases=("rosenfeld_isotropic",)),
    Property("specific_rotation", "0o", "deg/[dm (g/cm³)]", "specific rotation at 589.3 nm from the static rosenfeld_isotropic and the molar mass",
             aliases=("specific_rotation",)),
    Property("rotatory_strength", "0o", "1e-40 erg·esu·cm/G", "rotatory strength of an electronic transition, in cgs units",
             aliases=("rotatory_strength",)),
    Property("handedness", "0o", "1", "label of a stereocentre: R 1, S 0", per_atom=True, binary=True, aliases=("handedness",)),
    Property("axial_handedness", "0o", "1", "label of both ends of a chiral axis: P 1, M 0", per_atom=True, binary=True,
             aliases=("axial_handedness",)),
    Property("angular_momentum", "1e", "amu·Å²/fs", "sum of r x p about the centre of mass", extensive=True, aliases=("angular_momentum",)),
)

# fmt: on

PROPERTIES: Mapping[str, Property] = MappingProxyType({row.name: row for row in _ROWS})

# What depends on where a periodic structure is cut, because positions enter as they are: undefined
# as soon as one direction is periodic.
OPEN_ONLY = frozenset(
    {
        "dipole",
        "dipole_magnitude",
        "r2",
        "rosenfeld",
        "rosenfeld_isotropic",
        "specific_rotation",
        "angular_momentum",
    }
)


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


def declare(name: str, **fields: object) -> Property:
    """Make a row from a config's declaration; `fields` are those of `Property` except the name.

    Raises PropertyError for an unknown field, a missing unit or irreps, or a name that the table
    already gives another meaning.
    """
    known = {field.name for field in dataclasses.fields(Property)} - {"name", "qm9"}
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
    if "aliases" in fields:
        fields["aliases"] = tuple(str(alias).lower() for alias in fields["aliases"])  # type: ignore[attr-defined]
    if name in PROPERTIES:
        raise PropertyError(
            f"property {name!r} is in the table already; declare yours under another name"
        )
    return Property(name, **fields)  # type: ignore[arg-type]


def to_dict(row: Property) -> dict[str, object]:
    """Return the row as plain data for a checkpoint."""
    return {
        **dataclasses.asdict(row),
        "aliases": list(row.aliases),
        "qm9": list(row.qm9) if row.qm9 else None,
    }


def from_dict(data: Mapping[str, object]) -> Property:
    """Read what `to_dict` wrote."""
    fields = dict(data)
    fields["aliases"] = tuple(fields.get("aliases") or ())  # type: ignore[arg-type]
    fields["qm9"] = tuple(fields["qm9"]) if fields.get("qm9") else None  # type: ignore[arg-type]
    return Property(**fields)  # type: ignore[arg-type]
