"""The one shape that every loader returns."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Collection, Mapping, Sequence

from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.datasets.report import LabelReport
from molequi.errors import UserError
from molequi.properties import Property

_LOG = logging.getLogger(__name__)
_FAILURES_LOGGED = 20


@dataclasses.dataclass(frozen=True)
class LabelledSet:
    """Structures with their labels.

    frames: the structures and their targets. report: where the labels came from.
    splits: part (train, valid, test) -> row numbers, as far as the source divides its structures.
    groups: the name of a group for each structure, or none; a group never stands in two parts.
    cells: what a table says of each structure, by column, with its `smiles`; or none.
    failures: a line for whatever in the source could not be used. notes: plain data of the origin.
    """

    frames: Frames
    report: LabelReport
    splits: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)
    groups: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    notes: Mapping[str, object] = dataclasses.field(default_factory=dict)
    cells: tuple[Mapping[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def properties(self) -> Mapping[str, Property]:
        """The row of each target."""
        return self.frames.properties

    def part(self, name: str) -> Frames:
        """Return the structures of one part of the split, such as `train`.

        Raises UserError for a part that is not there.
        """
        if name not in self.splits:
            raise UserError(
                f"split {name!r} is not known for these data; they have "
                f"{', '.join(self.splits) or 'none'}"
            )
        return self.frames.subset(self.splits[name])

    def with_targets(self, names: Collection[str]) -> LabelledSet:
        """Keep only the targets `names`, in the report too.

        Raises UserError for a name that is not there.
        """
        dropped = set(self.frames.targets) - set(names)
        rows = tuple(row for row in self.report.rows if row.name not in dropped)
        return dataclasses.replace(
            self,
            frames=self.frames.with_targets(list(names)),
            report=dataclasses.replace(self.report, rows=rows),
        )

    def with_unlabelled(self, rows: Collection[Property]) -> LabelledSet:
        """Add the targets `rows` where they are not there, without a label."""
        missing = [row for row in rows if row.name not in self.frames.targets]
        return dataclasses.replace(self, frames=self.frames.with_unlabelled(missing))

    def subset(self, rows: Tensor) -> LabelledSet:
        """Return the structures `rows` (int64) with their groups, no longer divided into parts."""
        numbers = rows.tolist()
        groups = tuple(self.groups[row] for row in numbers) if self.groups else ()
        cells = tuple(self.cells[row] for row in numbers) if self.cells else ()
        return dataclasses.replace(
            self, frames=self.frames.subset(rows), groups=groups, cells=cells, splits={}
        )

    def require_labels(self) -> None:
        """Raise UserError for a target without a single number."""
        for row in self.report.rows:
            if not row.frames:
                raise UserError(
                    f"target {row.name!r} has no label in any of {len(self)} structures"
                )


def log_failures(failures: Sequence[str], where: str) -> None:
    """Warn of what could not be used: the first lines, and how many more."""
    for failure in failures[:_FAILURES_LOGGED]:
        _LOG.warning("skipped %s", failure)
    if len(failures) > _FAILURES_LOGGED:
        _LOG.warning("skipped %d more of %s", len(failures) - _FAILURES_LOGGED, where)
