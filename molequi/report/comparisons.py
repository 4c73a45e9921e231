"""Predictions against labels, drawn: parity, means of groups, errors over their spread."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from molequi.nn.heads.doubt import SHARE
from molequi.properties import Property
from molequi.report.charts import Labels, Series, chart
from molequi.report.markup import Markup
from molequi.report.tables import number
from molequi.runtime.wording import capital

_RELIABILITY_BINS = 12


@dataclasses.dataclass(frozen=True)
class Compared:
    """A property: labels and predictions, shaped alike; errors are sizes, one per row.

    labels, predictions: (n, ...), of atoms or of molecules, without what the composition alone
    tells; NaN where there is no label. errors: (n,), mean over components, per atom of a total.
    unit: of the values; error_unit: of the errors.
    """

    row: Property
    labels: np.ndarray
    predictions: np.ndarray
    errors: np.ndarray
    error_unit: str

    @property
    def words(self) -> str:
        """Name it for people."""
        return self.row.name.replace("_", " ")


def bars(
    one: Compared,
    names: Sequence[str],
    groups: Sequence[np.ndarray],
    heading: str,
    along: str,
    whose: str,
) -> Markup | None:
    """Draw the mean error of groups of rows as bars; None where there are no labels.

    along: what the names are. whose: of whom the means are, in words.
    """
    means = np.array(
        [np.nanmean(group) if np.isfinite(group).any() else np.nan for group in groups]
    )
    if not np.isfinite(means).any():
        return None
    whole = float(np.nanmean(one.errors))
    counts = ", ".join(
        f"{name} {number(int(np.isfinite(group).sum()))}"
        for name, group in zip(names, groups, strict=True)
    )
    unit = "" if one.error_unit == "1" else f" ({one.error_unit})"
    return chart(
        Labels(heading, along, f"mean error{unit}", f"Mean over {whose}; labels: {counts}."),
        [
            Series("", np.arange(len(means)), means, "bars"),
            Series("mean of all", np.array([-1.0, len(means)]), np.full(2, whole), "guide", tone=1),
        ],
        names=names,
    )


def parity(one: Compared) -> Markup:
    """Draw predictions over labels with the line of equality."""
    suffix = "" if one.row.unit == "1" else f" ({one.row.unit})"
    known = np.isfinite(one.labels) & np.isfinite(one.predictions)
    x, y = one.labels[known], one.predictions[known]
    what = f"{one.words} beyond the composition" if one.row.has_reference else one.words
    if one.row.binary:
        what = f"{one.words} (probability)"
    differences = np.abs(x - y)
    unit = "" if one.row.unit == "1" else f" {one.row.unit}"
    caption = (
        f"{number(len(x))} values. MAE {number(float(differences.mean()))}, RMSE "
        f"{number(float(np.sqrt(np.square(differences).mean())))}{unit}. "
        "On the dashed line a prediction equals its label."
        if len(x)
        else "There are no labels."
    )
    ends = np.array([min(x.min(), y.min()), max(x.max(), y.max())]) if len(x) else np.zeros(2)
    margin = np.array([-1.0, 1.0]) * np.ptp(ends)
    return chart(
        Labels(capital(what), f"label{suffix}", f"prediction{suffix}", caption),
        [
            Series("", x, y, "points"),
            Series("", ends + margin, ends + margin, "guide", tone=1),
        ],
        is_square=True,
    )


def coverage(held: Mapping[str, Mapping[str, float | None]]) -> Markup | None:
    """Draw the share of the errors within a radius over the share that it is meant to hold.

    held: by spread, by meant share in per cent; None where a spread was never calibrated.
    """
    lines: list[Series] = []
    for name, shares in held.items():
        values = {float(share): value for share, value in shares.items() if value is not None}
        x, y = np.array(list(values)), 100 * np.array(list(values.values()))
        if len(x):
            lines.append(Series(name.replace("_", " "), x, y, tone=len(lines)))
    if not lines:
        return None
    ends = np.array([0.0, 100.0])
    caption = (
        "On the dashed line the radii hold what they are meant to hold. Below it the model is too "
        "sure of itself, above it too careful."
    )
    labels = Labels("Calibration of the doubt", "meant to hold (%)", "hold (%)", caption)
    guide = Series("", ends, ends, "guide", tone=len(lines))
    return chart(labels, [*lines, guide], is_square=True)


def reliability(one: Compared, spreads: np.ndarray) -> Markup | None:
    """Draw the size that `SHARE` of the errors stay below, over the spread that was expected."""
    apart = (one.predictions - one.labels).reshape(len(one.labels), -1)
    errors = np.sqrt(np.square(apart).sum(axis=1))
    known = np.isfinite(errors) & np.isfinite(spreads)
    order = np.argsort(spreads[known])
    parts = [part for part in np.array_split(order, _RELIABILITY_BINS) if len(part)]
    if not parts:
        return None
    x = np.array([np.median(spreads[known][part]) for part in parts])
    y = np.array([np.quantile(errors[known][part], SHARE) for part in parts])
    ends = np.array([min(x.min(), y.min()), max(x.max(), y.max())]) * np.array([0.1, 10.0])
    percent = f"{100 * SHARE:.0f} %"
    caption = (
        f"Each point holds as many errors as any other. On the dashed line {percent} of the errors "
        "are smaller than what the model expects; a level row of points would say that it knows "
        "nothing of them."
    )
    unit = one.row.unit
    return chart(
        Labels(
            f"Doubt about {one.words}", f"expected error ({unit})",
            f"{percent} of the errors below ({unit})", caption,
        ),
        [Series("", x, y, "points"), Series("", ends, ends, "guide", tone=1)],
        log_x=True,
        log_y=True,
    )  # fmt: skip
