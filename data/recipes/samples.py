"""Makes the files of data/samples from the full sets.

Run as `python data/recipes/samples.py QM9 RMD17_ETHANOL CHIRALITY`.

QM9: a file that `molequi.datasets.load_qm9` reads, with qm9_chirality.csv.gz beside it.
RMD17_ETHANOL: the npz of revised MD17's ethanol.
CHIRALITY: the folder of alanine_L_conformers.npz, qm9_rosenfeld.npz, rota_axial_conformers.sdf.gz
and cmcds10_ecd.json. SMILES come from the installed qm9pack.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
from pathlib import Path

import ase
import ase.io
import numpy as np
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from rdkit import Chem

from molequi.datasets.array_files import open_arrays, write_arrays
from molequi.datasets.chirality.axial import load_axial
from molequi.datasets.chirality.qm9_centres import load_qm9_chirality
from molequi.datasets.chirality.rosenfeld import load_rosenfeld
from molequi.datasets.labelled_set import LabelledSet
from molequi.datasets.npz import save_npz
from molequi.datasets.qm9.qm9 import load_qm9, qm9pack_folder
from molequi.datasets.rmd17 import load_rmd17
from molequi.datasets.splits import restrict
from molequi.errors import UserError
from molequi.structures.cip import constitution_of
from molequi.structures.molecules import atoms_from_smiles

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
TESTS = Path(__file__).resolve().parents[2] / "tests" / "datasets" / "files"
SEED = 0
QM9_SPLIT = {"train": 2400, "valid": 300, "test": 300}
N_ETHANOL = 300
N_TABLE = 600
N_ALANINE = {0: 160, 1: 20, 2: 20}
N_CHIRAL = 300
N_AXIAL = {"train": 14, "valid": 3, "test": 3}
MOLECULES = {
    "water": "O", "methane": "C", "ammonia": "N", "methanol": "CO", "formaldehyde": "C=O",
    "acetic acid": "CC(=O)O", "acetone": "CC(C)=O", "glycine": "NCC(=O)O", "benzene": "c1ccccc1",
    "pyridine": "c1ccncc1",
}  # fmt: skip
DRUGS = {
    "aspirin": "CC(=O)Oc1ccccc1C(=O)O",
    "paracetamol": "CC(=O)Nc1ccc(O)cc1",
    "caffeine": "Cn1cnc2c1c(=O)n(C)c(=O)n2C",
}


def main() -> None:
    """Write every sample."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("qm9", type=Path)
    parser.add_argument("ethanol", type=Path)
    parser.add_argument("chirality", type=Path)
    arguments = parser.parse_args()
    SAMPLES.mkdir(exist_ok=True)
    chosen = write_qm9(arguments.qm9)
    write_table(arguments.qm9, chosen)
    write_ethanol(arguments.ethanol)
    write_structures()
    write_alanine(arguments.chirality / "alanine_L_conformers.npz")
    labels = arguments.qm9.parent / "qm9_chirality.csv.gz"
    write_rows(load_qm9_chirality(labels, arguments.qm9), SAMPLES / "qm9_chirality_sample.npz")
    write_rows(
        load_rosenfeld(arguments.chirality / "qm9_rosenfeld.npz", arguments.qm9),
        SAMPLES / "rosenfeld_sample.npz",
    )
    write_axial(arguments.chirality / "rota_axial_conformers.sdf.gz")
    write_ecd(arguments.chirality / "cmcds10_ecd.json")


def write_qm9(source: Path) -> torch.Tensor:
    """Draw 3,000 molecules, keep their order in QM9, store a random split; return the rows.

    The generator is NumPy's default one with seed 0.
    """
    loaded = load_qm9(source)
    generator = np.random.default_rng(SEED)
    n_sample = sum(QM9_SPLIT.values())
    rows = torch.from_numpy(np.sort(generator.permutation(len(loaded.frames))[:n_sample]))
    order = torch.from_numpy(generator.permutation(n_sample))
    splits = dict(zip(QM9_SPLIT, order.split(list(QM9_SPLIT.values())), strict=True))
    notes = {
        **loaded.notes,
        "molecules": n_sample,
        "sample": f"seeded random choice, numpy default_rng({SEED})",
    }
    save_npz(
        loaded.frames.subset(rows),
        SAMPLES / "qm9_sample.npz",
        splits=splits,
        notes=notes,
        position_dtype="float32",
    )
    return rows


