"""What commands say of what they read: sources of charge and spin, isotopes, files that fail."""

from __future__ import annotations

import json

import ase.io
import numpy as np
import pytest
from ase.build import molecule

ION = "2\nhydroxide, charge: -1\nO 0 0 0\nH 0 0 0.96\n"
WATER = "3\n\n{0} 0 0 0.1178\n{1} 0 0.7555 -0.4712\n{1} 0 -0.7555 -0.4712\n"
SOURCES = {
    "total_charge": -1,
    "spin_multiplicity": 1,
    "charge_source": "the words of the comment line",
    "multiplicity_source": "assumed, the lowest for an even number of electrons",
}


@pytest.fixture
def ion(tmp_path):
    path = tmp_path / "ion.xyz"
    path.write_text(ION)
    return path


@pytest.mark.parametrize("command", ["predict", "relax", "md", "vibrations"])
def test_charge_and_its_place_stand_in_every_output(molequi, tiny_model, ion, tmp_path, command):
    few = {"relax": ["--steps", "1"], "md": ["--steps", "2"], "vibrations": ["--no-relax"]}
    arguments = [command, ion, "--model", tiny_model, "--unsafe", *few.get(command, [])]
    record = json.loads(molequi(*arguments, "--json").out)
    record = record[0] if isinstance(record, list) else record
    assert {name: record[name] for name in SOURCES} == SOURCES
    printed = molequi(*arguments).out
    assert "total charge: the words of the comment line" in printed
    assert "multiplicity: assumed, the lowest for an even number" in printed
    output = tmp_path / ("out" if command == "vibrations" else "out.xyz")
    molequi(*arguments, "--output", output)
    written = ase.io.read(output / "structure.xyz" if command == "vibrations" else output)
    assert written.info["charge"] == -1
    assert written.info["charge_source"] == "the words of the comment line"


def test_an_option_overrides_and_is_named(molequi, tiny_model, ion):
    arguments = ("predict", ion, "--model", tiny_model, "--unsafe", "--json", "--charge", "1")
    (record,) = json.loads(molequi(*arguments).out)
    assert (record["total_charge"], record["charge_source"]) == (1, "the option charge")


def test_masses_reach_vibrations_and_dynamics(molequi, tiny_model, tmp_path):
    """Heavy water's frequencies from light water's Hessian: the same in every spelling."""
    masses = "3\nProperties=species:S:1:pos:R:3:masses:R:1\n"
    rows = WATER.format("O", "H").splitlines()[2:]
    heavy = (f"{row} {15.999 if row[0] == 'O' else 2.014101778}" for row in rows)
    texts = {
        "symbol.xyz": WATER.format("O", "D"),
        "label.xyz": WATER.format("O", "2H"),
        "masses.xyz": masses + "\n".join(heavy) + "\n",
        "light.xyz": WATER.format("O", "H"),
    }
    frequencies = {}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        result = molequi(
            "vibrations", tmp_path / name, "--model", tiny_model, "--no-relax", "--json"
        )
        frequencies[name] = np.array(json.loads(result.out)["frequencies_cm1"])
    for name in ("label.xyz", "masses.xyz"):
        np.testing.assert_allclose(frequencies[name], frequencies["symbol.xyz"], rtol=1e-6)
    # Redlich and Teller's product rule bounds the ratio by the root of the mass ratio.
    ratio = np.abs(frequencies["symbol.xyz"] / frequencies["light.xyz"])
    assert ((ratio > 1 / np.sqrt(2)) & (ratio < 0.9)).all()
    output = tmp_path / "md.xyz"
    arguments = ("--model", tiny_model, "--steps", "2", "--interval", "1", "--output", output)
    assert molequi("md", tmp_path / "symbol.xyz", *arguments).code == 0
    assert ase.io.read(output).get_masses()[1] == pytest.approx(2.0141018, abs=1e-6)


