"""The contract of a data set: what each kind that `data.kind` can name owes the rest."""

from __future__ import annotations

import abc
import dataclasses
import glob
import logging
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from molequi.datasets.labelled_set import LabelledSet
from molequi.datasets.places import find_data
from molequi.datasets.report import LabelReport
from molequi.errors import UserError
from molequi.properties import Property, get_property

_LOG = logging.getLogger(__name__)


def _warn_of_unusable(report: LabelReport, names: Collection[str]) -> None:
    """Say which targets are left out, but for those in `names`, which are found elsewhere."""
    for name, why in report.unusable.items():
        if name not in names:
            _LOG.warning("%s is left out: %s", name, why)


@dataclasses.dataclass(frozen=True)
class Request:
    """What is wanted of a data set, and where it lies.

    path: a file, a folder or a bundled sample by name; several between commas, or a pattern with *;
    None: where `prepare` puts it. targets: rows wanted. is_strict: whether all of them must be
    there; otherwise those that are.
    keys, units: target -> its name and its unit in the file. smiles: the SMILES column of a table.
    structures: QM9, where the labels name its molecules. conformers: of each stereoisomer, placed
    with `seed`. add_hydrogens: complete SDF records in space that have none. published_split: its
    number, where several are published.
    """

    path: str | None = None
    targets: tuple[Property, ...] = ()
    is_strict: bool = True
    keys: Mapping[str, str] = dataclasses.field(default_factory=dict)
    units: Mapping[str, str] = dataclasses.field(default_factory=dict)
    smiles: str | None = None
    structures: str | None = None
    conformers: int = 1
    add_hydrogens: bool = False
    seed: int = 0
    published_split: int | None = None

    def file(self) -> Path:
        """Return the one file or folder. Raises UserError where there is none, or several."""
        files = self.files()
        if len(files) != 1:
            raise UserError(
                f"data.path={self.path} names {len(files)} files; these data are read from one file"
            )
        return files[0]

    def as_found(self, report: LabelReport) -> Request:
        """Return the request for those targets that a file has by the names that labels may have.

        report: of the file. A name of `keys` counts where the file has it, and the unit beside it.
        Warns of targets whose name is there, but no labels that can be read.
        """
        present = {str(key).lower() for there in report.keys.values() for key in there}
        keys = {name: key for name, key in self.keys.items() if key.lower() in present}
        found = {row.name for row in report.rows} | set(keys)
        targets = tuple(row for row in self.targets if row.name in found)
        names = {row.name for row in targets}
        _warn_of_unusable(report, names)
        with_units = names - (self.keys.keys() - keys.keys())
        return dataclasses.replace(
            self,
            targets=targets,
            keys={name: keys[name] for name in names & keys.keys()},
            units={name: self.units[name] for name in with_units & self.units.keys()},
        )

    def files(self) -> list[Path]:
        """Return all files. Raises UserError without a path, or for a pattern without any file."""
        if self.path is None:
            raise UserError("data.path is not set; name the file with data.path=FILE")
        whole = find_data(self.path)
        if os.path.exists(whole):
            return [whole]
        files = []
        for part in (part.strip() for part in self.path.split(",")):
            is_name = not glob.has_magic(part) or os.path.exists(part)
            found = [part] if is_name else sorted(glob.glob(part))
            if not found:
                raise UserError(f"data.path={part} matches no file")
            files += [find_data(name) for name in found]
        return files


@dataclasses.dataclass(frozen=True)
class DatasetEntry:
    """A line of the list of data sets.

    name: for `prepare` or `data.path`. where: its file, or how to get it. available: whether it is
    there now.
    """

    name: str
    description: str
    where: str
    available: bool


@dataclasses.dataclass(frozen=True)
class FileReport:
    """What a file holds.

    kind: the `data.kind` that it is taken for. n_structures: 0 where unknown. labels: those of the
    property table. notes: plain lines.
    """

    path: str
    kind: str
    n_structures: int
    labels: LabelReport
    notes: tuple[str, ...] = ()


