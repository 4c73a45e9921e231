"""Terms beside the learned energy: sums, derivatives, frozen, saved, refused where they fail."""

from __future__ import annotations

import dataclasses
import json

import ase.build
import numpy as np
import pytest
import torch
from ase.build import molecule
from safetensors.torch import load_file, save_file

from molequi.diagnostics.check import check_model
from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph, collate
from molequi.models.checkpoint import describe, load_model, save_model
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.models.physics import NO_PHYSICS, Physics
from molequi.models.probes import built_in_probes
from molequi.models.settings import ModelSettings
from molequi.models.structure import Structure
from molequi.nn.physics import (
    CoulombParameters,
    DispersionParameters,
    LongRange,
    Repulsion,
    dispersion_parameters,
)
from molequi.settings import validate
from molequi.simulation.calculator import Calculator
from molequi.structures.atoms import graph_from_atoms

ELEMENTS, CUTOFF = (1, 6, 7, 8), 4.5
D3 = dispersion_parameters("wb97m")
COMBINATIONS = {
    "equilibrated": Physics("equilibrated"),
    "equilibrated, coulomb": Physics("equilibrated", "damped"),
    "flows, coulomb": Physics("flows", "damped"),
    "dispersion": Physics(dispersion=D3, functional="wb97m"),
    "repulsion": Physics(repulsion="zbl"),
    "near repulsion": Physics(repulsion="zbl", repulsion_reach=0.9),
    "everything": Physics("equilibrated", "damped", D3, "wb97m", "zbl"),
}
EVERYTHING = COMBINATIONS["everything"]


def make(
    physics: Physics, outputs: tuple[str, ...] = ("energy", "dipole"), **settings: object
) -> MolecularModel:
    """Return a random model, of whose charges the sums are not whole: every term has slopes."""
    model = make_model(
        ELEMENTS, outputs, n_channels=8, cutoff=CUTOFF, physics=physics, **settings
    ).double()
    if model.equilibration is not None:
        with torch.no_grad():
            last = model.equilibration.network.weights[-1]
            last.copy_(torch.randn(last.shape, generator=torch.Generator().manual_seed(3)))
            model.equilibration.scale.fill_(0.5)
    return model


def probes(*, charge: int = 0) -> list[Structure]:
    """A dense cluster, two molecules and a crystal."""
    return [
        dataclasses.replace(probe, total_charge=charge if probe.is_open else 0)
        for probe in built_in_probes(ELEMENTS)
    ]


def batch(*, charge: int = 0) -> AtomGraph:
    return collate([probe.graph(CUTOFF) for probe in probes(charge=charge)])


@pytest.mark.parametrize("kernels", ["reference", "generic"])
@pytest.mark.parametrize("physics", COMBINATIONS.values(), ids=COMBINATIONS)
def test_forces_and_stress_are_derivatives(physics: Physics, kernels: str) -> None:
    """Of the energies of ions and a crystal, by central differences, frozen and not."""
    graph, model = batch(charge=1), make(physics)
    frozen = model.freeze(kernels=kernels)
    found = frozen.compute(graph, stress=True)
    expected = model.compute(graph, stress=True)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-9, equal_nan=True)
    step, atoms = 1e-4, (0, 13, 21, len(graph.positions) - 1)
    for atom in atoms:
        axis = atom % 3
        energies = []
        for sign in (1.0, -1.0):
            positions = graph.positions.clone()
            positions[atom, axis] += sign * step
            energies.append(float(energy_of(model, graph._replace(positions=positions)).sum()))
        slope = -(energies[0] - energies[1]) / (2 * step)
        assert float(found["forces"][atom, axis]) == pytest.approx(slope, abs=2e-6)
    assert stress_by_differences(model, graph) == pytest.approx(
        float(found["stress"][-1, 0, 1]), abs=2e-7
    )


def test_kernels_reach_the_terms() -> None:
    """`auto` starts in plain torch; what it changes to holds for pairs of atoms as well."""
    model = make(EVERYTHING)
    frozen = model.freeze(kernels="auto")
    pairs = frozen._network.terms.long_range
    assert pairs.kernels == "reference"
    frozen.use_kernels("generic")
    assert pairs.kernels == "generic"
    assert model.terms.long_range.kernels == "reference"


def energy_of(model: MolecularModel, graph: AtomGraph) -> torch.Tensor:
    return model.compute(graph, forces=False)["energy"]


def stress_by_differences(model: MolecularModel, graph: AtomGraph, step: float = 1e-4) -> float:
    """Return the xy component of the last structure's stress."""
    energies = []
    for sign in (1.0, -1.0):
        strain = torch.eye(3, dtype=torch.float64)
        strain[0, 1] = strain[1, 0] = 0.5 * sign * step
        moved = graph._replace(positions=graph.positions @ strain, cell=graph.cell @ strain)
        energies.append(float(energy_of(model, moved)[-1]))
    return (energies[0] - energies[1]) / (2 * step) / float(torch.linalg.det(graph.cell[-1]))


def test_terms_add_up() -> None:
    """The model's energy is that of its parts, each computed by itself."""
    graph, model = batch(), make(EVERYTHING)
    outputs = model.compute(graph)
    bare = make(Physics("equilibrated"))
    bare.load_state_dict(model.state_dict())
    expected = bare.compute(graph)["energies"]
    expected = expected + LongRange(CoulombParameters(), D3)(graph, outputs["charges"])
    expected = expected + Repulsion(cutoff=CUTOFF)(graph)
    torch.testing.assert_close(outputs["energies"], expected)
    totals = expected.new_zeros(graph.n_molecules).index_add(0, graph.batch, expected)
    torch.testing.assert_close(outputs["energy"], totals)


