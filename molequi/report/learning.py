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
    """Return training losses and, for each property, the validation error over the epochs.

    metrics: lines of metrics.csv. units: see `units_in`.
    """
    if not metrics:
        return []
    columns = {
        name: np.array([row.get(name) for row in metrics], dtype=float) for name in metrics[0]
    }
    epochs = np.arange(1, len(metrics) + 1)
    losses = [name for name in columns if name.startswith(_LOSS)]
    lines = [
        Series(in_words(name.removeprefix(_LOSS)), epochs, columns[name], tone=tone % 6)
        for tone, name in enumerate(losses)
    ]
    caption = "Mean over each epoch, in units of the scale of each target."
    drawn = [chart(Labels("Training loss", "epoch", "loss", caption), lines, log_y=True)]
    note = "Mean absolute error on the validation structures after each epoch."
    for what in _validated(columns):
        unit = units.get(what, "1")
        suffix = "" if unit == "1" else f" ({unit})"
        labels = Labels(f"Validation: {in_words(what)}", "epoch", f"MAE{suffix}", note)
        line = Series("", epochs, columns[f"{_VALID}{what}{_MAE}"])
        drawn.append(chart(labels, [line], log_y=True))
    return drawn


def _validated(columns: Mapping[str, np.ndarray]) -> list[str]:
    """Name the properties with errors; of a total that per atom, of a tensor the whole."""
    names = [
        name.removeprefix(_VALID).removesuffix(_MAE)
        for name, values in columns.items()
        if name.startswith(_VALID) and name.endswith(_MAE) and np.isfinite(values).any()
    ]
    return [name for name in names if "[" not in name and f"{name}_per_atom" not in names]


def in_words(name: str) -> str:
    """Write a name of metrics.csv or result.json for people."""
    return name.replace("_", " ")
