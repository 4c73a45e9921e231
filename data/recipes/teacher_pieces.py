"""What is computed beside finished shards: the molecules of complexes, each alone where it stands.

Positions in Å, energies in eV, charges in e.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import teacher_assemble as assembly
import teacher_shards as shards
from rdkit import Chem
from teacher_aimnet import Structure, Teacher
from teacher_moves import offsets

Arrays = dict[str, np.ndarray]


def add_to_shards(
    teacher: Teacher,
    sources: Iterable[Path],
    folder: Path,
    seed: int,
    make: Callable[..., Arrays],
) -> None:
    """Write what `make` says of each shard of `sources` to a folder, where it is not yet."""
    folder.mkdir(exist_ok=True)
    for source in sources:
        path = folder / source.name
        if not path.exists():
            rng = np.random.default_rng([seed, 2000, int(source.stem)])
            shards.save(path, make(teacher, assembly.read_shards([source]), rng=rng))


def molecules_of(smiles: str) -> list[tuple[np.ndarray, int]]:
    """Return numbers (n,) and charge of every molecule of a complex, in the order of its atoms."""
    found = []
    for part in smiles.split("."):
        molecule = Chem.AddHs(Chem.MolFromSmiles(part))
        numbers = np.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()])
        found.append((numbers, Chem.GetFormalCharge(molecule)))
    return found


def piece_labels(
    teacher: Teacher, arrays: Arrays, *, rng: np.random.Generator | None = None
) -> Arrays:
    """Return what the molecules of the complexes of a shard have alone, in the shard's order.

    row (M,): frames of two or more molecules; n_atoms (M,); alone (M,): the energies of their
    molecules added up; pieces (A, 2): of each atom the number of its molecule, and its charge.
    rng: nothing here is random.
    """
    off = offsets(arrays["n_atoms"])
    rows, pieces, structures, owner = [], [], [], []
    for row, name in enumerate(arrays["name"]):
        parts = molecules_of(str(name)) if "." in str(name) else []
        begin = off[row]
        if not parts:
            continue
        if not np.array_equal(
            np.concatenate([n for n, _ in parts]), arrays["z"][begin : off[row + 1]]
        ):
            raise ValueError(f"{name}: the atoms of the frame are not those of its molecules")
        for number, (numbers, charge) in enumerate(parts):
            atoms = slice(begin, begin := begin + len(numbers))
            structures.append(Structure(arrays["z"][atoms], arrays["pos"][atoms], charge))
            owner.append(len(rows))
            pieces += [(number, charge)] * len(numbers)
        rows.append(row)
    energies = np.array([label.energy for label in teacher.label(structures)])
    return {
        "row": np.array(rows, dtype=np.int64),
        "n_atoms": arrays["n_atoms"][rows],
        "alone": np.bincount(owner, weights=energies, minlength=len(rows)),
        "pieces": np.array(pieces, dtype=np.float32).reshape(-1, 2),
    }
