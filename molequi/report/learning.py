"""Learning curves: losses and validation errors over the epochs of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from molequi.properties import PROPERTIES, from_dict
from molequi.report.charts import Labels, Series, chart
from molequi.report.markup import Markup
from molequi.training.log import units_of

_LOSS, _VALID, _MAE = "train_loss_", "valid_", "_mae"


def units_in(description: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the unit of each name of metrics.csv."""
    own = () if description is None else map(from_dict, description["properties"])
    return units_of(list({**PROPERTIES, **{row.name: row for row in own}}.values()))


def learning_curves(metrics: Sequence[Mapping[str, Any]], units: Mapping[str, str]) -> list[Markup]:
    """Return training losses and, for each property, the validation error over the epochs."""
    if not metrics:
        return []
    epochs = np.arange(1, len(metrics) + 1)

    def column(name: str) -> np.ndarray:
        return np.array([row.get(name) for row in metrics], dtype=float)

    losses = [name for name in metrics[0] if name.startswith(_LOSS)]
    valid = [name for name in metrics[0] if name.startswith(_VALID) and name.endswith(_MAE)]
    caption = "Mean over each epoch, in units of the scale of each target."
    lines = [
        Series(in_words(name.removeprefix(_LOSS)), epochs, column(name), tone=tone % 6)
        for tone, name in enumerate(losses)
    ]
    drawn = [chart(Labels("Training loss", "epoch", "loss", caption), lines, log_y=True)]
    for name in valid:
        what = name.removeprefix(_VALID).removesuffix(_MAE)
        if f"{_VALID}{what}_per_atom{_MAE}" in metrics[0] or "[" in what:
            continue
        values = column(name)
        if np.isfinite(values).any():
            unit = units.get(what, "1")
            suffix = "" if unit == "1" else f" ({unit})"
            labels = Labels(f"Validation: {in_words(what)}", "epoch", f"MAE{suffix}")
            drawn.append(chart(labels, [Series("", epochs, values)], log_y=True))
    return drawn


def in_words(name: str) -> str:
    """Write a name of metrics.csv or result.json for people."""
    return name.replace("_", " ")
