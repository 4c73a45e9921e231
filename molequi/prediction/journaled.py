"""Predictions to a file, in constant memory: each stands in a journal until all are whole.

A run that was interrupted goes on with its journal: the answers that are there are taken as far as
they belong to the structures that come now, and the rest is computed, in the same batches.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms

from molequi.errors import RunInterruptedError, UserError
from molequi.models.freeze import FrozenModel, Work
from molequi.runtime.journal import Entry, LineJournal, journal_path, remove_journals
from molequi.runtime.plain import plain
from molequi.runtime.signals import SignalWatch
from molequi.runtime.wording import counted
from molequi.structures.structure import Structure
from molequi.structures.writers import format_of_output, write_pieces
from molequi.version import __version__

_FORMAT = 1
_NUMBERS = {"atomic_numbers": np.int64}  # other arrays are of floats


class Prediction(NamedTuple):
    """The record of one structure, and the structure with its results for a file.

    `atoms` is None where the record holds an error.
    """

    record: dict[str, Any]
    atoms: Atoms | None


def written(
    batches: Iterable[list[Structure]],
    compute: Callable[[list[Structure]], Iterator[Prediction]],
    model: FrozenModel,
    output: Path,
    settings: Mapping[str, Any],
    command: str = "predict",
    *,
    overwrite: bool = False,
) -> Iterator[dict[str, Any]]:
    """Yield the record of every structure; with the last one the output appears.

    compute: a batch to its predictions. settings: what else the answers depend on. command: of
    `molequi`, which the journal is of. overwrite: whether an output may be there.
    Nothing is written where every structure failed. Raises RunInterruptedError where a signal came,
    with all answers so far in the journal.
    """
    identity = identity_of(model, settings)
    n_done = n_good = 0
    path = journal_path(output)
    with LineJournal(path, identity, f"molequi {command}", discard=True) as journal:
        journal.refuse_late(output, may_replace=overwrite)
        known = Known(journal)
        with SignalWatch() as watch:
            for batch in batches:
                if watch.number:
                    kept = f"{counted(n_done, 'structure')} {'is' if n_done == 1 else 'are'}"
                    raise RunInterruptedError(
                        f"{command} stopped by {watch.name}; {kept} in {path}, the same command "
                        "goes on",
                        watch.number,
                    )
                for record in answers(batch, known, compute, model, output):
                    n_done, n_good = n_done + 1, n_good + ("error" not in record)
                    yield record
        known.end()
        if n_good:
            write_pieces(output, lambda: (line.entry["piece"] for line in journal.lines()))
        remove_journals(output)


def identity_of(model: FrozenModel, settings: Mapping[str, Any]) -> Entry:
    """Return what all answers of a journal share: the model, and `settings`."""
    return {
        "format": _FORMAT, "version": __version__, "model": model.metadata.name,
        "weights": model.digest(), "device": str(model.device), "kernels": model.kernels,
        **settings,
    }  # fmt: skip


def answers(
    batch: list[Structure],
    known: Known,
    compute: Callable[[list[Structure]], Iterator[Prediction]],
    model: FrozenModel,
    output: Path,
    mark: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[dict[str, Any]]:
    """Yield the records of a batch, from the journal where it has all of them.

    mark: what each line of the journal says besides.
    """
    names = [_name_of(structure) for structure in batch]
    entries = known.take(names)
    if entries is not None:
        model.go_on_from(Work(*entries[-1]["work"]))
        yield from (
            restored(entry["record"] if "record" in entry else entry["piece"]) for entry in entries
        )
        return
    piece_of = format_of_output(output).piece_of
    predictions = list(compute(batch))
    for name, (record, atoms) in zip(names, predictions, strict=True):
        piece, shown = piece_of(record, atoms, model.properties), plain(record)
        entry = {"name": name, "work": model.work, "piece": piece, **mark}
        known.journal.append(entry if piece == shown else {**entry, "record": shown})
    yield from (prediction.record for prediction in predictions)


class Known:
    """The answers of an earlier run, as long as they are those that are asked for."""

    def __init__(self, journal: LineJournal) -> None:
        self.journal = journal
        self._lines = journal.lines()
        self._end: int | None = None
        self._is_over = False

    def take(self, names: Sequence[str]) -> list[Entry] | None:
        """Return the answers of a batch; None, now and ever after, where they are not all there."""
        if self._is_over:
            return None
        try:
            lines = list(islice(self._lines, len(names)))
        except UserError:  # a damaged line: from there on everything is computed again
            lines = []
        if [line.entry.get("name") for line in lines] != names:
            self.end()
            return None
        self._end = lines[-1].end
        return [line.entry for line in lines]

    def end(self) -> None:
        """Take back the answers that nobody asked for."""
        if not self._is_over:
            self._is_over = True
            self.journal.cut(self._end)


def _name_of(structure: Structure) -> str:
    """Return a name that differs wherever the question, or what is written of it, differs."""
    told: dict[str, Any] = {**structure.labels(), "error": structure.error}
    found = hashlib.sha256()
    if structure.atoms is not None:
        atoms = structure.atoms
        told["info"] = atoms.info
        told["constraints"] = [constraint.todict() for constraint in atoms.constraints]
        for name, array in sorted(atoms.arrays.items()):
            is_number = array.dtype.kind in "biuf"
            found.update(name.encode() + (array.tobytes() if is_number else str(array).encode()))
        found.update(np.asarray(atoms.cell).tobytes() + np.asarray(atoms.pbc).tobytes())
    found.update(json.dumps(plain(told)).encode())
    return found.hexdigest()[:24]


def restored(record: dict[str, Any]) -> dict[str, Any]:
    """Give a record that was written as JSON its arrays again."""
    return {
        name: np.asarray(value, dtype=_NUMBERS.get(name, np.float64))
        if isinstance(value, list)
        else value
        for name, value in record.items()
    }
