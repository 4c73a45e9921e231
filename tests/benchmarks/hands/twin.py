"""The SO(3) twin: the same network with every parity relabelled even.

So that it does not know what the mirror does.

Reflections are then lost as a law: cross products of polar vectors pass for polar vectors, and a
handed output is only as odd as training made it.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from unittest import mock

from molequi.datasets.in_memory import Frames
from molequi.o3.irreps import Irreps


def even_irreps(l_max: int) -> Irreps:
    """Return 0e, 1e, 2e, ... up to l_max."""
    return Irreps((l, 1) for l in range(l_max + 1))


@contextlib.contextmanager
def without_parity() -> Iterator[None]:
    """Let networks that are made here treat harmonics and features as even.

    They are made with `parity: natural`, and stay even afterwards.
    """
    with mock.patch.multiple(Irreps, natural=even_irreps, full=even_irreps):
        yield


def relabelled(frames: Frames) -> Frames:
    """Call every target even: 0o+1o+2o becomes 0e+1e+2e."""
    rows = {
        name: dataclasses.replace(row, irreps=_even(row.irreps), reads=_even(row.reads))
        for name, row in frames.properties.items()
    }
    return dataclasses.replace(frames, properties=rows)


def _even(irreps: str) -> str:
    """Relabel `0e+0o+1o` as `0e+1e`: each degree once."""
    return "+".join(dict.fromkeys(irreps.replace("o", "e").split("+")))


def mirrored(frames: Frames) -> Frames:
    """Return the images x -> -x of structures and their targets.

    Rosenfeld tensors change sign, polarizabilities stay, R becomes S."""
    laws = {
        "rosenfeld": lambda y: -y,
        "rosenfeld_isotropic": lambda y: -y,
        "polarizability": lambda y: y,
        "handedness": lambda y: 1.0 - y,
    }
    targets = {name: laws[name](values) for name, values in frames.targets.items()}
    return dataclasses.replace(frames, positions=-frames.positions, targets=targets)
