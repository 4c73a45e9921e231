"""`molequi predict` and `molequi embed`."""

from __future__ import annotations

import json

import ase.io
import numpy as np
import pytest


def test_table_has_one_row_per_molecule_with_units(molequi, tiny_model, water):
    result = molequi("predict", water, "--smiles", "CCO", "--model", tiny_model)
    assert result.code == 0
    assert all(
        text in result.out
        for text in ("energy eV", "max|F| eV/Å", "|mu| D", "charge e", "H2O", "C2H6O", "ETKDGv3")
    )
    assert len([line for line in result.out.splitlines() if line.strip().startswith("0 ")]) == 2


def test_json_alone_is_on_stdout(molequi, tiny_model, water):
    result = molequi("predict", water, "--model", tiny_model, "--json")
    (record,) = json.loads(result.out)
    assert {
        "source",
        "index",
        "formula",
        "energy",
        "forces",
        "dipole",
        "dipole_debye",
    } <= set(record)
    assert "charges" not in record  # the model learned none
    assert record["index"] == 0
    assert np.shape(record["forces"]) == (3, 3)
    assert result.err == ""


def test_output_file_carries_a_calculator(molequi, tiny_model, water, tmp_path):
    output = tmp_path / "out.xyz"
    assert molequi("predict", water, "--model", tiny_model, "--output", output).code == 0
    (record,) = json.loads(molequi("predict", water, "--model", tiny_model, "--json").out)
    atoms = ase.io.read(output)
    np.testing.assert_allclose(atoms.get_forces(), record["forces"], atol=1e-7)
    again = molequi("predict", water, "--model", tiny_model, "--output", output)
    assert again.code == 2
    assert "--overwrite" in again.err
    assert (
        molequi("predict", water, "--model", tiny_model, "--output", output, "--overwrite").code
        == 0
    )


def test_a_bad_molecule_does_not_cost_the_good_ones(molequi, tiny_model, water):
    result = molequi("predict", water, "--smiles", "CCl", "--model", tiny_model, "--json")
    assert result.code == 1
    good, bad = json.loads(result.out)
    assert "energy" in good
    assert set(bad) >= {"source", "index", "error"}
    assert "Cl" in result.err


def test_nothing_good_is_an_error(molequi, tiny_model, tmp_path):
    result = molequi(
        "predict", "--smiles", "CCl", "--model", tiny_model, "--output", tmp_path / "out.xyz"
    )
    assert result.code == 2
    assert "element Cl (atom 1)" in result.err
    assert len(result.err.splitlines()) == 1
    assert not (tmp_path / "out.xyz").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["nosuch.xyz"], "nosuch.xyz"), (["--smiles", "not a molecule"], "not a molecule")],
)
def test_unreadable_input_is_named(molequi, tiny_model, arguments, expected):
    result = molequi("predict", *arguments, "--model", tiny_model)
    assert result.code == 2
    assert expected in result.err


def test_charge_outside_training_is_refused_unless_unsafe(molequi, tiny_model, water):
    refused = molequi("predict", water, "--model", tiny_model, "--charge", "1")
    assert refused.code == 2
    assert "charge" in refused.err
    marked = molequi("predict", water, "--model", tiny_model, "--charge", "1", "--unsafe", "--json")
    assert marked.code == 0
    assert "unsafe" in json.loads(marked.out)[0]


def test_dtype_is_that_of_the_network(molequi, tiny_model, water):
    outputs = [
        molequi("predict", water, "--model", tiny_model, "--dtype", name, "--json").out
        for name in ("float32", "float64")
    ]
    single, double = (json.loads(output)[0] for output in outputs)
    assert 0 < abs(single["energy"] - double["energy"]) < 1e-4


def test_embed_writes_features_per_atom(molequi, tiny_model, water, tmp_path):
    output = tmp_path / "features.npz"
    assert (
        molequi("embed", water, "--smiles", "CCO", "--model", tiny_model, "--output", output).code
        == 0
    )
    with np.load(output, allow_pickle=False) as arrays:
        assert arrays["n_atoms"].tolist() == [3, 9]
        assert arrays["features"].shape == (12, 16)
        assert np.isfinite(arrays["features"]).all()


