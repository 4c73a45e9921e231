"""Sweeps shared out among threads.

Compiled sweeps run without the interpreter's lock, so Python's own threads serve: they may be started by several callers at once, they leave nothing
behind in a forked child, and idle ones do not spin, as those of OpenMP do.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

# Multiplications that are worth a thread of their own: some 0.1 ms, several times what starting it costs.
_WORTH_A_THREAD = 100_000


def cut(pointers: np.ndarray, cost: int) -> list[tuple[int, int]]:
    """Cut nodes into ranges [first, last) of equal work, one for each of torch's threads that has enough to do.

    pointers: (N + 1,), the edges before each node. cost: multiplications per edge, roughly.
    """
    n_nodes = len(pointers) - 1
    n_chunks = max(1, min(torch.get_num_threads(), n_nodes, int(pointers[-1]) * cost // _WORTH_A_THREAD))
    if n_chunks == 1:
        return [(0, n_nodes)]
    # Half an edge per node, so that nodes without edges are shared out too.
    work = pointers + 0.5 * np.arange(n_nodes + 1)
    inner = np.searchsorted(work, work[-1] * np.arange(1, n_chunks) / n_chunks).tolist()
    edges = [0, *inner, n_nodes]
    return list(zip(edges[:-1], edges[1:], strict=True))


def run(
    sweep: Callable, inputs: Sequence, numbers: Sequence, outputs: Sequence, chunks: Sequence[tuple[int, int]], *, of_chunk: np.ndarray | None = None
) -> None:
    """Call sweep(first, last, *inputs, *numbers, *outputs) for every chunk; of_chunk[k] goes to the k-th as its last argument."""
    own = [()] * len(chunks) if of_chunk is None else [(part,) for part in of_chunk]
    calls = [functools.partial(sweep, *chunk, *inputs, *numbers, *outputs, *mine) for chunk, mine in zip(chunks, own, strict=True)]
    waiting = [_pool(os.getpid()).submit(call) for call in calls[1:]]
    calls[0]()
    for future in waiting:
        future.result()


@functools.lru_cache(maxsize=1)
def _pool(process: int) -> ThreadPoolExecutor:
    """The threads of this process: a forked child inherits none and makes its own."""
    return ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix=f"molequi-{process}")
