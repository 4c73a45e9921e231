"""The journal of a labelling run.

One line per molecule, appended as soon as it is computed, so that nothing is computed twice.

A line is found again by what was computed (elements, positions, charge, multiplicity), not by its
place among the inputs, so an interrupted run may go on with more inputs, or the same in another
order.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from molequi.errors import UserError
from molequi.labeling.levels import Molecule
from molequi.runtime.journal import Entry, LineJournal

FORMAT = 1


def name_of(molecule: Molecule) -> str:
    """Return a name that differs wherever the question differs."""
    numbers, positions = np.asarray(molecule.numbers, "<i8"), np.asarray(molecule.positions, "<f8")
    rest = np.array([molecule.charge, molecule.multiplicity], "<i8")
    return hashlib.sha256(numbers.tobytes() + positions.tobytes() + rest.tobytes()).hexdigest()[:24]


def _is_answer(entry: Entry) -> bool:
    """Tell whether an entry is an answer as `workers` give it."""
    return isinstance(entry.get("error"), str) or isinstance(entry.get("values"), dict)


class Journal:
    """Answers on disk. path: of the journal. identity: what all its answers share.

    Another identity is refused, and a journal that another run is writing.

    Use as a context manager.
    """

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self.path, self.identity = path, {"format": FORMAT, **identity}
        self._lines = LineJournal(path, self.identity, "molequi label")
        self.answers: dict[str, Entry] = {}
        try:
            for entry, _ in self._lines.lines():
                name = entry.pop("molecule", None)
                if not isinstance(name, str) or not _is_answer(entry):
                    raise UserError(
                        f"{path} is no journal of molequi label (a line is no answer for a "
                        "molecule); remove it or give another output"
                    )
                self.answers[name] = entry
        except UserError:
            self._lines.close()
            raise

    def add(self, name: str, answer: Entry) -> None:
        """Append an answer; it is with the operating system when this returns."""
        self.answers[name] = answer
        self._lines.append({"molecule": name, **answer})

    def refuse_late(self, output: Path, *, may_replace: bool) -> None:
        """Raise UserError as `LineJournal.refuse_late`."""
        self._lines.refuse_late(output, may_replace=may_replace)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_error: object) -> None:
        self._lines.close()
