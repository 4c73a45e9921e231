"""Molecules of QM9 with one stereocentre, labelled R or S."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from molequi.datasets.base import FileReport
from molequi.datasets.chirality.qm9_labels import constitution_split, join_qm9
from molequi.datasets.labelled_set import LabelledSet
from molequi.datasets.prepared import PreparedSet, one_file
from molequi.datasets.report import LabelReport, describe_frames, make_label
from molequi.errors import UserError
from molequi.properties import PROPERTIES
from molequi.runtime.files import no_file
from molequi.structures.cip import constitution_of
from molequi.structures.csv_files import open_table, table_reader
from molequi.structures.formats import UNREADABLE, format_of

_COLUMNS = ("index", "status", "smiles_3d", "cip", "n_rs", "is_chiral")


class _Centre(NamedTuple):
    """One line of the table.

    number: of the molecule in QM9. atom: in QM9's order. is_r: R, else S. group: constitution.
    """

    number: int
    atom: int
    is_r: bool
    group: str


def load_qm9_chirality(path: str | Path, structures: str | Path | None = None) -> LabelledSet:
    """Read the molecules of QM9 that have exactly one R or S centre.

    The target is `handedness` at that atom.

    path: the table with the columns index, status, smiles_3d, cip (such as `3:R`, an atom of QM9's
    order), n_rs and is_chiral. structures: whatever `load_qm9` reads; without it the prepared QM9,
    or an installed qm9pack. Molecules are grouped by their stereo-free SMILES; the split is
    80/10/10 by its name, the same as that of `load_rosenfeld`. Raises UserError that names the line
    at fault.
    """
    centres = _read(Path(path))
    frames = join_qm9(np.array([centre.number for centre in centres]), structures, str(path))
    atoms = np.array([centre.atom for centre in centres])
    outside = np.flatnonzero(atoms >= frames.n_atoms.numpy())
    if len(outside):
        raise UserError(
            f"{path}: number {centres[outside[0]].number} has no atom {atoms[outside[0]]}; the "
            "table and the structures do not belong together"
        )
    labels = _labels(centres)
    handedness = torch.full((frames.positions.shape[0],), torch.nan, dtype=torch.float64)
    handedness[frames.offsets[:-1] + torch.from_numpy(atoms)] = labels
    frames = dataclasses.replace(
        frames,
        targets={"handedness": handedness},
        properties={"handedness": PROPERTIES["handedness"]},
    )
    groups = tuple(centre.group for centre in centres)
    n_r, n = int(labels.sum()), len(frames)
    return LabelledSet(
        frames,
        describe_frames(frames, "qm9_chirality"),
        constitution_split(groups, Path(path).parent),
        groups,
        notes={"set": "qm9_chirality", "molecules": n, "R": n_r, "S": n - n_r},
    )


def _read(path: Path) -> list[_Centre]:
    if not path.is_file():
        raise UserError(
            f"{no_file(path)}; expected the table of R/S labels of QM9 (qm9_chirality.csv.gz)"
        )
    try:
        centres = list(_lines(path))
    except (*UNREADABLE, csv.Error) as error:
        raise UserError(f"{path} cannot be read as a table ({error})") from error
    if not centres:
        raise UserError(f"{path} has no molecule with exactly one R or S centre")
    return centres


def _lines(path: Path) -> Iterator[_Centre]:
    with open_table(path) as handle:
        reader = table_reader(handle, path)
        missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise UserError(
                f"{path}: column {missing[0]!r} is missing; expected {', '.join(_COLUMNS)}"
            )
        for line in reader:
            if (line["status"], line["n_rs"], line["is_chiral"]) != ("ok", "1", "1"):
                continue
            atom, _, label = line["cip"].partition(":")
            if not atom.isdigit() or label not in {"R", "S"} or not line["index"].isdigit():
                raise UserError(
                    f"{path}:{reader.line_num}: {line['cip']!r} of number {line['index']} is "
                    "no label; expected ATOM:R or ATOM:S"
                )
            group = constitution_of(line["smiles_3d"])
            yield _Centre(int(line["index"]), int(atom), label == "R", group)


def _labels(centres: Sequence[_Centre]) -> torch.Tensor:
    return torch.tensor([float(centre.is_r) for centre in centres], dtype=torch.float64)


class QM9Chirality(PreparedSet):
    """R or S at the one stereocentre of molecules of QM9."""

    name = "qm9_chirality"
    description = "the 23,472 molecules of QM9 with one R or S centre; handedness"
    targets = ("handedness",)
    joins_qm9 = True
    file = "qm9_chirality.csv.gz"

    def recognises(self, path: Path) -> bool:
        """Recognise the columns of the table."""
        if format_of(path) != "table":
            return False
        try:
            with open_table(path) as handle:
                return set(_COLUMNS) <= set(table_reader(handle, path).fieldnames or ())
        except (*UNREADABLE, csv.Error):
            return False

    def read_source(self, paths: Sequence[Path], structures: str | Path | None) -> LabelledSet:
        """Join the table with QM9; see `load_qm9_chirality`."""
        return load_qm9_chirality(one_file(paths, self.name), structures)

    def inspect(self, path: Path) -> FileReport:
        """Report the labels without their geometries, which stand in QM9."""
        centres = _read(path)
        row = PROPERTIES["handedness"]
        label = make_label(row.name, "cip", "column", len(centres), row.unit, _labels(centres))
        report = LabelReport((label,), (), len(centres), {})
        note = f"geometries are those of QM9: data.kind={self.name} joins them (data.structures)"
        return FileReport(str(path), self.name, len(centres), report, (note,))
