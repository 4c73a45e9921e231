"""Distances that stop shrinking: smooth, nothing to a molecule, and no hole below them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.data import atomic_numbers, covalent_radii

from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph
from molequi.models.checkpoint import load_model, save_model
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.models.physics import Physics
from molequi.nn.nearest import held
from molequi.structures.atoms import graph_from_atoms

ELEMENTS = [atomic_numbers[symbol] for symbol in "H C N O Cl I".split()]
SHARE, CUTOFF = 0.6, 4.0


def make(held_below: float | None = SHARE, **settings: object) -> MolecularModel:
    physics = Physics(repulsion="zbl") if settings.pop("wall", False) else Physics()
    model = make_model(
        ELEMENTS,
        ["energy"],
        n_channels=6,
        cutoff=CUTOFF,
        correlation=2,
        physics=physics,
        held_below=held_below,
        **settings,
    )
    return model.double().eval()


def pair(r: float, symbols: str = "CO") -> AtomGraph:
    return graph_from_atoms(Atoms(symbols, [[0, 0, 0], [0, 0, r]]), CUTOFF)


def sum_of_radii(*numbers: int) -> float:
    return float(covalent_radii[list(numbers)].sum())


def test_distances_are_themselves_then_stand_still_with_two_derivatives() -> None:
    least = torch.tensor(1.0, dtype=torch.float64)
    r = torch.linspace(0.5, 1.2, 7001, dtype=torch.float64)
    d = held(r, least.expand(len(r)))
    above, below = r >= 1.0, r <= 0.7
    torch.testing.assert_close(d[above], r[above], rtol=0, atol=0)
    torch.testing.assert_close(d[below], torch.full_like(d[below], 0.85), rtol=0, atol=1e-15)
    step = float(r[1] - r[0])
    first = d.diff() / step
    second = first.diff() / step
    assert bool((first > -1e-12).all())  # never nearer for being farther away
    # A jump of a derivative would not shrink with the step: these are slopes times the step.
    assert float(first.diff().abs().max()) < 10 * step
    assert float(second.diff().abs().max()) < 150 * step


def test_molecules_are_what_they_are_without() -> None:
    """To the bit: the water dimer, triple bonds, and bonds 15 % shorter than they should be."""
    plain, other = make(None), make()
    other.load_state_dict(plain.state_dict())
    for name, scale in itertools.product(("H2O", "HCN", "CH3Cl", "N2", "H2"), (1.0, 0.85)):
        atoms = molecule(name)
        atoms.positions *= scale
        graph = graph_from_atoms(atoms, CUTOFF)
        for key, value in plain.compute(graph).items():
            torch.testing.assert_close(other.compute(graph)[key], value, rtol=0, atol=0)


@pytest.mark.parametrize("kernels", ["reference", "generic"])
@pytest.mark.parametrize("share", [0.3, 0.43, 0.5, 0.55, 0.59])
def test_forces_of_close_atoms_are_slopes_frozen_or_not(kernels: str, share: float) -> None:
    model = make()
    model.use_kernels(kernels)
    r, h = share * sum_of_radii(6, 8), 1e-5
    energies = [float(model.compute(pair(r + k * h))["energy"]) for k in (1, -1)]
    expected = -(energies[0] - energies[1]) / (2 * h)
    for form in (model, model.freeze()):
        force = float(form.compute(pair(r))["forces"][1, 2])
        assert force == pytest.approx(expected, rel=1e-6, abs=1e-7)


def test_the_network_says_nothing_new_of_nearer_atoms() -> None:
    model, least = make(), 0.7 * SHARE * sum_of_radii(6, 8)
    found = model.compute(pair(0.99 * least))
    nearer = model.compute(pair(0.5 * least))
    torch.testing.assert_close(nearer["energy"], found["energy"], rtol=1e-13, atol=0)
    np.testing.assert_allclose(nearer["forces"].numpy(), 0.0, atol=1e-12)


@pytest.mark.parametrize(
    "symbols",
    ["".join(two) for two in itertools.combinations_with_replacement(("H", "C", "O", "I"), 2)],
)
def test_a_random_network_with_a_repulsion_has_no_hole(symbols: str) -> None:
    """From half of the sum of radii down each force pushes, and the nearer the more."""
    model, length = make(wall=True), sum_of_radii(*Atoms(symbols).numbers)
    shares = (0.5, 0.4, 0.3, 0.2) if "H" not in symbols else (0.49, 0.4, 0.3, 0.2)
    forces = [float(model.compute(pair(s * length, symbols))["forces"][1, 2]) for s in shares]
    assert forces[0] > 0
    assert forces == sorted(forces)


def test_files_keep_it_and_limits_hold(tmp_path) -> None:
    save_model(make(), tmp_path / "held.safetensors")
    assert load_model(tmp_path / "held.safetensors").backbone.settings["held_below"] == SHARE
    with pytest.raises(UserError, match=r"model\.held_below is 0\.9; it must lie between 0\.3 and"):
        make(0.9)
