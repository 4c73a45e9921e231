"""A model that begins with the scales, shifts and references of its training set.

They travel with the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.models.molecular import MolecularModel
from molequi.nn.heads.base import Head
from molequi.nn.heads.electrostatics import MultipoleHead
from molequi.properties import DEBYE
from molequi.training.label_statistics import Statistics


def heads_of(model: MolecularModel) -> dict[str, Head]:
    """Return the heads of a model by output."""
    return {name: head for name, head in model.heads.items() if isinstance(head, Head)}


def apply_statistics(
    model: MolecularModel,
    frames: Frames,
    statistics: Mapping[str, Statistics],
    *,
    skip: Sequence[str] = (),
) -> None:
    """Set scale, shift and references of every head but those to `skip`, and of charges.

    Charges that came with a head to skip keep their scale.
    """
    if model.equilibration is not None and not skip:
        model.equilibration.scale.fill_(_charge_scale(frames, statistics))
    for name, head in heads_of(model).items():
        if name in skip:
            continue
        head.set_size(float(frames.n_atoms.to(torch.float64).mean()))
        if isinstance(head, MultipoleHead):
            head.set_statistics(scale=_electrostatic_scale(frames, statistics))
        elif name in statistics:
            entry = statistics[name]
            head.set_statistics(_head_scale(name, statistics), entry.shift, entry.contributions)
        else:
            head.set_statistics(_head_scale(head.target.spread_of or name, statistics))
        for companion in statistics.keys() & set(head.companions):
            entry = statistics[companion]
            head.set_companion_statistics(companion, entry.scale, entry.contributions)


def _head_scale(name: str, statistics: Mapping[str, Statistics]) -> Tensor | float:
    """Scale of a head.

    An energy with forces takes their size, because they are what most of its labels say.
    """
    if name == "energy" and "forces" in statistics:
        return statistics["forces"].scale
    return statistics[name].scale if name in statistics else 1.0


def _charge_scale(frames: Frames, statistics: Mapping[str, Statistics]) -> float:
    """Size of the charges of a model, e: a guess where it is shown no more than energies."""
    if "charges" in statistics:
        return float(statistics["charges"].scale[0])
    shown = {"dipole", "dipole_magnitude"} & set(statistics)
    return _electrostatic_scale(frames, statistics) if shown else 0.1


def _electrostatic_scale(frames: Frames, statistics: Mapping[str, Statistics]) -> float:
    if "dipole" in statistics:
        return float(statistics["dipole"].scale[0])
    if "dipole_magnitude" in statistics:
        values = frames.targets["dipole_magnitude"] / frames.n_atoms.to(torch.float64).sqrt()
        return max(
            float(values[~torch.isnan(values)].square().mean().sqrt()) * DEBYE / 3**0.5, 1e-3
        )
    return float(statistics["charges"].scale[0])
