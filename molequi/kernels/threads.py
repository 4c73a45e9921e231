"""Kernels shared out among threads.

Compiled kernels run without the interpreter's lock, so Python's own threads serve: they may be
started by several callers at once, they leave nothing behind in a forked child, and idle ones do
not spin, as those of OpenMP do.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch

from molequi.kernels.edges import NodeRange

T = TypeVar("T")


class _State(threading.local):
    """What `without_openmp` found: the number of torch's threads, in each thread of its own."""

    n_threads: int | None = None


_state = _State()

# What is worth a thread of its own, in units of `cost`: half a millisecond, several times what
# waking it up costs.
_WORTH_A_THREAD = 300_000


def available() -> int:
    """Return how many threads a kernel may have: torch's number, also `without_openmp`."""
    return _state.n_threads or torch.get_num_threads()


@contextlib.contextmanager
def without_openmp() -> Iterator[None]:
    """Give torch's own operations one thread.

    Those of OpenMP spin for milliseconds after each, on the cores that the kernels need.
    """
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    _state.n_threads = before
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        _state.n_threads = None


def is_worth_sharing(n_edges: int, cost: int) -> bool:
    """Tell whether so many edges, in units of `cut`'s cost, are worth a second thread."""
    return available() > 1 and n_edges * cost >= 2 * _WORTH_A_THREAD


def cut(pointers: np.ndarray, cost: int, worth: int = _WORTH_A_THREAD) -> list[NodeRange]:
    """Cut nodes into ranges of equal work, one for each thread worth waking.

    At most as many as torch has. pointers: (N + 1,), the edges before each node. cost: of an edge,
    in radial functions or coefficients. worth: cost that is worth a thread.
    """
    n_nodes = len(pointers) - 1
    n_ranges = max(1, min(available(), n_nodes, int(pointers[-1]) * cost // worth))
    if n_ranges == 1:
        return [NodeRange(0, n_nodes)]
    # Half an edge per node, so that nodes without edges are shared out too.
    work = pointers + 0.5 * np.arange(n_nodes + 1)
    inner = np.searchsorted(work, work[-1] * np.arange(1, n_ranges) / n_ranges).tolist()
    edges = [0, *inner, n_nodes]
    return [NodeRange(first, last) for first, last in itertools.pairwise(edges)]


def run(
    kernel: Callable,
    inputs: Sequence,
    numbers: Sequence,
    outputs: Sequence,
    ranges: Sequence[NodeRange],
    *,
    of_range: np.ndarray | None = None,
) -> None:
    """Call kernel(first, last, *inputs, *numbers, *outputs) for every range of nodes.

    of_range[k] goes to the k-th as its last argument.
    """
    own = [()] * len(ranges) if of_range is None else [(part,) for part in of_range]
    calls = [
        functools.partial(kernel, *nodes, *inputs, *numbers, *outputs, *mine)
        for nodes, mine in zip(ranges, own, strict=True)
    ]
    waiting = [_pool(os.getpid()).submit(call) for call in calls[1:]]
    calls[0]()
    for future in waiting:
        future.result()


def each(task: Callable[[T], None], shares: Sequence[T]) -> None:
    """Run task(share) for every share, without autograd, each in a thread of its own.

    Torch has no others in it: its spinning ones would be in the way.
    """
    waiting = [_pool(os.getpid()).submit(_alone, task, share) for share in shares[1:]]
    _alone(task, shares[0])
    for future in waiting:
        future.result()


def _alone(task: Callable[[T], None], share: T) -> None:
    with without_openmp(), torch.no_grad():
        task(share)


def _after_fork() -> None:
    """Give torch one thread in a forked child: OpenMP's others stayed behind, and it would wait."""
    _state.n_threads = None
    torch.set_num_threads(1)


if os.name == "posix":
    os.register_at_fork(after_in_child=_after_fork)


@functools.lru_cache(maxsize=1)
def _pool(process: int) -> ThreadPoolExecutor:
    """The threads of this process: a forked child inherits none and makes its own."""
    return ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix=f"molequi-{process}")
