"""Which labels were found, under which key, in which unit: logged, and shown by `inspect`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import torch
from torch import Tensor

from molequi.datasets.in_memory import Frames


@dataclasses.dataclass(frozen=True)
class Label:
    """One row of the report.

    key, where: its name in the file and the place it stands at. frames: structures that have it.
    unit: of the numbers in the file. minimum, mean, maximum: in `property.unit`, NaN without any.
    """

    name: str
    key: str
    where: str
    frames: int
    unit: str
    minimum: float
    mean: float
    maximum: float


@dataclasses.dataclass(frozen=True)
class LabelReport:
    """What was found.

    rows: one per label. warnings: one line each. keys: the keys present, by place, with the number
    of frames. unusable: of each target that has no label though it was asked for, or its key is
    there, why.
    """

    rows: tuple[Label, ...]
    warnings: tuple[str, ...]
    n_frames: int
    keys: Mapping[str, Mapping[str, int]]
    unusable: Mapping[str, str] = dataclasses.field(default_factory=dict)


def report_lines(report: LabelReport) -> list[str]:
    """Write the report as lines of a table: label, key, where, frames, unit, min/mean/max."""
    head = ("label", "key", "where", "frames", "unit in file", "min / mean / max")
    cells = [
        head,
        *(
            (row.name, row.key, row.where, str(row.frames), row.unit, _range(row))
            for row in report.rows
        ),
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]


def describe_frames(frames: Frames, where: str) -> LabelReport:
    """Report the targets that frames carry; `where` is what they came from."""
    rows = []
    for name, values in frames.targets.items():
        count, unit = frames_with_label(frames, name), frames.properties[name].unit
        rows.append(make_label(name, name, where, count, unit, values))
    return LabelReport(tuple(rows), (), len(frames), {})


def make_label(name: str, key: str, where: str, n_frames: int, unit: str, values: Tensor) -> Label:
    """Return the row of values of any shape, NaN where missing; other arguments as in `Label`."""
    known = values[~torch.isnan(values)]
    low, mean, high = (
        (float(known.min()), float(known.mean()), float(known.max()))
        if len(known)
        else (math.nan, math.nan, math.nan)
    )
    return Label(name, key, where, n_frames, unit, low, mean, high)


def frames_with_label(frames: Frames, name: str) -> int:
    """Count the structures that have at least one number of the target `name`."""
    known = ~torch.isnan(frames.targets[name].reshape(len(frames.targets[name]), -1)).all(dim=1)
    if frames.properties[name].per_atom:
        owners = torch.repeat_interleave(torch.arange(len(frames)), frames.n_atoms)
        return int(torch.unique(owners[known]).numel())
    return int(known.sum())


def _range(row: Label) -> str:
    return f"{row.minimum:.6g} / {row.mean:.6g} / {row.maximum:.6g}"
