"""One prediction by several processes: each computes every n-th batch, the first joins them.

Every process reads all structures and parts them into the same batches, and counts the work of the
others' batches as its own, so that each batch is computed by the kernels that one process alone
would have used: the output is the same, byte for byte, where all use as many threads. What each has
computed stands in a journal of its own beside the output.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from molequi.errors import RunInterruptedError, UserError
from molequi.models.freeze import FrozenModel
from molequi.prediction.journaled import Known, Prediction, answers, identity_of, restored
from molequi.runtime.journal import (
    Entry,
    LineJournal,
    journal_path,
    part_path,
    remove_journals,
)
from molequi.runtime.locks import refuse_locked
from molequi.runtime.ranks import Rank, meet, together
from molequi.runtime.signals import SignalWatch
from molequi.structures.structure import Structure
from molequi.structures.writers import write_pieces

_COMMAND = "molequi predict"


class Task(NamedTuple):
    """What is done with a batch: computed here, or counted because another process computes it."""

    compute: Callable[[list[Structure]], Iterator[Prediction]]
    pass_over: Callable[[list[Structure]], None]


def written_together(
    batches: Iterable[list[Structure]],
    task: Task,
    model: FrozenModel,
    output: Path,
    settings: Mapping[str, Any],
    rank: Rank,
    progress: Callable[[int], None] | None = None,
) -> Iterator[dict[str, Any]]:
    """Compute this process's part; in the first one yield all records when the output is there.

    progress: called with the number of structures that have passed. Raises RunInterruptedError
    where a signal came; the same command, with as many processes, goes on.
    """
    with together(rank):
        path = part_path(output, *rank)
        with LineJournal(path, _identity(model, settings, rank), _COMMAND, discard=True) as journal:
            refuse_locked(journal_path(output))  # of a run in one process
            n_structures = _compute_part(
                batches, task, model, output, rank, Known(journal), progress
            )
            journal.append({"end": n_structures})
        meet()
        if rank.number == 0:
            yield from _joined(model, output, settings, rank, n_structures)


def _identity(model: FrozenModel, settings: Mapping[str, Any], rank: Rank) -> Entry:
    # Processes of one machine have a GPU each: which one makes no difference.
    return {**identity_of(model, settings), "device": model.device.type, "process": list(rank)}


def _compute_part(
    batches: Iterable[list[Structure]],
    task: Task,
    model: FrozenModel,
    output: Path,
    rank: Rank,
    known: Known,
    progress: Callable[[int], None] | None,
) -> int:
    """Write the answers of every n-th batch to the journal; return the number of structures."""
    n_structures = 0
    with SignalWatch() as watch:
        for number, batch in enumerate(batches):
            if watch.number:
                raise RunInterruptedError(
                    f"predict stopped by {watch.name}; what process {rank.number + 1} of {rank.of} "
                    f"has done is in {known.journal.path}, the same command goes on",
                    watch.number,
                )
            if number % rank.of == rank.number:
                for _ in answers(batch, known, task.compute, model, output, {"batch": number}):
                    pass
            else:
                task.pass_over(batch)
            n_structures += len(batch)
            if progress is not None:
                progress(n_structures)
    known.end()
    return n_structures


def _joined(
    model: FrozenModel, output: Path, settings: Mapping[str, Any], rank: Rank, n_structures: int
) -> Iterator[dict[str, Any]]:
    """Write the output from the parts of all processes, then yield the records in their order."""
    with contextlib.ExitStack() as opened:
        parts = [
            opened.enter_context(
                LineJournal(part_path(output, *one), _identity(model, settings, one), _COMMAND)
            )
            for one in (Rank(number, rank.of) for number in range(rank.of))
        ]

        def entries() -> Iterator[Entry]:
            return _in_order(parts, n_structures)

        if any("error" not in _record_of(entry) for entry in entries()):
            write_pieces(output, lambda: (entry["piece"] for entry in entries()))
        yield from (restored(_record_of(entry)) for entry in entries())
        remove_journals(output)  # under their locks: a second run would meet them half gone


def _record_of(entry: Entry) -> dict[str, Any]:
    return entry["record"] if "record" in entry else entry["piece"]


def _in_order(parts: list[LineJournal], n_structures: int) -> Iterator[Entry]:
    """Yield the answers of all processes in the order of the input.

    Raises UserError where a part is not that of the same structures.
    """
    batches = [
        itertools.groupby(_entries(part), lambda entry: entry.get("batch")) for part in parts
    ]
    for number in itertools.count():
        part = number % len(parts)
        batch, entries = next(batches[part])
        if batch is None:
            break
        if batch != number:
            raise UserError(f"{parts[part].path} is damaged; remove it and give the command again")
        yield from entries
    others = [one for other, one in enumerate(batches) if other != part]
    ends = {last.get("end") for last in (next(entries), *map(_end_of, others))}
    if ends != {n_structures}:
        raise UserError(
            f"the processes read {sorted(map(str, ends))} structures; the input changed meanwhile: "
            "give the command again"
        )


def _end_of(batches: Iterator[tuple[Any, Iterator[Entry]]]) -> Entry:
    return next(next(batches)[1])


def _entries(part: LineJournal) -> Iterator[Entry]:
    return (line.entry for line in part.lines())
