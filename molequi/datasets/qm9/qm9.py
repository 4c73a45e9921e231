"""QM9: 130,831 small organic molecules with 15 properties at B3LYP/6-31G(2df,p)."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from molequi.datasets.array_files import array_names
from molequi.datasets.base import DatasetEntry, Request
from molequi.datasets.download import fetch
from molequi.datasets.labelled_set import LabelledSet
from molequi.datasets.making import make_frames
from molequi.datasets.npz import is_flat, load_npz, save_npz
from molequi.datasets.places import default_root
from molequi.datasets.prepared import PreparedSet, Progress, one_file, preparing
from molequi.datasets.qm9.columns import COLUMN_OF, QM9_PROPERTIES
from molequi.datasets.qm9.sources import (
    COLUMNS,
    RawQM9,
    find_qm9_source,
    parse_uncharacterized,
    read_qm9_source,
)
from molequi.datasets.report import describe_frames
from molequi.errors import UserError
from molequi.runtime import resources
from molequi.structures.deepmd import is_deepmd
from molequi.structures.formats import format_of

_LOG = logging.getLogger(__name__)
PREPARED = "qm9.npz"
ARCHIVE = "dsgdb9nsd.xyz.tar.bz2"
# doi 10.6084/m9.figshare.978904; md5 as figshare states it.
_ARCHIVE_MD5 = "ad1ebd51ee7f5b3a6e32e974e5d54012"
_ARCHIVE_MIRRORS = (
    "https://ndownloader.figshare.com/files/3195389",
    "https://springernature.figshare.com/ndownloader/files/3195389",
    "https://paddle-org.bj.bcebos.com/paddlematerials/datasets/qm9/dsgdb9nsd.xyz.tar.bz2",
)
_N_UNCHARACTERIZED = 3054


def load_qm9(path: str | Path | None = None, *, progress: Progress | None = None) -> LabelledSet:
    """Load QM9 from a prepared npz or any form that `read_qm9_source` knows.

    The uncharacterized molecules are removed.

    Without `path` the prepared file in `default_root()` is taken, or made from an installed
    qm9pack.
    Raises UserError that says how to get the data.
    """
    if path is None:
        return load_npz(_prepared(progress))
    path = Path(path)
    if not path.exists():
        raise UserError(
            f"{path} does not exist; expected {PREPARED} made by `molequi data prepare qm9`, or "
            "QM9's own files"
        )
    if path.is_dir() and (path / PREPARED).is_file():
        path = path / PREPARED
    if is_flat(path):
        return load_npz(path)
    source = (find_qm9_source(path) or path) if path.is_dir() else path
    return to_labelled(
        read_qm9_source(source, progress),
        uncharacterized(source if source.is_dir() else source.parent),
    )


def _prepared(progress: Progress | None) -> Path:
    """Return the prepared file, made from an installed qm9pack where it is not there yet."""
    prepared = default_root() / PREPARED
    if prepared.is_file():
        return prepared
    if qm9pack_folder() is None:
        raise UserError(
            f"QM9 is not prepared ({prepared} does not exist); run `molequi data prepare qm9`, "
            "or name its files with data.path=FILE"
        )
    return prepare_qm9(default_root(), progress=progress)


def prepare_qm9(
    root: str | Path, *, progress: Progress | None = None, offline: bool = False
) -> Path:
    """Make the prepared npz in `root`: from files there, from an installed qm9pack, or a download.

    A prepared file that is there already is kept. Raises UserError where no source is found.
    """
    root = Path(root)
    target = root / PREPARED
    if is_flat(target):
        return target
    source = find_qm9_source(root) or qm9pack_folder()
    if source is None and offline:
        raise UserError(_no_source(root, "no download was asked for"))
    with preparing(root):
        if not is_flat(target):  # another run may have made it meanwhile
            source = find_qm9_source(root) or source or _downloaded(root)
            _LOG.info("reading QM9 from %s", source)
            loaded = load_qm9(source, progress=progress)
            save_npz(loaded.frames, target, notes=loaded.notes, compress=False)
    return target


def _downloaded(root: Path) -> Path:
    try:
        return fetch(_ARCHIVE_MIRRORS, root / ARCHIVE, md5=_ARCHIVE_MD5)
    except UserError as error:
        raise UserError(_no_source(root, str(error))) from error


def to_labelled(raw: RawQM9, removed: np.ndarray) -> LabelledSet:
    """Convert to the units of the property table, without the molecules numbered in `removed`."""
    bad = np.isin(raw.index, removed)
    rows = np.flatnonzero(~bad)
    everything = make_frames(
        torch.from_numpy(raw.pos),
        torch.from_numpy(raw.z),
        torch.from_numpy(raw.n_atoms),
        targets={
            name: torch.from_numpy(raw.columns[column.name] * column.factor)
            for name, column in COLUMN_OF.items()
        },
        properties=QM9_PROPERTIES,
        source=[f"gdb {number}" for number in raw.index],
    )
    frames = everything.subset(torch.from_numpy(rows)) if bad.any() else everything
    absent = len(removed) - int(bad.sum())
    counts = {
        "molecules": len(frames),
        "uncharacterized_removed": int(bad.sum()),
        "uncharacterized_absent": absent,
    }
    notes = {"set": "QM9", "level": "B3LYP/6-31G(2df,p)", "licence": "CC0", **counts}
    _LOG.info(
        "QM9: %s", ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
    )
    return LabelledSet(frames, describe_frames(frames, "QM9"), notes=notes)


def uncharacterized(folder: Path) -> np.ndarray:
    """Return the numbers of the molecules that failed QM9's consistency check.

    The list in `folder`, else the bundled one.
    """
    path = folder / "uncharacterized.txt"
    if not path.is_file():
        path = resources.data_path("samples/qm9_uncharacterized.txt")
    numbers = parse_uncharacterized(path.read_text(encoding="utf-8", errors="replace"))
    if len(numbers) != _N_UNCHARACTERIZED:
        raise UserError(
            f"{path} names {len(numbers)} molecules; QM9's list of uncharacterized molecules has "
            f"{_N_UNCHARACTERIZED}"
        )
    return numbers


def qm9pack_folder() -> Path | None:
    """Return the data folder of an installed qm9pack, or None.

    The package is not imported, for it needs an old setuptools.
    """
    found = importlib.util.find_spec("qm9pack")
    for place in (found.submodule_search_locations or ()) if found else ():
        folder = Path(place) / "data"
        if find_qm9_source(folder) == folder:
            return folder
    return None


def _no_source(root: Path, why: str) -> str:
    return (
        f"QM9 is not at hand: no files in {root}, qm9pack is not installed, and {why}; run "
        f"`pip install qm9pack`, or put {ARCHIVE} into {root}"
    )


class Qm9(PreparedSet):
    """The whole of QM9, in whatever form it lies on the disk."""

    name = "qm9"
    description = "130,831 molecules, 15 properties, B3LYP/6-31G(2df,p), CC0"
    targets = tuple(QM9_PROPERTIES)
    file = ARCHIVE
    has_official_split = False

    def recognises(self, path: Path) -> bool:
        """Recognise an archive, a folder but a DeePMD-kit system, and an npz with QM9's columns."""
        if format_of(path) in {"archive", "folder"}:
            return not is_deepmd(path)
        return {"index", *COLUMNS} <= array_names(path)

    def read(self, request: Request) -> LabelledSet:
        """Read the prepared file, or any form; see `load_qm9`."""
        return load_qm9(None if request.path is None else request.file())

    def read_source(self, paths: Sequence[Path], structures: str | Path | None) -> LabelledSet:
        """Read any form."""
        return load_qm9(one_file(paths, self.name))

    def prepare(
        self,
        folder: Path,
        sources: Sequence[str | Path] = (),
        structures: str | Path | None = None,
        *,
        progress: Progress | None = None,
        offline: bool = False,
    ) -> Path:
        """Make the prepared file from what lies in `folder`, from qm9pack or from a download."""
        if sources or structures:
            raise UserError(
                "--source and --structures belong to sets that are made from files of their own; "
                "QM9 is found in the folder --root"
            )
        return prepare_qm9(folder, progress=progress, offline=offline)

    def entry(self, folder: Path) -> DatasetEntry:
        """Return the prepared file, or how to make it."""
        path = self.prepared(folder)
        source = (
            "made from the installed qm9pack"
            if qm9pack_folder()
            else "from files, `pip install qm9pack`, or a download"
        )
        where = str(path) if path.is_file() else f"molequi data prepare qm9 ({source})"
        return DatasetEntry(self.name, self.description, where, path.is_file())
