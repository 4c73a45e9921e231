"""`molequi import`: the command without mace-torch, and what other commands make of its file.

The interpreter is a program that hands over what MACE's own would: the arrays of a packed model.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
import sys
from pathlib import Path

import ase.build
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.units import Debye

from molequi.errors import UserError
from molequi.models.checkpoint import load_model
from molequi.models.importers.card import card as describe
from molequi.simulation.calculator import Calculator

FILES = Path(__file__).resolve().parents[1] / "models" / "files" / "mace"
PACKED = FILES / "three_irreps.npz"
WATER = ase.build.molecule("H2O")
# As `mace_model.py` is called: the script, the model, the folder.
UNPACK = """#!{python}
import sys, numpy
assert sys.argv[1].endswith("mace_model.py")
with numpy.load({packed!r}) as arrays:
    texts = ("model", "golden")
    kept = {{name: arrays[name] for name in arrays.files if name not in texts}}
    numpy.savez(sys.argv[3] + "/arrays.npz", **kept)
    open(sys.argv[3] + "/model.json", "wb").write(arrays["model"].tobytes())
"""


def program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def handing_over(packed: Path, folder: Path) -> Path:
    return program(folder / "python", UNPACK.format(python=sys.executable, packed=str(packed)))


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory) -> Path:
    return handing_over(PACKED, tmp_path_factory.mktemp("bin"))


@pytest.fixture
def original(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "small.model"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def imported(molequi, original, interpreter) -> Path:
    result = molequi("import", original, "--python", interpreter)
    assert result.code == 0, result.err
    return original.with_suffix(".safetensors")


def refused(result, folder: Path, message: str) -> None:
    """One clear line, exit code 2, and nothing but the original in the folder."""
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert message in result.err
    assert {path.name for path in folder.iterdir()} <= {"small.model"}


def test_card_says_what_was_read(molequi, original, interpreter):
    licence = original.with_name("LICENCE.txt")
    licence.write_text("ASL")
    arguments = ["--python", interpreter, "--licence", licence, "--output", "x.safetensors"]
    result = molequi("import", original, *arguments, "--json")
    card = json.loads(result.out)
    assert card["file"] == "x.safetensors"
    assert (card["elements"], card["licence"], card["multiplicities"]) == ("H C N O", "ASL", "1")
    assert load_model("x.safetensors").metadata.origin.licence == "ASL"


def test_the_interpreter_may_be_named_from_here(molequi, original, interpreter):
    """As the page does, `--python mace-env/bin/python`; links are kept."""
    folder = original.parent / "mace-env" / "bin"
    folder.mkdir(parents=True)
    (folder / "python").symlink_to(interpreter)
    result = molequi("import", original, "--python", "mace-env/bin/python")
    assert result.code == 0, result.err
    result = molequi("import", original, "--python", "mace-env/bin/none", "--output", "y")
    assert result.code == 2


def test_a_licence_that_is_no_file_is_refused(molequi, original, interpreter):
    arguments = ["--python", interpreter, "--licence", "LICENCE_MISSING.txt"]
    refused(molequi("import", original, *arguments), original.parent, "does not exist")


def test_card_says_which_ions_have_which_multiplicity(imported):
    model = load_model(imported)
    states = ((-1, 1), (0, 1), (0, 3), (1, 2))
    model.metadata = dataclasses.replace(
        model.metadata,
        charge_multiplicity=states,
        training=dataclasses.replace(model.metadata.training, init="small.safetensors"),
    )
    found = describe(model, imported)
    assert found["multiplicities"] == "1 (-1 e), 1, 3, 2 (+1 e)"
    assert found["trained_from"] == "small.safetensors"


def test_card_in_words_names_one_head_and_no_licence(molequi, original, interpreter):
    lines = molequi("import", original, "--python", interpreter).out.splitlines()
    assert {"head: Default", "licence: not stated", "radial functions: splines"} <= set(lines)


def test_card_of_the_file_is_shown_again(molequi, original, interpreter):
    arguments = ["--python", interpreter, "--licence", "ASL"]
    card = json.loads(molequi("import", original, *arguments, "--json").out)
    found = json.loads(molequi("models", "small.safetensors", "--json").out)
    assert found == card
    checksum = hashlib.sha256(original.read_bytes()).hexdigest()
    assert (found["original"], found["sha256_of_the_original"]) == ("small.model", checksum)
    assert "licence: ASL" in molequi("models", "small.safetensors").out.splitlines()


def test_missing_file(molequi, tmp_path, interpreter):
    result = molequi("import", tmp_path / "no.model", "--python", interpreter)
    refused(result, tmp_path, "no model file at")


def test_interpreter_that_does_not_exist(molequi, original):
    result = molequi("import", original, "--python", "no-such-python")
    refused(result, original.parent, "--python is no-such-python, which cannot be started")


def test_interpreter_without_mace(molequi, original, tmp_path_factory):
    text = "#!/bin/sh\necho \"ModuleNotFoundError: No module named 'mace'\" >&2\nexit 1\n"
    bare = program(tmp_path_factory.mktemp("bare") / "python", text)
    result = molequi("import", original, "--python", bare)
    refused(result, original.parent, "cannot read MACE models (No module named 'mace'): make one")


def test_pickle_of_something_else(molequi, original, tmp_path_factory):
    """As the script says it in MACE's environment; its last line is all that is shown."""
    original.write_bytes(pickle.dumps({"weights": [1, 2]}))
    said = "Traceback\n  a line\nTypeError: it holds no model but a dict"
    text = f"#!/bin/sh\necho '{said}' >&2\nexit 1\n"
    other = program(tmp_path_factory.mktemp("other") / "python", text)
    result = molequi("import", original, "--python", other)
    refused(result, original.parent, "TypeError: it holds no model but a dict")


