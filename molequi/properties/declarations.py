"""Rows from outside the table: declared in a config, or read from a file that was saved."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from molequi.properties.property import Periodicity, Property, PropertyError
from molequi.properties.table import PROPERTIES

# What plain data hold for the fields of `Property`, by their annotations.
_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "str": str,
    "bool": bool,
    "int": int,
    "tuple[str, ...]": (list, tuple),
}
# What only the package says of a row.
_OWN = {"name", "derived_from", "members"}


def declare(name: str, **fields: Any) -> Property:
    """Make a row from a config's declaration; `fields` are those of `Property` except the name.

    Raises PropertyError for an unknown field, a missing unit or irreps, or a name that the table
    already gives another meaning.
    """
    known = {field.name for field in dataclasses.fields(Property)} - _OWN
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
    # Most rows have one head, and are written as they were before there were more.
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in {
            **dataclasses.asdict(target),
            "periodicity": target.periodicity.value,
        }.items()
        if name != "members" or value > 1
    }


def from_dict(data: Mapping[str, Any]) -> Property:
    """Read what `to_dict` wrote, now or in an older version.

    Rows that were written before rows named their heads take all that they lack from the table.
    """
    fields = {name: value for name, value in data.items() if name != "qm9"}
    row = PROPERTIES.get(fields["name"])
    if row is None:
        return _from_plain(fields)
    found = _from_plain({**to_dict(row), **fields})
    if (found.irreps, found.per_atom) != (row.irreps, row.per_atom):
        raise PropertyError(
            f"property {row.name!r} is written as {_form(found)}, and is {_form(row)}"
        )
    return found


def _form(row: Property) -> str:
    return f"{row.irreps} {'per atom' if row.per_atom else 'per structure'}"


def _from_plain(fields: Mapping[str, Any]) -> Property:
    """Make a row of plain data: lists become tuples, a word the periodicity.

    Raises PropertyError for a value of another type than its field's.
    """
    for field in dataclasses.fields(Property):
        kind, value = _KINDS.get(str(field.type), object), fields.get(field.name)
        if field.name in fields and not isinstance(value, kind):
            raise PropertyError(
                f"property {fields['name']!r}: {field.name} cannot be {repr(value)[:40]}"
            )
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
