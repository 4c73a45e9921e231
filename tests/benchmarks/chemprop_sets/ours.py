"""Train our config `property` for a time of the processor.

    python ours.py STRUCTURES.extxyz SPLIT.json TARGET UNIT (regression|classification) MINUTES SEED
    FOLDER [KEY=VALUE ...]

Everything that is not named here is as the config has it. Prints one line of JSON, as `theirs.py`.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np
import torch

import molequi
from molequi.training import resumable
from molequi.training.clock import Clock


def main() -> None:
    """Train, predict the test rows, and print what came of it."""
    structures, split, target, unit, kind, minutes, seed, place, *more = sys.argv[1:]
    torch.set_num_threads(1)
    binary = str(kind == "classification").lower()
    declared = (
        [] if target == "gap" else [f"properties.{target}={{unit: '{unit}', binary: {binary}}}"]
    )
    folder = Path(place)
    started = time.process_time()
    # The time budget of a run is one of the clock on the wall, which others' work would shorten.
    with mock.patch.object(resumable, "Clock", functools.partial(Clock, time.process_time)):
        molequi.train(
            "property",
            [
                f"data.path={structures}", f"data.targets=[{target}]", *declared,
                f"data.split={{kind: file, path: {split}}}", f"training.max_minutes={minutes}",
                "training.epochs=100000", f"training.seed={seed}", "training.device=cpu", *more,
            ],
            output=folder,
        )  # fmt: skip
    seconds = time.process_time() - started
    epochs = len((folder / "metrics.csv").read_text().splitlines()) - 1
    with np.load(folder / "test_predictions.npz") as arrays:
        predictions = arrays[f"{target}_predicted"].tolist()
    print(json.dumps({"seconds": seconds, "epochs": epochs, "predictions": predictions}))


if __name__ == "__main__":
    main()
