"""The kinds of data by the name that a config gives them, and which kind a file is of."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from molequi.datasets.array_files import open_arrays
from molequi.datasets.base import DatasetSpec, Request
from molequi.datasets.chirality.alanine import Alanine
from molequi.datasets.chirality.axial import Axial
from molequi.datasets.chirality.chiral import Chiral
from molequi.datasets.chirality.qm9_centres import QM9Chirality
from molequi.datasets.chirality.rosenfeld import Rosenfeld
from molequi.datasets.formats.extxyz import StructureFiles
from molequi.datasets.formats.flat_npz import FlatNpz
from molequi.datasets.formats.tables import Table
from molequi.datasets.qm9.qm9 import Qm9
from molequi.datasets.rmd17 import Rmd17
from molequi.errors import UserError
from molequi.structures.formats import format_of

# A file is of the first of these kinds that recognises it; the last one takes what is left.
_SPECS: tuple[DatasetSpec, ...] = (
    FlatNpz(),
    Qm9(),
    Rmd17(),
    Alanine(),
    QM9Chirality(),
    Rosenfeld(),
    Axial(),
    Chiral(),
    Table(),
    StructureFiles(),
)
DATASETS: Mapping[str, DatasetSpec] = MappingProxyType({spec.name: spec for spec in _SPECS})


def all_datasets() -> Mapping[str, DatasetSpec]:
    """Return every kind by its name, in the order in which a file is shown to them."""
    return DATASETS


class Source(NamedTuple):
    """A data set and its file; path None: where it has been prepared."""

    spec: DatasetSpec
    path: str | None


def get_dataset(name: str) -> DatasetSpec:
    """Return the kind of that name. Raises UserError that names the nearest one."""
    if name not in DATASETS:
        raise UserError(f"data.kind is {name!r}; {known_kinds(name)}")
    return DATASETS[name]


def known_kinds(name: str) -> str:
    """Say, for a message about an unknown name, which kinds there are and which one is near."""
    near = difflib.get_close_matches(name, DATASETS, n=1)
    return (f"did you mean {near[0]!r}? " if near else "") + f"known are {', '.join(DATASETS)}"


def detect(path: str | Path) -> str:
    """Guess the kind of a file, a folder, or a bundled sample by name: a `data.kind`.

    Of several files, as `Request.files` has them, the first tells. Raises UserError where it does
    not exist, or is an npz of no known kind.
    """
    found = Request(str(path)).files()[0]
    if not found.exists():
        raise UserError(f"{found} does not exist; give a structure file, a table, or an npz")
    kind = next(spec.name for spec in DATASETS.values() if spec.recognises(found))
    if kind == StructureFiles.name and format_of(found) == "npz":
        raise UserError(
            f"{found} is an npz of no known kind; it has {', '.join(open_arrays(found))}; known "
            "are z, R, E, F of one molecule, as in rMD17, and n_atoms, z, pos, meta; or write "
            "extended XYZ, by ASE for example"
        )
    return kind


def find_source(text: str | Path) -> Source:
    """Read what a user gives as data: a file or bundled sample, else a set such as `qm9` by name.

    Raises UserError as `detect`.
    """
    name = str(text)
    if name in DATASETS and not Path(name).exists():
        return Source(DATASETS[name], None)
    return Source(DATASETS[detect(text)], name)
