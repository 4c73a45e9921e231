"""Every law of physics on models of random settings, with random structures."""

from __future__ import annotations

import math
import sys

import pytest
from random_models import draw, violations

N_LONG = 500


def worst_of(seeds: range) -> dict[str, tuple[float, float, str]]:
    """Return for each law the largest error as a part of its limit, the error, and its model."""
    worst: dict[str, tuple[float, float, str]] = {}
    for seed in seeds:
        drawn = draw(seed)
        for law, error, limit in violations(drawn, seed):
            part = error / limit if math.isfinite(error) else math.inf  # NaN is the worst of all
            if part >= worst.get(law, (-1.0, 0.0, ""))[0]:
                worst[law] = (part, error, drawn.text)
    return worst


def broken(worst: dict[str, tuple[float, float, str]]) -> list[str]:
    return [f"{law}: {error:.1e}, {text}" for law, (part, error, text) in worst.items() if part > 1]


@pytest.mark.parametrize("first", range(0, 12, 4))
def test_a_dozen_random_models(first: int) -> None:
    worst = worst_of(range(first, first + 4))
    assert len(worst) > 25
    assert not broken(worst)


@pytest.mark.long
def test_random_models(capsys) -> None:
    worst = worst_of(range(1000, 1000 + N_LONG))
    lines = [
        f"  {law:40} {part:8.1e} ({error:.1e}) {text}\n"
        for law, (part, error, text) in sorted(worst.items(), key=lambda item: -item[1][0])
    ]
    with capsys.disabled():
        sys.stdout.writelines(
            [f"\nworst of {N_LONG} random models, as a part of what is allowed:\n", *lines]
        )
    assert not broken(worst)
