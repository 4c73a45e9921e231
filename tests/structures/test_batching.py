"""Structures in batches: order kept, limits held, nothing lost."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molequi.errors import UserError
from molequi.structures.batching import in_batches

LIMITS = st.one_of(st.just(math.inf), st.integers(1, 12))


@given(st.lists(st.integers(0, 9)), LIMITS, LIMITS)
def test_batches_hold_their_limits_and_are_as_full_as_these_allow(sizes, atoms, count) -> None:
    batches = list(in_batches(sizes, lambda size: size, atoms=atoms, count=count))
    assert [size for batch in batches for size in batch] == sizes
    for batch in batches:
        assert 1 <= len(batch) <= count
        assert len(batch) == 1 or sum(batch) <= atoms
    for batch, following in zip(batches, batches[1:], strict=False):
        assert len(batch) == count or sum(batch) + following[0] > atoms


@pytest.mark.parametrize("limits", [{}, {"atoms": 100}, {"count": 3}])
def test_items_are_read_no_further_than_needed(limits) -> None:
    read = []
    batches = in_batches((read.append(k) or k for k in range(9)), lambda _: 50, **limits)
    first = next(batches)
    assert read == list(range(min(len(first) + 1, 9)))


@pytest.mark.parametrize("count", [0, -1, 1.5, "3"])
def test_what_is_no_number_of_structures_is_refused_at_once(count) -> None:
    with pytest.raises(UserError, match="batch_size is .*; it must be a whole number from 1"):
        in_batches([1, 1], lambda size: size, count=count)
    assert len(list(in_batches([1, 1], lambda size: size, count=np.int64(1)))) == 2
