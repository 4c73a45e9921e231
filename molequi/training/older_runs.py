"""Run directories that molequi 0.1.0 wrote, by the names of today.

Its settings called the `architecture` of a network its `kind`, `spherical` networks `tensors`, and
kernels `generic` and `specialized` `table` and `unrolled`, a `group` of the plane was part of the
`kind`; files to resume from had format 1. Its
only optimiser was AdamW, which its settings do not name: where they do, a run is younger.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from molequi.models.converters import names_in_format_2
from molequi.models.molecular import MolecularModel

# Formats of last.ckpt that `present_state` takes.
OLDER_STATES = (1,)
_KERNELS = {"table": "generic", "unrolled": "specialized"}
# What models of springs that lift to a group of the plane were called: the settings of today.
_LIFTED: Mapping[str, Mapping[str, Any]] = {
    "lieconv-t2": {"kind": "lieconv", "group": "T(2)"},
    "hlieconv-trivial": {"kind": "hlieconv", "group": "trivial"},
    "hlieconv-t2": {"kind": "hlieconv", "group": "T(2)"},
    "hlieconv-so2": {"kind": "hlieconv", "group": "SO(2)"},
    "hlieconv-so2-centred": {"kind": "hlieconv", "group": "SO(2)", "centred": True},
    "hlieconv-se2": {"kind": "hlieconv", "group": "SE(2)"},
}
# Presets that are larger now, as they were.
_PRESETS = {
    "medium": {"n_layers": 3, "n_channels": 64, "l_max": 2, "correlation": 1},
    "large": {"n_layers": 3, "n_channels": 128, "l_max": 3, "correlation": 2},
}


def present_settings(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run directory as they are called now."""
    present = copy.deepcopy(dict(data))
    model, training = present.get("model"), present.get("training")
    if isinstance(model, dict):
        _rename_architecture(model)
    if isinstance(training, dict):
        if training.get("kernels") in _KERNELS:
            training["kernels"] = _KERNELS[training["kernels"]]
        # Trainings of dynamics have no averaged weights, and no such setting.
        if "ema" in training and "optimizer" not in training:
            training["optimizer"] = "adamw"
            _write_preset_out(present.get("model", {}))
    return present


def _rename_architecture(model: dict[str, Any]) -> None:
    for network in (model, model.get("backbone")):
        if isinstance(network, dict) and "cutoff" in network and "kind" in network:
            kind = network.pop("kind")
            network["architecture"] = "spherical" if kind == "tensors" else kind
    if model.get("kind") == "tensors":
        model["kind"] = "spherical"
    model.update(_LIFTED.get(str(model.get("kind")), {}))


def _write_preset_out(network: dict[str, Any]) -> None:
    """Say in numbers what the preset of a network was."""
    sizes = _PRESETS.get(network.get("preset", ""), {})
    is_spherical = network.get("architecture") in (None, "spherical")
    for name, value in sizes.items():
        if network.get(name) is None and (is_spherical or name.startswith("n_")):
            network[name] = value
    if sizes:
        network["preset"] = "small"


def present_state(state: Mapping[str, Any], model: MolecularModel) -> dict[str, Any]:
    """Return what `read_state` gave, of any format, with tensors as `model` calls them now."""
    if state["format"] not in OLDER_STATES:
        return dict(state)
    kind = model.backbone.architecture, model.outputs
    weights = names_in_format_2(state["model"], *kind)
    averages = names_in_format_2(state["average"]["values"], *kind)
    return {**state, "model": weights, "average": {**state["average"], "values": averages}}
