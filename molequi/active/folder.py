"""The folder of active learning: what belongs to it, where its rounds lie, and its table."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io import iread

from molequi.errors import UserError
from molequi.runtime.files import is_temporary, write_text
from molequi.runtime.locks import locked
from molequi.runtime.plain import plain, read_json
from molequi.training.run_directory import RunDirectory

# What a folder says that an --overwrite is emptying.
_EMPTIED = {"format": 1, "emptied": True}
# What folders do not say that an older version began.
_YOUNGER = frozenset({"labels"})
_FINGERPRINTS = frozenset({"structures", "data", "labels"})


def read_frames(path: Path) -> list[Atoms]:
    """Return all structures of a file of ours."""
    return list(iread(path, ":"))


class RoundFolder:
    """The files of one round, in the order in which they come."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.limit = path / "limit.json"
        self.dynamics = path / "dynamics.xyz"
        self.picked = path / "picked.xyz"
        self.labels = path / "labels.xyz"
        self.split = path / "split.json"
        self.training = RunDirectory(path / "training")


class ActiveFolder:
    """A folder that the same command goes on in. rounds.csv has a row for each finished round."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings = path / "active.json"
        self.table = path / "rounds.csv"
        self.labelled = path / "labelled.xyz"
        self.model = path / "model.safetensors"

    def round(self, number: int) -> RoundFolder:
        """Return the place of a round, from 1; 0 is what was trained before the first."""
        return RoundFolder(self.path / f"round-{number:02}")

    @contextlib.contextmanager
    def held(self, identity: Mapping[str, Any], *, overwrite: bool) -> Iterator[None]:
        """Keep others out of the folder for a while, which is made where it is missing.

        identity: what must agree for a run to go on. overwrite: forget what is there. Raises
        UserError where something else is in the way, or a run of other settings.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with locked(self.path):
            if not self.settings.is_file():
                self._refuse_occupied()
            elif overwrite:
                self._clear()
            if self.settings.is_file():
                self._refuse_other(plain(identity))
            else:
                text = json.dumps(plain(identity), indent=1, ensure_ascii=False)
                write_text(self.settings, text)
            yield

    def _refuse_occupied(self) -> None:
        if any(not is_temporary(path) for path in self.path.iterdir()):
            raise UserError(f"the folder {self.path} holds something else; give another --output")

    def _refuse_other(self, identity: Mapping[str, Any]) -> None:
        found = read_json(self.settings)
        if found == _EMPTIED:
            raise UserError(
                f"{self.path} was being emptied by an --overwrite that was interrupted; give "
                "--overwrite again"
            )
        for name, value in identity.items():
            was = found.get(name) if isinstance(found, dict) else None
            if was is None and name in _YOUNGER:
                continue
            if was != value:
                raise UserError(
                    f"{self.path} was begun with {_told(name, was, value)}; give the same, "
                    "another --output, or --overwrite, which forgets its labels"
                )

    def _clear(self) -> None:
        """Remove what active learning has left here, and nothing else.

        What is left where that is interrupted is gone on with by nobody.
        """
        write_text(self.settings, json.dumps(_EMPTIED))
        for folder in self.path.glob("round-[0-9]*"):
            shutil.rmtree(folder)
        for path in (self.table, self.labelled, self.model, self.settings):
            path.unlink(missing_ok=True)

    def rows(self) -> list[dict[str, str]]:
        """Return the table as text."""
        if not self.table.is_file():
            return []
        return list(csv.DictReader(io.StringIO(self.table.read_text(encoding="utf-8"))))

    def add_row(self, row: Mapping[str, Any]) -> None:
        """Add a row to the table, whole or not at all."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(row), lineterminator="\n")
        writer.writeheader()
        writer.writerows([*self.rows(), row])
        write_text(self.table, text.getvalue())


def _told(name: str, was: object, value: object) -> str:
    """Word the first place where two entries differ; fingerprints tell a reader nothing."""
    if name in _FINGERPRINTS:
        return f"other {name}"
    if isinstance(was, Mapping) and isinstance(value, Mapping):
        for key in {**was, **value}:
            if was.get(key) != value.get(key):
                return _told(f"{name}.{key}", was.get(key), value.get(key))
    return f"{name} {_short(was)}, now it is {_short(value)}"


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 80 else f"{text[:77]}..."
