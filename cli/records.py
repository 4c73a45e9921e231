"""What commands say of a record per structure: which failed, where the values come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from molequi.cli.output import line, say
from molequi.errors import UserError

Record = Mapping[str, Any]


def errors_of(records: Sequence[Record]) -> list[str]:
    """Return a line for each record with an error."""
    return [
        f"{record['source']}, structure {record['index']}: {record['error']}"
        for record in records
        if "error" in record
    ]


def require_good(records: Sequence[Record]) -> list[Record]:
    """Return the records without error; the others are listed.

    Raises UserError where all failed.
    """
    good, errors = [record for record in records if "error" not in record], errors_of(records)
    if not good and len(errors) == 1:
        raise UserError(errors[0])
    for text in errors:
        say(f"error: {text}")
    if not good:
        raise UserError(
            f"none of the {len(records)} structures could be computed; the lines above say why"
        )
    return good


def hidden_source(records: Sequence[Record]) -> tuple[str, ...]:
    """Name the column that says nothing where all rows come from one source."""
    return ("source",) if len({record["source"] for record in records}) == 1 else ()


def print_provenance(records: Sequence[Record]) -> None:
    """Say once what the rows of a table share.

    The model, its level of theory, where geometries come from.
    """
    line(f"model {records[0]['model']}; level: {records[0]['level'] or 'not stated'}")
    if hidden_source(records):
        line(f"source: {records[0]['source']}")
    print_notes(records)


def print_notes(records: Sequence[Record]) -> None:
    """Say once where charges, spins and geometries come from."""
    for key, heading in (
        ("charge_source", "total charge"),
        ("multiplicity_source", "multiplicity"),
        ("geometry", "geometry"),
        ("reading", "reading"),
        ("dipole_origin", "origin of the dipoles of ions"),
        ("unsafe", "outside the model, unsafe"),
    ):
        for note in dict.fromkeys(record[key] for record in records if key in record):
            line(f"{heading}: {note}")
