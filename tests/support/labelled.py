"""Labelled structures of given elements, whose positions do not matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from molequi.datasets.in_memory import Frames
from molequi.datasets.making import make_frames
from molequi.properties import Property


def frames_of(
    molecules: Sequence[Sequence[int]],
    targets: Mapping[str, torch.Tensor],
    properties: Mapping[str, Property],
) -> Frames:
    """Return frames of these atomic numbers at random positions."""
    numbers = torch.tensor([z for molecule in molecules for z in molecule])
    counts = torch.tensor([len(molecule) for molecule in molecules])
    return make_frames(
        torch.randn(len(numbers), 3, generator=torch.Generator().manual_seed(0)),
        numbers,
        counts,
        targets=targets,
        properties=properties,
    )
