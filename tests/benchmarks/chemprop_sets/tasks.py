"""The tasks, and the files of molecules that both programs train on.

gap: of QM9, by the package qm9pack; ours reads the geometries of QM9, chemprop SMILES. logP (S. A.
Wildman and G. M. Crippen, J. Chem. Inf. Comput. Sci. 39 (1999) 868), TPSA (P. Ertl, B. Rohde and
P. Selzer, J. Med. Chem. 43 (2000) 3714) and drug_like, whether QED (G. R. Bickerton et al., Nature
Chem. 4 (2012) 90) is above its median: by RDKit, of SMILES of the package molsets; ours makes
geometries of them, chemprop reads them as they are.
"""

from __future__ import annotations

import csv
import gzip
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import ase.io
import numpy as np
from ase import Atoms, units
from rdkit import Chem
from rdkit.Chem import QED, Crippen, rdMolDescriptors

from molequi.errors import UserError
from molequi.structures.molecules import atoms_from_smiles

csv.field_size_limit(1 << 24)


class Task(NamedTuple):
    """A target: the set that has it, and whether it is a yes/no label."""

    source: str
    unit: str
    binary: bool = False


TASKS = {
    "gap": Task("qm9", "eV"),
    "logP": Task("drugs", "1"),
    "TPSA": Task("drugs", "Å²"),
    "drug_like": Task("drugs", "1", binary=True),
}
_MEASURES: Mapping[str, Callable[[Chem.Mol], float]] = {
    "logP": Crippen.MolLogP,
    "TPSA": rdMolDescriptors.CalcTPSA,
    "drug_like": QED.qed,
}


class Sizes(NamedTuple):
    """Molecules to train on, to choose the best epoch by, and to test."""

    train: int
    valid: int
    test: int


class Molecule(NamedTuple):
    """A molecule: SMILES, geometry, and its labels by task."""

    smiles: str
    atoms: Atoms
    labels: dict[str, float]


def write_set(name: str, source: Path, sizes: Sizes, folder: Path) -> float:
    """Write `name`.csv, .extxyz and .json (the split), and return the seconds that geometries took.

    The molecules are drawn with seed 0, and the rows stand in the order of that draw. Seconds of
    the processor.
    """
    started = time.process_time()
    n_all = sum(sizes)
    molecules = _drawn_from_qm9(source, n_all) if name == "qm9" else _drawn_drugs(source, n_all)
    seconds = time.process_time() - started if name == "drugs" else 0.0
    tasks = [task for task, row in TASKS.items() if row.source == name]
    ends = np.cumsum(sizes)
    split = dict(zip(sizes._fields, np.split(np.arange(n_all), ends[:-1]), strict=True))
    parts = [part for part, rows in split.items() for _row in rows]
    with (folder / f"{name}.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["smiles", *tasks, "split"])
        for molecule, part in zip(molecules, parts, strict=True):
            writer.writerow(
                [
                    molecule.smiles,
                    *(molecule.labels[task] for task in tasks),
                    part.replace("valid", "val"),
                ]
            )
    for molecule in molecules:
        molecule.atoms.info = {"smiles": molecule.smiles, **molecule.labels}
    ase.io.write(folder / f"{name}.extxyz", [molecule.atoms for molecule in molecules])
    rows = {part: rows.tolist() for part, rows in split.items()}
    (folder / f"{name}.json").write_text(json.dumps(rows))
    return seconds


def _drawn_from_qm9(folder: Path, n_all: int) -> list[Molecule]:
    """Read the package's three files, and draw."""
    lines = [line for part in (1, 2, 3) for line in _lines_of_qm9(folder / f"qm9_part{part}.csv")]
    order = np.random.default_rng(0).permutation(len(lines))[:n_all]
    return [_of_qm9(lines[index]) for index in order]


def _lines_of_qm9(path: Path) -> Iterator[tuple[str, str, str, str]]:
    with path.open(newline="") as handle:
        for line in csv.DictReader(handle):
            yield line["SMILES"], line["Elements"], line["XYZ_Ang"], line["HOMO_LUMO_gap_au"]


def _of_qm9(line: Sequence[str]) -> Molecule:
    smiles, elements, positions, gap = line
    atoms = Atoms(json.loads(elements.replace("'", '"')), json.loads(positions))
    return Molecule(smiles, atoms, {"gap": float(gap) * units.Hartree})


def _drawn_drugs(path: Path, n_all: int) -> list[Molecule]:
    """Draw SMILES of which a geometry can be made, and compute their labels."""
    with gzip.open(path, "rt", newline="") as handle:
        smiles = [line["SMILES"] for line in csv.DictReader(handle)]
    found: list[Molecule] = []
    for index in np.random.default_rng(0).permutation(len(smiles)):
        if len(found) == n_all:
            break
        try:
            atoms = atoms_from_smiles(smiles[index])
        except UserError:
            continue
        molecule = Chem.MolFromSmiles(smiles[index])
        labels = {task: measure(molecule) for task, measure in _MEASURES.items()}
        found.append(Molecule(smiles[index], atoms, labels))
    median = statistics.median(one.labels["drug_like"] for one in found)
    for one in found:
        one.labels["drug_like"] = float(one.labels["drug_like"] > median)
    return found
