"""Ten times QM9: what it takes to load and to train on."""

from __future__ import annotations

from pathlib import Path

import pytest
from large_set import QM9, measured

MOST_GIB = 4.0
# A step on ten times QM9 beside one on 3,000 molecules; rounds of the same set differ by 10 %.
SLOWEST = 1.3


@pytest.mark.long
def test_ten_times_qm9_fits_and_a_step_takes_no_longer(tmp_path: Path) -> None:
    small, large = measured(3_000, tmp_path), measured(10 * QM9, tmp_path)
    assert large.molecules == 10 * QM9
    assert large.peak_gib < MOST_GIB
    assert large.step < SLOWEST * small.step
