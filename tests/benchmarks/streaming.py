"""Memory and rate of `molequi predict` on files of many small molecules.

    python tests/benchmarks/streaming.py 20000 100000

Water and methane by turns, each displaced by its own random numbers, predicted into an extended XYZ
file by a small model with random weights. The memory is the largest that the process ever held.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ase.io
import numpy as np
from ase.build import molecule

from molequi.models.checkpoint import save_model
from molequi.models.making import make_model
from molequi.models.metadata import ModelMetadata


def write_molecules(path: Path, count: int) -> None:
    """Write water and methane by turns, no two alike."""
    random = np.random.default_rng(0)
    kinds = [molecule("H2O"), molecule("CH4")]
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            atoms = kinds[number % 2].copy()
            atoms.positions += random.normal(scale=0.02, size=atoms.positions.shape)
            ase.io.write(file, atoms, format="extxyz")


def predict(folder: Path, count: int) -> tuple[float, float]:
    """Predict so many molecules; return the largest memory (MB) and the rate (molecules/s)."""
    structures, output = folder / f"{count}.xyz", folder / f"{count}_out.xyz"
    write_molecules(structures, count)
    command = [sys.executable, "-m", "molequi.cli", "predict", str(structures)]
    command += ["--model", str(folder / "model.safetensors"), "--output", str(output)]
    started = time.monotonic()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    if status:
        raise SystemExit(f"the prediction failed with status {status}")
    return usage.ru_maxrss / 1024.0, count / seconds


def main(counts: list[int]) -> None:
    """Print a line for each number of molecules."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        properties = ["energy", "forces", "dipole"]
        model = make_model(
            [1, 6, 8], properties, n_layers=1, n_channels=8, metadata=ModelMetadata(name="small")
        )
        save_model(model, folder / "model.safetensors")
        for count in counts:
            memory, rate = predict(folder, count)
            print(f"{count} molecules: {memory:.0f} MB, {rate:.0f} molecules/s, start included")


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [20_000, 100_000])
