"""Molecules per second of the data loader, on one core.

`python tests/benchmarks/loader.py [PREPARED_QM9]`.

Batches of 100 with their neighbour pairs at 5 Å, from a prepared QM9 (without an argument the
bundled sample).
Goal: more than 20,000 per second; a prepared QM9 loads in less than 2 s.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

from molequi.datasets.in_memory import Frames
from molequi.datasets.npz import load_npz
from molequi.datasets.places import find_data

BATCH, CUTOFF, N_MOLECULES, ROUNDS = 100, 5.0, 20_000, 5


def rate(frames: Frames) -> tuple[float, float]:
    """Return molecules per second of wall and of processor time, the best of several rounds."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(len(frames), (N_MOLECULES,), generator=generator)
    wall, processor = [], []
    for _ in range(ROUNDS):
        start, start_cpu = time.perf_counter(), time.process_time()
        for batch in rows.split(BATCH):
            frames.batch(batch, CUTOFF)
        wall.append(time.perf_counter() - start)
        processor.append(time.process_time() - start_cpu)
    return N_MOLECULES / min(wall), N_MOLECULES / min(processor)


def main() -> None:
    """Print the time to load and the rate."""
    torch.set_num_threads(1)
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else find_data("samples/qm9_sample.npz")
    start = time.perf_counter()
    frames = load_npz(path).frames.with_targets(["u0", "gap"])
    sys.stdout.write(
        f"{path.name}: {len(frames)} molecules loaded in {time.perf_counter() - start:.2f} s\n"
    )
    wall, processor = rate(frames)
    sys.stdout.write(
        f"batches of {BATCH}, pairs within {CUTOFF} Å: {wall:,.0f} molecules/s ({processor:,.0f} "
        "per second of processor time)\n"
    )


if __name__ == "__main__":
    main()
