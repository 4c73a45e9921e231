"""Hydrogens for coordinates without them: bonds from distances, then places by RDKit.

Multiple bonds are found as a maximum-weight matching of the atoms that may have one: each carbon
with a short bond needs one double bond, and among the ways to give it the shortest bonds win.
"""

from __future__ import annotations

from collections.abc import Iterator

import ase
import networkx
import numpy as np
from rdkit import Chem, rdBase

from molequi.errors import UserError
from molequi.structures.bare import BondTable, bond_table, in_line, pauling_orders, sum_of_angles

# Longest bonds, Å, that may be double or aromatic, by atomic numbers.
_DOUBLE = {(6, 6): 1.455, (6, 7): 1.40, (6, 8): 1.30, (6, 16): 1.70, (7, 7): 1.33, (7, 8): 1.27}
# How many neighbours an atom in a double bond has at most.
_MOST = {6: 3, 7: 2, 8: 1, 16: 1}
_KNOWN = {1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 34, 35, 53}
_PLANAR = 350.0  # degrees, the sum of three angles
# A carbon counts as much as half an Å; a bond so much below its limit must be multiple.
_OF_CARBON, _SURELY = 0.5, 0.03
# Oxygen at the end of a bond to N, S or P that is shorter, Å, has a double bond (or N+ and O-).
_OXO = {7: 1.30, 15: 1.53, 16: 1.56}
_ADVICE = "give the bonds (an SDF), or a file with its hydrogens"


def with_hydrogens(atoms: ase.Atoms) -> ase.Atoms:
    """Return a copy with hydrogens behind its atoms, and in `info["geometry"]` what was done.

    The heavy atoms stay where they are. Valences are those of neutral groups, but for nitro groups
    and quaternary nitrogen; `info["formal_charge"]` is their sum, which a charge that the file
    states must equal. Raises UserError where distances do not tell the bonds.
    """
    molecule = _molecule(atoms)
    try:
        with rdBase.BlockLogs():
            Chem.SanitizeMol(molecule)
            whole = Chem.AddHs(molecule, addCoords=True)
            smiles = Chem.MolToSmiles(Chem.RemoveHs(whole))
    except (Chem.MolSanitizeException, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"no hydrogens can be added: {reason}; {_ADVICE}") from error
    new = whole.GetConformer().GetPositions()[len(atoms) :]
    found = atoms.copy()
    found += ase.Atoms(numbers=[1] * len(new), positions=new)
    found.info["formal_charge"] = Chem.GetFormalCharge(whole)
    found.info["geometry"] = (
        f"{len(new)} hydrogens added to the file's coordinates, with the bonds that distances "
        f"tell: {smiles}"
    )
    return found


def _molecule(atoms: ase.Atoms) -> Chem.RWMol:
    unknown = sorted({atom.symbol for atom in atoms if atom.number not in _KNOWN})
    if unknown:
        raise UserError(f"no hydrogens can be added beside {', '.join(unknown)}; {_ADVICE}")
    table = bond_table(atoms)
    orders = _orders(atoms, table)
    molecule = Chem.RWMol()
    for number in atoms.numbers:
        molecule.AddAtom(Chem.Atom(int(number)))
    for (i, j), order in orders.items():
        molecule.AddBond(i, j, Chem.BondType.values[order])
    _set_charges(molecule, atoms, table)
    conformer = Chem.Conformer(len(atoms))
    conformer.SetPositions(atoms.positions)
    molecule.AddConformer(conformer)
    return molecule


def _orders(atoms: ase.Atoms, table: BondTable) -> dict[tuple[int, int], int]:
    """Return the order of each bond (i, j), i < j."""
    orders = {(i, j): 1 for i, near in enumerate(table.neighbours) for j in near if i < j}
    linear = [center for center in range(len(atoms)) if in_line(table, center)]
    for center in linear:
        orders.update(_linear_orders(atoms.numbers, table, center))
    graph = _candidates(atoms, table, orders, linear)
    found = networkx.max_weight_matching(graph)
    _require_closed(atoms, graph, found)
    orders.update({(min(pair), max(pair)): 2 for pair in found})
    orders.update({pair: 2 for pair in _oxo_bonds(atoms, table)})
    return orders


