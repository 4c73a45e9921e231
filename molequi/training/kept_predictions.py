"""Predictions of an evaluation in a journal, to the last bit."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.models.freeze import FrozenModel
from molequi.prediction.kept_batches import KeptBatches, Packing, kept_batches
from molequi.runtime.journal import Entry

Values = dict[str, Tensor]


def kept_in(
    path: Path | None, model: FrozenModel, frames: Frames, names: Sequence[str], batch_size: int
) -> contextlib.AbstractContextManager[KeptBatches[Values] | None]:
    """Keep the predictions of a run at `path` until all are there; nothing without a path.

    A journal of another model, or of other structures, begins anew.
    """
    if path is None:
        return contextlib.nullcontext()
    identity = {
        "structures": _digest(frames), "outputs": list(names), "batch_size": batch_size,
    }  # fmt: skip
    return kept_batches(path, identity, Packing(_packed, _unpacked), model, len(frames))


def _digest(frames: Frames) -> str:
    """Return a text that differs where the structures or their labels do."""
    found = hashlib.sha256()
    told = {name: value for name, value in vars(frames).items() if isinstance(value, Tensor)}
    for name, tensor in sorted({**told, **frames.targets}.items()):
        found.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return found.hexdigest()[:24]


def _packed(values: Values) -> dict[str, Entry]:
    """Write numbers as text, to the last bit, what is not finite too."""
    return {name: _text(tensor.contiguous().numpy()) for name, tensor in values.items()}


def _text(numbers: np.ndarray) -> Entry:
    data = base64.b85encode(numbers.tobytes()).decode("ascii")
    return {"shape": list(numbers.shape), "float64": data}


def _unpacked(packed: Mapping[str, Entry]) -> Values:
    """Read what `_packed` wrote."""
    return {name: _numbers(entry) for name, entry in packed.items()}


def _numbers(entry: Entry) -> Tensor:
    numbers = np.frombuffer(base64.b85decode(entry["float64"]), dtype=np.float64)
    return torch.from_numpy(numbers.copy()).reshape(entry["shape"])