@pytest.mark.parametrize("what", ["nothing", "rubbish"])
def test_interpreter_that_hands_over_no_model(what, molequi, original, tmp_path_factory):
    text = {"nothing": "#!/bin/sh\n", "rubbish": '#!/bin/sh\necho x > "$3/arrays.npz"\n'}[what]
    silent = program(tmp_path_factory.mktemp("silent") / "python", text)
    refused(molequi("import", original, "--python", silent), original.parent, "exported model")


def test_existing_output_is_kept(molequi, original, interpreter):
    output = original.with_suffix(".safetensors")
    output.write_bytes(b"mine")
    result = molequi("import", original, "--python", interpreter)
    assert result.code == 2
    assert "--overwrite" in result.err
    assert output.read_bytes() == b"mine"
    # A failed import with leave to overwrite spoils nothing either.
    assert molequi("import", original, "--python", "no-python", "--overwrite").code == 2
    assert output.read_bytes() == b"mine"
    assert molequi("import", original, "--python", interpreter, "--overwrite").code == 0
    assert load_model(output).backbone.architecture == "mace"


@pytest.mark.parametrize("text", [" ", "0", "1,,2", "two", "-1", "100", "1.5", "²"])
def test_multiplicities_that_are_none(text, molequi, original, interpreter):
    result = molequi("import", original, "--python", interpreter, "--multiplicities", text)
    refused(result, original.parent, "must be numbers 2S + 1 from 1 to 99")


@pytest.mark.parametrize("info", [{"charge": 1}, {"charge": -1}, {"spin": 3}])
def test_charge_and_spin_are_refused_by_name(info, imported):
    """MACE would give the numbers of the neutral singlet."""
    atoms = WATER.copy()
    atoms.info.update(info)
    atoms.calc = Calculator(imported)
    with pytest.raises(UserError, match=r"outside this model's training, which has charge 0 mult"):
        atoms.get_potential_energy()
    atoms.calc = Calculator(imported, unsafe=True)
    atoms.get_potential_energy()
    assert "outside this model's training" in atoms.calc.unsafe_reason


def test_multiplicities_of_the_training_data_are_taken(molequi, original, interpreter):
    options = ["--python", interpreter, "--multiplicities", "2, 1", "--output", "x.safetensors"]
    assert molequi("import", original, *options).code == 0
    radical = Atoms("OH", [[0, 0, 0], [0, 0, 0.97]], calculator=Calculator("x.safetensors"))
    radical.get_potential_energy()
    radical.info["spin"] = 4
    with pytest.raises(
        UserError, match=r"multiplicity 4 .* charge 0 multiplicity 1, charge 0 mult"
    ):
        radical.get_potential_energy()


def test_commands_give_the_numbers_of_mace(molequi, imported, tmp_path):
    with np.load(PACKED) as arrays:
        golden = json.loads(arrays["golden"].tobytes())
    (expected,) = (one for one in golden if one["name"] == "formamide")
    ase.io.write(tmp_path / "f.xyz", Atoms(expected["numbers"], expected["positions"]))
    result = molequi("predict", tmp_path / "f.xyz", "--model", imported, "--json")
    (record,) = json.loads(result.out)
    assert abs(record["energy"] - expected["energy"]) < 1e-6  # the file has eight decimals
    np.testing.assert_allclose(record["forces"], expected["forces"], atol=1e-6)


def test_laws_hold_for_an_imported_model(molequi, imported):
    result = molequi("check", imported, "--json")
    assert result.code == 0, result.out + result.err


@pytest.mark.parametrize("name", ["dipoles", "energy_dipoles"])
def test_dipoles_are_those_of_mace_and_turn_as_vectors(name, molequi, original, tmp_path_factory):
    """By the command line and ASE; MACE's are in debye, ours in e·Å."""
    interpreter = handing_over(FILES / f"{name}.npz", tmp_path_factory.mktemp(name))
    assert molequi("import", original, "--python", interpreter).code == 0
    with np.load(FILES / f"{name}.npz") as arrays:
        golden = json.loads(arrays["golden"].tobytes())
    (one,) = (one for one in golden if one["name"] == "formamide")
    atoms = Atoms(one["numbers"], one["positions"])
    ase.io.write("f.xyz", atoms, plain=True)
    model = original.with_suffix(".safetensors")
    (record,) = json.loads(molequi("predict", "f.xyz", "--model", model, "--json").out)
    np.testing.assert_allclose(record["dipole"], np.multiply(one["dipole"], Debye), atol=1e-6)
    assert record.get("charges") is None
    atoms.calc = Calculator(model)
    found = atoms.get_dipole_moment()
    np.testing.assert_allclose(found, np.multiply(one["dipole"], Debye), atol=1e-6)
    atoms.positions *= -1.0
    np.testing.assert_allclose(atoms.get_dipole_moment(), -found, atol=1e-10)
    result = molequi("check", model, "--json")
    assert result.code == 0, result.out + result.err
