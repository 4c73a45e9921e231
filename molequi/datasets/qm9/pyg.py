"""QM9 with the face of PyTorch Geometric: `Data` objects with its column order and units."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from ase import units
from torch import Tensor
from torch_geometric.data import Batch, Data, InMemoryDataset

from molequi.datasets.in_memory import Frames
from molequi.datasets.making import Electrons, Periodicity, make_frames
from molequi.datasets.qm9.columns import QM9_PROPERTIES, atom_references
from molequi.datasets.qm9.qm9 import load_qm9, prepare_qm9
from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph

# Column -> (property, factor from the table's unit to PyG's): D, bohr³, eV, bohr², eV, cal/(mol K),
# GHz.
_COLUMNS: Mapping[str, tuple[str, float]] = MappingProxyType({
    "mu": ("dipole_magnitude", 1.0),
    "alpha": ("isotropic_polarizability", units.Bohr**-3),
    "homo": ("homo", 1.0),
    "lumo": ("lumo", 1.0),
    "gap": ("gap", 1.0),
    "r2": ("r2", units.Bohr**-2),
    "zpve": ("zpve", 1.0),
    "U0": ("u0", 1.0),
    "U": ("u298", 1.0),
    "H": ("h298", 1.0),
    "G": ("g298", 1.0),
    "Cv": ("cv", 1.0),
    "U0_atom": ("u0", 1.0),
    "U_atom": ("u298", 1.0),
    "H_atom": ("h298", 1.0),
    "G_atom": ("g298", 1.0),
    "A": ("rotational_a", 1.0),
    "B": ("rotational_b", 1.0),
    "C": ("rotational_c", 1.0),
})  # fmt: skip
COLUMNS = tuple(_COLUMNS)


class QM9(InMemoryDataset):
    """QM9 as PyTorch Geometric's dataset of that name: z, pos (Å), y (1, 19), idx, name.

    Without bonds and atom features (x), which `datasets.pyg.Molecules` finds for any set.

    root: the folder with QM9 in any form that `load_qm9` knows; it is prepared there on first use.
    The columns of y are `COLUMNS`, with PyG's units. `frames` holds the same molecules in the units
    of the property table, for use without PyG.
    """

    def __init__(
        self,
        root: str | Path,
        transform: Callable[[Data], Data] | None = None,
        pre_filter: Callable[[Data], bool] | None = None,
    ) -> None:
        super().__init__(None, transform)
        frames = load_qm9(prepare_qm9(root)).frames
        self._data, self.slices = _collated(frames)
        if pre_filter is not None:
            keep = [index for index in range(len(frames)) if pre_filter(self.get(index))]
            self._data_list = None
            frames = frames.subset(torch.tensor(keep, dtype=torch.int64))
            self._data, self.slices = _collated(frames)
        self.frames = frames

    def atomref(self, target: int) -> Tensor | None:
        """Return the energies of the isolated atoms for a column of y.

        (100, 1), eV, or None where it has none.
        """
        name, _ = _COLUMNS[COLUMNS[target]]
        if COLUMNS[target].endswith("_atom") or not QM9_PROPERTIES[name].has_reference:
            return None
        return torch.nan_to_num(atom_references(name)[:100], nan=0.0).to(torch.float32)[:, None]


def graph_from_data(data: Data | Batch, cutoff: float) -> AtomGraph:
    """Build the graph of a `Data` or of the `Batch` that PyG's DataLoader makes; cutoff in Å.

    What counts of it, and errors: see `frames_from_data`.
    """
    frames = frames_from_data(data)
    return frames.batch(torch.arange(len(frames)), cutoff)[0]


def frames_from_data(data: Data | Batch) -> Frames:
    """Return the structures of a `Data` or `Batch` without targets.

    z: (N,). pos: (N, 3), Å. Where there are any: cell, 3 x 3 each, Å, with pbc, 3 each;
    total_charge or charge, e; spin_multiplicity, multiplicity or spin, 2S + 1, else the lowest that
    the number of electrons allows. Raises UserError for values of another shape, a cell without
    pbc or pbc without a cell, and a multiplicity that the electrons forbid.
    """
    counts = data.ptr.diff() if isinstance(data, Batch) else torch.tensor([len(data.z)])
    periodic, electrons = _periodicity(data, len(counts)), _electrons(data, counts)
    return make_frames(data.pos, data.z, counts, periodic=periodic, electrons=electrons)


def _periodicity(data: Data | Batch, n_structures: int) -> Periodicity | None:
    cell, pbc = (
        _field(data, ("cell",), (3, 3), n_structures),
        _field(data, ("pbc",), (3,), n_structures),
    )
    if pbc is None and (cell is None or not cell.any()):
        return None
    if pbc is None or (cell is None and bool(pbc.any())):
        given, missing = ("cell", "pbc") if pbc is None else ("pbc", "cell")
        raise UserError(f"the data have {given} but no {missing}; give both, or neither")
    return Periodicity(torch.zeros(n_structures, 3, 3) if cell is None else cell, pbc != 0)


def _electrons(data: Data | Batch, counts: Tensor) -> Electrons:
    charges = _whole(data, ("total_charge", "charge"), len(counts))
    charges = torch.zeros(len(counts), dtype=torch.int64) if charges is None else charges
    owners = torch.repeat_interleave(torch.arange(len(counts)), counts)
    numbers = torch.zeros_like(charges).index_add_(0, owners, data.z.to(torch.int64))
    lowest = 1 + (numbers - charges) % 2
    multiplicities = _whole(data, ("spin_multiplicity", "multiplicity", "spin"), len(counts))
    if multiplicities is None:
        return Electrons(charges, lowest)
    is_possible = (multiplicities >= 1) & (multiplicities <= numbers - charges + 1)
    bad = (~is_possible | ((multiplicities - lowest) % 2 != 0)).nonzero()[:, 0].tolist()
    if bad:
        found, left = int(multiplicities[bad[0]]), int((numbers - charges)[bad[0]])
        raise UserError(
            f"multiplicity {found} does not go with the {left} electrons of structure {bad[0]}"
        )
    return Electrons(charges, multiplicities)


def _whole(data: Data | Batch, names: tuple[str, ...], n_structures: int) -> Tensor | None:
    values = _field(data, names, (), n_structures)
    if values is not None and bool((values != values.round()).any()):
        raise UserError(f"the {names[0]} of the data is not whole: {values.tolist()}")
    return None if values is None else values.to(torch.int64)


def _field(
    data: Data | Batch, names: tuple[str, ...], shape: tuple[int, ...], n_structures: int
) -> Tensor | None:
    """Return the first field of a name as (B, *shape), float64; None where there is none."""
    name = next((name for name in names if data.get(name) is not None), None)
    if name is None:
        return None
    values = torch.as_tensor(data[name]).to(torch.float64)
    if values.numel() != n_structures * math.prod(shape):
        raise UserError(
            f"{name} of the data has shape {tuple(values.shape)}; it must have "
            f"{shape or 'one value'} for each of the {n_structures} structures"
        )
    return values.reshape(n_structures, *shape)


def _collated(frames: Frames) -> tuple[Data, dict[str, Tensor]]:
    numbers = [int(text.split()[1]) for text in frames.source]
    data = Data(
        z=frames.atomic_numbers,
        pos=frames.positions.to(torch.float32),
        y=_targets(frames).to(torch.float32),
        idx=torch.tensor(numbers, dtype=torch.int64) - 1,
        name=[f"gdb_{number}" for number in numbers],
    )
    each = torch.arange(len(frames) + 1)
    # Without num_nodes PyG would guess the number of atoms of a molecule from y.
    data.num_nodes = len(frames.atomic_numbers)
    return data, {"z": frames.offsets, "pos": frames.offsets, "y": each, "idx": each, "name": each}


def _targets(frames: Frames) -> Tensor:
    owners = torch.repeat_interleave(torch.arange(len(frames)), frames.n_atoms)
    columns = []
    for column, (name, factor) in _COLUMNS.items():
        values = frames.targets[name]
        if column.endswith("_atom"):
            references = atom_references(name)[frames.atomic_numbers]
            values = values - torch.zeros(len(frames), dtype=torch.float64).index_add_(
                0, owners, references
            )
        columns.append(values * factor)
    return torch.stack(columns, dim=1)
