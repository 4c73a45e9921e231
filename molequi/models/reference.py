"""A structure that a model file carries, with what the model gave for it when it was written.

It is computed again when the file is loaded: weights that were damaged on their way, or a version
that makes something else of them, are seen there and not in results.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from molequi.graphs.graph import AtomGraph
from molequi.graphs.neighbors import build_graph

if TYPE_CHECKING:
    from molequi.models.freeze import FrozenModel
    from molequi.models.molecular import MolecularModel

COMPARED = ("energy", "forces", "dipole")
_FEWEST = 4  # atoms
# What rounding may do, in units of the largest force or dipole, or of 1 where these are smaller.
_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-8}


def make_reference(
    model: MolecularModel, elements: Sequence[int] | None = None
) -> dict[str, Any] | None:
    """Return a structure and what a model gives for it, as plain JSON data.

    An atom of each of the elements, all by default, along a screw, 1.8 Å apart, closer where the
    cutoff is short; energy (eV), forces (eV/Å) and dipole (e·Å) as far as the model has them. None
    for a model whose outputs jump or are not finite.
    """
    if not model.capabilities.forces:
        return None
    elements = model.elements if elements is None else elements
    numbers = np.resize(elements, max(len(elements), _FEWEST))
    k = np.arange(len(numbers))
    screw = np.stack([1.6 * np.cos(1.1 * k), 1.6 * np.sin(1.1 * k), 0.7 * k], axis=1)
    charge, multiplicity = min(model.metadata.charge_multiplicity, key=lambda pair: abs(pair[0]))
    structure = {
        "numbers": numbers.tolist(),
        "positions": (screw * min(1.0, model.cutoff / 5.0)).round(3).tolist(),
        "charge": charge,
        "multiplicity": multiplicity,
    }
    plain = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    plain.use_kernels("reference")
    values = _values(plain, structure)
    if not values or not all(bool(torch.isfinite(value).all()) for value in values.values()):
        return None
    return {**structure, "values": {name: value.tolist() for name, value in values.items()}}


def difference_from(
    reference: Mapping[str, Any],
    model: MolecularModel | FrozenModel,
    *,
    relative: float | None = None,
) -> str | None:
    """Say in words what a model on the CPU gives otherwise than a reference; None where all agrees.

    relative: what may differ of the largest force or dipole, by default as much as rounding does in
    a file. Raises KeyError, TypeError or ValueError for a reference that is none.
    """
    relative = _TOLERANCE[model.dtype] if relative is None else relative
    stored = {
        name: torch.tensor(value, dtype=torch.float64)
        for name, value in reference["values"].items()
    }
    found = _values(model, reference)
    for name, value in stored.items():
        if name not in found or found[name].shape != value.shape:
            return f"it has no {name} of its reference structure"
        scale = stored.get("forces", value) if name == "energy" else value
        limit = relative * max(1.0, float(scale.abs().max()))
        off = float((found[name] - value).abs().max())
        if not off <= limit:
            unit = model.properties[name].unit
            return (
                f"the {name} of its reference structure comes out {off:.3g} {unit} off what it was"
            )
    return None


def _values(model: MolecularModel | FrozenModel, structure: Mapping[str, Any]) -> dict[str, Tensor]:
    outputs = model.compute(_graph(model, structure))
    return {name: outputs[name].detach().double() for name in COMPARED if name in outputs}


def _graph(model: MolecularModel | FrozenModel, structure: Mapping[str, Any]) -> AtomGraph:
    return build_graph(
        np.array(structure["positions"], dtype=np.float64),
        np.array(structure["numbers"], dtype=np.int64),
        model.cutoff,
        total_charge=structure["charge"],
        spin_multiplicity=structure["multiplicity"],
    )