def test_an_error_of_a_whole_file_names_the_file_alone(molequi, tiny_model, water, tmp_path):
    (tmp_path / "empty.xyz").write_text("")
    (tmp_path / "q.out").write_text("   Welcome to Q-Chem\n")
    result = molequi(
        "predict", tmp_path / "empty.xyz", tmp_path / "q.out", water, "--model", tiny_model
    )
    assert result.code == 1
    first, second = result.err.splitlines()
    assert first == f"error: {tmp_path}/empty.xyz holds no structures"
    assert second.startswith(f"error: {tmp_path}/q.out is an output of Q-Chem, which is not read")
    alone = molequi("relax", tmp_path / "empty.xyz", "--model", tiny_model)
    assert (alone.code, alone.err.strip()) == (2, first)


def test_a_bad_file_does_not_cost_the_good_ones(molequi, tiny_model, water, tmp_path):
    (tmp_path / "bad.cif").write_text("nothing")
    output = tmp_path / "out.xyz"
    result = molequi(
        "predict", water, tmp_path / "bad.cif", water, "--model", tiny_model, "--output", output
    )
    assert result.code == 1
    assert f"error: {tmp_path}/bad.cif cannot be read (" in result.err
    assert len(ase.io.read(output, index=":")) == 2
    alone = molequi("predict", tmp_path / "bad.cif", "--model", tiny_model)
    assert (alone.code, len(alone.err.strip().splitlines())) == (2, 1)


@pytest.fixture
def bare(tmp_path):
    """The heavy atoms of ethanol in space."""
    from rdkit import Chem
    from rdkit.Chem import AllChem

    mol = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    path = tmp_path / "a.sdf"
    path.write_text(Chem.MolToMolBlock(Chem.RemoveHs(mol)) + "$$$$\n")
    return path


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("predict", ()),
        ("relax", ("--steps", "1")),
        ("md", ("--steps", "1")),
        ("vibrations", ("--no-relax",)),
        ("embed", ()),
    ],
)
def test_every_command_adds_hydrogens_where_asked_alone(
    molequi, tiny_model, bare, command, options
):
    arguments = (command, bare, "--model", tiny_model, "--json", *options)
    refused = molequi(*arguments)
    assert (refused.code, "none of its 6 hydrogens" in refused.err) == (2, True)
    record = json.loads(molequi(*arguments, "--add-hydrogens").out)
    record = record[0] if isinstance(record, list) else record
    assert record["formula"] == "C2H6O"
    assert record["geometry"] == "6 hydrogens added to the file's coordinates"


@pytest.mark.parametrize("command", ["predict", "relax", "md", "vibrations"])
def test_coordinates_without_hydrogens_are_refused_completed_or_taken(
    molequi, tiny_model, bare, tmp_path, command
):
    path = tmp_path / "a.xyz"
    ase.io.write(path, ase.io.read(bare))
    few = {"relax": ["--steps", "1"], "md": ["--steps", "1"], "vibrations": ["--no-relax"]}
    arguments = (command, path, "--model", tiny_model, *few.get(command, []))
    refused = molequi(*arguments)
    assert refused.code == 2
    assert "no hydrogens, but 2 carbons with open valences" in refused.err
    assert "--add-hydrogens has RDKit place them, --as-is takes it for what it is" in refused.err
    assert "6 hydrogens added to the file's" in molequi(*arguments, "--add-hydrogens").out
    taken = molequi(*arguments, "--as-is")
    assert (taken.code in {0, 3}, "C2O" in taken.out) == (True, True)


def test_hydrogens_are_not_added_where_distances_do_not_tell_the_bonds(
    molequi, tiny_model, tmp_path
):
    path = tmp_path / "a.xyz"
    path.write_text("4\n\nC 0 0 0\nC 1.52 0 0\nC 2.2 1.3 0\nLi 0 0 9\n")
    asked = molequi("predict", path, "--add-hydrogens", "--model", tiny_model)
    assert asked.code == 2
    assert "no hydrogens can be added beside Li; give the bonds (an SDF)" in asked.err


