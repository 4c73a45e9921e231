"""Predictions: records, batches, errors of single structures, and files that can be read back."""

import csv
import json

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator
from axial import AXIAL

from molequi.errors import UserError
from molequi.models.making import make_model
from molequi.models.physics import Physics
from molequi.nn.physics import dispersion_parameters
from molequi.prediction.embedding import embed
from molequi.prediction.predict import iter_predictions, predict
from molequi.properties import DEBYE, Property
from molequi.structures.atoms import graph_from_atoms
from molequi.structures.inputs import one_structure, read_inputs

NAMES = ("H2O", "CH4", "CH3CH2OH", "NH3", "C6H6")


@pytest.fixture
def xyz(tmp_path):
    path = tmp_path / "molecules.xyz"
    ase.io.write(path, [molecule(name) for name in NAMES], format="extxyz")
    return path


def test_record_holds_what_the_model_gives(network):
    water = molecule("H2O")
    (record,) = predict(water, network)
    expected = network.compute(graph_from_atoms(water, network.cutoff))
    assert (record["source"], record["index"], record["formula"], record["model"]) == (
        "atoms",
        0,
        "H2O",
        "random",
    )
    assert record["energy"] == pytest.approx(float(expected["energy"]), abs=1e-12)
    np.testing.assert_allclose(record["forces"], expected["forces"], atol=1e-12)
    assert record["max_force"] == pytest.approx(float(expected["forces"].norm(dim=1).max()))
    np.testing.assert_allclose(record["dipole_debye"] * DEBYE, record["dipole"])
    assert record["dipole_magnitude"] == pytest.approx(np.linalg.norm(record["dipole_debye"]))
    assert "charges" not in record
    assert record["total_charge"] == 0
    assert "unsafe" not in record


def test_charges_are_told_where_they_were_learned(charged_network):
    """Those of a model that learned dipoles alone are parted from atomic dipoles by nothing."""
    (record,) = predict(molecule("H2O"), charged_network)
    graph = graph_from_atoms(molecule("H2O"), charged_network.cutoff)
    expected = charged_network.compute(graph)["charges"]
    np.testing.assert_allclose(record["charges"], expected, atol=1e-12)


def test_a_batch_equals_singles_in_order(network, xyz):
    together = predict(xyz, network)
    assert [record["formula"] for record in together] == [
        molecule(name).get_chemical_formula() for name in NAMES
    ]
    assert [record["index"] for record in together] == list(range(len(NAMES)))
    for name, record in zip(NAMES, together, strict=True):
        (single,) = predict(molecule(name), network)
        assert record["energy"] == pytest.approx(single["energy"], abs=1e-10)
        np.testing.assert_allclose(
            record["forces"], single["forces"], atol=1e-7
        )  # the file has 8 decimals


@pytest.mark.parametrize("batch_size", [1, 2, None])
def test_batch_size_changes_nothing_but_the_batches(network, xyz, batch_size):
    energies = [
        prediction.record["energy"]
        for prediction in iter_predictions(read_inputs(xyz), network, batch_size=batch_size)
    ]
    np.testing.assert_allclose(
        energies, [record["energy"] for record in predict(xyz, network)], atol=1e-10
    )


def test_batches_are_limited_by_atoms(network, monkeypatch):
    sizes, compute = [], network.compute
    monkeypatch.setattr(
        network,
        "compute",
        lambda graph, **options: sizes.append(graph.n_atoms) or compute(graph, **options),
    )
    predict([molecule("C6H6")] * 200, network)
    assert sum(sizes) == 2400
    assert max(sizes) <= 1024


def test_failures_cost_only_themselves(network, tmp_path):
    path = tmp_path / "mixed.xyz"
    frames = [molecule("H2O"), molecule("CH3Cl"), molecule("CH4")]
    ase.io.write(path, frames, format="extxyz")
    with path.open("a") as file:
        file.write("2\nbroken\nH 0 0 0\nH 0 zero 0\n")
    good, chlorine, methane, broken = predict(path, network)
    assert "error" not in good
    assert "error" not in methane
    assert "element Cl (atom 1)" in chlorine["error"]
    assert (chlorine["index"], broken["index"]) == (1, 3)
    assert "line" in broken["error"]
    assert set(broken) == {"source", "index", "error"}


