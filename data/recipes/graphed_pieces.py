"""Structures with their pieces behind them, and what a network learns of their energies."""

import dataclasses

import torch
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.datasets.making import join_frames
from molequi.datasets.pieces import INTERACTION_ENERGY, PIECES, are_complete, as_structures
from molequi.models.molecular import MolecularModel
from molequi.training.fixed_terms import without_fixed_terms


def with_pieces(frames: Frames) -> tuple[Frames, Tensor]:
    """Return all structures, each followed by its pieces, and how far behind it each stands, (B,).

    Pieces have no labels.
    """
    if PIECES not in frames.targets:
        return frames, torch.zeros(len(frames), dtype=torch.int64)
    has_pieces = are_complete(frames)
    alone, owner = as_structures(frames.subset(has_pieces))
    frames = frames.with_targets([name for name in frames.targets if name != PIECES])
    alone = alone.with_unlabelled(list(frames.properties.values()))
    if frames.source:
        alone = dataclasses.replace(alone, source=("a piece",) * len(alone))
    numbers = torch.cat([torch.arange(len(frames)), torch.nonzero(has_pieces)[:, 0][owner]])
    order = torch.argsort(numbers, stable=True)
    numbers = numbers[order]
    first = torch.searchsorted(numbers, numbers)
    return join_frames([frames, alone]).subset(order), torch.arange(len(numbers)) - first


def interactions(energies: Tensor, whole: Tensor) -> Tensor:
    """Return the energies (B,) of structures less those of their pieces: (B,).

    whole: (B,), the number of the structure that each is a piece of, its own where it is none. Of
    pieces themselves it is no interaction.
    """
    is_whole = whole == torch.arange(len(whole), device=whole.device)
    signed = torch.where(is_whole, energies, -energies)
    return torch.zeros_like(energies).index_add(0, whole, signed)


def without_fixed(frames: Frames, back: Tensor, model: MolecularModel) -> Frames:
    """Take the fixed terms of the model out of the labels of what `with_pieces` returned.

    Those of pieces, which have no labels, count in interaction energies.
    """
    names = [name for name in ("energy", "forces") if name in frames.targets]
    zeros = {name: torch.zeros_like(frames.targets[name]) for name in names}
    rows = {name: frames.properties[name] for name in names}
    nothing = dataclasses.replace(frames, targets=zeros, properties=rows)
    less = dict(without_fixed_terms(nothing, model).targets)
    if INTERACTION_ENERGY in frames.targets:
        whole = torch.arange(len(frames)) - back
        less[INTERACTION_ENERGY] = interactions(less["energy"], whole)
    targets = {name: frames.targets[name] + values for name, values in less.items()}
    return dataclasses.replace(frames, targets={**frames.targets, **targets})
