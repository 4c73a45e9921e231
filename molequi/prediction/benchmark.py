"""How fast a model is on this machine: energies and forces with each kind of kernels."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numba.core import event

from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph
from molequi.graphs.neighbors import build_graph
from molequi.kernels import CPU_KERNELS
from molequi.models.molecular import MolecularModel
from molequi.runtime.resources import data_path
from molequi.structures.atoms import graph_from_atoms
from molequi.structures.inputs import first_atoms

# Water at the density of the liquid, Å: the distance of the molecules on their lattice, and O H H
# of one.
_SPACING = 3.1044
_WATER = ((8, 0.0, 0.0, 0.119), (1, 0.0, 0.763, -0.477), (1, 0.0, -0.763, -0.477))


class Timing(NamedTuple):
    """One row.

    ms: median of `n_calls` energies and forces, neighbour pairs known. compiled_s: time of
    compiling before the first of them, s; 0 from a cache.
    """

    system: str
    atoms: int
    kernels: str
    ms: float
    atoms_per_second: float
    n_calls: int
    compiled_s: float


def systems(cutoff: float) -> dict[str, AtomGraph]:
    """Return the structures to time: aspirin, 21 atoms, and boxes of 192 and 1,536 atoms of water.

    Cutoff in Å.
    """
    atoms = first_atoms(data_path("samples/aspirin.xyz"))
    boxes = {f"water box {3 * n**3:,}": _water_box(n, cutoff) for n in (4, 8)}
    return {"aspirin": graph_from_atoms(atoms, cutoff), **boxes}


def bench(
    model: MolecularModel,
    graphs: Mapping[str, AtomGraph] | None = None,
    *,
    kernels: Sequence[str] = CPU_KERNELS,
    seconds: float = 1.5,
) -> Iterator[Timing]:
    """Time energy and forces of each graph with each kind of kernels.

    A row comes as soon as it is measured.

    graphs: by name, those of `systems` by default. seconds: how long each row is measured, after a
    first call, at least one call. The model is frozen for it.
    Raises UserError for a model without an energy or one that does not know the elements.
    """
    graphs = systems(model.cutoff) if graphs is None else graphs
    if "energy" not in model.outputs:
        raise UserError(
            f"energy and forces are what is timed; this model gives {', '.join(model.outputs)}"
        )
    for graph in graphs.values():
        model.check_input(graph)
    for kind in kernels:
        frozen = model.freeze(kernels=kind)
        for name, graph in graphs.items():
            with event.install_recorder("numba:compile") as recorder:
                frozen.compute(graph)
            times = _times(functools.partial(frozen.compute, graph), seconds)
            median = statistics.median(times)
            yield Timing(
                name,
                graph.n_atoms,
                kind,
                1e3 * median,
                graph.n_atoms / median,
                len(times),
                _seconds_of(recorder.buffer),
            )


def _times(call: Callable[[], object], seconds: float) -> list[float]:
    """Call until the time is used up; the seconds of each call."""
    times: list[float] = []
    while not times or sum(times) + times[-1] < seconds:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def _seconds_of(events: Sequence[tuple[float, event.Event]]) -> float:
    """Return how long compiling took.

    The time that lies between the start and the end of any compilation.
    """
    total, depth, began = 0.0, 0, 0.0
    for moment, entry in events:
        if entry.is_start:
            began = moment if depth == 0 else began
            depth += 1
        else:
            depth -= 1
            total += moment - began if depth == 0 else 0.0
    return total


def _water_box(n: int, cutoff: float) -> AtomGraph:
    """Return n³ water molecules on a cubic lattice, each turned at random."""
    generator = np.random.default_rng(0)
    sites = _SPACING * np.stack(np.meshgrid(*3 * [np.arange(n)], indexing="ij"), axis=-1).reshape(
        -1, 1, 3
    )
    turns = np.linalg.qr(generator.normal(size=(n**3, 3, 3)))[0]
    positions = np.einsum("mij,aj->mai", turns, [row[1:] for row in _WATER]) + sites
    numbers = np.tile([row[0] for row in _WATER], n**3)
    return build_graph(
        positions, numbers, cutoff, cell=np.eye(3) * n * _SPACING, pbc=np.ones(3, dtype=bool)
    )
