"""Model files of older formats, brought to the present one step by step.

A file holds a description, plain JSON data with the number of its `format`, and named tensors. What
changed:
1. until 0.1.0 of November 2025.
2. Attributes of layers are called by what they do: `up`, `down`, `mix` are `linear_up`,
   `linear_down`, `linear_paths`. The head of a dipole never bears the name of its magnitude, which
   it did where that was asked for first. The description calls the network's `kind` its
   `architecture`, and `tensors` is `spherical`. `metadata` has every field of `ModelMetadata` and
   no others.
3. The origin term of a Rosenfeld tensor is 1/2 r x alpha; before it was -1/2 r x alpha, so that
   networks have learned -alpha. Its readout is called `polarizability`, `symmetric` before. A
   polarizability beside it came from atomic ones of its own, and does so still.

A new format adds a function to `CONVERTERS` and a file of the old one to `tests/models/files`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import Tensor

FORMAT = 3


class Content(NamedTuple):
    """What a model file holds."""

    description: dict[str, Any]
    tensors: dict[str, Tensor]


def to_present_format(content: Content) -> Content:
    """Return the content in the present format; raises KeyError for a format that is not known."""
    while content.description["format"] != FORMAT:
        content = CONVERTERS[content.description["format"]](content)
    return content


def from_format_1(content: Content) -> Content:
    """Rename layers and the architecture, and complete the metadata."""
    description = dict(content.description)
    # The first files of format 1 knew one kind only.
    kind = description.pop("kind", "tensors")
    architecture = "spherical" if kind == "tensors" else kind
    outputs = [row["name"] for row in description["properties"]]
    old = description["metadata"]
    training = old.get("training", {})
    metadata = {
        "name": old.get("name"),
        "level": old.get("level") or {},
        "charge_multiplicity": old.get("charge_multiplicity", [[0, 1]]),
        "isolated_atom_energies": old.get("isolated_atom_energies", {}),
        "training": {name: training[name] for name in _TRAINING if name in training},
    }
    return Content(
        {
            **description,
            "format": 2,
            "architecture": architecture,
            "metadata": metadata,
        },
        names_in_format_2(content.tensors, architecture, outputs),
    )


def names_in_format_2(
    tensors: Mapping[str, Tensor], architecture: str, outputs: Collection[str]
) -> dict[str, Tensor]:
    """Rename the tensors of a model with these outputs from format 1."""
    renamed = dict(tensors)
    if architecture == "spherical":
        renamed = {_layer_in_format_2(name): tensor for name, tensor in renamed.items()}
    if "dipole" in outputs:
        renamed = {_head_in_format_2(name): tensor for name, tensor in renamed.items()}
    return renamed


def _head_in_format_2(name: str) -> str:
    return re.sub(r"^heads\.dipole_magnitude\.", "heads.dipole.", name)


def _layer_in_format_2(name: str) -> str:
    layer = re.match(r"(backbone\.layers\.\d+\.)(up|down|mix)(\..*)", name)
    if layer is not None:
        return layer[1] + _LAYERS[layer[2]] + layer[3]
    return name


def from_format_2(content: Content) -> Content:
    """Change the sign of the polarizability in Rosenfeld heads: what they give stays to the bit."""
    rows = [
        {**row, "serves": []} if row["name"] == "rosenfeld" else row
        for row in content.description["properties"]
    ]
    return Content(
        {**content.description, "format": 3, "properties": rows},
        dict(_origin_term_in_format_3(*item) for item in content.tensors.items()),
    )


def _origin_term_in_format_3(name: str, tensor: Tensor) -> tuple[str, Tensor]:
    """Rename the readout, and change the sign of the maps in which the values are linear."""
    head = "heads.rosenfeld."
    if not name.startswith((f"{head}symmetric.", f"{head}flow.")):
        return name, tensor
    is_linear = name.removeprefix(head) in _LINEAR_IN_ALPHA
    return name.replace(f"{head}symmetric.", f"{head}polarizability."), (
        -tensor if is_linear else tensor
    )


# The last map of the scalar network (0e), the weights of the rows (2e) and of the flow (1e).
_LINEAR_IN_ALPHA = ("symmetric.networks.0.weights.1", "symmetric.weights.0", "flow.vectors")
_LAYERS = {"up": "linear_up", "down": "linear_down", "mix": "linear_paths"}
# What format 2 keeps of a training.
_TRAINING = (
    "config",
    "init",
    "n_structures",
    "baseline",
    "spread",
    "evaluated_on",
    "errors",
)

# By the format that they read; each returns the next one.
CONVERTERS: Mapping[int, Callable[[Content], Content]] = MappingProxyType(
    {1: from_format_1, 2: from_format_2}
)
