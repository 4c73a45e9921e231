"""Signs, mirror errors and CIP labels beside an optical rotation."""

from __future__ import annotations

import re

import ase
import numpy as np
import pytest
from ase.build import molecule
from rdkit import Chem
from rdkit.Chem import AllChem

from molequi.models.making import make_model
from molequi.models.metadata import ModelMetadata, TrainingRecord
from molequi.models.molecular import MolecularModel
from molequi.prediction.optical_rotation import (
    rotation_factor,
    rotation_level,
    sign_of,
    smallest_rotation,
    training_spread,
)
from molequi.prediction.predict import predict
from molequi.structures.molecules import atoms_from_smiles

LEVEL = {
    "rosenfeld": "MP2/tiny, static, gas phase, origin at the centre of mass",
    "polarizability": "another",
}


@pytest.fixture(scope="module")
def chiral() -> MolecularModel:
    """An untrained model of the tensor; the laws hold for any weights."""
    training = TrainingRecord(spread={"rosenfeld[0o]": 0.6})
    metadata = ModelMetadata(name="tiny", level=LEVEL, training=training)
    return make_model(
        [1, 6, 7, 8], ["rosenfeld"], n_channels=8, n_layers=3, parity="full", metadata=metadata
    )


def lactate(smiles: str = "C[C@H](O)C(=O)O") -> ase.Atoms:
    return atoms_from_smiles(smiles)


def test_two_hands_have_opposite_signs_and_labels(chiral):
    atoms = lactate()
    mirror = ase.Atoms(atoms.numbers, atoms.positions * [-1, 1, 1])
    one, other = predict([atoms, mirror], chiral)
    assert {one["rotation_sign"], other["rotation_sign"]} == {"+", "-"}
    assert one["specific_rotation"] == pytest.approx(-other["specific_rotation"], rel=1e-4)
    assert {tuple(one["cip"].values()), tuple(other["cip"].values())} == {("R",), ("S",)}
    assert one["cip"].keys() == other["cip"].keys() == {"1"}
    assert one["mirror_error"] < 1e-4 * abs(one["specific_rotation"])
    np.testing.assert_allclose(
        np.trace(one["rosenfeld"]) / 3, one["rosenfeld_isotropic"], rtol=1e-6
    )


def test_the_mirror_error_is_measured_not_zero_by_construction(chiral):
    records = predict(
        [lactate(text) for text in ("C[C@H](O)C(=O)O", "CC[C@H](C)O", "OC[C@@H](C)OC")], chiral
    )
    assert any(record["mirror_error"] > 0 for record in records)


@pytest.mark.parametrize("name", ["H2O", "CH3OH", "C6H6", "trans-butane"])
def test_an_achiral_geometry_has_no_sign(chiral, name):
    (record,) = predict(molecule(name), chiral)
    assert record["rotation_sign"] is None
    assert abs(record["specific_rotation"]) <= max(
        record["mirror_error"], smallest_rotation(chiral, molecule(name))
    )
    assert record["cip"] == {}


@pytest.mark.parametrize("text", ["CCO", "OO", "OC[C@H](O)[C@H](O)CO", "C/C=C/C=O"])
def test_no_sign_where_the_mirror_image_is_a_conformer(chiral, text):
    """One gauche ethanol rotates, ethanol does not; from a SMILES as from coordinates."""
    drawn = atoms_from_smiles(text)
    for atoms in (drawn, ase.Atoms(drawn.numbers, drawn.positions)):
        (record,) = predict(atoms, chiral)
        assert record["rotation_sign"] is None
        zero = smallest_rotation(chiral, atoms) + record["mirror_error"]
        is_handed = abs(record["specific_rotation"]) > zero
        assert is_handed == (text != "C/C=C/C=O")
        note = record["rotation_note"]
        assert (note is not None and "mirror image is a conformer" in note) == is_handed


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("CC(O)C=O", r"leaves configurations open \(here C2 [RS]\)"),
        ("C[C@H](O)C=CC", r"leaves configurations open \(here C4=C5 [EZ]\)"),
        ("C[C@H](O)C=O |&1:1|", r"leaves configurations open \(here C2 S\)"),
        ("CN1OC1(C)C", r"leaves configurations open \(here N2\)"),
        ("CC=C=CC", "leaves configurations open|no SMILES keeps the hand of an allene"),
        ("C1=CC2(C1)C=CC2", "no SMILES keeps the hand"),
    ],
)
def test_no_sign_where_the_smiles_leaves_the_hand_open(chiral, text, reason):
    """The geometry has a hand that nobody asked for; as coordinates it is what was asked for."""
    drawn = atoms_from_smiles(text)
    (record,) = predict(drawn, chiral)
    assert record["rotation_sign"] is None
    assert re.search(reason, record["rotation_note"])
    for image in (1.0, -1.0):
        (record,) = predict(ase.Atoms(drawn.numbers, image * drawn.positions), chiral)
        assert record["rotation_sign"] == ("+" if record["specific_rotation"] > 0 else "-")
        assert record["rotation_note"] is None


