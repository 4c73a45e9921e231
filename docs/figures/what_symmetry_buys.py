"""Draws `what_symmetry_buys.png` from the rows of the script.

`python docs/figures/what_symmetry_buys.py ROWS.json PICTURE`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

Rows = dict[str, dict[str, float]]


def hands(axes: Axes, rows: Rows) -> None:
    """Part a: accuracy."""
    found = {
        row["model"]: row["accuracy_percent"]
        for key, row in rows.items()
        if key.startswith("hands: ")
    }
    names = [
        name.replace(" distances, angles,", "").replace("E(3) features, ", "E(3), ")
        for name in found
    ]
    axes.barh(
        names[::-1],
        list(found.values())[::-1],
        color=["C2" if value > 75 else "0.7" for value in list(found.values())[::-1]],
    )
    axes.axvline(50, color="0.3", linewidth=0.8, linestyle=":")
    axes.set(xlabel="accuracy (%)", title="a  L or D alanine", xlim=(0, 105))


def ethanol(axes: Axes, rows: Rows) -> None:
    """Part a: force errors."""
    found = {
        row["model"]: row["force_mae_mev_a"]
        for key, row in rows.items()
        if key.startswith("ethanol: ")
    }
    names = [
        name.replace(" (E(3) network, l = 0)", ", l = 0").replace(
            " distances, angles, dihedrals", " dihedrals"
        )
        for name in found
    ]
    colors = ["0.7" if "alone" in name else "C0" if "dihedrals" in name else "C2" for name in found]
    axes.barh(names[::-1], list(found.values())[::-1], color=colors[::-1])
    axes.set(xlabel="force MAE (meV/Å)", title="a  ethanol, equal steps")


def drifts(axes: Axes, rows: Rows) -> None:
    """Part b: drift of the energy, on a logarithmic scale."""
    found = {row["model"]: row for key, row in rows.items() if key.startswith("direct, ")}
    values = [abs(row["drift_mev_atom_ps"]) for row in found.values()]
    axes.barh(list(found)[::-1], values[::-1], color=["C3", "C2"])
    for place, row in enumerate(list(found.values())[::-1]):
        axes.text(min(values), place, f"  {row['ps']:.3g} ps", va="center", fontsize=9)
    axes.set(xscale="log", xlabel="|drift| (meV/atom/ps)", title="b  dynamics from 300 K")


def loops(axes: Axes, rows: Rows) -> None:
    """Part b: work around loops, on a logarithmic scale."""
    found = {
        row["model"]: row["loop_work_mev"]
        for key, row in rows.items()
        if key.startswith("direct, ")
    }
    axes.barh(list(found)[::-1], list(found.values())[::-1], color=["C3", "C2"])
    axes.set(
        xscale="log", xlabel="|work| around a loop (meV)", title="b  forces that are no gradient"
    )


def switch(axes: Axes, rows: Rows) -> None:
    """Part c: errors of turned frames and violations, of the largest training set."""
    found = [row for key, row in rows.items() if key.startswith("soft")]
    largest = max(row["frames"] for row in found)
    kept = [row for row in found if row["frames"] == largest][::-1]
    places = range(len(kept))
    errors = [row["turned_force_mae_mev_a"] for row in kept]
    violations = [row["force_violation_mev_a"] for row in kept]
    axes.barh(places, errors, height=0.7, color="C0", alpha=0.4, label="force MAE, turned frames")
    axes.barh(places, violations, height=0.35, color="C3", label="violation of symmetry")
    axes.set_yticks(places, [str(row["model"]) for row in kept])
    axes.set(xlabel="meV/Å", title="c  model.symmetry, ethanol", ylim=(-0.6, len(kept) + 0.9))
    axes.legend(frameon=False, fontsize=8, loc="upper left", borderpad=0.1)


def axes_of_stress(axes: Axes, rows: Rows) -> None:
    """Part d: error ratios over 20 random axes."""
    names = {}
    for place, (prefix, label) in enumerate((("stress: ", "stress"), ("forces: ", "forces"))):
        found = [row for key, row in rows.items() if key.startswith(prefix)]
        for index, row in enumerate(found):
            at = place * (len(found) + 1) + index
            span = [row["ratio_axes_min"], row["ratio_axes_max"]]
            axes.plot(span, [at, at], color=f"C{index}", linewidth=3)
            axes.plot(row["ratio_y"], at, "o", color="black", markersize=4)
            model = str(row["model"]).partition(" (")[0].removesuffix(" in training")
            names[at] = f"{label}: {model}"
    axes.set_yticks(list(names), list(names.values()))
    axes.set(
        xscale="log",
        xlabel="error / error along x\n(dot: y; bar: 20 axes)",
        title="d  trained along x only",
    )
    axes.invert_yaxis()


def main(sources: list[str], picture: str) -> None:
    """Draw the parts from the rows of one file or several."""
    rows = {
        key: row
        for source in sources
        for key, row in json.loads(Path(source).read_text(encoding="utf-8"))["rows"].items()
    }
    figure, axes = plt.subplots(2, 3, figsize=(12, 6), layout="constrained")
    for panel, draw in zip(
        axes.flat, (hands, loops, switch, ethanol, drifts, axes_of_stress), strict=True
    ):
        draw(panel, rows)
        panel.title.set_fontsize(11)
        panel.tick_params(labelsize=9)
        panel.xaxis.label.set_fontsize(10)
    figure.savefig(picture, dpi=85, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    main(sys.argv[1:-1], sys.argv[-1])
