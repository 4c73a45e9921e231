"""Makes one small, sound file of every format that commands read: what the fuzzer damages."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from pathlib import Path
from unittest import mock

import ase.io
import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from rdkit import Chem

from molequi.cli.main import run
from molequi.datasets.formats.extxyz import read_frames
from molequi.datasets.npz import save_npz
from molequi.experiments import load_experiment
from molequi.labeling.journal import Journal, name_of
from molequi.labeling.levels import Molecule
from molequi.models.checkpoint import save_model
from molequi.models.making import make_model
from molequi.models.metadata import ModelMetadata
from molequi.prediction import journaled
from molequi.runtime.resources import data_path
from molequi.settings import dump_settings

SMALL = ("model.n_layers=1", "model.n_channels=8", "model.l_max=1", "training.epochs=1")
IDENTITY = {"level": "gfn2-xtb", "properties": ["energy"], "program": "tblite"}
_XYZ = """3
charge: 0 water
O 0.0 0.0 0.1178
H 0.0 0.7555 -0.4712
H 0.0 -0.7555 -0.4712
2
-1 1
O 0.0 0.0 0.0
H 0.0 0.0 9.6D-01
4
# CELL(abcABC): 9.0 9.0 9.0 90.0 90.0 90.0 Step: 0 positions{angstrom} cell{angstrom}
C 0.0 0.0 0.0
O 0.0 0.0 1.2
H 0.93 0.0 -0.54
H -0.93 0.0 -0.54
3
gdb 3 799.58 437.9 282.94 1.85 6.31 -0.29 0.06 0.36 19.0 0.02 -76.4 -76.4 -76.4 -76.4 6.002
O -0.034 0.977 0.0076 -0.59
H 0.0647 0.0205 0.0015 0.29
H 0.8717 1.3007 8.0*^-3 0.29
1671.4 3803.6 3907.7
O O
InChI=1S/H2O/h1H2 InChI=1S/H2O/h1H2
"""
_MOL2 = """# a comment
@<TRIPOS>MOLECULE
water
3 2 0 0 0
SMALL
GASTEIGER

@<TRIPOS>ATOM
1 O1 0.0 0.0 0.1178 O.3 1 WAT -0.82
2 H1 0.0 0.7555 -0.4712 H 1 WAT 0.41
3 H2 0.0 -0.7555 -0.4712 H 1 WAT 0.41
@<TRIPOS>BOND
1 1 2 1
2 1 3 1
"""
_GAUSSIAN = """%chk=a.chk
#p b3lyp/6-31g(d)

hydroxide

-1 1
O(Iso=18) 0.0 0.0 0.0
H(Iso=2) 0.0 0.0 0.96

"""
_SMILES = (
    "CCO ethanol\n[Na+].[Cl-] salt\nC#N\nN[C@@H](C)O chiral\n# note\n[2H]O[2H] heavy\n[CH3] r\n"
)
_CSV = "name,smiles,gap\n" + "".join(
    f"m{k},{smiles},{6.0 + 0.1 * k}\n"
    for k, smiles in enumerate(
        ("O", "C", "CO", "N", "C#N", "CC", "C=O", "FC", "OO", "NN", "NO", "CF")
    )
)
_SUITE = """unit: kJ/mol
systems:
  H2: {smiles: "[H][H]"}
  O2: {smiles: "O=O"}
  water: {file: water.xyz, index: 0, charge: 0, multiplicity: 1}
reactions:
  - {reaction: 2 water -> 2 H2 + O2, energy: 571.6}
  - {name: splitting, terms: {water: -1, H2: 1, O2: 1/2}, energy: 285.8}
