"""Draws the picture of `align.md`: `python docs/figures/align.py PICTURE`."""

from __future__ import annotations

import sys

import matplotlib.pyplot as plt
import numpy as np
import torch

from molequi.alignment.fields import L_MAX, Multipoles, fields_of, multipoles, shells_for
from molequi.alignment.orientations import correlations, score_at
from molequi.alignment.scoring import Pair, best_pose, scan_orientations, unit_features
from molequi.graphs.neighbors import build_graph
from molequi.models.structure import random_rotation
from molequi.models.zoo import load
from molequi.o3.irreps import Irreps
from molequi.o3.wigner import rotate
from molequi.structures.molecules import atoms_from_smiles

SMILES = "C[C@H](N)C(=O)O"


def main(picture: str) -> None:
    """Plot the score around the best orientation of both hands, and all scores by rank."""
    model = load("organic", dtype="float64")
    atoms = atoms_from_smiles(SMILES, 0)

    def described(positions: np.ndarray) -> Multipoles:
        return multipoles(model, build_graph(positions, atoms.numbers, model.cutoff))

    parts = [
        described(x)
        for x in (atoms.positions @ random_rotation(np.random.default_rng(0)).T, atoms.positions)
    ]
    shells = shells_for(*parts)
    same = Pair(*(unit_features(fields_of(part, shells), 0.5) for part in parts))
    wrong = same._replace(a=rotate(same.a, -torch.eye(3), Irreps.natural(L_MAX)))
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    angles = torch.linspace(-180, 180, 361, dtype=torch.float64)
    for pair, color, label in ((same, "C0", "same hand"), (wrong, "C3", "wrong hand")):
        best = best_pose(pair)
        turns = torch.deg2rad(angles)[:, None, None] * torch.tensor(
            [[0.0, -1, 0], [1, 0, 0], [0, 0, 0]], dtype=torch.float64
        )
        scores = score_at(
            correlations(pair.a, pair.b, L_MAX), torch.linalg.matrix_exp(turns) @ best.rotation
        )
        left.plot(angles, scores, color=color, label=f"{label}: {best.score:.2f}")
        right.plot(
            torch.arange(1, 10_001),
            scan_orientations(pair).sort(descending=True).values,
            color=color,
            label=label,
        )
    left.set(
        xlabel="turned about z from the best orientation (degrees)",
        ylabel="score",
        xticks=range(-180, 181, 90),
        ylim=(None, 1.05),
    )
    right.set(
        xlabel="rank of the orientation",
        xscale="log",
        ylim=left.get_ylim(),
        title="all 10,000 orientations",
    )
    right.legend(frameon=False, loc="lower left")
    left.set_title("alanine laid on alanine")
    for axes in (left, right):
        axes.margins(x=0)
    figure.savefig(picture, dpi=100)


if __name__ == "__main__":
    main(sys.argv[1])
