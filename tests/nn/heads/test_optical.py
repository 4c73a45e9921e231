"""Heads of optical activity: rotations from the trace, one head for all three outputs."""

from __future__ import annotations

import math

import pytest
import torch
from ase.data import atomic_masses

from molequi.graphs.graph import AtomGraph, collate
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.models.probes import built_in_probes

ELEMENTS = (1, 6, 7, 8)
OPTICAL = ["rosenfeld", "rosenfeld_isotropic", "specific_rotation"]


def graph() -> AtomGraph:
    return collate([structure.graph(4.0) for structure in built_in_probes(ELEMENTS)[:2]])


def make(names: list[str]) -> MolecularModel:
    return make_model(ELEMENTS, names, n_layers=3, n_channels=4, parity="full", cutoff=4.0).to(
        torch.float64
    )


@pytest.mark.parametrize("names", [["rosenfeld"], ["rosenfeld_isotropic"]], ids=" ".join)
def test_the_specific_rotation_follows_from_trace_and_molar_mass(names: list[str]) -> None:
    """The formula of K. Ruud et al., Chem. Phys.

    Lett. 373 (2003) 606, with CODATA constants, written out.
    """
    outputs, batch = make(names).compute(graph()), graph()
    beta = outputs["rosenfeld_isotropic"] * (0.529177210903e-8) ** 4
    mass = torch.zeros(2, dtype=torch.float64).index_add(
        0, batch.batch, torch.tensor(atomic_masses)[batch.atomic_numbers]
    )
    expected = 28800 * math.pi**2 * 6.02214076e23 * (1 / 589.3e-7) ** 2 * beta / mass
    assert outputs["specific_rotation"].abs().min() > 1e-3
    torch.testing.assert_close(outputs["specific_rotation"], expected, rtol=1e-7, atol=0.0)


@pytest.mark.parametrize(
    "names", [OPTICAL, OPTICAL[::-1], OPTICAL[1:], OPTICAL[:0:-1]], ids=" ".join
)
def test_one_head_gives_all_that_follows(names: list[str]) -> None:
    network = make(names)
    first = "rosenfeld" if "rosenfeld" in names else "rosenfeld_isotropic"
    assert list(network.heads) == [first]
    assert set(names) <= set(network.compute(graph()))


def test_a_measured_rotation_is_learned_by_itself() -> None:
    network = make(["specific_rotation"])
    assert list(network.compute(graph())) == ["specific_rotation"]
    value, image = (
        network.compute(g)["specific_rotation"]
        for g in (graph(), graph()._replace(positions=-graph().positions))
    )
    assert value.abs().min() > 1e-4
    assert torch.equal(image, -value)
