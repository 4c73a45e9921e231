"""New models: random weights, a network as large as its preset says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch

from molequi.errors import UserError
from molequi.graphs.graph import collate
from molequi.models.metadata import ModelMetadata
from molequi.models.molecular import MolecularModel
from molequi.models.physics import NO_PHYSICS, Physics
from molequi.models.probes import calibration_structures
from molequi.models.reach import check_reach
from molequi.nn.backbones.registry import make_backbone
from molequi.nn.heads.registry import irreps_of
from molequi.o3.irreps import Irrep, Irreps
from molequi.properties import Property, get_property

PRESETS: Mapping[str, dict[str, object]] = {
    "light": {"n_layers": 2, "n_channels": 32, "l_max": 1, "correlation": 1},
    "small": {"n_layers": 2, "n_channels": 32, "l_max": 2, "correlation": 1},
    "medium": {
        **{"n_layers": 2, "n_channels": 64, "l_max": 3, "l_hidden": 1},
        **{"correlation": 3, "mixing": "separate"},
    },
    "large": {
        **{"n_layers": 2, "n_channels": 128, "l_max": 3, "l_hidden": 2},
        **{"correlation": 3, "mixing": "separate", "n_readout": 64},
    },
}


def make_model(
    elements: Iterable[int],
    properties: Sequence[Property | str],
    *,
    preset: str = "small",
    architecture: str = "spherical",
    seed: int = 0,
    physics: Physics = NO_PHYSICS,
    metadata: ModelMetadata | None = None,
    **overrides: object,
) -> MolecularModel:
    """Make a model with random weights, in evaluation mode.

    `overrides` are the keyword arguments of the backbone, whose `architecture` is a key of
    `nn.backbones.registry.BACKBONES`.

    The last layer keeps only the irreps that the properties need. Weights are a function of `seed`
    alone, and calibrated on fixed structures, so that features and outputs start of order one;
    training calibrates again, on its data.
    """
    if preset not in PRESETS:
        raise UserError(f"model.preset is {preset!r}; the presets are {', '.join(PRESETS)}")
    rows = [get_property(row) if isinstance(row, str) else row for row in properties]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        needed, sizes = _needed(rows), dict(PRESETS[preset])
        # A preset is no reason to refuse a tensor.
        sizes["l_max"] = max(int(str(sizes["l_max"])), *needed.degrees, 0)
        backbone = make_backbone(
            architecture, tuple(sorted(set(elements))), needed, sizes, overrides
        )
        model = MolecularModel(backbone, rows, physics=physics, metadata=metadata)
    structures = calibration_structures(backbone.elements)
    backbone.calibrate(collate([structure.graph(backbone.cutoff) for structure in structures]))
    check_reach(model)
    return model.eval()


def _needed(rows: Iterable[Property]) -> Irreps:
    """Return the irreps that the heads of these properties read."""
    needed = {irrep for row in rows for irrep in irreps_of(row)}
    # Triple products of vectors are pseudoscalars too.
    if Irrep.parse("0o") in needed:
        needed.add(Irrep.parse("1o"))
    return Irreps(sorted(needed))
