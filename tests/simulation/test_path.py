"""Reaction paths: ammonia's inversion against a scan, saddle points, orders of atoms."""

import os
import signal

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from molequi.errors import RunInterruptedError, UserError
from molequi.models.zoo import load
from molequi.simulation.barrier import run_path
from molequi.simulation.calculator import Calculator
from molequi.simulation.matching import changed_bonds, laid_upon, match
from molequi.simulation.path import PathSettings
from molequi.simulation.relaxation import relax_atoms
from molequi.simulation.saddle import refine_saddle
from molequi.structures.molecules import atoms_from_smiles

QUICK = PathSettings(images=3, fmax=0.2)


@pytest.fixture(scope="module")
def organic():
    # Kernels that work counts towards would change between two runs.
    return Calculator(load("organic"), dtype="float64", kernels="reference")


@pytest.fixture
def ends():
    first = molecule("NH3")
    last = first.copy()
    last.positions[:, 2] *= -1
    return first, last


@pytest.mark.parametrize("end", [0, 1])
def test_isotopes_that_one_end_names_are_those_of_the_path(organic, ends, end, caplog, tmp_path):
    """The imaginary mode of ND3 is slower by the root of the reduced masses: 0.766 by hand.

    The mode of a flat XY3: mu = m_H m_N / (m_N + 3 m_H), so 1.008 * 14.007 / 17.031 against
    2.014 * 14.007 / 20.049.
    """
    light = run_path(*ends, organic, QUICK)["saddle"]["imaginary_cm1"][0]
    ends[end].set_masses([14.007, 2.014, 2.014, 2.014])
    heavy = run_path(*ends, organic, QUICK, output=tmp_path / "path")["saddle"]["imaginary_cm1"][0]
    assert heavy / light == pytest.approx(np.sqrt(0.8290 / 1.4070), rel=1e-3)
    assert f"{'AB'[end]} alone names isotopes" in caplog.text
    for image in ase.io.read(tmp_path / "path" / "path.xyz", ":"):
        assert image.get_masses()[1] == pytest.approx(2.014)


def test_two_sorts_of_isotopes_are_refused(organic, ends):
    ends[0].set_masses([14.007, 2.014, 1.008, 1.008])
    ends[1].set_masses([14.007, 1.008, 2.014, 1.008])
    with pytest.raises(UserError, match=r"atom 1 \(from 0\) has mass 2\.014 in A and 1\.008 in B"):
        run_path(*ends, organic, QUICK)


def test_the_barrier_of_ammonia_is_that_of_its_flat_form(organic, ends, tmp_path):
    """The flat molecule is the saddle point by symmetry: the oracle is a relaxation in a plane."""
    folder = tmp_path / "path"
    result = run_path(*ends, organic, QUICK, output=folder)
    flat = Atoms("NHHH", [[0, 0, 0], [1, 0, 0], [-0.5, 0.87, 0], [-0.5, -0.87, 0]])
    flat.calc = organic
    top = relax_atoms(flat, fmax=1e-4).atoms.get_potential_energy()
    bottom = ends[0].copy()
    bottom.calc = organic
    low = relax_atoms(bottom, fmax=1e-4).atoms.get_potential_energy()
    assert result["barrier_ev"] == pytest.approx(top - low, abs=2e-4)
    assert result["reverse_barrier_ev"] == pytest.approx(result["barrier_ev"], abs=2e-4)
    assert result["barrier_kj_mol"] == pytest.approx(96.485 * result["barrier_ev"], rel=1e-5)
    assert result["saddle"]["is_first_order"]
    assert result["saddle"]["n_imaginary"] == 1
    assert 500 < -result["saddle"]["imaginary_cm1"][0] < 1500
    places = np.linalg.svd(result["saddle"]["positions"] - result["saddle"]["positions"].mean(0))
    assert places[1][2] < 0.02  # it is flat
    images = ase.io.read(folder / "path.xyz", ":")
    assert len(images) == 5
    assert images[2].get_potential_energy() > images[0].get_potential_energy()
    film = ase.io.read(folder / "mode.xyz", ":")
    heights = [frame.positions[0] - frame.positions[1:].mean(axis=0) for frame in film]
    assert np.dot(heights[5], heights[15]) < 0  # nitrogen passes through the plane
    assert not (tmp_path / "path.journal").exists()


@pytest.mark.parametrize(("phase", "fmax"), [("band", 0.2), ("climbing", 0.05)])
def test_an_interrupted_path_goes_on(organic, ends, tmp_path, phase, fmax):
    """To the same band, to the last bit, in as many steps."""
    folder = tmp_path / "path"
    settings, calls = PathSettings(images=3, fmax=fmax), []
    expected = run_path(*ends, organic, settings)

    def interrupt(what, step, _left):
        calls.append(what)
        if calls.count(phase) == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(RunInterruptedError, match=r"the band is in .*path\.journal"):
        run_path(*ends, organic, settings, output=folder, progress=interrupt)
    assert not folder.exists()
    assert (tmp_path / "path.journal").is_file()
    result = run_path(*ends, organic, settings, output=folder)
    assert result["steps"] == expected["steps"]
    for ours, theirs in zip(result["images"], expected["images"], strict=True):
        np.testing.assert_array_equal(ours["positions"], theirs["positions"])


