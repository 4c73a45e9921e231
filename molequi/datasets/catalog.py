"""What data sets there are, how to get them, and what a file holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch

from molequi.datasets.chirality.ecd import load_ecd
from molequi.datasets.chirality.labelled_sets import load_alanine
from molequi.datasets.chirality.rosenfeld import read_tensors, tensor_targets
from molequi.datasets.formats.extxyz import inspect_frames
from molequi.datasets.formats.labels import Label, LabelReport
from molequi.datasets.formats.tables import inspect_table
from molequi.datasets.load import describe_frames
from molequi.datasets.npz import load_npz, open_arrays
from molequi.datasets.qm9.qm9 import PREPARED, default_root, load_qm9, prepare_qm9, qm9pack_folder
from molequi.datasets.qm9.sources import COLUMNS, Progress
from molequi.datasets.registry import SAMPLES, SETS, find_data, prepare_set
from molequi.datasets.rmd17 import load_rmd17
from molequi.errors import UserError
from molequi.properties import PROPERTIES


@dataclasses.dataclass(frozen=True)
class DatasetEntry:
    """One data set. name: for `prepare` or `data.path`. where.

    Its file, or how to get it. available: whether it is there now.
    """

    name: str
    description: str
    where: str
    available: bool


@dataclasses.dataclass(frozen=True)
class FileReport:
    """What a file holds. kind: what it is taken for. n_structures: 0 where unknown. labels.

    Those of the property table. notes: plain lines.
    """

    path: str
    kind: str
    n_structures: int
    labels: LabelReport
    notes: tuple[str, ...] = ()


def describe_datasets(root: str | Path | None = None) -> list[DatasetEntry]:
    """List the bundled samples and the sets that `prepare` makes in `root`."""
    folder = default_root() if root is None else Path(root)
    prepared = folder / PREPARED
    source = (
        "made from the installed qm9pack"
        if qm9pack_folder()
        else "from files, `pip install qm9pack`, or a download"
    )
    full = DatasetEntry(
        "qm9",
        "130,831 molecules, 15 properties, B3LYP/6-31G(2df,p), CC0",
        str(prepared),
        prepared.is_file(),
    )
    if not full.available:
        full = dataclasses.replace(full, where=f"molequi data prepare qm9 ({source})")
    trajectories = DatasetEntry(
        "rmd17",
        "revised MD17, PBE/def2-SVP, CC0; give an npz with data.path",
        "doi 10.6084/m9.figshare.12672038",
        False,
    )
    named = [_named(name, folder) for name in SETS]
    return [
        full,
        trajectories,
        *named,
        *(
            DatasetEntry(name, text, path, find_data(path).is_file())
            for name, (path, text) in SAMPLES.items()
        ),
    ]


def _named(name: str, folder: Path) -> DatasetEntry:
    path = folder / f"{name}.npz"
    where = (
        str(path)
        if path.is_file()
        else f"molequi data prepare {name} --source {SETS[name].file}{' --structures QM9' * SETS[name].joins_qm9}"
    )
    return DatasetEntry(name, SETS[name].description, where, path.is_file())


def prepare(
    name: str,
    root: str | Path | None = None,
    *,
    sources: Sequence[str | Path] = (),
    structures: str | Path | None = None,
    progress: Progress | None = None,
    offline: bool = False,
) -> Path:
    """Make the prepared file of a data set in `root` and return its path.

    A file that is there already is kept.

    sources, structures: as in `named_sets.prepare_set`, for the sets that are made from a file of
    their own.
    Raises UserError for a set that cannot be prepared, or where no source is at hand.
    """
    folder = default_root() if root is None else Path(root)
    if name.lower() in SETS:
        return prepare_set(name.lower(), folder, sources, structures)
    if name.lower() != "qm9":
        hint = (
            "; for rMD17 download the npz (doi 10.6084/m9.figshare.12672038) and set data.path"
            if name.lower() == "rmd17"
            else ""
        )
        raise UserError(
            f"there is no data set {name!r} to prepare; known is qm9, {', '.join(SETS)}{hint}"
        )
    if sources or structures:
        raise UserError(
            "--source and --structures belong to the sets of handed molecules; QM9 is found in the "
            "folder --root"
        )
    return prepare_qm9(folder, progress=progress, offline=offline)


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
    if name.endswith(".json"):
        return _inspect_ecd(str(path), found)
    if found.is_dir() or name.endswith((".tar.bz2", ".tar")):
        loaded = load_qm9(found)
        return FileReport(
            str(path),
            "QM9",
            len(loaded.frames),
            describe_frames(loaded.frames, "QM9"),
            _lines(loaded.notes),
        )
    report = inspect_frames(found)
    return FileReport(str(path), "structures", report.n_frames, report, report.warnings)


def _inspect_npz(path: Path) -> FileReport:
    names = open_arrays(path, only=("meta", "R", "coords", "E", "split", "beta", *COLUMNS))
    if "meta" in names:
        loaded = load_npz(path)
        splits = {f"split {name}": len(rows) for name, rows in loaded.splits.items()}
        return FileReport(
            str(path),
            "flat npz",
            len(loaded.frames),
            describe_frames(loaded.frames, "npz"),
            _lines({**loaded.notes, **splits}),
        )
    if "beta" in names:
        return _inspect_rosenfeld(path)
    if "R" in names and "split" in names and "E" not in names:
        alanine = load_alanine(path)
        parts = {f"split {name}": len(rows) for name, rows in alanine.splits.items()}
        return FileReport(
            str(path),
            "alanine",
            len(alanine.frames),
            describe_frames(alanine.frames, "alanine"),
            _lines({**alanine.notes, **parts}),
        )
    if "R" in names or "coords" in names:
        frames, _ = load_rmd17(path)
        return FileReport(str(path), "rMD17", len(frames), describe_frames(frames, "rMD17"))
    loaded = load_qm9(path)
    return FileReport(
        str(path),
        "QM9",
        len(loaded.frames),
        describe_frames(loaded.frames, "QM9"),
        _lines(loaded.notes),
    )


def _inspect_rosenfeld(path: Path) -> FileReport:
    """Report the tensors without their geometries, which stand in QM9."""
    arrays = read_tensors(path)
    n_molecules = len(arrays["index"])
    stored = {"rosenfeld": "beta", "rosenfeld_isotropic": "beta", "polarizability": "alpha"}
    rows = []
    for name, values in tensor_targets(arrays).items():
        low, high = torch.aminmax(values)
        rows.append(
            Label(
                name,
                stored.get(name, name),
                "array",
                n_molecules,
                PROPERTIES[name].unit,
                float(low),
                float(values.mean()),
                float(high),
            )
        )
    note = "geometries are those of QM9: data.kind=rosenfeld joins them (data.structures)"
    return FileReport(
        str(path),
        "Rosenfeld tensors",
        n_molecules,
        LabelReport(tuple(rows), (), n_molecules, {}),
        (note,),
    )


def _inspect_ecd(name: str, path: Path) -> FileReport:
    molecules = load_ecd(path)
    n_states = sum(len(molecule.energies) for molecule in molecules)
    note = f"{n_states} excited states with electric and magnetic transition dipoles (molequi.datasets.load_ecd)"
    return FileReport(
        name, "ECD reference", len(molecules), LabelReport((), (), len(molecules), {}), (note,)
    )


def _lines(notes: dict[str, object]) -> tuple[str, ...]:
    return tuple(f"{key.replace('_', ' ')}: {value}" for key, value in notes.items())
