"""The predictions of an evaluation beside the lines of the file that it was done on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.properties import Property
from molequi.structures.csv_files import table_lines
from molequi.structures.formats import format_of
from molequi.structures.writers import format_of_output, write_pieces


def write_evaluated(
    output: Path,
    frames: Frames,
    predictions: Mapping[str, Tensor],
    table: Path | None = None,
    failures: Sequence[str] = (),
    cells: Sequence[Mapping[str, str]] = (),
    smiles: str | None = None,
) -> None:
    """Write a CSV with a line per structure: what the file says, and what was predicted.

    predictions: by property, (B, ...) or (A, ...), of yes/no labels their logits; what belongs to
    atoms is left out.
    table: the CSV or TSV that the structures come from, with `smiles` the name of its column;
    failures: why lines of it could not be used, which have no prediction. Of other sources the line
    says their name and labels, or their `cells`.
    """
    values = _values(frames, predictions)
    if table is None or format_of(table) != "table":
        lines = _labels(frames, values, cells, failures)
    else:
        told = dict(zip(frames.source, values, strict=True))
        lines = _lines(table, smiles, told, dict(map(_parted, failures)))
    piece_of, records = format_of_output(output).piece_of, list(lines)
    write_pieces(output, lambda: (piece_of(one, None, frames.properties) for one in records))


def _values(frames: Frames, predictions: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """Return the predictions of each structure by property."""
    found: list[dict[str, Any]] = [{} for _ in range(len(frames))]
    for name, values in predictions.items():
        row = frames.properties.get(name)
        if row is None or row.per_atom:
            continue
        numbers = (values.sigmoid() if row.binary else values).numpy()
        for told, number in zip(found, numbers, strict=True):
            told[name] = float(number) if np.ndim(number) == 0 else number
    return found


def _labels(
    frames: Frames,
    told: Sequence[dict[str, Any]],
    cells: Sequence[Mapping[str, str]],
    failures: Sequence[str],
) -> Iterator[dict[str, Any]]:
    for index, values in enumerate(told):
        labels = {
            _heading(frames.properties[name]): repr(float(frames.targets[name][index]))
            for name in values
            if frames.targets[name].ndim == 1
        }
        own = cells[index] if cells else labels
        yield {"columns": {"structure": frames.label(index), **own}, **values}
    for label, reason in map(_parted, failures):
        yield {"columns": {"structure": label}, "error": reason}


def _heading(row: Property) -> str:
    return row.name if row.unit == "1" else f"{row.name} [{row.unit}]"


def _lines(
    table: Path, smiles: str | None, told: Mapping[str, dict[str, Any]], why: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    for line in table_lines(table, smiles):
        label = f"{table.name}:{line.number}"
        if label in told:
            yield {"columns": line.cells, **told[label]}
        elif label in why:
            yield {"columns": line.cells, "error": why[label]}


def _parted(failure: str) -> tuple[str, str]:
    label, _, reason = failure.partition(": ")
    return label, reason
