"""Train chemprop 2 by its own command line for a time of the processor; run by its interpreter.

    python theirs.py TABLE.csv TARGET (regression|classification) MINUTES SEED FOLDER

Two short runs on every fifth row tell how long an epoch takes, so that the course of the learning
rate, which counts in epochs, ends with the time. Everything else is as chemprop has it. Prints one
line of JSON last: seconds of the training, epochs, and the predictions of the test rows in their
order.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from pathlib import Path
from unittest import mock

import torch
from chemprop.cli.main import main as chemprop

_SHORT, _LONGER = 3, 8  # epochs; chemprop warms up over the first two
_PART = 5


def train(table: Path, target: str, kind: str, seed: str, epochs: int, folder: Path) -> float:
    """Train for some epochs and predict the test rows into `folder`; returns seconds."""
    words = [
        "chemprop", "train", "--data-path", str(table), "--smiles-columns", "smiles",
        "--target-columns", target, "--task-type", kind, "--splits-column", "split",
        "--epochs", str(epochs), "--pytorch-seed", seed, "--output-dir", str(folder),
        "--accelerator", "cpu", "--num-workers", "0", "-q",
    ]  # fmt: skip
    started = time.process_time()
    with mock.patch.object(sys, "argv", words):
        chemprop()
    return time.process_time() - started


def main() -> None:
    """Find how many epochs fit, train them, and print what came of it."""
    table, target, kind, minutes, seed, place = sys.argv[1:]
    torch.set_num_threads(1)
    folder = Path(place)
    folder.mkdir(parents=True)
    part = folder / "part.csv"
    head, *rows = Path(table).read_text().splitlines()
    part.write_text("\n".join([head, *rows[::_PART]]) + "\n")
    short = train(part, target, kind, seed, _SHORT, folder / "short")
    longer = train(part, target, kind, seed, _LONGER, folder / "longer")
    epoch = _PART * (longer - short) / (_LONGER - _SHORT)
    epochs = max(_SHORT, round(60 * float(minutes) / epoch))
    seconds = train(Path(table), target, kind, seed, epochs, folder / "whole")
    (found,) = (folder / "whole").rglob("test_predictions.csv")
    with found.open(newline="") as handle:
        predictions = [float(line[target]) for line in csv.DictReader(handle)]
    print(json.dumps({"seconds": seconds, "epochs": epochs, "predictions": predictions}))


if __name__ == "__main__":
    main()
