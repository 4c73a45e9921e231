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


def outputs_at(model: MolecularModel, shift: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the head of the tensor gives for molecules at `shift` (3,), Å, from the origin."""
    molecules = model.molecules(graph())
    moved = molecules._replace(positions=molecules.positions + shift)
    return model.heads["rosenfeld"](model.backbone(graph()), moved)


@torch.no_grad()
def test_the_tensor_moves_by_the_polarizability_that_the_model_gives() -> None:
    """beta_ab grows by 1/2 eps_bcd R_c alpha_ad, written out; its trace does not."""
    model, shift = make(["rosenfeld", "polarizability"]), torch.tensor([1.1, -0.7, 2.0])
    shift = shift.to(torch.float64)
    here, there = outputs_at(model, torch.zeros_like(shift)), outputs_at(model, shift)
    alpha = model.compute(graph())["polarizability"] / 0.529177210903**4  # bohr⁴/Å
    expected = torch.stack([torch.linalg.cross(shift.expand_as(x), x) / 2 for x in alpha])
    assert alpha.abs().min() > 1e-3
    change = there["rosenfeld"] - here["rosenfeld"]
    torch.testing.assert_close(change, expected, rtol=1e-7, atol=1e-9)
    traces = [values["rosenfeld_isotropic"] for values in (here, there)]
    torch.testing.assert_close(*traces, rtol=1e-9, atol=1e-9)
    # What a finite basis keeps of it is a positive factor.
    model.heads["rosenfeld"].log_shares.fill_(math.log(0.85))
    here, there = outputs_at(model, torch.zeros_like(shift)), outputs_at(model, shift)
    torch.testing.assert_close(
        there["rosenfeld"] - here["rosenfeld"], 0.85 * expected, rtol=1e-6, atol=1e-9
    )
    torch.testing.assert_close(here["polarizability"], alpha * 0.529177210903**4, rtol=1e-9, atol=0)


def test_labels_of_the_polarizability_teach_the_origin_term() -> None:
    """One readout feeds both outputs, whatever the order in which they are asked for."""
    for names in (["rosenfeld", "polarizability"], ["polarizability", "rosenfeld"]):
        model = make(names)
        assert list(model.heads) == ["rosenfeld"]
        readout = list(model.heads["rosenfeld"].polarizability.parameters())
        for name in names:
            slopes = torch.autograd.grad(model(graph())[name].square().sum(), readout)
            assert all(bool((slope != 0).any()) for slope in slopes)
    assert make(["rosenfeld"]).heads["rosenfeld"].log_shares is None