def test_embed_leaves_out_what_fails(molequi, tiny_model, tmp_path):
    water = "3\nwater\nO 0 0 0.119\nH 0 0.76 -0.47\nH 0 -0.76 -0.47\n"
    bad, sodium = "2\nbad\nO 0 0 0\nQ 0 0 1\n", "2\n\nNa 0 0 0\nH 0 0 2\n"
    (tmp_path / "mix.xyz").write_text(f"{water}{bad}{water}{sodium}")
    arguments = ("embed", tmp_path / "mix.xyz", "--model", tiny_model)
    result = molequi(*arguments, "--output", tmp_path / "out.npz")
    assert result.code == 1
    assert "structure 1: line 9: 'Q' is no element symbol" in result.err
    assert "structure 3: element Na (atom 0) is not in this model" in result.err
    with np.load(tmp_path / "out.npz", allow_pickle=False) as arrays:
        assert arrays["index"].tolist() == [0, 2]
        assert set(arrays["source"].tolist()) == {str(tmp_path / "mix.xyz")}
        assert len(arrays["features"]) == 6
    records = json.loads(molequi(*arguments, "--json").out)
    assert ["error" in record for record in records] == [False, True, False, True]


def test_a_cell_that_no_matter_can_have_costs_only_its_own_structure(molequi, tiny_model, tmp_path):
    """Long boxes divided by zero inside the library of the pair search: the process ended."""
    cells = ("9 0 0 0 2000 0 0 0 2000", "0.01 0 0 0 0.01 0 0 0 0.01", "9 0 0 3.1 0.001 0 0 0 9")
    frames = [f'2\nLattice="{cell}" pbc="T T T"\nH 0 0 0\nH 0 0 0.74\n' for cell in cells]
    path = tmp_path / "cells.extxyz"
    path.write_text("".join(frames) + "2\nopen\nH 0 0 0\nH 0 0 0.74\n")
    result = molequi("predict", path, "--model", tiny_model, "--json")
    long_box, tiny, flat, alone = json.loads(result.out)
    assert result.code == 1
    assert long_box["energy"] == pytest.approx(alone["energy"], abs=1e-6)
    assert all("repeats every atom" in record["error"] for record in (tiny, flat))


def test_dispersion_is_added_and_said(molequi, tiny_model, water):
    plain, added = (
        json.loads(molequi("predict", water, "--model", tiny_model, "--json", *option).out)[0]
        for option in ((), ("--dispersion", "d3bj:pbe0"))
    )
    assert -0.1 < added["energy"] - plain["energy"] < -1e-5
    assert added["model"] == "tiny + d3bj:pbe0"


@pytest.mark.parametrize("command", ["predict", "relax", "md", "vibrations", "check"])
def test_every_command_asks_for_the_functional_that_it_cannot_know(
    molequi, tiny_model, water, command
):
    model = (tiny_model,) if command == "check" else (water, "--model", tiny_model)
    result = molequi(command, *model, "--dispersion", "d3bj")
    assert result.code == 2
    assert "does not state its level of theory; name one whose D3(BJ) fits" in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize(
    ("smiles", "what"), [("[CH3]", "charge 0 with spin multiplicity 2"), ("[OH-]", "charge -1")]
)
def test_radicals_and_ions_are_refused_by_name(molequi, tiny_model, smiles, what):
    result = molequi("predict", "--smiles", smiles, "--model", tiny_model)
    assert result.code == 2
    assert what in result.err
    assert "is outside this model's training, which has charge 0 multiplicity 1" in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize("suffix", ["xyz", "csv", "json"])
def test_every_format_says_the_charge_and_the_origin_of_an_ion(
    molequi, tiny_model, tmp_path, suffix
):
    output, options = tmp_path / f"ion.{suffix}", ("--model", tiny_model, "--unsafe")
    molequi("predict", "--smiles", "[OH-]", *options, "--output", output)
    text = output.read_text(encoding="utf-8")
    assert "center of mass" in text
    charge = {"xyz": "charge=-1", "csv": "total_charge [e]", "json": '"total_charge": -1'}
    assert charge[suffix] in text


def test_frames_of_ions_say_their_charge_too(molequi, tiny_model, tmp_path):
    for command, options in (("relax", ("--steps", 1)), ("md", ("--steps", 1))):
        output = tmp_path / f"{command}.xyz"
        molequi(
            command, "--smiles", "[OH-]", "--model", tiny_model, "--unsafe",
            "--output", output, *options,
        )  # fmt: skip
        for frame in ase.io.read(output, index=":"):
            assert frame.info["charge"] == -1
            assert frame.info["molequi_dipole_origin"] == "center of mass"
