"""Structures with the energies that other programs give them; see `make_golden.py`."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from molequi.graphs.graph import AtomGraph
from molequi.graphs.neighbors import build_graph

GOLDEN = json.loads((Path(__file__).parent / "files" / "golden.json").read_text())


class Golden(NamedTuple):
    """A molecule, its charges (e) and energies, eV: NaN where there is none."""

    graph: AtomGraph
    charges: torch.Tensor
    coulomb: float
    dispersion: float
    dftd3: float


@pytest.fixture(params=GOLDEN)
def golden(request: pytest.FixtureRequest) -> Golden:
    return read(request.param)


@pytest.fixture(params=[name for name, entry in GOLDEN.items() if "charges" in entry])
def golden_charges(request: pytest.FixtureRequest) -> Golden:
    return read(request.param)


def read(name: str) -> Golden:
    entry = GOLDEN[name]
    graph = build_graph(np.array(entry["positions"]), np.array(entry["numbers"]), 5.0)
    charges = torch.tensor(entry.get("charges", [0.0] * graph.n_atoms), dtype=torch.float64)
    energies = (entry.get(name, float("nan")) for name in ("coulomb", "dispersion", "dftd3"))
    return Golden(graph, charges, *energies)
