"""Structures in batches, by how many or by their atoms."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from molequi.runtime.whole_numbers import check_whole

Item = TypeVar("Item")


def in_batches(
    items: Iterable[Item],
    n_atoms: Callable[[Item], int],
    *,
    atoms: float = math.inf,
    count: float = math.inf,
) -> Iterator[list[Item]]:
    """Part items, in their order, into batches of at most `atoms` atoms and `count` items.

    n_atoms: how many atoms an item has. One with more atoms than that is a batch of its own.
    Raises UserError, at once, for a `count` that is no whole number from 1.
    """
    if count != math.inf:
        check_whole(count, "batch_size", 1)
    return _batches(items, n_atoms, atoms, count)


def _batches(
    items: Iterable[Item], n_atoms: Callable[[Item], int], atoms: float, count: float
) -> Iterator[list[Item]]:
    batch: list[Item] = []
    n_held = 0
    for item in items:
        size = n_atoms(item)
        if batch and (n_held + size > atoms or len(batch) >= count):
            yield batch
            batch, n_held = [], 0
        batch.append(item)
        n_held += size
    if batch:
        yield batch