@pytest.mark.parametrize("kind", ["table", "frames"])
def test_a_training_adds_hydrogens_where_asked_alone(bare, kind):
    from molequi.datasets.load import load_dataset
    from molequi.datasets.settings import DataSettings
    from molequi.errors import UserError

    record = bare.read_text().replace("$$$$", ">  <gap>\n1.5\n\n$$$$")
    bare.write_text(10 * record)
    settings = {"path": str(bare), "kind": kind, "targets": ["gap"]}
    with pytest.raises(UserError, match=r"data\.add_hydrogens=true"):
        load_dataset(DataSettings(**settings))
    frames = load_dataset(DataSettings(**settings, add_hydrogens=True)).frames
    assert frames.n_atoms.tolist() == 10 * [9]


def test_check_adds_hydrogens_and_says_where_charges_come_from(molequi, tiny_model, bare):
    assert "none of its 6 hydrogens" in molequi("check", tiny_model, bare).err
    printed = molequi("check", tiny_model, bare, "--add-hydrogens").out
    assert "total charge: the formal charges of the atoms" in printed
    assert "multiplicity: assumed, the lowest for an even number" in printed
    assert "geometry: 6 hydrogens added to the file's coordinates" in printed


def test_features_say_where_charges_come_from(molequi, tiny_model, tmp_path):
    output = tmp_path / "features.npz"
    arguments = ("embed", "--smiles", "CCO", "--model", tiny_model, "--output", output)
    printed = molequi(*arguments).out
    assert "total charge: the formal charges of the atoms" in printed
    with np.load(output, allow_pickle=False) as arrays:
        assert arrays["charge_source"].tolist() == ["the formal charges of the atoms"]
        assert arrays["total_charge"].tolist() == [0]
        assert arrays["spin_multiplicity"].tolist() == [1]


def test_what_was_done_to_a_file_is_said_and_written(molequi, tiny_model, tmp_path):
    path = tmp_path / "a.pdb"
    ase.io.write(path, molecule("H2O"))
    path.write_text(
        "CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1\n" + path.read_text()
    )
    output = tmp_path / "out.xyz"
    result = molequi("predict", path, "--model", tiny_model)
    assert "warning: " in result.err
    assert "reading: CRYST1 gives a cell of 1 Å" in result.out
    molequi("predict", path, "--model", tiny_model, "--output", output)
    assert ase.io.read(output).info["reading"].startswith("CRYST1 gives a cell of 1 Å")


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "FILE"],
        ["relax", "FILE"],
        ["vibrations", "FILE"],
        ["embed", "FILE", "--json"],
        ["spectrum", "FILE"],
        ["scan", "FILE", "--bond", "0-1", "--from", "1.4", "--to", "1.5"],
        ["path", "FILE", "FILE"],
        ["align", "FILE", "FILE"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_commands_have_the_options_that_the_refusal_of_bare_molecules_names(
    molequi, tmp_path, arguments
):
    path = tmp_path / "bare.xyz"
    path.write_text("3\nethanol\nC -1.19 -0.38 0\nC 0 0.55 0\nO 1.19 -0.22 0\n")
    given = [path if word == "FILE" else word for word in arguments]
    refused = molequi(*given)
    assert refused.code in {1, 2}
    for option in ("--add-hydrogens", "--as-is"):
        assert option in refused.err + refused.out
        # Without a model of this name nothing is computed, but the options are known.
        found = molequi(*given, option, "--model", "none-such")
        assert found.code == 2
        assert "none-such" in found.err
        assert "no option" not in found.err


def test_what_is_wrong_with_a_whole_file_names_it_once(molequi, tmp_path):
    path = tmp_path / "md.xyz.restart"
    path.write_text("no atoms")
    result = molequi("predict", path)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"error: {path}: no restart file of CP2K; ")
