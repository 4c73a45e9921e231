"""Draws `dynamics.png` from the runs of the benchmark.

`python docs/figures/dynamics.py runs/springs PICTURE`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from molequi.plots import rollout_errors

sys.path.append(str(Path(__file__).resolve().parents[2] / "tests" / "benchmarks"))
from spring import MODELS


def main(runs: str, picture: str) -> None:
    """Plot errors along rollouts: of each model the run with most trajectories."""
    curves, times = {}, np.zeros(0)
    for model in MODELS:
        found = [
            path
            for path in Path(runs).glob(f"{model}-*/rollout.npz")
            if path.parent.name.removeprefix(f"{model}-").replace("-", "").isdigit()
        ]
        if found:
            sizes = {
                path: [int(text) for text in path.parent.name.removeprefix(f"{model}-").split("-")]
                for path in found
            }
            curves[model] = dict(
                np.load(max(found, key=lambda path: (sizes[path][0], -sizes[path][1])))
            )
            times = curves[model]["times"]
    rollout_errors(times, curves, Path(picture))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
