"""Predictions of an evaluation in a journal, batch by batch, so that nothing is computed twice."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.errors import RunInterruptedError, UserError
from molequi.models.freeze import FrozenModel, Work
from molequi.runtime.journal import Entry, LineJournal
from molequi.runtime.signals import SignalWatch
from molequi.version import __version__

_FORMAT = 1
_DAMAGE = (UserError, KeyError, TypeError, ValueError)  # a line that is no answer of this run

Values = dict[str, Tensor]


class KeptPredictions:
    """The batches of a run, in their order: those that a journal has, and those that it is given.

    n_frames: of the whole run, for its messages.
    """

    def __init__(self, journal: LineJournal, model: FrozenModel, n_frames: int) -> None:
        self._journal, self._model, self._n_frames = journal, model, n_frames
        self._lines, self._is_over = journal.lines(), False
        self._end: int | None = None
        self._watch, self._n_done = SignalWatch(), 0

    def take(self, indices: Tensor) -> Values | None:
        """Return what stands there of the next batch, float64; None where it is to be computed.

        Raises RunInterruptedError where a signal came, with all batches so far in the journal.
        """
        if self._watch.number:
            raise RunInterruptedError(
                f"evaluate stopped by {self._watch.name}; {self._n_done} of {self._n_frames} "
                f"structures are in {self._journal.path}, the same command goes on",
                self._watch.number,
            )
        values = None if self._is_over else self._next()
        self._n_done += len(indices)
        return values

    def keep(self, values: Values) -> None:
        """Add a batch that was computed."""
        packed = {name: _packed(tensor) for name, tensor in values.items()}
        self._journal.append({"work": self._model.work, "values": packed})

    def _next(self) -> Values | None:
        """Return the next batch; from a damaged line on, or the last, there are none."""
        try:
            line = next(self._lines, None)
            if line is not None:
                values = {name: _unpacked(one) for name, one in line.entry["values"].items()}
                self._model.go_on_from(Work(*line.entry["work"]))
                self._end = line.end
                return values
        except _DAMAGE:
            pass
        self._is_over = True
        self._journal.cut(self._end)
        return None

    def __enter__(self) -> KeptPredictions:
        self._watch.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._watch.stop()


@contextlib.contextmanager
def kept_in(
    path: Path | None, model: FrozenModel, frames: Frames, names: Sequence[str], batch_size: int
) -> Iterator[KeptPredictions | None]:
    """Keep the predictions of a run at `path` until all are there; nothing without a path.

    A journal of another model, or of other structures, begins anew.
    """
    if path is None:
        yield None
        return
    identity = {
        "format": _FORMAT, "version": __version__, "weights": model.digest(),
        "device": str(model.device), "kernels": model.kernels, "structures": _digest(frames),
        "outputs": list(names), "batch_size": batch_size,
    }  # fmt: skip
    with LineJournal(path, identity, "molequi evaluate", discard=True) as journal:
        with KeptPredictions(journal, model, len(frames)) as kept:
            yield kept
        path.unlink()


def _digest(frames: Frames) -> str:
    """Return a text that differs where the structures or their labels do."""
    found = hashlib.sha256()
    told = {name: value for name, value in vars(frames).items() if isinstance(value, Tensor)}
    for name, tensor in sorted({**told, **frames.targets}.items()):
        found.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return found.hexdigest()[:24]


def _packed(values: Tensor) -> Entry:
    """Write numbers as text, to the last bit, what is not finite too."""
    data = base64.b85encode(values.contiguous().numpy().tobytes()).decode("ascii")
    return {"shape": list(values.shape), "float64": data}


def _unpacked(packed: dict[str, Any]) -> Tensor:
    numbers = np.frombuffer(base64.b85decode(packed["float64"]), dtype=np.float64)
    return torch.from_numpy(numbers.copy()).reshape(packed["shape"])
