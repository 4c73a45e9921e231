"""Laws of networks that their outputs do not show.

Hidden features turn, lifts may move, a nearer cutoff is smooth too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from molequi.diagnostics.consistency import smoothness
from molequi.diagnostics.model_runner import Deviation, ModelRunner, ratio, rotation_of_rows
from molequi.graphs.graph import AtomGraph
from molequi.models.structure import Structure, random_rotation
from molequi.nn.backbones.base import NodeFeatures
from molequi.o3.irreps import Irrep

_SEED = 0
# Å. The atoms still feel each other at the nearer cutoff, so that values and slopes change faster
# there than at the last one.
_STEP = 0.0005


def hidden_features(
    runner: ModelRunner, structures: Sequence[Structure], rng: np.random.Generator
) -> Iterator[Deviation]:
    """Turn and mirror structures: the features of the last layer follow.

    network(Rx) = D(R) network(x), relative to the root mean square of the rows of an irrep, or to a
    tenth of the largest of all irreps where that is more.
    """
    backbone = runner.backbone
    if backbone is None or not backbone.capabilities.equivariant:
        return
    rotation = random_rotation(rng)
    for structure in structures:
        still, turned, mirrored = (
            _features(runner, structure.mapped(matrix), backbone)
            for matrix in (np.eye(3), rotation, -np.eye(3))
        )
        rows = backbone.irreps_out.slices()
        sizes = [_size(still.equivariant[:, mine]) for mine in rows]
        for (l, parity), mine, size in zip(backbone.irreps_out, rows, sizes, strict=True):
            matrix = torch.as_tensor(rotation_of_rows(l, rotation)).to(still.equivariant)
            scale, where = (
                max(size, 0.1 * max(sizes)),
                f"{Irrep(l, parity)} features of {structure.name}",
            )
            yield Deviation(
                "rotation.features",
                _error(turned.equivariant[:, mine], matrix @ still.equivariant[:, mine], scale),
                where,
            )
            name = f"inversion.features.{Irrep(l, parity)}"
            yield Deviation(
                name,
                _error(mirrored.equivariant[:, mine], parity * still.equivariant[:, mine], scale),
                where,
            )


def moved_lifts(
    runner: ModelRunner, structures: Sequence[Structure], rng: np.random.Generator
) -> Iterator[Deviation]:
    """Compare a LieConv network's features of lifts u with those of lifts g u.

    g is a random element of its group; the features are the same, however lifts are drawn.
    """
    backbone = runner.backbone
    group = None if backbone is None else backbone.lift_group
    if backbone is None or group is None or group.dim == 0:
        return
    motion = group.exp(torch.as_tensor(rng.standard_normal(group.dim)))
    for structure in structures:
        still, moved = (
            _features(runner, structure, run)
            for run in (backbone, lambda graph: backbone.forward_moved(graph, motion))
        )
        error = _error(moved.invariant, still.invariant, _size(still.invariant))
        yield Deviation(
            "moved_lifts",
            error,
            f"features of {structure.name}, lifts moved in {backbone.settings['group']}",
        )


def near_cutoff(
    runner: ModelRunner, *, total_charge: int = 0, spin_multiplicity: int = 1
) -> Iterator[Deviation]:
    """Drag an atom out of the nearer cutoff of angles and dihedrals, where a network has one."""
    for cutoff in () if runner.backbone is None else runner.backbone.inner_cutoffs:
        yield from smoothness(
            runner,
            cutoff,
            "near_cutoff",
            step=_STEP,
            total_charge=total_charge,
            spin_multiplicity=spin_multiplicity,
        )


def _features(
    runner: ModelRunner, structure: Structure, run: Callable[[AtomGraph], NodeFeatures]
) -> NodeFeatures:
    """Run the backbone alone; random numbers are the same in every call."""
    devices = [runner.device] if runner.device.type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(devices=devices):
        torch.manual_seed(_SEED)
        return run(runner.graph([structure]))


def _size(values: Tensor) -> float:
    return float(values.double().square().mean().sqrt()) if values.numel() else 0.0


def _error(found: Tensor, expected: Tensor, scale: float) -> float:
    return ratio(float((found - expected).abs().double().amax()) if found.numel() else 0.0, scale)
