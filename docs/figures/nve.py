"""Draws `nve.png` of the README from a trajectory: `python docs/figures/nve.py md.xyz PICTURE`."""

from __future__ import annotations

import sys

import ase.io
import matplotlib.pyplot as plt
import numpy as np


def main(trajectory: str, picture: str) -> None:
    """Plot potential and total energy per atom against time."""
    frames = ase.io.read(trajectory, index=":")
    time = np.array([frame.info["molequi_time_fs"] for frame in frames]) / 1000
    potential = np.array([frame.get_potential_energy() for frame in frames]) * 1000 / len(frames[0])
    total = potential + np.array([frame.get_kinetic_energy() for frame in frames]) * 1000 / len(
        frames[0]
    )
    figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
    start = total[0]
    axes.plot(time, potential - start, color="0.6", linewidth=0.8, label="potential energy")
    axes.plot(time, total - start, color="C3", linewidth=1.2, label="total energy")
    axes.set(xlabel="time (ps)", ylabel="energy (meV/atom)")
    axes.set_title(
        f"{frames[0].get_chemical_formula()}, NVE, model {frames[0].info['molequi_model']}"
    )
    axes.margins(x=0)
    # Room below the curves for the legend.
    axes.set_ylim(bottom=axes.get_ylim()[0] - 0.25 * np.ptp(axes.get_ylim()))
    axes.legend(frameon=False, loc="lower right", ncols=2)
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
