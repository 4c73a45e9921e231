"""The table of `molequi predict`: a row per structure, a column per value, and what they share."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from molequi.cli.bars import Bar
from molequi.cli.optical_rotation import print_level, rotation_cells, rotation_headings
from molequi.cli.output import line, print_table
from molequi.cli.records import Record, Tally

if TYPE_CHECKING:
    from molequi.models.molecular import MolecularModel
    from molequi.properties import Property

_PAGE = 500  # rows of a table


class _Column(NamedTuple):
    """A column of the table: its heading, and what stands there for a record."""

    heading: str
    cell: Callable[[Record], object]


def print_records(
    records: Iterator[Record], model: MolecularModel, bar: Bar, *, with_source: bool
) -> None:
    """One row per structure, page by page: a table of thousands of rows would come very late."""
    columns = _columns(model)
    headings = [*(column.heading for column in columns), *rotation_headings(model)]
    rows = (
        [*(column.cell(record) for column in columns), *rotation_cells(model, record)]
        for record in records
        if "error" not in record
    )
    while page := list(itertools.islice(rows, _PAGE)):
        bar.pause()
        hidden = () if with_source else ("source",)
        print_table("", headings, page, left=("source", "formula"), hidden=hidden)
        bar.resume()


def print_shared(tally: Tally, model: MolecularModel, *, with_source: bool) -> None:
    """Say below the table what its rows share, and what is not in it."""
    tally.print_provenance(with_source=not with_source)
    of_atoms = [
        name
        for name in model.outputs
        if model.properties[name].per_atom and name not in {"forces", "charges", "forces_std"}
    ]
    if of_atoms:
        line(
            f"values of atoms ({', '.join(of_atoms)}) are in --output FILE.xyz or .json, and in "
            "--json"
        )
    print_level(model)


def _columns(model: MolecularModel) -> list[_Column]:
    hidden = {"stress", "specific_rotation"}
    hidden |= {"dipole_magnitude"} if "dipole" in model.outputs else set()
    columns = [
        _Column(heading, operator.itemgetter(key))
        for heading, key in (
            ("#", "index"),
            ("source", "source"),
            ("formula", "formula"),
            ("charge e", "total_charge"),
        )
    ]
    for name in model.outputs:
        target = model.properties[name]
        if (not target.per_atom or target.spread_of) and name not in hidden:
            columns += _columns_of(target)
    return columns


def _columns_of(target: Property) -> list[_Column]:
    """A scalar as it is, a vector by its components, a tensor by its size.

    The rest is in the output file.
    """
    unit = "" if target.unit == "1" else f" {target.unit}"
    heading = f"{target.name}{' probability' if target.binary else ''}{unit}"
    own = _Column(heading, lambda record: _cell(record.get(target.name)))
    if target.name == "energy":
        return [own, _Column("max|F| eV/Å", lambda record: record.get("max_force"))]
    if target.name == "forces_std":
        return [_Column("max std F eV/Å", lambda record: record.get("max_forces_std"))]
    if target.name == "dipole":
        return [
            _Column("|mu| D", lambda record: _length(record.get("dipole_debye"))),
            _Column("mu D", lambda record: _cell(record.get("dipole_debye"))),
        ]
    return [own]


def _cell(value: Any) -> object:
    import numpy as np

    if value is None or np.ndim(value) == 0:
        return None if value is None else float(value)
    if np.ndim(value) > 1:
        return f"norm {np.linalg.norm(value):.4f}"
    return " ".join(f"{round(float(part), 2) + 0.0:.2f}" for part in value)  # no negative zeros


def _length(vector: Any) -> str | None:
    import numpy as np

    return None if vector is None else f"{np.linalg.norm(vector):.3f}"