"""


def make_seeds(folder: Path) -> None:
    """Fill an empty folder; everything in it has a fixed seed."""
    rng = np.random.default_rng(0)
    metadata = ModelMetadata(name="tiny", charge_multiplicity=((0, 1), (-1, 1)))
    outputs = ["energy", "forces", "dipole"]
    sizes = {"n_layers": 1, "n_channels": 8, "l_max": 1}
    model = make_model([1, 6, 7, 8, 9], outputs, metadata=metadata, **sizes)
    save_model(model, folder / "tiny.safetensors")
    texts = {"w.xyz": _XYZ, "w.mol2": _MOL2, "w.gjf": _GAUSSIAN, "w.smi": _SMILES, "w.csv": _CSV}
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "suite.yaml").write_text(_SUITE)
    frames = [_labelled(rng) for _ in range(12)]
    ase.io.write(folder / "w.extxyz", [*frames[:2], _crystal()], format="extxyz")
    ase.io.write(folder / "train.extxyz", frames, format="extxyz")
    ase.io.write(folder / "w.traj", frames[:3])
    for name in ("w.db", "w.json"):
        with connect(folder / name) as database:
            for atoms in frames[:3]:
                database.write(atoms, charge=0, gap=1.5, data={"note": [1.0, 2.0]})
    ase.io.write(folder / "w.pdb", [molecule("CH3OH", cell=[7, 8, 9], pbc=True)] * 2)
    ase.io.write(folder / "w.cif", _crystal())
    (folder / "w.sdf").write_text(_sdf())
    _make_sets(folder, frames)
    _make_runs(folder)


def _labelled(rng: np.random.Generator) -> Atoms:
    atoms = molecule("H2O")
    atoms.positions += 0.05 * rng.standard_normal((3, 3))
    forces = rng.standard_normal((3, 3))
    results = {
        "energy": -2080.0 + rng.random(),
        "forces": forces - forces.mean(0),
        "dipole": forces[0],
    }
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def _crystal() -> Atoms:
    atoms = bulk("C", "diamond", a=3.57, cubic=True)
    atoms.calc = SinglePointCalculator(
        atoms, energy=-9.0, forces=np.zeros((8, 3)), stress=np.ones(6)
    )
    return atoms


def _sdf() -> str:
    """A molecule in space with fields, an ion with isotopes, and a drawing."""
    records = []
    for block, mark in (("CO", "3D"), ("[2H]C([2H])C(=O)[O-]", "3D"), ("c1ccccc1N", "2D")):
        record = Chem.MolToMolBlock(Chem.AddHs(Chem.MolFromSmiles(block)), forceV3000=mark == "2D")
        records.append(f"{record}>  <gap>\n6.5\n\n>  <name>\nfirst\n\n$$$$\n")
    return "".join(records)


def _make_sets(folder: Path, labelled: list[Atoms]) -> None:
    loaded = read_frames(folder / "train.extxyz", targets=["energy", "forces"])
    parts = {"train": torch.arange(8), "valid": torch.arange(8, 10), "test": torch.arange(10, 12)}
    save_npz(loaded.frames, folder / "w.npz", splits=parts, groups=[f"g{k}" for k in range(12)])
    frames = loaded.frames
    np.savez(
        folder / "rmd17.npz",
        z=frames.atomic_numbers[:3].numpy(),
        E=frames.targets["energy"].numpy(),
        R=frames.positions.numpy().reshape(12, 3, 3),
        F=frames.targets["forces"].numpy().reshape(12, 3, 3),
    )
    split = {name: rows.tolist() for name, rows in parts.items()}
    (folder / "split.json").write_text(json.dumps(split))
    np.savez(folder / "split.npz", **{name: np.array(rows) for name, rows in split.items()})
    with tarfile.open(folder / "qm9.tar", "w") as archive:
        for number in (1, 2, 3):
            text = "3\ngdb 3 799" + _XYZ.split("gdb 3 799")[1]
            data = text.replace("gdb 3", f"gdb {number}").encode()
            member = tarfile.TarInfo(f"dsgdb9nsd_{number:06d}.xyz")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    terms = [{"name": "r", "terms": [[1, "a"], [-1, "b"]], "kcal_mol": 1.0}]
    water, other = (
        {"numbers": atoms.numbers.tolist(), "positions": atoms.positions.tolist(), "charge": 0}
        for atoms in (molecule("H2O"), labelled[0])
    )
    suite = {"source": "", "systems": {"a": water, "b": other}, "reactions": terms}
    (folder / "suite.json").write_text(json.dumps(suite))


def _make_runs(folder: Path) -> None:
    """Train for an epoch, run three steps of dynamics, and begin a labelling."""
    ase.io.write(folder / "water.xyz", molecule("H2O"))
    configs = {
        "train.yaml": ("extxyz", f"data.path={folder / 'train.extxyz'}", "data.split.train=8",
                       "data.split.valid=2", "data.split.test=2", *SMALL),
        "table.yaml": ("property", f"data.path={folder / 'w.csv'}", *SMALL),
        "spring.yaml": ("spring", "data.train=10"),
    }  # fmt: skip
    for name, (base, *overrides) in configs.items():
        (folder / name).write_text(dump_settings(load_experiment(base, overrides)))
    _sound("train", folder / "train.yaml", "--output", folder / "run")
    shutil.rmtree(folder / "run" / "plots")
    dynamics = ("--model", folder / "tiny.safetensors", "--steps", 3, "--interval", 1)
    _sound("md", folder / "water.xyz", *dynamics, "--output", folder / "md.xyz")
    water = molecule("H2O")
    name = name_of(Molecule(water.numbers, ase.io.read(folder / "water.xyz").positions, 0, 1))
    with Journal(folder / "labels.xyz.journal", IDENTITY) as journal:
        journal.add(name, {"values": {"energy": -137.9}})
        journal.add("other", {"error": "no luck"})
    shutil.copy(data_path("models/organic.json"), folder / "card.json")
    os.chdir(folder)  # a journal knows its structures by the names that were given
    _interrupt_predictions()


def _interrupt_predictions() -> None:
    """Leave the journals of predictions that were stopped before they were whole."""
    stop = mock.patch.object(journaled, "write_pieces", side_effect=KeyboardInterrupt)
    for name in ("out.csv", "out.json", "out.xyz"):
        with stop:
            run(["predict", "w.xyz", "--model", "tiny.safetensors", "--output", name])


def _sound(*arguments: object) -> None:
    code = run([str(argument) for argument in arguments])
    if code:
        raise RuntimeError(f"{arguments} ended with {code}")