class DatasetSpec(abc.ABC):
    """One kind of data: how it is recognised, read and described.

    A new kind is a file with a subclass, and its line in `registry.DATASETS`; configs, `evaluate`,
    `label` and `molequi data` then know it by its name.
    """

    name: ClassVar[str]
    """What `data.kind` calls it."""
    description: ClassVar[str]
    """One line: what it is, how much of it, at which level, its licence."""
    targets: ClassVar[tuple[str, ...]] = ()
    """Properties that it has; empty where they depend on the file."""
    has_free_names: ClassVar[bool] = False
    """Whether labels may have any name and unit in its files, told by `keys` and `units`."""
    has_free_units: ClassVar[bool] = False
    """Whether labels may have any unit, told by `units`, under the names of the kind."""
    is_own: ClassVar[bool] = False
    """Whether anybody may have made the file: its structures, labels and split are doubted."""
    joins_qm9: ClassVar[bool] = False
    """Whether its labels name molecules of QM9, whose geometries they are joined with."""
    has_official_split: ClassVar[bool] = False
    """Whether a published or fixed division of it exists, which `read` gives."""

    @abc.abstractmethod
    def recognises(self, path: Path) -> bool:
        """Tell whether an existing file or folder is of this kind, by its name or its first lines.

        Kinds are asked in the order of the registry.
        """

    @abc.abstractmethod
    def read(self, request: Request) -> LabelledSet:
        """Read structures and labels in the units of the property table.

        Targets beside those asked for may come too. Raises UserError for a file that is missing,
        damaged, or of another kind.
        """

    def load(self, request: Request) -> LabelledSet:
        """Read what was asked for, and nothing else.

        Raises UserError, beside what `read` raises, for a setting without meaning here, and for a
        target that is missing or stored with another meaning.
        """
        self._refuse_settings(request)
        request = dataclasses.replace(request, targets=_with_what_labels_take(request.targets))
        loaded = self.read(request)
        wanted = {row.name: row for row in request.targets}
        if not request.is_strict:
            labelled = {row.name for row in loaded.report.rows if row.frames}
            wanted = {name: row for name, row in wanted.items() if name in labelled}
        optional = [row for row in request.targets if row.spread_of and request.is_strict]
        loaded = loaded.with_unlabelled(optional).with_targets(list(wanted))
        loaded.require_labels()
        for row in wanted.values():
            _refuse_other_meaning(request.path, loaded.properties[row.name], row)
        frames = dataclasses.replace(loaded.frames, properties=wanted)
        loaded = dataclasses.replace(loaded, frames=frames)
        doubts = self.doubts(loaded)
        for line in doubts:
            _LOG.warning("%s: %s", request.path, line)
        warnings = (*loaded.report.warnings, *doubts)
        report = dataclasses.replace(loaded.report, warnings=warnings)
        return dataclasses.replace(loaded, report=report)

    def doubts(self, loaded: LabelledSet) -> list[str]:
        """Return a line for each label that seems to be wrong, where `read` has not said so."""
        return []

    def inspect(self, path: Path) -> FileReport:
        """Say what a file of this kind holds, with no more work than that takes."""
        loaded = self.read(Request(str(path)))
        parts = {f"split {name}": len(rows) for name, rows in loaded.splits.items()}
        notes = (
            *note_lines({**loaded.notes, **parts}),
            *loaded.report.warnings,
            *self.doubts(loaded),
        )
        return FileReport(str(path), self.name, len(loaded), loaded.report, notes)

    def entry(self, folder: Path) -> DatasetEntry | None:
        """Return the line of the list of data sets, or None for a mere file format."""
        return None

    def _refuse_settings(self, request: Request) -> None:
        free = {
            "keys": self.has_free_names,
            "units": self.has_free_names or self.has_free_units,
        }
        for name, given in (("keys", request.keys), ("units", request.units)):
            if given and not free[name]:
                raise UserError(
                    f"data.{name} has no meaning for data.kind={self.name}, whose {name} are "
                    "known; remove it"
                )
        if request.structures is not None and not self.joins_qm9:
            raise UserError(
                f"data.structures has no meaning for {self.name}, whose file has its own "
                "structures; remove it"
            )


def note_lines(notes: Mapping[str, object]) -> tuple[str, ...]:
    """Write notes as plain lines."""
    return tuple(f"{key.replace('_', ' ')}: {value}" for key, value in notes.items())


def _with_what_labels_take(rows: Sequence[Property]) -> tuple[Property, ...]:
    """Return rows together with those that hold what their labels belong to."""
    known = {row.name: row for row in rows}
    known |= {row.along: get_property(row.along, known) for row in rows if row.along}
    return tuple(known.values())


def _refuse_other_meaning(path: str | None, stored: Property, row: Property) -> None:
    if (stored.irreps, stored.unit, stored.per_atom) != (row.irreps, row.unit, row.per_atom):
        expected = f"declared as {row.irreps} in {row.unit}"
        raise UserError(
            f"{path}: {row.name!r} is stored as {stored.irreps} in {stored.unit}, but {expected}"
        )
