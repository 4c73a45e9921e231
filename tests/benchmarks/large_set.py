"""Memory and speed of training on large sets: `python tests/benchmarks/large_set.py [own] [N ...]`.

Each set of N molecules is made of the bundled sample of QM9, every copy distorted a little, and
written as `molequi data prepare` does. It is loaded and trained on for some steps in a process of
its own. By default 3,000 molecules, QM9's 130,831, and ten times as many. With `own` it is read as
a set of one's own, which is searched for duplicates, coincident atoms and outliers.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from molequi.datasets.array_files import open_arrays, write_arrays
from molequi.datasets.datamodule import MolecularDataModule
from molequi.datasets.load import load_dataset
from molequi.datasets.npz import load_npz
from molequi.datasets.places import find_data
from molequi.datasets.settings import DataSettings
from molequi.models.making import make_model

QM9 = 130_831
TARGETS = ("u0", "gap", "dipole_magnitude")
_BATCH, _STEPS, _CUTOFF, _DISTORTION = 32, 40, 4.0, 0.01


class Figures(NamedTuple):
    """peak_gib: memory of the process, mapped files included. load: until the first batch, s.

    step: of training, s of processor time, the fastest of a few rounds.
    """

    molecules: int
    load: float
    step: float
    peak_gib: float


def write_set(path: Path, n_molecules: int) -> None:
    """Write a set of so many molecules, uncompressed."""
    sample = find_data("qm9_sample")
    arrays, frames = open_arrays(sample), load_npz(sample).frames
    rows = torch.arange(n_molecules) % len(frames)
    copies = frames.with_targets(TARGETS).subset(rows)
    rng = np.random.default_rng(0)
    positions = copies.positions.numpy()
    for start in range(0, len(positions), 1 << 20):
        part = positions[start : start + (1 << 20)]
        part += _DISTORTION * rng.standard_normal(part.shape)
    meta = json.loads(str(arrays["meta"]))
    meta["properties"] = [row for row in meta["properties"] if row["name"] in TARGETS]
    named = {
        "n_atoms": copies.n_atoms.numpy().astype(np.int32),
        "z": copies.atomic_numbers.numpy().astype(np.uint8),
        "pos": positions,
        "meta": np.array(json.dumps(meta)),
        **{name: copies.targets[name].numpy() for name in TARGETS},
    }
    write_arrays(path, named, compress=False)


def measure(path: Path, kind: str) -> Figures:
    """Load a set and train on it for some steps."""
    torch.set_num_threads(1)
    started = time.process_time()
    sizes = {"train": 0.9, "valid": 0.05, "test": 0.05}
    loaded = load_dataset(
        DataSettings(kind=kind, path=str(path), targets=list(TARGETS), split=sizes)
    )
    data = MolecularDataModule(loaded.frames, loaded.splits, _CUTOFF, batch_size=_BATCH)
    order = iter(data.train_dataloader())
    batches = [next(order)]
    load = time.process_time() - started
    model = make_model(loaded.frames.elements(), ["energy"], n_channels=8, l_max=1, cutoff=_CUTOFF)
    optimizer, rounds = torch.optim.Adam(model.parameters()), []
    for _ in range(5):
        started = time.process_time()
        for _ in range(_STEPS // 5):
            batches.append(next(order))
            optimizer.zero_grad()
            model.compute(batches[-1].graph, create_graph=True)["energy"].square().mean().backward()
            optimizer.step()
        rounds.append((time.process_time() - started) / (_STEPS // 5))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 2**30
    return Figures(len(loaded), load, min(rounds), peak)


def measured(n_molecules: int, folder: Path, *, kind: str = "qm9") -> Figures:
    """Write a set and measure it, each in a process of its own."""
    path = folder / f"{n_molecules}.npz"
    for task in ("write", "measure"):
        command = [sys.executable, __file__, task, str(path), str(n_molecules), kind]
        printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    path.unlink()
    return Figures(*json.loads(printed))


def main() -> None:
    """Print a line for each size."""
    words = sys.argv[1:]
    kind = "npz" if words[:1] == ["own"] else "qm9"
    sizes = [int(word) for word in words[kind == "npz" :]] or [3_000, QM9, 10 * QM9]
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            found = measured(size, Path(folder), kind=kind)
            print(
                f"{found.molecules:,} molecules: loaded in {found.load:.1f} s, "
                f"{1000 * found.step:.1f} ms a step, {found.peak_gib:.2f} GiB"
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        write_set(Path(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1:2] == ["measure"]:
        print(json.dumps(measure(Path(sys.argv[2]), sys.argv[4])))
    else:
        main()
