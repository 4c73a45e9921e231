"""Answers of a long run in a journal, batch by batch, so that nothing is computed twice."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from molequi.errors import RunInterruptedError, UserError
from molequi.models.freeze import FrozenModel, Work
from molequi.runtime.journal import Entry, LineJournal
from molequi.runtime.signals import SignalWatch
from molequi.version import __version__

_FORMAT = 1
_DAMAGE = (UserError, KeyError, TypeError, ValueError)  # a line that is no answer of this run

T = TypeVar("T")


class Packing(NamedTuple, Generic[T]):
    """How a batch's answers are written as plain data, exactly, and read again."""

    pack: Callable[[T], Any]
    unpack: Callable[[Any], T]


class KeptBatches(Generic[T]):
    """The batches of a run, in their order: those that a journal has, and those that it is given.

    model: who computes them, whose choice of kernels goes on with the run; None is not a model of
    ours. n_structures: of the whole run, for its messages.
    """

    def __init__(
        self,
        journal: LineJournal,
        packing: Packing[T],
        model: FrozenModel | None,
        n_structures: int,
    ) -> None:
        self._journal, self._packing, self._model = journal, packing, model
        self._lines, self._is_over = journal.lines(), False
        self._end: int | None = None
        self._watch, self._n_done, self._n_structures = SignalWatch(), 0, n_structures

    def take(self, size: int) -> T | None:
        """Return what stands there of the next batch; None where it is to be computed.

        size: structures of the batch. Raises RunInterruptedError where a signal came, with all
        batches so far in the journal.
        """
        self._stop_if_asked()
        answers = None if self._is_over else self._next()
        self._n_done += size
        if answers is not None:
            self._leave_if_done()
        return answers

    def keep(self, answers: T) -> None:
        """Add a batch that was computed; raises as `take` where it is the last one."""
        work = None if self._model is None else self._model.work
        self._journal.append({"work": work, "values": self._packing.pack(answers)})
        self._leave_if_done()

    def _stop_if_asked(self) -> None:
        if self._watch.number:
            raise RunInterruptedError(
                f"evaluate stopped by {self._watch.name}; {self._n_done} of {self._n_structures} "
                f"structures are in {self._journal.path}, the same command goes on",
                self._watch.number,
            )

    def _leave_if_done(self) -> None:
        """Give the signals back after the last batch: what comes then saves nothing of its own."""
        if self._n_done >= self._n_structures:
            self._watch.stop()
            self._stop_if_asked()

    def _next(self) -> T | None:
        """Return the next batch; from a damaged line on, or the last, there are none."""
        try:
            line = next(self._lines, None)
            if line is not None:
                answers = self._packing.unpack(line.entry["values"])
                if self._model is not None:
                    self._model.go_on_from(Work(*line.entry["work"]))
                self._end = line.end
                return answers
        except _DAMAGE:
            pass
        self._is_over = True
        self._journal.cut(self._end)
        return None

    def __enter__(self) -> KeptBatches[T]:
        self._watch.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._watch.stop()


@contextlib.contextmanager
def kept_batches(
    path: Path,
    identity: Mapping[str, Any],
    packing: Packing[T],
    model: FrozenModel | None,
    n_structures: int,
) -> Iterator[KeptBatches[T]]:
    """Keep the batches of a run of `molequi evaluate` at `path` until the block ends well.

    By then what is made of them should be written. identity: what the answers depend on beside the
    model. A journal of another run begins anew.
    """
    own: Entry = {"format": _FORMAT, "version": __version__, **identity}
    if model is not None:
        own |= {"weights": model.digest(), "device": str(model.device), "kernels": model.kernels}
    with LineJournal(path, own, "molequi evaluate", discard=True) as journal:
        with KeptBatches(journal, packing, model, n_structures) as kept:
            yield kept
        path.unlink()
