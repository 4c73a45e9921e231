"""The pieces of structures, each alone at the geometry it has there: what interactions are made of.

The interaction energy of a complex is E(complex) - sum_k E(piece k), every piece where it stands in
the complex and with nothing beside it (S. F. Boys and F. Bernardi, Mol. Phys. 19 (1970) 553, whose
correction for finite basis sets belongs to the labels). It is a small difference of large numbers:
a model that learns totals alone is free to be wrong by different amounts for complex and pieces.
Comparing the difference itself takes the pieces into the same step, without labels of their own.
"""

from __future__ import annotations

import torch
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.datasets.subtracted import Subtracted
from molequi.errors import UserError

INTERACTION_ENERGY, PIECES = "interaction_energy", "pieces"


def pieces_of(frames: Frames, indices: Tensor, cutoff: float) -> Subtracted | None:
    """Return the pieces of the structures `indices`; None where none of them has any."""
    if PIECES not in frames.targets:
        return None
    chosen = frames.subset(indices)
    has_pieces = are_complete(chosen)
    if not has_pieces.any():
        return None
    alone, owner = as_structures(chosen.subset(has_pieces))
    batch = alone.batch(torch.arange(len(alone)), cutoff)
    return Subtracted(batch.graph, torch.nonzero(has_pieces)[:, 0][owner])


def check_pieces(frames: Frames) -> None:
    """Raise UserError for an interaction energy whose pieces are missing, or are none."""
    if INTERACTION_ENERGY not in frames.targets:
        return
    labelled = ~torch.isnan(frames.targets[INTERACTION_ENERGY])
    for fault, is_bad in _faults(frames):
        found = torch.nonzero(labelled & is_bad)
        if len(found):
            raise UserError(f"{frames.label(int(found[0]))} has {INTERACTION_ENERGY}, but {fault}")


def _faults(frames: Frames) -> list[tuple[str, Tensor]]:
    """Return what may be wrong with pieces, and which structures it is true of, (B,)."""
    is_open = ~frames.pbc.any(dim=1) & (frames.spin_multiplicity == 1)
    given = are_complete(frames)
    told = frames.targets[PIECES].nan_to_num()
    # Pieces may have any numbers, and a charge must belong to one piece alone.
    _, owner, charges = _numbered(frames, told)
    counts = torch.bincount(owner, minlength=len(frames))
    sums = torch.zeros(len(frames), dtype=torch.float64).index_add(0, owner, charges)
    whole = _of_frames(frames, (told == told.round()).all(dim=1))
    numbers = torch.stack([_atom_owner(frames).to(torch.float64), told[:, 0]], dim=1)
    n_named = torch.bincount(
        torch.unique(numbers, dim=0)[:, 0].to(torch.int64), minlength=len(frames)
    )
    return [
        (f"its {PIECES} are missing; give the number of its piece and the charge of that piece, "
         "e, for every atom", ~given),
        (f"its {PIECES} are not whole numbers; give the number of its piece and the charge of that "
         "piece, e, for every atom", ~whole),
        ("a piece with two charges; give all atoms of a piece its total charge", counts != n_named),
        ("it is one piece; an interaction takes two or more", counts < 2),
        ("the charges of its pieces do not add up to its total charge",
         sums != frames.total_charge),
        ("it is periodic or no singlet, and pieces are taken as molecules in their singlet state",
         ~is_open),
    ]  # fmt: skip


def as_structures(frames: Frames) -> tuple[Frames, Tensor]:
    """Return every piece as a structure, and the structure that each is of, (P,)."""
    piece, owner, charges = _numbered(frames, frames.targets[PIECES])
    order = torch.argsort(piece, stable=True)
    counts = torch.bincount(piece, minlength=len(owner))
    n = len(owner)
    return Frames(
        positions=frames.positions[order],
        atomic_numbers=frames.atomic_numbers[order],
        offsets=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
        cell=torch.zeros(n, 3, 3, dtype=torch.float64),
        pbc=torch.zeros(n, 3, dtype=torch.bool),
        total_charge=charges.round().to(torch.int64),
        spin_multiplicity=torch.ones(n, dtype=torch.int64),
    ), owner  # fmt: skip


def _numbered(frames: Frames, told: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Number the pieces of all structures: of each atom, (A,); their structures, charges, (P,)."""
    rows = torch.cat([_atom_owner(frames).to(told.dtype)[:, None], told], dim=1)
    found, piece = torch.unique(rows, dim=0, return_inverse=True)
    return piece, found[:, 0].to(torch.int64), found[:, 2]


def _atom_owner(frames: Frames) -> Tensor:
    return torch.repeat_interleave(torch.arange(len(frames)), frames.n_atoms)


def _of_frames(frames: Frames, is_right: Tensor) -> Tensor:
    """Tell of which structures something is true of every atom: (B,)."""
    return torch.bincount(_atom_owner(frames)[~is_right], minlength=len(frames)) == 0


def are_complete(frames: Frames) -> Tensor:
    """Tell of which structures the piece of every atom is known: (B,)."""
    return _of_frames(frames, ~torch.isnan(frames.targets[PIECES]).any(dim=1))
