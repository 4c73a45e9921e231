"""How an optical rotation is printed: its sign, the CIP labels, and what it stands for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from molequi.cli.exits import ExitCode
from molequi.cli.output import line, print_json, print_table, say
from molequi.cli.records import Record, errors_of
from molequi.errors import UserError

if TYPE_CHECKING:
    from molequi.models.molecular import MolecularModel

_ROTATION = "specific_rotation"


def rotation_headings(model: MolecularModel) -> list[str]:
    """Return the headings of what `rotation_cells` gives."""
    return (
        [f"{_ROTATION} {model.properties[_ROTATION].unit}", "sign", "R/S"]
        if _ROTATION in model.properties
        else []
    )


def rotation_cells(model: MolecularModel, record: Record) -> list[object]:
    """Return the rotation with its sign, (+), (-) or none, and the centres of the geometry."""
    if _ROTATION not in model.properties:
        return []
    value = record.get(_ROTATION)
    if value is None:
        return [None, None, _centres(record)]
    return [
        _number(value, record),
        _sign(record),
        _centres(record),
    ]


def print_level(model: MolecularModel, conformers: str = "this conformer") -> None:
    """Say once what the rotations stand for; nothing for other models."""
    from molequi.prediction.optical_rotation import rotation_level

    if _ROTATION in model.properties:
        line(f"{_ROTATION}: {rotation_level(model, conformers)}")
        line(
            "R/S: CIP labels read off the geometry, atoms counted from 1, not predicted; R and (+) "
            "are no pair"
        )


def print_means(records: Sequence[Record], model: MolecularModel, *, json: bool) -> int:
    """Print one table of conformers and one line of means for each molecule; returns the exit code.

    Raises UserError where all failed.
    """
    good, errors = [record for record in records if "error" not in record], errors_of(records)
    if not good:
        raise UserError(
            errors[0]
            if len(errors) == 1
            else f"none of {len(errors)} structures has a mean; the first: {errors[0]}"
        )
    for text in errors:
        say(f"error: {text}")
    if json:
        print_json(records)
        return ExitCode.DONE if not errors else ExitCode.FAILED
    for record in good:
        _print_mean(record, model)
    line(
        f"model {good[0]['model']}; energies by organic; level: {good[0]['level'] or 'not stated'}"
    )
    print_level(model, f"mean over conformers at {good[0]['temperature']:g} K")
    return ExitCode.DONE if not errors else ExitCode.FAILED


def _print_mean(record: Record, model: MolecularModel) -> None:
    names = [
        name
        for name in model.properties
        if isinstance(record.get(name), float) and name != _ROTATION
    ]
    units = {name: model.properties[name].unit for name in names}
    headings = [name if units[name] == "1" else f"{name} {units[name]}" for name in names]
    rows = [
        [
            number,
            entry["weight"],
            entry["relative_energy"],
            *(entry[name] for name in names),
            *rotation_cells(model, entry),
        ]
        for number, entry in enumerate(record["conformers"])
    ]
    rows.append(
        ["mean", 1.0, None, *(record[name] for name in names), *rotation_cells(model, record)]
    )
    where = f"{record['source']}, structure {record['index']}"
    title = f"{where}: {record['formula']}, {record['temperature']:g} K"
    print_table(
        title,
        ["conformer", "weight", "relative energy eV", *headings, *rotation_headings(model)],
        rows,
    )
    for text in record["left_out"]:
        line(f"left out: {text}")


def _number(value: float, record: Record) -> str:
    """Write a rotation: `±` where a geometry has a sense of which the substance has both."""
    if record["rotation_sign"]:
        return f"{value:+.2f}"
    return f"{'±' if record.get('rotation_note') else ''}{abs(value):.2f}"


def _sign(record: Record) -> str:
    return f"({record['rotation_sign']})" if record["rotation_sign"] else "none"


def _centres(record: Record) -> str | None:
    centres = record.get("cip")
    return (
        None
        if centres is None
        else " ".join(f"{int(number) + 1}{label}" for number, label in centres.items()) or "none"
    )
