"""What every model promises, over heads and number types, in explicit formulas.

No helper of the physics report is used here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from axial import AXIAL
from torch import Tensor

from molequi.graphs.graph import collate
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.models.probes import built_in_probes
from molequi.models.structure import Structure
from molequi.properties import Property, declare

ORGANIC = (1, 6, 7, 8)
CUTOFF = 4.5
# Largest error of an output relative to its largest value: rounding, with room for sums over atoms.
TOLERANCE = {torch.float64: 1e-11, torch.float32: 5e-5}
KINDS = ("natural", "full", "products", "symmetric", "invariants")


def declared(irreps: str, *, per_atom: bool = False, extensive: bool = True) -> Property:
    name = (
        f"out_{irreps.replace('+', '_')}"
        + ("_atom" if per_atom else "")
        + ("" if extensive or per_atom else "_mean")
    )
    return declare(name, irreps=irreps, unit="1", per_atom=per_atom, extensive=extensive)


HEADS = {
    "natural": (
        "energy",
        "dipole",
        "polarizability",
        "gap",
        "r2",
        "cv",
        declared("1o", extensive=False),
        declared("0e+2e", per_atom=True),
        declared("3o"),
        declare("pooled", irreps="0e", unit="1", head="pooled"),
    ),
    "full": (
        "energy",
        AXIAL,
        "rosenfeld",
        *(declared(irreps) for irreps in ("0o", "1o", "1e", "2e", "2o")),
        *(declared(irreps) for irreps in ("0e+2e", "0o+1o+2o", "0e+1e+2e")),
        declared("0o", extensive=False),
        declared("0o", per_atom=True),
        declare("is_right", irreps="0o", unit="1", per_atom=True, binary=True),
    ),
    "products": ("energy", "dipole", "homo"),
    "symmetric": ("energy", "dipole"),
    "invariants": (
        "energy",
        "charges",
        "homo",
        declared("0o"),
        declared("0o", extensive=False),
        declared("0o", per_atom=True),
    ),
}
SETTINGS = {
    "natural": {"n_layers": 2, "l_max": 3, "n_channels": 6},
    "full": {"n_layers": 3, "l_max": 2, "n_channels": 4, "parity": "full"},
    "products": {"n_layers": 2, "l_max": 2, "n_channels": 4, "correlation": 3},
    "symmetric": {
        **{"n_layers": 2, "l_max": 2, "n_channels": 4, "parity": "full"},
        **{"correlation": 3, "product": "symmetric"},
    },
    "invariants": {
        "architecture": "invariants",
        "parity": "full",
        "n_channels": 6,
        "near_cutoff": 3.0,
    },
}


@functools.lru_cache
def make(kind: str, dtype: torch.dtype = torch.float64) -> MolecularModel:
    model = make_model(ORGANIC, HEADS[kind], seed=3, cutoff=CUTOFF, **SETTINGS[kind])
    model.backbone.calibrate(
        collate([structure.graph(CUTOFF) for structure in built_in_probes(ORGANIC)[:3]])
    )
    model.heads["energy"].set_statistics(2.0, 0.5, -30.0 * torch.arange(119, dtype=torch.float64))
    return model.to(dtype)


@pytest.fixture
def model_of() -> Callable[..., MolecularModel]:
    """Return the function from a kind and a number type to its model."""
    return make


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=[torch.float64, torch.float32], ids=["float64", "float32"])
def model(request: pytest.FixtureRequest, kind: str) -> MolecularModel:
    return make(kind, request.param)


@pytest.fixture
def tolerance() -> dict[torch.dtype, float]:
    """Return the largest relative error by number type."""
    return TOLERANCE


def compute(
    model: MolecularModel, *structures: Structure, stress: bool = False
) -> dict[str, Tensor]:
    return model.compute(
        collate([structure.graph(model.cutoff) for structure in structures]), stress=stress
    )


def rows(model: MolecularModel) -> dict[str, Property]:
    energies = Property("energies", "0e", "eV", per_atom=True)
    return {**model.properties, "energies": energies}


def compare(model: MolecularModel, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        error, size = (found[name] - value).abs().max(), value.abs().max()
        assert torch.isfinite(size), name
        assert float(error) <= TOLERANCE[model.dtype] * max(1e-2, float(size)), (
            f"{name}: error {float(error):.1e}, size {float(size):.1e}"
        )


@pytest.fixture
def outputs_of() -> Callable[..., dict[str, Tensor]]:
    """Return the function from a model and structures to the outputs on their batch."""
    return compute


@pytest.fixture
def rows_of() -> Callable[[MolecularModel], dict[str, Property]]:
    """Return the function from a model to the rows of all its outputs."""
    return rows


@pytest.fixture
def assert_same() -> Callable[..., None]:
    """Return the function that compares two sets of outputs within the tolerance."""
    return compare
