"""What data sets there are, how to get them, and what a file holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from molequi.datasets.base import DatasetEntry, FileReport
from molequi.datasets.places import SAMPLES, default_root, find_data
from molequi.datasets.prepared import PreparedSet, Progress
from molequi.datasets.registry import all_datasets, detect, get_dataset
from molequi.errors import UserError


def describe_datasets(root: str | Path | None = None) -> list[DatasetEntry]:
    """List the sets, prepared in `root` or how to get them, and the bundled samples."""
    folder = default_root() if root is None else Path(root)
    entries = [spec.entry(folder) for spec in all_datasets().values()]
    samples = [
        DatasetEntry(name, sample.description, sample.path, find_data(sample.path).is_file())
        for name, sample in SAMPLES.items()
    ]
    return [entry for entry in entries if entry is not None] + samples


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

    A file that is there already is kept. Other arguments as in `PreparedSet.prepare`. Raises
    UserError for a set that cannot be prepared, or where no source is at hand.
    """
    spec = all_datasets().get(name.lower())
    if isinstance(spec, PreparedSet):
        folder = default_root() if root is None else Path(root)
        return spec.prepare(folder, sources, structures, progress=progress, offline=offline)
    entry = None if spec is None else spec.entry(Path())
    hint = "" if entry is None else f"; for {name} set data.path to its file ({entry.where})"
    raise UserError(
        f"there is no data set {name!r} to prepare; known is {', '.join(prepared_names())}{hint}"
    )


def prepared_names() -> list[str]:
    """Return the names of the sets that can be prepared."""
    return [name for name, spec in all_datasets().items() if isinstance(spec, PreparedSet)]


def inspect(path: str | Path) -> FileReport:
    """Say what a file holds and which labels of the property table are in it.

    Raises UserError for a file that is missing or of unknown kind.
    """
    report = get_dataset(detect(path)).inspect(find_data(path))
    return dataclasses.replace(report, path=str(path))