@pytest.mark.parametrize("architecture", ["invariants", "lieconv"])
def test_every_backbone_takes_them(architecture: str) -> None:
    physics = dataclasses.replace(EVERYTHING, charges="equilibrated")
    model = make_model(
        ELEMENTS, ["energy", "charges"], architecture=architecture, cutoff=CUTOFF, physics=physics
    ).double()
    structure = probes(charge=-1)[1]
    outputs = model.compute(structure.graph(CUTOFF))
    assert float(outputs["charges"].sum()) == pytest.approx(-1.0, abs=1e-13)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_new_model_with_every_term_passes_the_physics_report(dtype: torch.dtype) -> None:
    model = make_model(
        ELEMENTS, ["energy", "dipole"], n_channels=8, cutoff=CUTOFF, physics=EVERYTHING
    )
    failed = {name: found for name, found in check_model(model.to(dtype)).items() if not found.ok}
    assert not failed


def test_calculator_and_batches_agree() -> None:
    atoms = molecule("CH3CONH2")
    atoms.info["charge"] = 1
    network = make(EVERYTHING, ("energy", "dipole", "charges"))
    atoms.calc = Calculator(network, unsafe=True)
    graph = graph_from_atoms(atoms, CUTOFF)
    expected = network.compute(graph)
    assert atoms.get_potential_energy() == pytest.approx(float(expected["energy"]), abs=1e-9)
    np.testing.assert_allclose(atoms.get_forces(), expected["forces"], atol=1e-9)
    np.testing.assert_allclose(atoms.get_charges(), expected["charges"], atol=1e-12)
    assert atoms.get_charges().sum() == pytest.approx(1.0, abs=1e-13)
    together = network.compute(collate([graph, *(p.graph(CUTOFF) for p in probes())]))
    torch.testing.assert_close(together["energy"][:1], expected["energy"])


@pytest.mark.parametrize("physics", COMBINATIONS.values(), ids=COMBINATIONS)
def test_a_file_holds_the_physics(tmp_path, physics: Physics) -> None:
    model, graph = make(physics), batch()
    save_model(model, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.physics == physics
    assert json.loads(json.dumps(describe(loaded))) == json.loads(json.dumps(describe(model)))
    for name, value in model.compute(graph).items():
        assert torch.equal(loaded.compute(graph)[name].nan_to_num(), value.nan_to_num()), name


def test_a_file_from_before_has_none(tmp_path) -> None:
    model, path = make(NO_PHYSICS), tmp_path / "model.safetensors"
    save_model(model, path)
    description = {name: value for name, value in describe(model).items() if name != "physics"}
    save_file(load_file(path), path, metadata={"molequi": json.dumps(description)})
    assert load_model(path).physics == NO_PHYSICS


def test_terms_need_an_energy_and_charges() -> None:
    with pytest.raises(UserError, match=r"model\.coulomb needs charges"):
        make_model(ELEMENTS, ["energy"], physics=Physics(coulomb="damped"))
    with pytest.raises(UserError, match=r"model\.repulsion is part of an energy"):
        make_model(ELEMENTS, ["dipole"], physics=Physics(repulsion="zbl"))
    assert make_model(ELEMENTS, ["energy", "charges"], physics=Physics(coulomb="damped")).terms


def test_settings() -> None:
    def physics(**settings: object) -> Physics:
        return validate(ModelSettings, settings, "test").physics()

    assert physics() == NO_PHYSICS
    assert physics(
        charges="equilibrated",
        coulomb="damped",
        dispersion="d3bj",
        dispersion_functional="wb97m",
        repulsion="zbl",
    ) == Physics("equilibrated", "damped", D3, "wb97m", "zbl")
    numbers = (1.0, 0.5, 0.4, 4.4)
    assert physics(
        dispersion="d3bj", dispersion_parameters=list(numbers)
    ).dispersion == DispersionParameters(*numbers)
    for wrong in (
        {"dispersion": "d3bj"},
        {
            "dispersion": "d3bj",
            "dispersion_functional": "pbe",
            "dispersion_parameters": list(numbers),
        },
        {"dispersion_functional": "pbe"},
        {"dispersion": "d3bj", "dispersion_functional": "pbe-1000"},
        {"repulsion_reach": 0.75},
        {"repulsion": "zbl", "repulsion_reach": 0.0},
    ):
        with pytest.raises(UserError):
            physics(**wrong)
    assert ModelSettings(charges="equilibrated", n_layers=2).overrides() == {"n_layers": 2}
    assert (
        EVERYTHING.text == "equilibrated charges, their damped Coulomb energy, D3(BJ) dispersion "
        "(wb97m), ZBL repulsion"
    )
    near = physics(repulsion="zbl", repulsion_reach=0.75)
    assert near.text == "flows charges, ZBL repulsion within 0.75 of the sum of covalent radii"
    assert Physics.from_json(near.to_json()) == near
    # What says nothing of the reach has the old one, and versions before it read it.
    assert Physics.from_json({"repulsion": "zbl"}) == physics(repulsion="zbl")
    assert "repulsion_reach" not in physics(repulsion="zbl").to_json()


def test_a_repulsion_of_short_reach_leaves_bonds_alone() -> None:
    """At 0.75 of the sum of covalent radii carbon monoxide does not feel it, at 1 it does."""
    atoms = ase.build.molecule("CO")
    energies = {}
    for reach in (0.75, 1.0):
        terms = Physics(repulsion="zbl", repulsion_reach=reach).terms(CUTOFF)
        found = []
        for bond in (1.128, 0.85):
            atoms.set_distance(0, 1, bond)
            found.append(float(terms(graph_from_atoms(atoms, CUTOFF), None).sum()))
        energies[reach] = found
    assert energies[0.75][0] == 0.0
    assert energies[0.75][1] > 1.0
    assert energies[1.0][0] > 1.0