@pytest.mark.parametrize("unsafe", [False, True])
@pytest.mark.parametrize(
    "physics",
    [Physics("equilibrated", "damped"), Physics(dispersion=dispersion_parameters("wb97m"))],
)
def test_a_slab_costs_only_itself(tmp_path, physics, unsafe):
    """Long-range energies are of molecules and crystals; nobody can allow the others."""
    model = make_model((1, 8), ["energy"], n_channels=8, physics=physics)
    water = molecule("H2O", vacuum=4.0)
    slab = water.copy()
    slab.pbc = (True, True, False)
    output = tmp_path / "out.csv"
    first, refused, last = predict([water, slab, water], model, unsafe=unsafe, output=output)
    # The same water at two places of a batch: float32, whose sums some processors take otherwise.
    assert first["energy"] == pytest.approx(last["energy"], abs=1e-6)
    assert refused["error"].startswith("pbc is [True, True, False]: long-range energies are of")
    assert refused["index"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert len(embed(slab, model)) == 1  # the network alone has no long range


def test_periodic_structures_cost_only_themselves_where_a_network_knows_none():
    small = {"n_channels": 8, "n_hidden": 8, "n_middle": 4}
    model = make_model((1, 8), ["homo"], architecture="lieconv", **small)
    crystal = molecule("H2O", vacuum=4.0, pbc=True)
    good, refused = predict([molecule("H2O"), crystal], model, unsafe=True)
    assert "homo" in good
    assert "periodic structure has no end" in refused["error"]


def test_charge_is_refused_and_unsafe_marks_the_record(network, tmp_path):
    (refused,) = predict(molecule("CH4"), network, charge=2)
    assert "charge +2" in refused["error"]
    (marked,) = predict(
        molecule("CH4"), network, charge=2, unsafe=True, output=tmp_path / "out.xyz"
    )
    assert "charge +2" in marked["unsafe"]
    assert marked["total_charge"] == 2
    assert marked["dipole_origin"] == "center of mass"
    assert "charge +2" in ase.io.read(tmp_path / "out.xyz").info["molequi_unsafe"]


def test_the_origin_of_an_isotopologue_is_named(network):
    """The dipole itself is that of every isotopologue: the electrons do not know the masses."""
    light, heavy = molecule("NH3"), molecule("NH3")
    heavy.set_masses([15.0001, 2.0141, 1.008, 1.008])
    first, second = predict([light, heavy], network, charge=1, unsafe=True)
    np.testing.assert_allclose(first["dipole"], second["dipole"], rtol=0, atol=1e-12)
    assert first["dipole_origin"] == "center of mass"
    assert second["dipole_origin"].startswith("center of mass, with standard atomic weights")


def test_unknown_elements_are_refused_whatever_is_allowed(network, tmp_path):
    good, bad = predict(
        [molecule("CH4"), molecule("CH3Cl")], network, unsafe=True, output=tmp_path / "out.json"
    )
    assert np.isfinite(good["energy"])
    assert set(bad) == {"source", "index", "error"}
    assert "element Cl (atom 1) is not in this model" in bad["error"]
    with pytest.raises(UserError, match="element Cl"):
        embed(molecule("CH3Cl"), network)


def test_smiles_and_conformers(network):
    (record,) = predict(smiles="CCO", model=network)
    assert record["formula"] == "C2H6O"
    assert record["source"] == record["smiles"] == "CCO"
    assert "ETKDGv3 + MMFF94, seed 0" in record["geometry"]
    several = predict(smiles=["CCO", "C"], model=network, conformers=3)
    assert [record["conformer"] for record in several] == [0, 1, 2, 0, 1, 2]
    assert len({round(record["energy"], 9) for record in several[:3]}) > 1
    good, bad = predict(smiles=["C", "C("], model=network)
    assert "error" not in good
    assert "'C('" in bad["error"]


def test_smiles_file_takes_conformers_too(network, tmp_path):
    path = tmp_path / "list.smi"
    path.write_text("CCO ethanol\nO water\n")
    records = predict(path, network, conformers=2)
    assert [(record["index"], record["conformer"]) for record in records] == [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
    ]


def test_formal_charge_of_a_smiles_counts(network):
    (record,) = predict(smiles="[NH4+]", model=network)
    assert "charge +1" in record["error"]


def test_extxyz_reads_back_with_a_calculator(charged_network, xyz, tmp_path):
    output = tmp_path / "out.xyz"
    records = predict(xyz, charged_network, output=output)
    for record, atoms in zip(records, ase.io.read(output, ":"), strict=True):
        assert atoms.get_potential_energy() == pytest.approx(record["energy"], abs=1e-9)
        np.testing.assert_allclose(atoms.get_forces(), record["forces"], atol=1e-7)
        np.testing.assert_allclose(atoms.get_dipole_moment(), record["dipole"], atol=1e-7)
        np.testing.assert_allclose(atoms.get_charges(), record["charges"], atol=1e-7)
        assert atoms.info["molequi_model"] == "random"
        assert atoms.info["molequi_dipole_magnitude"] == pytest.approx(record["dipole_magnitude"])
    assert list(tmp_path.glob(".*")) == []


def test_labels_of_the_input_are_replaced(network, tmp_path):
    """A file with another level's energy and a many-line text comes out readable, with ours."""
    water = molecule("H2O")
    water.info.update({"dft_energy": -1.0, "my field": 'two\nlines of "text"', "stress": [0.0] * 6})
    water.calc = SinglePointCalculator(water, energy=-99.0, forces=np.ones((3, 3)))
    water.arrays["forces"] = np.ones((3, 3))
    output = tmp_path / "out.xyz"
    (record,) = predict(water, network, output=output)
    back = ase.io.read(output)
    assert back.get_potential_energy() == pytest.approx(record["energy"])
    np.testing.assert_allclose(back.get_forces(), record["forces"], atol=1e-7)
    assert back.info["dft_energy"] == -1.0
    assert water.info["my field"].count("\n") == 1


def test_results_of_an_earlier_model_are_left_out(network, tmp_path):
    """Where a frame of dynamics is from stays; what another model gave of it would be misread."""
    atoms = molecule("H2O")
    earlier = {"energy_std": 0.1, "converged": True, "dipole_origin": "x", "stopped": "why"}
    geometry = {"index": 3, "step": 10, "time_fs": 5.0, "temperature": 300.0, "score": 0.9}
    atoms.info |= {f"molequi_{name}": value for name, value in (earlier | geometry).items()}
    atoms.info |= {"molequi_energy": 1.0, "mine": 2.0}
    atoms.arrays["molequi_forces_std"] = np.ones(3)
    predict([atoms], network, output=tmp_path / "out.xyz")
    read = ase.io.read(tmp_path / "out.xyz")
    kept = {name for name in read.info if name.startswith("molequi_")}
    assert kept >= {f"molequi_{name}" for name in geometry}
    assert not kept & {"molequi_energy", *(f"molequi_{name}" for name in earlier)}
    assert "molequi_forces_std" not in read.arrays
    assert read.info["mine"] == 2.0


def test_periodic_structures_get_stress_and_no_dipole(morse, tmp_path):
    crystal, slab = molecule("H2O"), molecule("H2O")
    for atoms, pbc in ((crystal, True), (slab, [True, True, False])):
        atoms.set_cell([5.0, 5.0, 5.0])
        atoms.pbc = pbc
    output = tmp_path / "out.extxyz.gz"
    full, partial, open_one = predict([crystal, slab, molecule("H2O")], morse(), output=output)
    assert full["stress"].shape == (3, 3)
    assert "stress" not in partial
    assert "stress" not in open_one
    assert full["dipole"] is partial["dipole"] is None
    assert open_one["dipole"].shape == (3,)
    first, second, _ = ase.io.read(output, ":")
    np.testing.assert_allclose(first.get_stress(voigt=False), full["stress"], atol=1e-9)
    with pytest.raises(PropertyNotImplementedError):
        second.get_stress()


def test_what_depends_on_where_a_crystal_is_cut_is_null(tmp_path):
    names = ["dipole_magnitude", "r2", "rosenfeld"]
    model = make_model((1, 8), [*names, AXIAL], n_layers=3, n_channels=4, parity="full")
    crystal = molecule("H2O", cell=[5.0, 5.0, 5.0], pbc=[True, False, False])
    predict([crystal, molecule("H2O")], model, output=tmp_path / "out.json")
    predict([crystal, molecule("H2O")], model, output=tmp_path / "out.csv")
    cut, free = json.loads((tmp_path / "out.json").read_text())
    for name in (*names, AXIAL.name, "rosenfeld_isotropic"):
        assert cut[name] is None
        assert np.isfinite(np.array(free[name])).all()
    with (tmp_path / "out.csv").open(encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert "rosenfeld [bohr⁴]" not in first
    assert first["rosenfeld_xy [bohr⁴]"] == first["r2 [Å²]"] == ""
    assert float(second["rosenfeld_xy [bohr⁴]"]) == free["rosenfeld"][0][1]


def test_csv_has_units_components_and_errors(network, tmp_path):
    output = tmp_path / "out.csv"
    records = predict([molecule("H2O"), molecule("CH3Cl")], network, output=output)
    with output.open(encoding="utf-8") as file:
        good, bad = csv.DictReader(file)
    assert float(good["energy [eV]"]) == records[0]["energy"]
    assert float(good["dipole_z [e·Å]"]) == records[0]["dipole"][2]
    assert float(good["dipole_debye_z [D]"]) == records[0]["dipole_debye"][2]
    assert not any("forces" in column for column in good)
    assert "Cl" in bad["error"]
    assert bad["energy [eV]"] == ""


def test_json_output_is_plain(network, tmp_path):
    output = tmp_path / "out.json"
    records = predict(molecule("H2O"), network, output=output)
    assert json.loads(output.read_text())[0]["forces"] == records[0]["forces"].tolist()


def test_existing_output_is_kept_unless_told(network, tmp_path):
    output = tmp_path / "out.xyz"
    output.write_text("precious")
    with pytest.raises(UserError, match="exists already; give --overwrite"):
        predict(molecule("H2O"), network, output=output)
    assert output.read_text() == "precious"
    predict(molecule("H2O"), network, output=output, overwrite=True)
    assert len(ase.io.read(output)) == 3


@pytest.mark.parametrize(
    ("name", "message"), [("out.pdf", "no known format"), ("missing/out.xyz", "does not exist")]
)
def test_impossible_output_is_refused_before_anything_is_read(network, tmp_path, name, message):
    with pytest.raises(UserError, match=message):
        predict(tmp_path / "no_such_input.xyz", network, output=tmp_path / name)


def test_nothing_is_written_where_all_failed(network, tmp_path):
    output = tmp_path / "out.xyz"
    predict(molecule("CH3Cl"), network, output=output)
    assert list(tmp_path.iterdir()) == []


def test_missing_file_is_an_error_at_once(network, xyz):
    with pytest.raises(UserError, match=r"no file nowhere\.xyz"):
        predict([xyz, "nowhere.xyz"], network)
    with pytest.raises(UserError, match="nothing to compute"):
        predict(model=network)


def test_inputs_are_not_changed(network):
    water = molecule("H2O")
    before = water.copy()
    predict(water, network)
    assert water == before
    assert water.info == before.info
    assert water.calc is None


def test_one_structure(xyz):
    assert one_structure(xyz).atoms.get_chemical_formula() == "H2O"
    assert one_structure(smiles="C").atoms.get_chemical_formula() == "CH4"
    with pytest.raises(UserError, match="not both"):
        one_structure(xyz, smiles="C")
    with pytest.raises(UserError, match=r"structure 0 of C\("):
        one_structure(smiles="C(")


def test_embeddings_are_invariant_and_per_atom(network):
    water = molecule("H2O")
    turned = water.copy()
    turned.rotate(40, "xyz")
    turned.translate([1.0, 2.0, 3.0])
    one, two = embed([water, turned], network)
    assert one.shape[0] == 3
    np.testing.assert_allclose(one, two, atol=1e-10)
    assert np.abs(one[1] - one[2]).max() < 1e-10 < np.abs(one[0] - one[1]).max()
    with pytest.raises(UserError, match=r"structure 0 of atoms: element Cl"):
        embed(molecule("CH3Cl"), network)


def test_single_atoms_and_empty_space(morse):
    records = predict(
        [Atoms("H"), Atoms("C"), Atoms("CC", positions=[[0, 0, 0], [30.0, 0, 0]])], morse()
    )
    assert "outside this model" in records[0]["error"]  # one electron: a doublet
    assert records[1]["max_force"] == 0.0
    assert records[2]["energy"] == pytest.approx(2 * records[1]["energy"])


def test_yes_no_property_is_a_probability():
    model = make_model(
        [1, 8], [Property("toxic", "0e", "1", binary=True)], n_layers=1, n_channels=8
    )
    (record,) = predict(molecule("H2O"), model)
    logit = model.compute(graph_from_atoms(molecule("H2O"), model.cutoff))["toxic"]
    assert record["toxic"] == pytest.approx(float(torch.sigmoid(logit)), abs=1e-6)
