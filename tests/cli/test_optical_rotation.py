"""What `molequi predict` prints of optical rotations and of means over conformers."""

from __future__ import annotations

import json

import pytest

from molequi.models.checkpoint import save_model
from molequi.models.making import make_model
from molequi.models.metadata import ModelMetadata


@pytest.fixture(scope="module")
def chiral(tmp_path_factory):
    """A file with an untrained model of the tensor."""
    level = "HF/some, static, gas phase, origin at the centre of mass"
    metadata = ModelMetadata(name="tiny", level={"rosenfeld": level})
    model = make_model(
        [1, 6, 8], ["rosenfeld"], n_channels=8, n_layers=3, parity="full", metadata=metadata
    )
    path = tmp_path_factory.mktemp("models") / "chiral.safetensors"
    save_model(model, path)
    return path


def test_table_has_signs_centres_and_one_line_of_level(molequi, chiral, water):
    result = molequi(
        "predict", water, "--smiles", "C[C@H](O)C=O", "--smiles", "C[C@@H](O)C=O", "--model", chiral
    )
    assert result.code == 0
    rows = {
        key: next(line for line in result.out.splitlines() if key in line and "C3H6O2" in line)
        for key in ("C[C@H]", "C[C@@H]")
    }
    assert "2S" in rows["C[C@H]"]
    assert "2R" in rows["C[C@@H]"]
    assert (
        {"(+)" in row for row in rows.values()}
        == {"(-)" in row for row in rows.values()}
        == {True, False}
    )
    assert "none" in next(line for line in result.out.splitlines() if "H2O" in line)
    assert result.out.count("HF/some, static, gas phase, this conformer; not experiment") == 1


def test_a_rotation_of_both_hands_has_no_sign(molequi, chiral):
    result = molequi(
        "predict", "--smiles", "CCO", "--smiles", "CC(O)C=O", "--smiles", "CO", "--model", chiral
    )
    assert result.code == 0
    rows = [
        next(line for line in result.out.splitlines() if f in line) for f in ("C2H6O", "C3H6O2")
    ]
    assert all("±" in row and "none" in row for row in rows)
    assert "±" not in next(line for line in result.out.splitlines() if "CH4O" in line)
    text = " ".join(result.out.split())
    assert "sign of the rotation: none, for the mirror image is a conformer too" in text
    assert "sign of the rotation: none, for the input leaves configurations open" in text


def test_json_has_the_keys(molequi, chiral, water, tmp_path):
    result = molequi("predict", water, "--smiles", "C[C@H](O)C=O", "--model", chiral, "--json")
    achiral, handed = json.loads(result.out)
    keys = {
        "specific_rotation",
        "rosenfeld",
        "rosenfeld_isotropic",
        "rotation_sign",
        "mirror_error",
        "cip",
    }
    assert keys <= set(achiral)
    assert keys <= set(handed)
    assert achiral["rotation_sign"] is None
    assert handed["rotation_sign"] == ("+" if handed["specific_rotation"] > 0 else "-")
    assert handed["cip"] == {"1": "S"}
    for name in ("out.csv", "out.xyz"):
        assert (
            molequi(
                "predict",
                "--smiles",
                "C[C@H](O)C=O",
                "--model",
                chiral,
                "--output",
                tmp_path / name,
            ).code
            == 0
        )
    assert "1:S" in (tmp_path / "out.csv").read_text(encoding="utf-8")
    assert "molequi_rotation_sign" in (tmp_path / "out.xyz").read_text(encoding="utf-8")


def test_mean_over_conformers(molequi, chiral):
    result = molequi(
        "predict",
        "--smiles",
        "CCCC",
        "--smiles",
        "CCC(C)O",
        "--model",
        chiral,
        "--conformers",
        "6",
        "--temperature",
        "300",
    )
    assert result.code == 1
    assert "stereo centre open" in result.err
    mean = next(line for line in result.out.splitlines() if line.strip().startswith("mean"))
    assert "none" in mean
    assert "(+)" in result.out
    assert "(-)" in result.out
    assert "mean over conformers at 300 K; not experiment" in result.out


def test_temperature_needs_conformers(molequi, chiral):
    result = molequi("predict", "--smiles", "CO", "--model", chiral, "--temperature", "300")
    assert result.code == 2
    assert "--conformers N" in result.err


def test_values_of_atoms_are_pointed_at_and_have_no_place_in_a_table(molequi, tmp_path):
    path = tmp_path / "rs.safetensors"
    save_model(
        make_model(
            [1, 6, 8],
            ["handedness"],
            n_channels=8,
            n_layers=3,
            parity="full",
            metadata=ModelMetadata(name="rs"),
        ),
        path,
    )
    result = molequi("predict", "--smiles", "C[C@H](O)C=O", "--model", path)
    assert result.code == 0
    assert "values of atoms (handedness) are in --output FILE.xyz or .json" in result.out
    (record,) = json.loads(
        molequi("predict", "--smiles", "C[C@H](O)C=O", "--model", path, "--json").out
    )
    assert len(record["handedness"]) == record["n_atoms"]
    refused = molequi(
        "predict", "--smiles", "C[C@H](O)C=O", "--model", path, "--output", tmp_path / "out.csv"
    )
    assert refused.code == 2
    assert "gives values of atoms (handedness); use .xyz, .extxyz or .json" in refused.err
    assert not (tmp_path / "out.csv").exists()