def test_a_marked_nitrogen_that_does_not_turn_over_gives_a_sign(chiral):
    records = predict([atoms_from_smiles(f"C[N{mark}]1OC1(C)C") for mark in ("@", "@@")], chiral)
    assert {record["rotation_sign"] for record in records} == {"+", "-"}
    assert [record["rotation_note"] for record in records] == [None, None]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("CC(O)C=O", r"leaves configurations open \(here C2 [RS]\)"),
        ("C[C@H](O)C=O |&1:1|", r"leaves configurations open \(here C2 S\)"),
        ("C1=CC2(C1)C=CC2", "nor does a flat drawing"),
        ("C/C=C\\[C@@H](O)C#C", None),
    ],
)
def test_no_sign_where_a_drawing_leaves_the_hand_open(chiral, tmp_path, text, reason):
    """Written to a file and read again, the geometry is still one that was made."""
    drawn = Chem.MolFromSmiles(text)
    AllChem.Compute2DCoords(drawn)
    (tmp_path / "a.sdf").write_text(Chem.MolToV3KMolBlock(drawn))
    for path in (tmp_path / "a.sdf", tmp_path / "b.xyz"):
        (record,) = predict(path, chiral, output=tmp_path / "b.xyz", overwrite=True)
        assert (record["rotation_sign"] is None) == (reason is not None)
        assert reason is None or re.search(reason, record["rotation_note"])


def test_a_sign_needs_more_than_mirror_error_and_rounding():
    assert sign_of(1.0, 0.5, 1e-3) == "+"
    assert sign_of(-1.0, 0.5, 1e-3) == "-"
    assert sign_of(1.0, 1.5, 1e-3) is None
    assert sign_of(-1e-4, 0.0, 1e-3) is None
    assert sign_of(float("nan"), 0.0, 1e-3) is None


def test_the_spread_is_that_of_the_trace_in_training(chiral):
    # A tensor t * 1 has the 0o part sqrt(3) t.
    assert training_spread(chiral) == pytest.approx(0.6 / 3**0.5)
    water = molecule("H2O")
    # M = 18.015 g/mol; 28800 pi^2 N_A (1/589.3e-7 cm)^2 (0.529177e-8 cm)^4 / M.
    expected = 28800 * np.pi**2 * 6.02214e23 / 589.3e-7**2 * 0.529177e-8**4 / 18.015
    assert rotation_factor(water) == pytest.approx(expected, rel=1e-4)
    assert smallest_rotation(chiral, water) == pytest.approx(
        1e-5 * expected * 0.6 / 3**0.5, rel=1e-4
    )


def test_the_level_is_the_models_own(chiral):
    assert rotation_level(chiral) == "MP2/tiny, static, gas phase, this conformer; not experiment"
    measured = make_model(
        [1, 6],
        ["specific_rotation"],
        n_channels=4,
        n_layers=3,
        l_max=2,
        parity="full",
        metadata=ModelMetadata(level="experiment, in ethanol"),
    )
    assert rotation_level(measured) == "experiment, in ethanol, this conformer"


def test_unknown_bonds_are_said(chiral):
    broken = ase.Atoms(
        "CH3", [[0, 0, 0], [1.1, 0, 0], [-0.5, 0.9, 0], [-0.5, -0.9, 0]], info={"charge": 0}
    )
    (record,) = predict(broken, chiral, unsafe=True)
    assert record["cip"] is None
    assert "unpaired" in record["cip_note"]


def test_a_structure_without_atoms_costs_only_itself(chiral):
    record, other = predict([ase.Atoms(), molecule("H2O")], chiral)
    assert record == {"source": "atoms", "index": 0, "error": "the structure has no atoms"}
    assert (other["specific_rotation"], other["cip"]) == (0.0, {})


def test_other_models_say_nothing_of_hands():
    model = make_model([1, 8], ["energy"], n_channels=4, l_max=1)
    (record,) = predict(molecule("H2O"), model)
    assert not {"cip", "rotation_sign", "mirror_error"} & set(record)
