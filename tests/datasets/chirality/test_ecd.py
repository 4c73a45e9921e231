"""Excited states: the rotatory strength is the pseudoscalar of a polar and an axial vector."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.constants
from ase import units
from ecd import (
    ROTATORY_STRENGTH,
    EcdMolecule,
    load_ecd,
    rotatory_strength,
)
from scipy.spatial.transform import Rotation

from molequi.errors import UserError
from molequi.o3.coupling import coupling_table

POLAR, AXIAL, PSEUDOSCALAR = ((1, -1),), ((1, 1),), ((0, -1),)


def sample_of(checkout: Path) -> Path:
    return checkout / "tests" / "datasets" / "files" / "ecd.json"


@pytest.fixture(scope="module")
def molecules(checkout: Path) -> tuple[EcdMolecule, ...]:
    return load_ecd(sample_of(checkout))


def coupled(electric: np.ndarray, magnetic: np.ndarray) -> np.ndarray:
    """1o x 1e -> 0o by the table that drives the networks, for every state."""
    table = coupling_table(POLAR, AXIAL, PSEUDOSCALAR)
    return (
        table.value * electric[:, table.component_first] * magnetic[:, table.component_second]
    ).sum(axis=1)


def test_rotatory_strengths_by_the_coupling_table(molecules: tuple[EcdMolecule, ...]) -> None:
    """One factor for all 200 states of ten molecules, to the four digits of the vectors.

    The factor is -235.7 times that of the table.
    """
    assert sum(len(molecule.energies) for molecule in molecules) == 200
    product = np.concatenate(
        [coupled(molecule.electric, molecule.magnetic) for molecule in molecules]
    )
    scalar = np.concatenate(
        [np.einsum("sx,sx->s", molecule.electric, molecule.magnetic) for molecule in molecules]
    )
    norm = product @ scalar / (scalar @ scalar)
    np.testing.assert_allclose(product, norm * scalar, atol=1e-12)
    published = np.concatenate([molecule.rotatory_strengths for molecule in molecules])
    factor = product @ published / (product @ product)
    assert factor * norm == pytest.approx(-235.72, abs=0.05)
    assert np.abs(factor * product - published).max() < 1e-3 * np.abs(published).max()
    for molecule in molecules:
        error = (
            rotatory_strength(molecule.electric, molecule.magnetic) - molecule.rotatory_strengths
        )
        assert np.abs(error).max() < 1e-3 * np.abs(molecule.rotatory_strengths).max()


def test_other_parities_have_no_such_path() -> None:
    assert not coupling_table(POLAR, POLAR, PSEUDOSCALAR).paths
    assert not coupling_table(POLAR, AXIAL, ((0, 1),)).paths


def test_factor_from_the_constants() -> None:
    """e a0 in esu·cm times a Bohr magneton in erg/G."""
    statcoulomb = scipy.constants.e * scipy.constants.c * 10
    dipole = statcoulomb * scipy.constants.value("Bohr radius") * 100
    magneton = scipy.constants.value("Bohr magneton") * 1e3
    assert -dipole * magneton * 1e40 == pytest.approx(ROTATORY_STRENGTH, rel=1e-5)


def test_the_common_sign_of_the_dipoles_means_nothing(molecules: tuple[EcdMolecule, ...]) -> None:
    for molecule in molecules:
        electric, magnetic = molecule.electric, molecule.magnetic
        strength = coupled(electric, magnetic)
        signs = np.random.default_rng(0).choice([-1.0, 1.0], len(electric))[:, None]
        np.testing.assert_array_equal(coupled(signs * electric, signs * magnetic), strength)
        turn = Rotation.random(random_state=0).as_matrix()
        np.testing.assert_allclose(
            coupled(electric @ turn.T, magnetic @ turn.T), strength, atol=1e-10
        )
        # The other hand: the polar vector turns round, the axial one does not.
        np.testing.assert_array_equal(coupled(-electric, magnetic), -strength)


def test_oscillator_strengths_belong_to_the_electric_dipoles(
    molecules: tuple[EcdMolecule, ...],
) -> None:
    for molecule in molecules:
        expected = 2 / 3 * molecule.energies / units.Hartree * (molecule.electric**2).sum(axis=1)
        np.testing.assert_allclose(molecule.oscillator_strengths, expected, atol=1.5e-4)
        assert molecule.positions.shape == (len(molecule.atomic_numbers), 3)


def test_damaged_files(tmp_path: Path, checkout: Path) -> None:
    data = json.loads(sample_of(checkout).read_text(encoding="utf-8"))
    path = tmp_path / "a.json"

    def complaint(change: object) -> str:
        path.write_text(change if isinstance(change, str) else json.dumps(change))
        with pytest.raises(UserError) as caught:
            load_ecd(path)
        return str(caught.value)

    assert "cannot be read as JSON" in complaint("{")
    assert "expected an object with a list `molecules`" in complaint([1])
    first = data["molecules"][0]
    assert "molecule 0: the field 'mu_m' is missing" in complaint(
        {"molecules": [{k: v for k, v in first.items() if k != "mu_m"}]}
    )
    assert "mu_e has shape (19, 3)" in complaint(
        {"molecules": [{**first, "mu_e": first["mu_e"][1:]}]}
    )
    assert "'Xx' is no element" in complaint(
        {"molecules": [{**first, "symbols": ["Xx", *first["symbols"][1:]]}]}
    )
    assert "the field 'E_eV' is no list; expected one entry for each state" in complaint(
        {"molecules": [{**first, "E_eV": 7.1}]}
    )
    assert "[1] is no element" in complaint(
        {"molecules": [{**first, "symbols": [[1], *first["symbols"][1:]]}]}
    )
    assert "something else than numbers" in complaint({"molecules": [{**first, "f": ["a"] * 20}]})
    assert "the field 'R_std' is missing" in complaint(
        {"molecules": [{k: v for k, v in first.items() if k != "R_std"}]}
    )
