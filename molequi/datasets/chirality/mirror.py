"""Mirror images of labelled structures: positions and targets by the parity of their irreps."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.errors import UserError
from molequi.o3.cartesian import from_cartesian, to_cartesian
from molequi.o3.irreps import Irreps
from molequi.properties import Property


def mirror_frames(frames: Frames) -> Frames:
    """Return the mirror image of every structure: x -> -x, which is a reflection and half a turn.

    Targets follow: an even part (0e, 1e, 2e) stays, an odd one (0o, 1o, 2o) changes sign; a yes/no
    label that is odd becomes its opposite.
    Raises UserError for periodic structures, whose cells would have to follow.
    """
    if frames.pbc.any():
        raise UserError(
            "mirror images are made of molecules; remove the periodic structures or their cell"
        )
    targets = {
        name: mirror_values(values, frames.properties[name])
        for name, values in frames.targets.items()
    }
    source = tuple(f"{text} mirror" for text in frames.source)
    return dataclasses.replace(frames, positions=-frames.positions, targets=targets, source=source)


def mirror_values(values: Tensor, row: Property) -> Tensor:
    """Return the values (B or A, *shape) that a property has on the mirror images x -> -x."""
    irreps = Irreps(row.irreps)
    parities = {irrep.p for irrep in irreps}
    if row.binary and parities == {-1}:
        return 1.0 - values
    if len(parities) == 1:
        return values * parities.pop()
    signs = torch.cat([values.new_full((irrep.dim,), irrep.p) for irrep in irreps])
    return to_cartesian(from_cartesian(values, irreps.degrees) * signs, irreps.degrees)
