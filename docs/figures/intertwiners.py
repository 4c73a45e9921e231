"""Draws the picture of `intertwiners.md`: `python docs/figures/intertwiners.py PICTURE`."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from molequi.groups.intertwiners import intertwiners
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.models.probes import built_in_probes
from molequi.models.structure import Structure
from molequi.nn.backbones.coordinates import CoordinateBackbone
from molequi.properties import get_property

sys.path.append(str(Path(__file__).resolve().parents[2] / "tests" / "support"))
from grids import wallpaper_representation

ELEMENTS, CUTOFF, PIXELS = (1, 6, 7, 8), 4.0, 7


def filters() -> np.ndarray:
    """Return what each basis map of p4m gives at the middle pixel: (n, PIXELS, PIXELS)."""
    image = wallpaper_representation("p4m", PIXELS)
    maps = intertwiners(image, image).maps()
    return maps[:, PIXELS * PIXELS // 2].reshape(-1, PIXELS, PIXELS)


def coordinate_model(name: str) -> MolecularModel:
    """Return a coordinate network with random weights, lifted over a point group."""
    torch.manual_seed(0)
    return MolecularModel(
        CoordinateBackbone(ELEMENTS, CUTOFF, n_channels=16, average=name),
        [get_property("energy")],
    ).double()


def force_errors(model: MolecularModel, probe: Structure, angles: np.ndarray) -> list[float]:
    """Return the relative change of the forces, turned back, when a structure turns about z."""
    still = model.compute(probe.graph(CUTOFF))["forces"]
    errors = []
    for angle in np.radians(angles):
        turn = np.array(
            [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
        )
        moved = model.compute(probe.mapped(turn).graph(CUTOFF))["forces"] @ torch.as_tensor(turn)
        errors.append(float((moved - still).square().mean().sqrt() / still.square().mean().sqrt()))
    return errors


def main(picture: str) -> None:
    """Plot the filters of p4m, and what turning does to three networks."""
    figure = plt.figure(figsize=(8.2, 3.0), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.25))
    left.suptitle(f"the {len(filters())} filters of p4m, {PIXELS} x {PIXELS} pixels", fontsize=10)
    for axes, one in zip(left.subplots(2, 5).flat, filters(), strict=True):
        axes.imshow(one != 0, cmap="Blues", vmin=0, vmax=1.3)
        axes.set(xticks=[], yticks=[])
    axes, probe, angles = right.subplots(), built_in_probes(ELEMENTS)[0], np.arange(0.0, 181.0, 7.5)
    curves = {
        "coordinates": coordinate_model("C1"),
        "lifted over O$_h$": coordinate_model("Oh"),
        "E(3)": make_model(ELEMENTS, ["energy"], cutoff=CUTOFF, n_channels=16).double(),
    }
    for name, model in curves.items():
        axes.semilogy(
            angles, np.maximum(force_errors(model, probe, angles), 1e-17), label=name, marker="."
        )
    axes.set(
        xlabel="turn about z (degrees)",
        ylabel="change of forces / their size",
        xticks=[0, 45, 90, 135, 180],
    )
    axes.set_title("random weights", fontsize=10)
    # In the empty decades between the networks with coordinates and the exact one.
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(0.08, 0.45))
    figure.savefig(picture, dpi=90)


if __name__ == "__main__":
    main(sys.argv[1])
