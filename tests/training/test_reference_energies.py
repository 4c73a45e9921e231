"""Energies of isolated atoms against known laws."""

from __future__ import annotations

import pytest
import torch
from labelled import frames_of

from molequi.properties import PROPERTIES
from molequi.training.label_statistics import fit_statistics
from molequi.training.reference_energies import (
    composition,
    fit_references,
    isolated_atoms,
    nearest_prior,
    tabulated_atoms,
)

HARTREE = 27.211386
ATOMS = {1: -13.0, 6: -1030.0, 8: -2040.0}


def test_tabulated_atoms_are_continuous_with_the_series():
    table = tabulated_atoms()
    assert float(table[1]) == pytest.approx(-0.5 * HARTREE, rel=1e-6)
    assert float(table[6]) == pytest.approx(-37.845 * HARTREE, rel=1e-6)
    # Hartree-Fock limits of krypton and xenon: -2752.055 and -7232.138 Ha.
    assert float(table[36]) == pytest.approx(-2752.055 * HARTREE, rel=5e-3)
    assert float(table[54]) == pytest.approx(-7232.138 * HARTREE, rel=5e-3)
    assert (table[1:].diff() < 0).all()


def test_references_are_recovered_where_the_data_tell_elements_apart():
    molecules = [(1, 1, 8), (6, 1, 1, 1, 1), (6, 8), (6, 8, 8), (1, 1)]
    totals = torch.tensor(
        [sum(ATOMS[z] for z in molecule) for molecule in molecules], dtype=torch.float64
    )
    frames = frames_of(molecules, {"energy": totals}, {"energy": PROPERTIES["energy"]})
    fitted = fit_references(frames, totals)
    assert fitted.is_determined
    assert {z: round(float(fitted.values[z]), 6) for z in ATOMS} == ATOMS
    assert float(fitted.values.abs().sum()) == pytest.approx(
        sum(abs(value) for value in ATOMS.values())
    )


def test_one_composition_moves_the_table_as_little_as_possible():
    molecules = [(6, 6, 8, 1, 1, 1, 1, 1, 1)] * 4
    table = tabulated_atoms()
    totals = torch.full((4,), -4209.6, dtype=torch.float64)
    frames = frames_of(molecules, {"energy": totals}, {"energy": PROPERTIES["energy"]})
    fitted = fit_references(frames, totals, around=nearest_prior(frames, totals, "eV"))
    assert (fitted.rank, fitted.n_elements) == (1, 3)
    counts, elements = composition(frames)
    assert float((counts @ fitted.values[elements])[0]) == pytest.approx(-4209.6, abs=1e-6)
    shift = (fitted.values - table)[elements]
    assert torch.allclose(
        shift / torch.tensor([6.0, 2.0, 1.0], dtype=torch.float64), shift[2].expand(3)
    )


def test_prior_is_zero_for_energies_that_are_not_all_electron():
    molecules = [(1, 1, 8), (6, 8)]
    totals = torch.tensor([-14.0, -15.0], dtype=torch.float64)
    frames = frames_of(molecules, {"energy": totals}, {"energy": PROPERTIES["energy"]})
    assert float(nearest_prior(frames, totals, "eV").abs().max()) == 0
    assert float(nearest_prior(frames, totals * 100, "kcal/mol").abs().max()) == 0


def test_isolated_atoms_in_the_data_fix_their_elements():
    molecules = [(1,), (8,), (1, 1, 8), (1, 1, 8)]
    totals = torch.tensor([-13.0, -2040.0, -2076.0, -2075.0], dtype=torch.float64)
    frames = frames_of(molecules, {"energy": totals}, {"energy": PROPERTIES["energy"]})
    assert isolated_atoms(frames, totals) == {1: -13.0, 8: -2040.0}
    for size, found in ((20.0, {1: -13.0, 8: -2040.0}), (3.0, {1: -13.0})):
        frames.cell[1], frames.pbc[1] = size * torch.eye(3), True
        assert isolated_atoms(frames, totals) == found
    frames.pbc[1] = False
    statistics = fit_statistics(frames, PROPERTIES["energy"])
    assert float(statistics.reference.values[1]) == -13.0
    assert statistics.reference.is_determined