def test_no_two_paths_write_into_one_place(organic, ends, tmp_path, monkeypatch):
    folder = tmp_path / "path"

    def refine_beside_another(*_arguments):
        with pytest.raises(UserError, match="another run is writing"):
            run_path(*ends, organic, QUICK, output=folder)
        raise KeyboardInterrupt

    monkeypatch.setattr("molequi.simulation.barrier.refine_saddle", refine_beside_another)
    with pytest.raises(KeyboardInterrupt):
        run_path(*ends, organic, QUICK, output=folder)
    assert (tmp_path / "path.journal").exists()


def test_a_saddle_is_found_from_off_the_path(organic):
    guess = Atoms("NHHH", [[0, 0, 0.1], [1.05, 0, 0], [-0.5, 0.87, 0.02], [-0.5, -0.87, 0]])
    saddle = refine_saddle(guess, organic)
    assert saddle.is_first_order
    assert saddle.fmax < 1e-3


@pytest.mark.parametrize("smiles", ["CCO", "C[C@H](N)C(=O)O"])
def test_a_shuffled_and_turned_molecule_is_matched(smiles):
    atoms = atoms_from_smiles(smiles)
    order = np.random.default_rng(5).permutation(len(atoms))
    other = atoms[order]
    other.rotate(77, (1, 2, 3))
    other.translate([4, 5, 6])
    found = match(atoms, other)
    assert found.changed == 0
    assert found.distance < 1e-6
    np.testing.assert_array_equal(other.numbers[found.order], atoms.numbers)
    np.testing.assert_allclose(
        laid_upon(atoms.positions, other.positions[found.order]), atoms.positions, atol=1e-6
    )


def test_orders_that_differ_are_said_and_matched_where_asked(organic, ends, caplog):
    first, last = ends
    with pytest.raises(UserError, match="atom 0 is N in A and H in B; give --match"):
        run_path(first, last[[1, 0, 2, 3]], organic, QUICK)
    ethanol = atoms_from_smiles("CCO")
    swapped = ethanol.copy()
    swapped.positions[[3, 8]] = swapped.positions[[8, 3]]  # hydrogens of C and of O
    assert changed_bonds(ethanol, swapped) == 4
    with pytest.raises(UserError, match="same structure"):
        run_path(ethanol, swapped, organic, PathSettings(match_atoms=True))
    turned = ethanol[[0, 1, 2, 3, 4, 5, 6, 7, 8]]
    with pytest.raises(UserError, match="same structure"):
        run_path(ethanol, turned, organic, QUICK)
    assert "--match" not in caplog.text


def test_other_atoms_and_impossible_settings_are_refused(morse):
    with pytest.raises(UserError, match="A is H2O and B is H3N"):
        run_path(molecule("H2O"), molecule("NH3"), morse(), QUICK)
    first, last = molecule("NH3"), molecule("NH3")
    last.info["charge"] = -1
    with pytest.raises(UserError, match=r"A has charge 0 \(assumed, .*\) and B -1 \(.*charge"):
        run_path(first, last, morse(), QUICK)
    last.info.update(charge=0, multiplicity=3)
    with pytest.raises(UserError, match=r"A has multiplicity 1 \(assumed, .*\) and B 3"):
        run_path(first, last, morse(), QUICK)
    with pytest.raises(UserError, match="images is 1"):
        PathSettings(images=1)
    with pytest.raises(UserError, match="fmax is 0"):
        PathSettings(fmax=0.0)


def in_a_cell(atoms, length):
    atoms = atoms.copy()
    atoms.set_cell([length] * 3)
    atoms.pbc = True
    return atoms


def test_ends_in_other_cells_are_refused(morse, ends):
    first, last = ends
    with pytest.raises(UserError, match="A is periodic along .* and B along"):
        run_path(first, in_a_cell(last, 12.0), morse(), QUICK)
    with pytest.raises(UserError, match=r"cells of A and B are not the same \(lengths 12, 12, 12"):
        run_path(in_a_cell(first, 12.0), in_a_cell(last, 6.0), morse(), QUICK)


def test_places_along_a_path_do_not_count_translations_of_the_cell(organic, ends):
    first, last = (in_a_cell(atoms, 12.0) for atoms in ends)
    moved = last.copy()
    moved.wrap()
    settings = PathSettings(images=3, fmax=5.0, relax_ends=False)
    plain, wrapped = (run_path(first, end, organic, settings) for end in (last, moved))
    places = [[image["place"] for image in found["images"]] for found in (plain, wrapped)]
    np.testing.assert_allclose(places[1], places[0], atol=1e-6)
