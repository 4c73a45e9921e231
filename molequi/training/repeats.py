"""Several runs of one experiment, over folds and seeds, and what they say together."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from molequi.training.config import Config

# What belongs to a row as a whole.
_OF_ALL = {"unit", "spread_of"}


def single_runs(config: Config) -> dict[str, Config]:
    """Return the config of each run by the name of its folder, such as `fold_2` or `seed_0`.

    Each is complete in itself: the split of its fold, a seed of its own, nothing to repeat.
    """
    training, split = config.training, config.data.split
    runs = {}
    for fold in range(1, (training.folds or 1) + 1):
        for seed in range(training.seed, training.seed + training.repeats):
            own = {"folds": None, "repeats": 1, "seed": seed}
            divided = {} if training.folds is None else {"folds": training.folds, "fold": fold}
            update = {
                "training": training.model_copy(update=own),
                "data": config.data.model_copy(update={"split": split.model_copy(update=divided)}),
            }
            words = [f"fold_{fold}"] if divided else []
            words += [f"seed_{seed}"] if training.repeats > 1 else []
            runs["_".join(words)] = config.model_copy(update=update)
    return runs


def member_runs(config: Config) -> dict[str, Config]:
    """Return the config of each member of an ensemble by the name of its folder, `member_1`, ....

    Each is complete in itself, with a seed of its own.
    """
    return {
        f"member_{number + 1}": config.model_copy(
            update={
                "ensemble": None,
                "training": config.training.model_copy(
                    update={"seed": config.training.seed + number}
                ),
            }
        )
        for number in range(config.ensemble or 1)
    }


def is_repeated(config: Config) -> bool:
    """Tell whether a config asks for more than one run."""
    return config.training.folds is not None or config.training.repeats > 1


def summary(results: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return the mean of each error over runs, and beside it the spread as `NAME_std`.

    The spread is the standard deviation of the runs (n - 1), None for a single one. count: of all
    runs together; runs: how many there are.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, first in results[0].items():
        rows = [result[name] for result in results if name in result]
        row: dict[str, Any] = {key: first[key] for key in _OF_ALL if key in first}
        row |= {"runs": len(rows), "count": sum(one["count"] for one in rows)}
        for key in first:
            if key not in {*_OF_ALL, "count", "coverage"}:
                row |= _mean_and_spread(key, [one.get(key) for one in rows])
        found[name] = row
    return found


def _mean_and_spread(key: str, values: Sequence[float | None]) -> dict[str, float | None]:
    known = [value for value in values if value is not None and math.isfinite(value)]
    if len(known) < len(values):
        return {key: None, f"{key}_std": None}
    spread = statistics.stdev(known) if len(known) > 1 else None
    return {key: statistics.fmean(known), f"{key}_std": spread}
