"""The journal of a labelling run.

One line per molecule, appended as soon as it is computed, so that nothing is computed twice.

A line is found again by what was computed (elements, positions, charge, multiplicity), not by its
place among the inputs, so an interrupted run may go on with more inputs, or the same in another
order.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from molequi.errors import UserError
from molequi.labeling.levels import Molecule
from molequi.runtime.locks import lock

FORMAT = 1
Entry = dict[str, Any]


def journal_path(output: Path) -> Path:
    """Return the place of an output's journal, beside it."""
    return output.with_name(f"{output.name}.journal")


def name_of(molecule: Molecule) -> str:
    """Return a name that differs wherever the question differs."""
    numbers, positions = np.asarray(molecule.numbers, "<i8"), np.asarray(molecule.positions, "<f8")
    rest = np.array([molecule.charge, molecule.multiplicity], "<i8")
    return hashlib.sha256(numbers.tobytes() + positions.tobytes() + rest.tobytes()).hexdigest()[:24]


class Journal:
    """Answers on disk. path: of the journal. identity: what all its answers share.

    Another identity is refused, and a journal that another run is writing.

    Use as a context manager.
    """

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self.path, self.identity = path, {"format": FORMAT, **identity}
        self.answers: dict[str, Entry] = {}
        self._file = path.open("a", encoding="utf-8")
        try:
            lock(self._file.fileno(), path)
            if self._file.tell():
                self._read()
        except UserError:
            self._file.close()
            raise
        if not path.stat().st_size:
            self._write(self.identity)

    def add(self, name: str, answer: Entry) -> None:
        """Append an answer; it is with the operating system when this returns."""
        self.answers[name] = answer
        self._write({"molecule": name, **answer})

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def _write(self, entry: Entry) -> None:
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()

    def _read(self) -> None:
        """Take in the answers; a last line that a killed process left unfinished is cut off."""
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        lines = whole.decode("utf-8", errors="replace").splitlines()
        try:
            entries = [json.loads(line) for line in lines]
            self.answers = {entry.pop("molecule"): entry for entry in entries[1:]}
        except (ValueError, KeyError, AttributeError) as error:
            raise UserError(
                f"{self.path} is no journal of molequi label ({error}); remove it or give another "
                "output"
            ) from error
        if entries and entries[0] != self.identity:
            changed = [key for key in self.identity if entries[0].get(key) != self.identity[key]]
            was, now = (
                {key: source.get(key) for key in changed} for source in (entries[0], self.identity)
            )
            raise UserError(
                f"{self.path} was written for {was}, not {now}; use the same settings, "
                "--overwrite, or another output"
            )
        if len(whole) < len(data):
            with self.path.open("r+b") as file:
                file.truncate(len(whole))
