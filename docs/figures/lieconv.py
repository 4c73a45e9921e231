"""Draws `lieconv.png`: `python docs/figures/lieconv.py PICTURE`."""

from __future__ import annotations

import sys

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes

from molequi.graphs.graph import collate
from molequi.groups.clouds import make_cloud
from molequi.groups.lie_groups import group_named
from molequi.models.making import make_model
from molequi.models.probes import built_in_probes

N_NEIGHBOURS, N_DRAWS = 24, 200
GROUPS = {
    "T(2)": "T(2): translations",
    "SO(2)": "SO(2): turns about +",
    "R*xSO(2)": "R*×SO(2): turns, scalings",
}


def draw_neighbourhood(axes: Axes, name: str) -> None:
    """Mark the nearest pixels of one pixel in the metric of a group."""
    side = torch.arange(16, dtype=torch.float64) - 7.5
    points = torch.cartesian_prod(side, side)
    lift = group_named(name, 2).lift(points[None])
    mask = torch.ones(1, len(points), dtype=torch.bool)
    distances = make_cloud(
        group_named(name, 2), lift.elements[:, :, 0], lift.orbits[:, :, 0], mask, torch.float64
    ).distances[0]
    centre = int((points - torch.tensor([4.5, 1.5])).norm(dim=1).argmin())
    near = distances[centre].argsort()[:N_NEIGHBOURS]
    axes.scatter(*points.T, s=4, color="0.85")
    axes.scatter(*points[near].T, s=14, color="C0")
    axes.scatter(*points[centre], s=30, color="C3")
    axes.plot(0, 0, "k+")
    axes.set(xticks=[], yticks=[], aspect="equal")
    axes.set_title(GROUPS[name], fontsize=11)


def draw_spread(axes: Axes) -> None:
    """Show the spread of a LieConv-SE(3) with random weights over resamplings of its lifts."""
    molecule = built_in_probes((1, 6, 7, 8))[1]
    for place, n_lifts in enumerate((1, 4, 16)):
        model = make_model(
            (1, 6, 7, 8),
            ["homo"],
            architecture="lieconv",
            group="SE(3)",
            n_lifts=n_lifts,
            n_channels=16,
        ).eval()
        torch.manual_seed(0)
        graphs = collate([molecule.graph(model.cutoff)] * 10)
        values = torch.cat(
            [model.compute(graphs, forces=False)["homo"] for _ in range(N_DRAWS // 10)]
        )
        axes.scatter(
            place + 0.25 * (torch.rand(len(values)) - 0.5), values, s=3, color="C0", alpha=0.5
        )
        axes.errorbar(
            place + 0.25,
            float(values.mean()),
            float(values.std()),
            fmt="o",
            color="C3",
            markersize=3,
            capsize=3,
            label="mean ± std" if place == 0 else None,
        )
    axes.set(
        xticks=range(3),
        xticklabels=["1 lift", "4 lifts", "16 lifts"],
        ylabel="output (eV)",
    )
    axes.margins(y=0.15)
    axes.legend(frameon=False, loc="upper right", fontsize=10)


def main(picture: str) -> None:
    """Draw three neighbourhoods and the spread over lifts."""
    figure = plt.figure(figsize=(10, 2.9), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(2.3, 1))
    left.suptitle(f"one pixel and its {N_NEIGHBOURS} nearest in the distance of a group")
    for panel, name in zip(left.subplots(1, 3), GROUPS, strict=True):
        draw_neighbourhood(panel, name)
    right.suptitle(f"lifts to SE(3), drawn {N_DRAWS} times")
    draw_spread(right.subplots())
    figure.savefig(picture, dpi=100)


if __name__ == "__main__":
    main(sys.argv[1])
