"""Any data set with the face of PyTorch Geometric: atoms, bonds and SMILES beside the labels."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from rdkit import Chem
from torch import Tensor
from torch_geometric.data import Data, InMemoryDataset

from molequi.datasets.conversion import atoms_from_frames
from molequi.datasets.in_memory import Frames
from molequi.datasets.load import load_labelled
from molequi.errors import UserError
from molequi.properties import PROPERTIES, get_property
from molequi.structures.perception import molecule_from_geometry

_LOG = logging.getLogger(__name__)
_BONDS = (
    Chem.BondType.SINGLE,
    Chem.BondType.DOUBLE,
    Chem.BondType.TRIPLE,
    Chem.BondType.AROMATIC,
)
_FIELDS = frozenset(
    "z pos x edge_index edge_attr smiles name total_charge spin_multiplicity cell pbc batch "
    "ptr".split()
)
_HYBRIDS = (Chem.HybridizationType.SP, Chem.HybridizationType.SP2, Chem.HybridizationType.SP3)


class Molecules(InMemoryDataset):
    """A data set as `Data` objects: z, pos, x, edge_index, edge_attr, smiles, name and the labels.

    source: a file, a bundled sample or the name of a prepared set, all that `molequi train` reads;
    or Frames. targets: names of the labels, by default all of the property table that there are.
    bonds: whether they are found. transform: of each `Data`, when it is taken.

    z: (n,). pos: (n, 3), Å, float32. x: (n, E + 6): one of the E elements of the set in ascending
    order, atomic number, aromatic, sp, sp2, sp3, number of hydrogens, as PyTorch Geometric's QM9
    has it. edge_index: (2, 2 bonds), both ways, sorted. edge_attr: (2 bonds, 4): single, double,
    triple, aromatic. Labels stand under their names, (1, *shape) or (n, *shape), float32, in the
    units of `frames.properties`. Charges and multiplicities are total_charge and
    spin_multiplicity, cells and their periodicity cell and pbc, as `graph_from_data` reads them.

    Bonds are found from the distances and the charge, some milliseconds a molecule. Where that
    fails, and with `bonds=False`, there are none, nor a SMILES, and of x the columns that need them
    are zero; how often is logged, and which in `without_bonds`.
    Raises UserError for a source without such labels, and for a label with the name of a field.
    """

    def __init__(
        self,
        source: str | Path | Frames,
        targets: Sequence[str] | None = None,
        *,
        bonds: bool = True,
        transform: Callable[[Data], Data] | None = None,
    ) -> None:
        super().__init__(None, transform)
        self.frames = source if isinstance(source, Frames) else _load(source, targets)
        taken = sorted(_FIELDS & set(self.frames.targets))
        if taken:
            raise UserError(f"a label cannot be called {taken[0]!r} here; declare it otherwise")
        self.without_bonds: list[str] = []
        elements = list(self.frames.elements())
        self._data, self.slices = self.collate(
            [self._structure(row, elements, bonds=bonds) for row in range(len(self.frames))]
        )
        if self.without_bonds:
            _LOG.warning(
                "no bonds were found for %d of %d structures, the first of them %s",
                len(self.without_bonds), len(self.frames), self.without_bonds[0],
            )  # fmt: skip

    def _structure(self, row: int, elements: list[int], *, bonds: bool) -> Data:
        frames = self.frames
        atoms = slice(int(frames.offsets[row]), int(frames.offsets[row + 1]))
        numbers = frames.atomic_numbers[atoms]
        molecule = self._molecule(row) if bonds else None
        fields = {
            name: (values[atoms] if frames.properties[name].per_atom else values[row : row + 1])
            for name, values in frames.targets.items()
        }
        data = Data(
            z=numbers,
            pos=frames.positions[atoms].to(torch.float32),
            x=_atom_features(numbers, elements, molecule),
            smiles="" if molecule is None else Chem.MolToSmiles(Chem.RemoveHs(molecule)),
            name=frames.label(row),
            total_charge=frames.total_charge[row : row + 1],
            spin_multiplicity=frames.spin_multiplicity[row : row + 1],
            **_bond_features(molecule),
            **{name: values.to(torch.float32) for name, values in fields.items()},
        )
        if bool(frames.pbc.any()):
            data.cell, data.pbc = frames.cell[row : row + 1], frames.pbc[row : row + 1]
        return data

    def _molecule(self, row: int) -> Chem.Mol | None:
        try:
            return molecule_from_geometry(atoms_from_frames(self.frames, row))
        except UserError as error:
            self.without_bonds.append(f"{self.frames.label(row)}: {error}")
            return None


def _load(source: str | Path, targets: Sequence[str] | None) -> Frames:
    rows = list(PROPERTIES.values()) if targets is None else [get_property(n) for n in targets]
    frames = load_labelled(source, rows).frames
    return frames if targets is None else frames.with_targets(list(targets))


def _atom_features(numbers: Tensor, elements: list[int], molecule: Chem.Mol | None) -> Tensor:
    """Return x; see `Molecules`."""
    columns = torch.zeros(len(numbers), 6)
    columns[:, 0] = numbers
    for row, atom in enumerate(() if molecule is None else molecule.GetAtoms()):
        hybrid = [float(atom.GetHybridization() == kind) for kind in _HYBRIDS]
        hydrogens = sum(other.GetAtomicNum() == 1 for other in atom.GetNeighbors())
        columns[row, 1:] = torch.tensor([float(atom.GetIsAromatic()), *hybrid, float(hydrogens)])
    one_of = (numbers[:, None] == torch.tensor(elements)).to(torch.float32)
    return torch.cat([one_of, columns], dim=1)


def _bond_features(molecule: Chem.Mol | None) -> Mapping[str, Tensor]:
    """Return edge_index and edge_attr; see `Molecules`."""
    bonds = [] if molecule is None else molecule.GetBonds()
    both = sorted(
        (first, second, _BONDS.index(bond.GetBondType()))
        for bond in bonds
        for first, second in (
            (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()),
            (bond.GetEndAtomIdx(), bond.GetBeginAtomIdx()),
        )
    )
    table = torch.tensor(both, dtype=torch.int64).reshape(-1, 3)
    return {"edge_index": table[:, :2].T.contiguous(), "edge_attr": torch.eye(4)[table[:, 2]]}
