"""What the cells of a record say of a target: under which names, in one cell or several."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

import ase

from molequi.datasets.formats.label_checks import comma_hint
from molequi.datasets.formats.values import PLACES, contents, parse_value
from molequi.properties import Property

# How the parts of a vector or tensor may be spread over columns.
_COMPONENTS = {
    (3,): ("x", "y", "z"),
    (3, 3): ("xx", "xy", "xz", "yx", "yy", "yz", "zx", "zy", "zz"),
}


def bad_value(atoms: ase.Atoms, targets: Sequence[Property], keys: Mapping[str, str]) -> str | None:
    """Join components that are spread over columns, and say which target's value cannot be read.

    None where all can. keys: target -> column or field, where it is not named like the property.
    """
    for row in targets:
        if (
            row.shape
            and "geometry" in atoms.info
            and str(atoms.info["geometry"]).startswith("ETKDG")
        ):
            return (
                f"target {row.name!r} has components along axes ({row.irreps}) but the record has "
                "no coordinates of its own"
            )
        names = target_names(row, keys)
        join_components(atoms, [row], keys)
        for key, value in atoms.info.items():
            if str(key).strip().lower() in names and parse_value(value, row, len(atoms)) is None:
                return (
                    f"{key}={str(value)[:40]!r} cannot be read as {row.name!r} "
                    f"({_expected(row)}){comma_hint(value)}"
                )
    return None


def join_components(atoms: ase.Atoms, targets: Iterable[Property], keys: Mapping[str, str]) -> None:
    """Write vectors and tensors that are spread over `dipole_x`, ... under `dipole` too.

    Nothing is done where something stands there. keys: target -> its name, if another.
    """
    for row in targets:
        key, suffixes = keys.get(row.name, row.name), _COMPONENTS.get(row.shape)
        is_there = any(key in contents(atoms, place) for place in PLACES)
        if suffixes is not None and not row.per_atom and not is_there:
            _join(atoms, key, suffixes)


def _join(atoms: ase.Atoms, key: str, suffixes: Sequence[str]) -> None:
    names = {str(name).lower(): name for name in atoms.info}
    for style, separator in itertools.product(
        (suffixes, tuple(map(str, range(len(suffixes))))), ("_", "")
    ):
        wanted = [f"{key}{separator}{suffix}".lower() for suffix in style]
        if all(name in names for name in wanted):
            atoms.info[key] = " ".join(str(atoms.info[names[name]]) for name in wanted)
            return


def target_names(row: Property, keys: Mapping[str, str]) -> set[str]:
    """Return the names, in small letters, of the columns or fields that hold a target."""
    return (
        {keys[row.name].strip().lower()} if row.name in keys else {row.name.lower(), *row.aliases}
    )


def _expected(row: Property) -> str:
    if row.binary:
        return "0 or 1, yes or no"
    return (
        "a number"
        if not row.shape and not row.per_atom
        else f"{'per atom ' if row.per_atom else ''}shape {row.shape}"
    )
