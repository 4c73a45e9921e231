"""What is computed beside finished shards: the molecules of complexes, each alone where it stands.

Positions in Å, energies in eV, charges in e.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import teacher_assemble as assembly
import teacher_geometries as geometries
import teacher_shards as shards
from ase import units
from rdkit import Chem
from teacher_aimnet import Label, Structure, Teacher
from teacher_moves import bonds, distances, offsets

Arrays = dict[str, np.ndarray]
# Without a contact as short as this, Å, molecules interact by Coulomb's law to this, eV.
CONTACT, MOST_BESIDE_COULOMB = 3.5, 0.03
COULOMB = units.Hartree * units.Bohr


def add_to_shards(
    teacher: Teacher,
    sources: Iterable[Path],
    folder: Path,
    seed: int,
    make: Callable[..., Arrays | None],
    prefix: str = "",
) -> None:
    """Write what `make` says of each shard of `sources` to a folder, where it is not yet.

    Nothing is written for a shard of which it says None. prefix: of the names of the files, which
    are those of the shards.
    """
    folder.mkdir(exist_ok=True)
    for source in sources:
        path = folder / f"{prefix}{source.name}"
        if not path.exists():
            rng = np.random.default_rng([seed, 2000, int(source.stem)])
            made = make(teacher, assembly.read_shards([source]), rng=rng)
            if made is not None:
                shards.save(path, made)


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
    molecules added up, NaN where they share electrons (`is_shared`); pieces (A, 2): of each atom
    the number of its molecule, and its charge. rng: nothing here is random.
    """
    off = offsets(arrays["n_atoms"])
    parts_of = {str(name): molecules_of(str(name)) for name in set(arrays["name"]) if "." in name}
    rows = [row for row, name in enumerate(arrays["name"]) if name in parts_of]
    structures: list[Structure] = []
    for row in rows:
        name, begin = str(arrays["name"][row]), off[row]
        numbers = np.concatenate([n for n, _ in parts_of[name]])
        if not np.array_equal(numbers, arrays["z"][begin : off[row + 1]]):
            raise ValueError(f"{name}: the atoms of the frame are not those of its molecules")
        for numbers, charge in parts_of[name]:
            atoms = slice(begin, begin := begin + len(numbers))
            structures.append(Structure(arrays["z"][atoms], arrays["pos"][atoms], charge))
    labels = iter(teacher.label(structures))
    found: dict[str, list] = {"row": [], "alone": [], "pieces": [np.zeros((0, 2))]}
    for row in rows:
        parts = parts_of[str(arrays["name"][row])]
        alone = [next(labels) for _ in parts]
        sizes, pos = [len(n) for n, _ in parts], arrays["pos"][off[row] : off[row + 1]]
        shared = is_shared(
            pos, np.repeat(np.arange(len(parts)), sizes), arrays["energy"][row], alone
        )
        found["row"].append(row)
        found["alone"].append(np.nan if shared else sum(label.energy for label in alone))
        found["pieces"] += [np.tile((k, q), (len(n), 1)) for k, (n, q) in enumerate(parts)]
    return {
        "row": np.array(found["row"], dtype=np.int64),
        "n_atoms": arrays["n_atoms"][found["row"]],
        "alone": np.array(found["alone"]),
        "pieces": np.concatenate(found["pieces"]).astype(np.float32),
    }


def alone(teacher: Teacher, arrays: Arrays, *, rng: np.random.Generator) -> Arrays | None:
    """Return a shard of molecules of the complexes of a shard, each alone where it stands.

    Every second ion and every fourth neutral molecule of the complexes of two; None without any.
    """
    off = offsets(arrays["n_atoms"])
    starts, made = [], []
    for row, name in enumerate(arrays["name"]):
        parts, begin = str(name).split("."), off[row]
        for part, (numbers, charge) in zip(parts, molecules_of(str(name)), strict=True):
            atoms = slice(begin, begin := begin + len(numbers))
            if len(parts) != 2 or rng.random() > (0.5 if charge else 0.25):
                continue
            pos, fragment = arrays["pos"][atoms], np.zeros(len(numbers), dtype=int)
            pairs = np.argwhere(np.triu(bonds(numbers, pos)))
            about = (shards.CATEGORIES[arrays["category"][row]], part, int(arrays["part"][row]))
            sampler = geometries.SAMPLERS[arrays["sampler"][row]]
            starts.append(geometries.Start(*about, charge, numbers, pos, fragment, pairs))
            made.append((len(made), geometries.Geometry(sampler, pos)))
    if not starts:
        return None
    labels = teacher.label([Structure(s.z, s.pos, s.charge) for s in starts])
    return shards.pack(starts, made, labels)


def is_shared(pos: np.ndarray, piece: np.ndarray, energy: float, alone: list[Label]) -> bool:
    """Tell whether molecules without a contact attract each other by sharing electrons.

    Density functionals, and the teacher after them, spread an electron over an anion and a cation,
    or a molecule that takes it up, at any distance: CH3O- and CH3PH3+ bind by 54 kcal/mol at 7 Å,
    where the whole charges have 44. A model whose pieces keep whole charges cannot learn that.
    pos (n, 3); piece (n,): the number of each atom's molecule; alone: their labels.
    """
    apart = distances(pos)
    is_between = piece[:, None] < piece[None]
    if apart[is_between].min() < CONTACT:
        return False
    charges = np.concatenate([label.charges for label in alone]).astype(np.float64)
    pairs = COULOMB * charges[:, None] * charges[None] / apart
    interaction = energy - sum(label.energy for label in alone)
    return abs(interaction - float(pairs[is_between].sum())) > MOST_BESIDE_COULOMB