def _candidates(
    atoms: ase.Atoms, table: BondTable, orders: dict[tuple[int, int], int], linear: list[int]
) -> networkx.Graph:
    """Return the bonds that may be double, beside atoms in line and bonds that are multiple."""
    closed = {index for pair, order in orders.items() if order > 1 for index in pair} | set(linear)
    graph = networkx.Graph()
    for i, j in orders:
        limit = _DOUBLE.get(tuple(sorted(atoms.numbers[[i, j]].tolist())), 0.0)
        spare = limit - _length(table, i, j)
        if spare > 0 and all(
            index not in closed and _may_be_double(atoms.numbers, table, index) for index in (i, j)
        ):
            n_carbons = int((atoms.numbers[[i, j]] == 6).sum())
            graph.add_edge(i, j, weight=_OF_CARBON * n_carbons + spare, spare=spare)
    return graph


def _linear_orders(
    numbers: np.ndarray, table: BondTable, center: int
) -> Iterator[tuple[tuple[int, int], int]]:
    """Yield the orders of the two bonds of an atom in line: 3 and 1, or 2 and 2."""
    if numbers[center] != 6:
        raise UserError(f"no hydrogens can be added: atom {center} is linear; {_ADVICE}")
    near = table.neighbours[center]
    lengths = np.linalg.norm(table.vectors[center], axis=1)
    found = pauling_orders(numbers[near], lengths)
    both = (2, 2)
    if abs(found[0] - found[1]) > 1.0 and numbers[near[int(found.argmax())]] != 8:
        both = (3, 1) if found[0] > found[1] else (1, 3)
    for other, order in zip(near, both, strict=True):
        if order > 1:
            yield (min(center, other), max(center, other)), order


def _may_be_double(numbers: np.ndarray, table: BondTable, index: int) -> bool:
    to = table.vectors[index]
    return len(to) <= _MOST.get(int(numbers[index]), 0) and (
        len(to) < 3 or sum_of_angles(to) > _PLANAR
    )


def _require_closed(atoms: ase.Atoms, graph: networkx.Graph, found: set[tuple[int, int]]) -> None:
    """Refuse a carbon with a bond that must be multiple and is not."""
    paired = {index for pair in found for index in pair}
    for index in graph.nodes:
        spare = max(graph.edges[index, other]["spare"] for other in graph[index])
        if atoms.numbers[index] == 6 and index not in paired and spare > _SURELY:
            raise UserError(
                f"no hydrogens can be added: distances do not tell the double bonds at carbon "
                f"{index}; {_ADVICE}"
            )


def _oxo_bonds(atoms: ase.Atoms, table: BondTable) -> Iterator[tuple[int, int]]:
    """Yield the double bonds to oxygen of sulfur (all short ones), N and P (the shortest one)."""
    for center, number in enumerate(atoms.numbers):
        ends = sorted(_oxygens(atoms, table, center))
        if number == 16:
            yield from ((min(center, end), max(center, end)) for _, end in ends)
        elif ends and (number == 15 or _is_nitro(table, center, ends)):
            yield min(center, ends[0][1]), max(center, ends[0][1])


def _oxygens(atoms: ase.Atoms, table: BondTable, center: int) -> Iterator[tuple[float, int]]:
    limit = _OXO.get(int(atoms.numbers[center]), 0.0)
    for other in table.neighbours[center]:
        length = _length(table, center, other)
        if atoms.numbers[other] == 8 and len(table.neighbours[other]) == 1 and length < limit:
            yield length, other


def _is_nitro(table: BondTable, center: int, ends: list[tuple[float, int]]) -> bool:
    return len(table.neighbours[center]) == 3 and len(ends) == 2


def _set_charges(molecule: Chem.RWMol, atoms: ase.Atoms, table: BondTable) -> None:
    for center in np.flatnonzero(atoms.numbers == 7).tolist():
        ends = sorted(_oxygens(atoms, table, center))
        is_nitro = _is_nitro(table, center, ends)
        if is_nitro:
            molecule.GetAtomWithIdx(ends[1][1]).SetFormalCharge(-1)
        if is_nitro or len(table.neighbours[center]) == 4:
            molecule.GetAtomWithIdx(center).SetFormalCharge(1)


def _length(table: BondTable, i: int, j: int) -> float:
    return float(np.linalg.norm(table.vectors[i][table.neighbours[i].index(j)]))