def write_table(source: Path, taken: torch.Tensor) -> None:
    """Write SMILES and gaps (eV) of molecules that are not in the sample, as a chemist's table."""
    frames = load_qm9(source).frames
    smiles = _qm9_smiles()
    free = np.setdiff1d(np.arange(len(frames)), taken.numpy())
    with (SAMPLES / "gaps.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["name", "smiles", "gap"])
        written = 0
        for row in np.random.default_rng(SEED + 1).permutation(free):
            text = smiles[int(frames.source[row].split()[1])]
            try:
                atoms_from_smiles(text, SEED)
            except UserError:
                continue
            writer.writerow(
                [
                    frames.source[row].replace(" ", "_"),
                    text,
                    f"{float(frames.targets['gap'][row]):.4f}",
                ]
            )
            written += 1
            if written == N_TABLE:
                return


def write_ethanol(source: Path) -> None:
    """Draw 300 frames of the first published split's training rows, in the trajectory's order."""
    loaded = load_rmd17(source, split=1)
    frames, splits = loaded.frames, loaded.splits
    rows = np.sort(np.random.default_rng(SEED).permutation(splits["train"].numpy())[:N_ETHANOL])
    subset = frames.subset(torch.from_numpy(rows))
    text = io.StringIO()
    for index in range(len(subset)):
        atoms_slice = slice(int(subset.offsets[index]), int(subset.offsets[index + 1]))
        atoms = ase.Atoms(
            subset.atomic_numbers[atoms_slice].numpy(), subset.positions[atoms_slice].numpy()
        )
        forces = subset.targets["forces"][atoms_slice].numpy()
        atoms.calc = SinglePointCalculator(
            atoms, energy=float(subset.targets["energy"][index]), forces=forces
        )
        ase.io.write(text, atoms, format="extxyz")
    (SAMPLES / "ethanol.extxyz.gz").write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))


def write_structures() -> None:
    """Write molecules to predict: ETKDGv3 and MMFF94 geometries."""
    molecules = [_named(name, smiles) for name, smiles in MOLECULES.items()]
    ase.io.write(SAMPLES / "molecules.xyz", molecules, format="extxyz")
    ase.io.write(SAMPLES / "ethanol.xyz", _named("ethanol", "CCO"), format="extxyz")
    ase.io.write(SAMPLES / "aspirin.xyz", _named("aspirin", DRUGS["aspirin"]), format="extxyz")
    with Chem.SDWriter(str(SAMPLES / "drugs.sdf")) as writer:
        for name, smiles in DRUGS.items():
            molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
            atoms = atoms_from_smiles(smiles, SEED)
            conformer = Chem.Conformer(len(atoms))
            conformer.SetPositions(atoms.positions)
            molecule.AddConformer(conformer)
            molecule.SetProp("_Name", name)
            writer.write(molecule)


def write_alanine(source: Path) -> None:
    """Draw frames of L-alanine from each part in order; the loader makes the mirror images."""
    arrays = open_arrays(source)
    generator = np.random.default_rng(SEED)
    rows = np.sort(
        np.concatenate(
            [
                generator.permutation(np.flatnonzero(arrays["split"] == part))[:count]
                for part, count in N_ALANINE.items()
            ]
        )
    )
    write_arrays(
        SAMPLES / "alanine.npz",
        {"z": arrays["z"], "R": arrays["R"][rows], "split": arrays["split"][rows]},
    )


def write_rows(loaded: LabelledSet, target: Path) -> None:
    """Draw molecules that keep their part and their group."""
    n_frames = len(loaded.frames)
    rows = torch.from_numpy(np.sort(np.random.default_rng(SEED).permutation(n_frames)[:N_CHIRAL]))
    splits = restrict(loaded.splits, rows, n_frames)
    groups = [loaded.groups[row] for row in rows.tolist()]
    notes = {
        "set": loaded.notes["set"],
        "molecules": N_CHIRAL,
        "sample": f"seeded random choice, numpy default_rng({SEED})",
    }
    notes |= {"level": loaded.notes["level"]} if "level" in loaded.notes else {}
    save_npz(
        loaded.frames.subset(rows),
        target,
        splits=splits,
        notes=notes,
        groups=groups,
        position_dtype="float32",
    )


def write_axial(source: Path) -> None:
    """Draw molecules from each part and copy the records of all their conformers."""
    loaded = load_axial(source)
    generator = np.random.default_rng(SEED)
    chosen = set()
    for part, count in N_AXIAL.items():
        names = list(dict.fromkeys(loaded.groups[row] for row in loaded.splits[part].tolist()))
        chosen |= {names[number] for number in generator.permutation(len(names))[:count]}
    blocks = [
        block + "$$$$\n"
        for block in gzip.decompress(source.read_bytes()).decode().split("$$$$\n")
        if block.strip()
    ]
    text = "".join(block for block in blocks if constitution_of(block.partition("\n")[0]) in chosen)
    (SAMPLES / "axial.sdf.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


def write_ecd(source: Path) -> None:
    """Copy the molecules without what can be computed from the rest."""
    data = json.loads(source.read_text(encoding="utf-8"))
    for molecule in data["molecules"]:
        for name in ("R_input", "wavelength_nm"):
            del molecule[name]
    (TESTS / "ecd.json").write_text(
        json.dumps(data, separators=(",", ":")) + "\n", encoding="utf-8"
    )


def _named(name: str, smiles: str) -> ase.Atoms:
    atoms = atoms_from_smiles(smiles, SEED)
    atoms.info = {"name": name, "smiles": smiles, "charge": 0}
    return atoms


def _qm9_smiles() -> dict[int, str]:
    folder = qm9pack_folder()
    if folder is None:
        raise SystemExit("qm9pack is not installed; run `pip install qm9pack`")
    smiles = {}
    for part in sorted(folder.glob("qm9_part*.csv")):
        with part.open(encoding="utf-8", newline="") as handle:
            smiles.update({int(row["Index"]): row["SMILES"] for row in csv.DictReader(handle)})
    return smiles


if __name__ == "__main__":
    main()
