"""Part c: one switch, `model.symmetry`, on comparable networks: error, violation, cost.

Every row is a run of `molequi train extxyz` on frames of ethanol, and `molequi evaluate` of it on
the test frames turned at random; the page writes these commands out.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from buys.learn import Row, Rows, Settings, ethanol, n_weights

import molequi
from molequi.models.checkpoint import load_model
from molequi.models.structure import random_rotation

SIZES, N_TEST, BATCH = (50, 225), 75, 8
# About as many weights each: an E(3) layer has more of them per channel.
EXACT, OTHERS = ("model.n_channels=16", "model.l_max=1"), ("model.n_channels=20",)
VARIANTS = {
    "exact": ("model.symmetry=exact", *EXACT),
    "averaged over Oh": ("model.symmetry=averaged", *OTHERS),
    "averaged over O": ("model.symmetry=averaged", "model.average=O", *OTHERS),
    "penalty": ("model.symmetry=penalty", *OTHERS),
    "augmented": ("model.symmetry=augmented", *OTHERS),
    "none": ("model.symmetry=none", *OTHERS),
}


def written(folder: Path, settings: Settings) -> tuple[Path, Path]:
    """Write all frames, those to test last, and the latter turned at random."""
    every, turned, rng = [], [], np.random.default_rng(9)
    for part in ethanol(settings.ethanol):
        turned = []
        for positions, forces, energy in zip(
            part.positions.numpy(), part.forces.numpy(), part.energies.tolist(), strict=True
        ):
            matrix = random_rotation(rng)
            every.append(frame(part.numbers.numpy(), positions, forces, energy))
            turned.append(
                frame(part.numbers.numpy(), positions @ matrix.T, forces @ matrix.T, energy)
            )
    paths = folder / "frames.extxyz", folder / "turned.extxyz"
    for path, frames in zip(paths, (every, turned), strict=True):
        ase.io.write(path, frames)
    return paths


def frame(numbers: np.ndarray, positions: np.ndarray, forces: np.ndarray, energy: float) -> Atoms:
    """Return labelled atoms."""
    atoms = Atoms(numbers, positions)
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    return atoms


def soft_row(name: str, size: int, settings: Settings, folder: Path) -> Row:
    """Train a variant on `size` frames and test it on frames as they are and turned."""
    paths, run = written(folder, settings), folder / "run"
    n_frames = len(ase.io.read(paths[0], ":"))
    n_test = len(ase.io.read(paths[1], ":"))
    split = folder / "split.json"
    rows = {"train": range(size - 5), "valid": range(size - 5, size)}
    rows["test"] = range(n_frames - n_test, n_frames)
    split.write_text(json.dumps({part: list(numbers) for part, numbers in rows.items()}))
    epochs = max(1, settings.steps * BATCH // (size - 5))
    overrides = [
        *(f"data.path={paths[0]}", "data.split.kind=file", f"data.split.path={split}"),
        *(f"training.batch_size={BATCH}", f"training.epochs={epochs}", "training.patience=null"),
        *("training.kernels=reference", f"training.seed={settings.seed}", *VARIANTS[name]),
    ]
    start = time.process_time()
    molequi.train("extxyz", overrides, run)
    seconds = time.process_time() - start
    found = json.loads((run / "result.json").read_text(encoding="utf-8"))
    moved = molequi.evaluate(run, paths[1])
    return {
        "frames": size,
        "force_mae_mev_a": 1e3 * found["forces"]["mae"],
        "turned_force_mae_mev_a": 1e3 * moved["forces"]["mae"],
        "force_violation_mev_a": 1e3 * found["forces"]["violation"],
        "energy_mae_mev": 1e3 * found["energy"]["mae"],
        "turned_energy_mae_mev": 1e3 * moved["energy"]["mae"],
        "energy_violation_mev": 1e3 * found["energy"]["violation"],
        "weights": n_weights(load_model(run / "model.safetensors")),
        "seconds": seconds,
    }


def run(rows: Rows, settings: Settings) -> dict[str, list[Row]]:
    """Return the table `soft`, one row for each variant and number of frames."""
    table = []
    for name in VARIANTS:
        for size in SIZES if settings.frames is None else (settings.frames,):
            with tempfile.TemporaryDirectory() as folder:
                table.append(
                    rows.get(
                        f"soft, {size} frames",
                        name,
                        lambda n=name, s=size, f=folder: soft_row(n, s, settings, Path(f)),
                    )
                )
    return {"soft": table}
