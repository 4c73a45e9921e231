"""Draws `hands.png` of the tutorial.

`python docs/figures/chirality.py ROSENFELD.npz MODEL EVEN DISTANCES PICTURE`.

MODEL gives the Rosenfeld tensor; EVEN and DISTANCES are what `tests/benchmarks/chirality.py d2
--only 0e_only distances_only` trained.
"""

from __future__ import annotations

import dataclasses
import sys

import ase
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes

from molequi.datasets.in_memory import Frames
from molequi.datasets.npz import load_npz
from molequi.models.zoo import load
from molequi.prediction.predict import predict
from molequi.structures.molecules import atoms_from_smiles
from molequi.training.predictions import predict_frames

ONE, OTHER = "C0", "C3"


def values(model: str, output: str, test: Frames) -> list[np.ndarray]:
    """Predict an output on the structures and on their mirror images."""
    network = load(model)
    images = test, dataclasses.replace(test, positions=-test.positions)
    return [predict_frames(network, frames, [output])[output].numpy() for frames in images]


def draw(axes: Axes, title: str, computed: np.ndarray, predicted: list[np.ndarray]) -> None:
    """Plot predicted against computed values for both hands; the title ends with R² over both."""
    limit = np.abs(computed).max() * 1.05
    axes.plot([-limit, limit], [-limit, limit], color="0.7", linewidth=0.8)
    axes.scatter(computed, predicted[0], s=5, color=ONE, label="as in QM9")
    axes.scatter(-computed, predicted[1], s=5, color=OTHER, label="mirror image")
    label, value = np.concatenate([computed, -computed]), np.concatenate(predicted)
    r2 = 1.0 - np.square(value - label).sum() / np.square(label).sum()
    axes.set(
        xlim=(-limit, limit),
        ylim=(-limit, limit),
        aspect="equal",
        xlabel="HF/6-31G (bohr⁴)",
        title=f"{title}\nR² {r2:.2f}",
    )


def draw_dipoles(axes: Axes) -> None:
    """Plot a component and the length of the dipoles of two hands while both turn together."""
    atoms = atoms_from_smiles("C[C@H](O)C#N")
    poses = np.linspace(0.0, 360.0, 37)
    for positions, color, style in (
        (atoms.positions, ONE, "-"),
        (atoms.positions * [-1, 1, 1], OTHER, "--"),
    ):
        turned = []
        for angle in poses:
            pose = ase.Atoms(atoms.numbers, positions)
            pose.rotate(angle, "y")
            turned.append(pose)
        dipoles = np.array([record["dipole_debye"] for record in predict(turned, "organic")])
        axes.plot(poses, dipoles[:, 0], color=color, linestyle=style)
        axes.plot(
            poses,
            np.linalg.norm(dipoles, axis=1),
            color=color,
            linestyle=style,
            linewidth=2 if style == "-" else 1,
        )
    axes.annotate("|mu|: the same", (5, np.linalg.norm(dipoles[0]) + 0.15), fontsize=8)
    axes.annotate("mu_x: its sign is that of the pose", (5, dipoles[:, 0].min() - 0.5), fontsize=8)
    axes.set(
        xlabel="both turned about y (degrees)",
        ylabel="D",
        title="dipoles of two hands\nlactonitrile",
        xticks=[0, 90, 180, 270, 360],
    )
    axes.margins(y=0.15)


def main(data: str, model: str, even: str, distances: str, picture: str) -> None:
    """Draw the four panels."""
    loaded = load_npz(data)
    test = loaded.frames.subset(loaded.splits["test"])
    computed = test.targets["rosenfeld_isotropic"].numpy()
    figure, axes = plt.subplots(1, 4, figsize=(11, 3.1), layout="constrained")
    draw(axes[0], "0o: both hands", computed, values(model, "rosenfeld_isotropic", test))
    draw(axes[1], "0e only", computed, values(even, "even", test))
    draw(axes[2], "distances only", computed, values(distances, "even", test))
    axes[0].set_ylabel("predicted (bohr⁴)")
    axes[0].legend(frameon=False, fontsize=7, loc="upper left")
    draw_dipoles(axes[3])
    figure.savefig(picture, dpi=100)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:6])
