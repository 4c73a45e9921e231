"""What data sets there are, how to get them, and what a file holds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from molequi.datasets.flat_file import load_npz, open_arrays
from molequi.datasets.frames import inspect_frames
from molequi.datasets.labels import LabelReport
from molequi.datasets.load import SAMPLES, describe_frames, find_data
from molequi.datasets.qm9 import PREPARED, default_root, load_qm9, prepare_qm9, qm9pack_folder
from molequi.datasets.qm9_sources import COLUMNS, Progress
from molequi.datasets.rmd17 import load_rmd17
from molequi.datasets.tables import inspect_table
from molequi.errors import UserError


@dataclasses.dataclass(frozen=True)
class DatasetEntry:
    """One data set. name: for `prepare` or `data.path`. where: its file, or how to get it. available: whether it is there now."""

    name: str
    description: str
    where: str
    available: bool


@dataclasses.dataclass(frozen=True)
class FileReport:
    """What a file holds. kind: what it is taken for. n_structures: 0 where unknown. labels: those of the property table. notes: plain lines."""

    path: str
    kind: str
    n_structures: int
    labels: LabelReport
    notes: tuple[str, ...] = ()


def describe_datasets(root: str | Path | None = None) -> list[DatasetEntry]:
    """List the bundled samples and the sets that `prepare` makes in `root`."""
    folder = default_root() if root is None else Path(root)
    prepared = folder / PREPARED
    source = "made from the installed qm9pack" if qm9pack_folder() else "from files, `pip install qm9pack`, or a download"
    full = DatasetEntry("qm9", "130,831 molecules, 15 properties, B3LYP/6-31G(2df,p), CC0", str(prepared), prepared.is_file())
    if not full.available:
        full = dataclasses.replace(full, where=f"molequi data prepare qm9 ({source})")
    trajectories = DatasetEntry("rmd17", "revised MD17, PBE/def2-SVP, CC0; give an npz with data.path", "doi 10.6084/m9.figshare.12672038", False)
    return [full, trajectories, *(DatasetEntry(name, text, path, find_data(path).is_file()) for name, (path, text) in SAMPLES.items())]


def prepare(name: str, root: str | Path | None = None, *, progress: Progress | None = None, offline: bool = False) -> Path:
    """Make the prepared file of a data set in `root` and return its path; a file that is there already is kept.

    Raises UserError for a set that cannot be prepared, or where no source is at hand.
    """
    if name.lower() != "qm9":
        hint = "; for rMD17 download the npz (doi 10.6084/m9.figshare.12672038) and set data.path" if name.lower() == "rmd17" else ""
        raise UserError(f"there is no data set {name!r} to prepare; known is qm9{hint}")
    return prepare_qm9(default_root() if root is None else root, progress=progress, offline=offline)


def inspect(path: str | Path) -> FileReport:
    """Say what a file holds and which labels of the property table are in it.

    Raises UserError for a file that is missing or of unknown kind.
    """
    found = find_data(path)
    if not found.exists():
        raise UserError(f"{found} does not exist; give a structure file, a table, or an npz")
    name = found.name.lower().removesuffix(".gz")
    if name.endswith((".csv", ".tsv")):
        report = inspect_table(found)
        return FileReport(str(path), "table", report.n_frames, report, report.warnings)
    if name.endswith(".npz"):
        return dataclasses.replace(_inspect_npz(found), path=str(path))
    if found.is_dir() or name.endswith((".tar.bz2", ".tar")):
        loaded = load_qm9(found)
        return FileReport(str(path), "QM9", len(loaded.frames), describe_frames(loaded.frames, "QM9"), _lines(loaded.notes))
    report = inspect_frames(found)
    return FileReport(str(path), "structures", report.n_frames, report, report.warnings)


def _inspect_npz(path: Path) -> FileReport:
    names = open_arrays(path, only=("meta", "R", "coords", *COLUMNS))
    if "meta" in names:
        loaded = load_npz(path)
        splits = {f"split {name}": len(rows) for name, rows in loaded.splits.items()}
        return FileReport(str(path), "flat npz", len(loaded.frames), describe_frames(loaded.frames, "npz"), _lines({**loaded.notes, **splits}))
    if "R" in names or "coords" in names:
        frames, _ = load_rmd17(path)
        return FileReport(str(path), "rMD17", len(frames), describe_frames(frames, "rMD17"))
    loaded = load_qm9(path)
    return FileReport(str(path), "QM9", len(loaded.frames), describe_frames(loaded.frames, "QM9"), _lines(loaded.notes))


def _lines(notes: dict[str, object]) -> tuple[str, ...]:
    return tuple(f"{key.replace('_', ' ')}: {value}" for key, value in notes.items())
