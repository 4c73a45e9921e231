"""What a step computes beside its batch, because labels are made of several structures."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from molequi.datasets.displaced import FORCE_CHANGES, Displaced, check_displacements, displaced
from molequi.datasets.in_memory import Frames
from molequi.datasets.pieces import INTERACTION_ENERGY, check_pieces, pieces_of
from molequi.datasets.relative import RELATIVE_ENERGY, check_elsewhere, elsewhere
from molequi.datasets.subtracted import Subtracted

# Targets whose labels are made of several structures.
OF_SEVERAL = (FORCE_CHANGES, INTERACTION_ENERGY, RELATIVE_ENERGY)


class Beside(NamedTuple):
    """Structures beside those of a batch; None where there are none.

    Moved by displacements, their pieces, and the same atoms elsewhere.
    """

    displaced: Displaced | None = None
    pieces: Subtracted | None = None
    elsewhere: Subtracted | None = None

    def to(self, device: torch.device) -> Beside:
        """Move to a device."""
        return Beside(
            None if self.displaced is None else self.displaced.to(device),
            None if self.pieces is None else self.pieces.to(device),
            None if self.elsewhere is None else self.elsewhere.to(device),
        )


def beside(frames: Frames, indices: Tensor, cutoff: float) -> Beside:
    """Return what the labels of the structures `indices` take beside them. cutoff: Å."""
    return Beside(
        displaced(frames, indices, cutoff),
        pieces_of(frames, indices, cutoff),
        elsewhere(frames, indices, cutoff),
    )


def check_beside(frames: Frames) -> None:
    """Raise UserError for a label whose other structures are not told."""
    check_displacements(frames)
    check_pieces(frames)
    check_elsewhere(frames)
