"""Sets that are made once into a file which loads in seconds."""

from __future__ import annotations

import abc
import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from molequi.datasets.base import DatasetEntry, DatasetSpec, Request
from molequi.datasets.labelled_set import LabelledSet
from molequi.datasets.npz import is_flat, load_npz, save_npz
from molequi.datasets.places import default_root
from molequi.errors import UserError
from molequi.runtime.locks import locked

_LOG = logging.getLogger(__name__)
Progress = Callable[[int], None]


class PreparedSet(DatasetSpec):
    """A set that `molequi data prepare NAME` makes into a flat npz, which loads in seconds."""

    file: ClassVar[str]
    """The usual name of the file that it is made from."""
    has_official_split = True

    @abc.abstractmethod
    def read_source(self, paths: Sequence[Path], structures: str | Path | None) -> LabelledSet:
        """Read the set's own file or files; `structures` is QM9 where it joins it."""

    def prepared(self, folder: Path) -> Path:
        """Return the path of the prepared file."""
        return folder / f"{self.name}.npz"

    def read(self, request: Request) -> LabelledSet:
        """Read the prepared file, or the set's own.

        Raises UserError where it is not prepared, or a prepared file is that of another set.
        """
        paths = [self.prepared(default_root())] if request.path is None else request.files()
        if request.path is None and not paths[0].is_file():
            advice = f"run `molequi data prepare {self.name} --source {self.file}`"
            raise UserError(
                f"{self.name} is not prepared ({paths[0]} does not exist); {advice}, or set "
                "data.path"
            )
        if len(paths) > 1 or not is_flat(paths[0]):
            return self.read_source(paths, request.structures)
        loaded = load_npz(paths[0])
        if loaded.notes.get("set") != self.name:
            raise UserError(
                f"{paths[0]} is no prepared {self.name} but "
                f"{loaded.notes.get('set', 'a flat npz of other data')}; take data.kind=npz"
            )
        return loaded

    def prepare(
        self,
        folder: Path,
        sources: Sequence[str | Path] = (),
        structures: str | Path | None = None,
        *,
        progress: Progress | None = None,
        offline: bool = False,
    ) -> Path:
        """Make the prepared file in `folder` from `sources`, or from the usual file in `folder`.

        Without sources a prepared file that is there already is kept. progress: called with the
        number of molecules read so far. offline: nothing is downloaded. Raises UserError where no
        source is at hand.
        """
        target = self.prepared(folder)
        if not sources and target.is_file():
            return target
        paths = [
            Path(source) / self.file if Path(source).is_dir() else Path(source)
            for source in sources or (folder,)
        ]
        for path in paths:
            if not path.is_file():
                raise UserError(
                    f"{self.name} is made from {self.file}, which is not at {path}; give it with "
                    f"--source FILE, or put it into {folder}"
                )
        with preparing(folder):
            if sources or not target.is_file():  # another run may have made it meanwhile
                self._make(target, paths, structures)
        return target

    def _make(self, target: Path, paths: Sequence[Path], structures: str | Path | None) -> None:
        loaded = self.read_source(paths, structures)
        for failure in loaded.failures:
            _LOG.warning("skipped %s", failure)
        save_npz(
            loaded.frames, target, splits=loaded.splits, notes=loaded.notes, groups=loaded.groups
        )

    def entry(self, folder: Path) -> DatasetEntry:
        """Return the prepared file, or how to make it."""
        path = self.prepared(folder)
        joined = " --structures QM9" if self.joins_qm9 else ""
        how = f"molequi data prepare {self.name} --source {self.file}{joined}"
        where = str(path) if path.is_file() else how
        return DatasetEntry(self.name, self.description, where, path.is_file())


@contextlib.contextmanager
def preparing(folder: Path) -> Iterator[None]:
    """Make the folder of prepared sets, and let one run at a time work there; others wait."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, wait=True):
        yield


def one_file(paths: Sequence[Path], name: str) -> Path:
    """Return the only path. Raises UserError for several."""
    if len(paths) > 1:
        raise UserError(f"{name} is read from one file, but {len(paths)} were given")
    return paths[0]
