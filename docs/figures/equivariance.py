"""Draws the picture of `equivariance_in_one_hour.md`.

`python docs/figures/equivariance.py PICTURE`: an axial vector in a mirror, work along a closed
loop, the energy of a molecule that turns. Networks have random weights.
"""

from __future__ import annotations

import sys

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from molequi.models.making import make_model
from molequi.models.probes import built_in_probes
from molequi.properties import declare

ELEMENTS, CUTOFF, N_POINTS = (1, 6, 7, 8), 4.0, 120
DIRECT = declare("direct", irreps="1o", unit="eV/Å", per_atom=True)
POLAR, AXIAL, WRONG = "C0", "C1", "0.6"


def ring(axes: Axes, centre: float, *, is_image: bool) -> None:
    """Draw a ring current seen from the side, with q, p and J = q x p."""
    side = -1.0 if is_image else 1.0
    angles = np.linspace(0.0, 2.0 * np.pi, 100)
    axes.plot(centre + 0.8 * np.cos(angles), 0.3 * np.sin(angles), color="0.75", zorder=0)
    q = np.array([side * 0.8 * np.cos(-0.9), 0.3 * np.sin(-0.9)])
    p = np.array([side * 0.62, 0.19])
    arrow(axes, (centre, 0.0), q, POLAR, "q", (0.1 * side, -0.24))
    arrow(axes, (centre + q[0], q[1]), p, "C2", "p", (0.16 * side, 0.0))
    arrow(axes, (centre, 0.0), np.array([0.0, side]), AXIAL, "J", (0.2 * side, 0.0))
    if is_image:
        arrow(axes, (centre, 0.0), np.array([0.0, 1.0]), WRONG, "", (0.0, 0.0), line="--")


def arrow(
    axes: Axes,
    start: tuple[float, float],
    along: np.ndarray,
    color: str,
    name: str,
    aside: tuple[float, float],
    line: str = "-",
) -> None:
    """Draw a vector with its name beside the tip."""
    end = np.add(start, along)
    axes.annotate(
        "", end, start, arrowprops={"arrowstyle": "->", "color": color, "ls": line, "lw": 1.8}
    )
    axes.text(*(end + aside), name, color=color, ha="center", va="center", fontsize=13)


def mirror(axes: Axes) -> None:
    """Left: q and p are reflected, J changes its sign besides."""
    axes.axvline(0.0, color="0.3", linewidth=2)
    axes.text(0.08, 1.2, "mirror", fontsize=10, color="0.3")
    ring(axes, -1.5, is_image=False)
    ring(axes, 1.5, is_image=True)
    axes.set(xlim=(-2.9, 2.9), ylim=(-1.4, 1.45), aspect="equal", title="J = q × p in a mirror")
    axes.axis("off")


def loop(axes: Axes) -> None:
    """Middle: work along a circle, by a gradient and by a vector output of a network."""
    probe = built_in_probes(ELEMENTS)[0]
    model = make_model(
        ELEMENTS, ["energy", "dipole"], cutoff=CUTOFF, n_channels=8, l_max=1, seed=1
    ).double()
    vectors = make_model(ELEMENTS, [DIRECT], cutoff=CUTOFF, n_channels=8, l_max=1, seed=1).double()
    angles = 2.0 * np.pi * np.arange(N_POINTS) / N_POINTS
    plane = torch.as_tensor(
        np.linalg.qr(np.random.default_rng(0).standard_normal((probe.positions.size, 2)))[0].T
    ).reshape(2, *probe.positions.shape)
    work: dict[str, list[float]] = {"gradient of an energy": [0.0], "vector output": [0.0]}
    for angle in angles:
        offset = 0.2 * (np.cos(angle) * plane[0] + np.sin(angle) * plane[1])
        step = 0.2 * (np.cos(angle) * plane[1] - np.sin(angle) * plane[0]) * 2.0 * np.pi / N_POINTS
        graph = probe.at(probe.positions + offset.numpy()).graph(CUTOFF)
        forces = model.compute(graph)["forces"], vectors.compute(graph)["direct"]
        for total, one in zip(work.values(), forces, strict=True):
            total.append(total[-1] + float((one * step).sum()))
    for (name, total), color in zip(work.items(), (POLAR, "C3"), strict=True):
        relative = np.array(total) / np.abs(total).max()
        axes.plot(np.linspace(0, 360, N_POINTS + 1), relative, color=color, label=name)
    axes.axhline(0.0, color="0.8", linewidth=0.8, zorder=0)
    axes.set(
        xlabel="along the loop (°)",
        ylabel="work so far / largest",
        title="a closed loop",
        ylim=(-1.1, 1.75),
    )
    axes.set_xticks([0, 90, 180, 270, 360])
    axes.legend(frameon=False, fontsize=9, loc="upper left")


def turned(architecture: dict[str, object]) -> Tensor:
    """Return the energies of a probe that turns about z, relative to their mean and spread."""
    probe = built_in_probes(ELEMENTS)[0]
    model = make_model(
        ELEMENTS, ["energy"], cutoff=CUTOFF, n_channels=16, n_layers=2, **architecture
    ).double()
    energies = []
    for angle in np.radians(np.arange(0, 361, 3)):
        c, s = np.cos(angle), np.sin(angle)
        turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
        energies.append(float(model.compute(probe.mapped(turn).graph(CUTOFF))["energy"]))
    return torch.tensor(energies, dtype=torch.float64)


def turning(axes: Axes) -> None:
    """Right: the energy of a molecule that turns."""
    kinds = {
        "plain coordinates": ({"architecture": "coordinates"}, "C3"),
        "averaged over a cube": ({"architecture": "coordinates", "average": "Oh"}, "C1"),
        "features that turn": ({"architecture": "spherical", "l_max": 2}, POLAR),
    }
    for name, (settings, color) in kinds.items():
        energies = turned(settings)
        change = (energies - energies[0]).abs().clamp(min=1e-16)
        axes.semilogy(np.arange(0, 361, 3), change, color=color, label=name)
    axes.set(
        xlabel="turned about z (°)",
        ylabel="|change of the energy| (eV)",
        title="a molecule that turns",
        ylim=(5e-17, 1e7),
    )
    axes.set_xticks([0, 90, 180, 270, 360])
    axes.legend(frameon=False, fontsize=9, loc="upper left")


def main(picture: str) -> None:
    """Draw the three panels."""
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    for panel, draw in zip(axes, (mirror, loop, turning), strict=True):
        draw(panel)
        panel.title.set_fontsize(11)
        panel.tick_params(labelsize=9)
        panel.xaxis.label.set_fontsize(10)
        panel.yaxis.label.set_fontsize(10)
    figure.savefig(picture, dpi=85, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    main(sys.argv[1])
