"""One safetensors file holds a model: tensors, and JSON metadata with a format number.

No pickle, no code.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from molequi.errors import UserError
from molequi.models.converters import CONVERTERS, FORMAT, Content, to_present_format
from molequi.models.ensemble import Ensemble, without_spreads
from molequi.models.metadata import ModelMetadata
from molequi.models.molecular import MolecularModel
from molequi.models.physics import Physics
from molequi.models.reference import difference_from, make_reference
from molequi.nn.backbones.registry import BACKBONES
from molequi.nn.contraction import SymmetricContraction
from molequi.o3.irreps import Irreps
from molequi.properties import Property, from_dict, to_dict
from molequi.runtime.device import as_device, as_dtype
from molequi.runtime.gate import DAMAGE, reading, reason
from molequi.runtime.modes import own_modes
from molequi.runtime.plain import parse_json, plain
from molequi.runtime.tensors import read_tensors, read_texts, write_tensors
from molequi.version import __version__

_KEY = "molequi"
# The text by which a file is one of `hamiltonian.saved` in the place of a model of molecules.
DYNAMICS = "molequi_dynamics"


def describe(model: MolecularModel) -> dict:
    """Return everything but the weights as plain JSON data.

    What `build` needs to make the same network.
    """
    return {
        "format": FORMAT,
        "version": __version__,
        "elements": list(model.elements),
        "architecture": model.backbone.architecture,
        "backbone": {
            **model.backbone.settings,
            "irreps_out": [list(irrep) for irrep in model.backbone.irreps_out],
        },
        "physics": model.physics.to_json(),
        "properties": [to_dict(model.properties[name]) for name in model.outputs],
        "dtype": str(model.dtype).removeprefix("torch."),
        "metadata": model.metadata.to_json(),
        **({"members": model.n_members} if isinstance(model, Ensemble) else {}),
    }


def build(description: dict) -> MolecularModel:
    """Make the network that `describe` described, with random weights and in its dtype."""
    rows = [from_dict(row) for row in description["properties"]]
    if "members" not in description:
        return _network(description, rows)
    rows = without_spreads(rows)
    return Ensemble([_network(description, rows) for _ in range(description["members"])])


def _network(description: dict, rows: Sequence[Property]) -> MolecularModel:
    settings = dict(description["backbone"])
    settings["irreps_out"] = Irreps(settings["irreps_out"])
    # Files from before there was physics have none.
    physics = Physics.from_json(description.get("physics", {}))
    metadata = ModelMetadata.from_json(description["metadata"])
    with torch.random.fork_rng(devices=[]):
        backbone = BACKBONES[description["architecture"]](description["elements"], **settings)
        model = MolecularModel(backbone, rows, physics=physics, metadata=metadata)
    return model.to(as_dtype(description["dtype"]))


@own_modes()
def save_model(
    model: MolecularModel, path: str | Path, *, reference: dict[str, Any] | None = None
) -> None:
    """Write the model to `path` by rename, so that a reader never sees half a file.

    With it a structure and what the model gives for it, for `load_model` to compute again;
    `reference` where somebody else has computed it.
    """
    description = {**describe(model), "reference": reference or make_reference(model)}
    write_tensors(path, model.state_dict(), {_KEY: json.dumps(plain(description), allow_nan=False)})


def read_description(path: str | Path) -> dict:
    """Read what a model file says of the model, in the present format, without its weights.

    Raises UserError where the file is missing, is no molequi model, or has a newer format.
    """
    with reading(path, "description of a model"):
        return to_present_format(Content(_read_raw_description(path), {})).description


def _read_raw_description(path: str | Path) -> dict:
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no model file at {path}")
    text = read_texts(path).get(_KEY)
    if text is None and DYNAMICS in read_texts(path):
        raise UserError(
            f"{path} is a model of the dynamics of one system, no model of molecules; `molequi "
            "check` takes it, and `molequi evaluate` without DATA"
        )
    if text is None:
        raise UserError(f"{path} is a safetensors file but holds no molequi model")
    with reading(path, "description of a model", "copy the file again, or train the model again"):
        description = parse_json(text)
    known = (*CONVERTERS, FORMAT)
    found = description.get("format") if isinstance(description, dict) else None
    if not isinstance(found, int) or found not in known:
        formats = ", ".join(map(str, known))
        raise UserError(
            _unusable(path, description, f"its model format is {found}, known are {formats}")
        )
    return description


@own_modes()
def load_model(
    path: str | Path, *, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> MolecularModel:
    """Read a model in evaluation mode; `dtype` recasts the network.

    Raises UserError as `read_description`, where a bit of the file has changed since it was
    written, where description and tensors make no network of this version, and where the network
    does not give what it gave when the file was written.
    """
    description = _read_raw_description(path)
    tensors = read_tensors(path).tensors
    try:
        description, tensors = to_present_format(Content(description, tensors))
        model = build(description)
        tensors = _without_zero_paths(model, tensors)
        misfit = _misfit(model.state_dict(), tensors)
        if misfit is None:
            model.load_state_dict(tensors)
            model.eval().requires_grad_(False)
            misfit = _changed(description, model)
    except DAMAGE as error:
        misfit = f"its description makes no network ({type(error).__name__}: {reason(error)})"
    if misfit is not None:
        raise UserError(_unusable(path, description, misfit))
    if dtype is not None:
        model = model.to(dtype)
    return model.to(as_device(device))


def _without_zero_paths(model: MolecularModel, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave out weights of polynomials that are zero: see `SymmetricContraction.of_today`."""
    adapted = dict(tensors)
    for name, module in model.named_modules():
        key = f"{name}.weights.2"
        if isinstance(module, SymmetricContraction) and key in adapted:
            adapted[key] = module.of_today(adapted[key])
    return adapted


def _changed(description: dict, model: MolecularModel) -> str | None:
    """Say what the model gives otherwise than when it was written; older files do not know."""
    reference = description.get("reference")
    if reference is None:
        return None
    try:
        return difference_from(reference, model)
    except DAMAGE as error:
        what = f"{type(error).__name__}: {reason(error)}"
        return f"its reference structure cannot be computed ({what})"


def _misfit(expected: dict[str, Tensor], found: dict[str, Tensor]) -> str | None:
    """Return the first difference of two sets of tensors in words."""
    for name, tensor in expected.items():
        if name not in found:
            return f"it has no tensor {name}"
        if found[name].shape != tensor.shape:
            shape, wanted = tuple(found[name].shape), tuple(tensor.shape)
            return f"its tensor {name} has shape {shape} instead of {wanted}"
        if found[name].dtype != tensor.dtype:
            return f"its tensor {name} is of {found[name].dtype} instead of {tensor.dtype}"
        if tensor.is_floating_point() and not bool(torch.isfinite(found[name]).all()):
            return f"its tensor {name} holds numbers that are not finite"
    unknown = sorted(set(found) - set(expected))
    return f"its tensor {unknown[0]} has no place in the network" if unknown else None


def _unusable(path: str | Path, description: object, reason: str) -> str:
    """Say that a file cannot be used, who wrote it, and what to do."""
    here, writer = (
        __version__,
        description.get("version") if isinstance(description, dict) else None,
    )
    if writer is None:
        return (
            f"{path} is damaged, or was written by an older molequi than this {here}: {reason}; "
            "copy the file again, install the version that wrote it, or train the model again"
        )
    if writer == here:
        return (
            f"{path} is damaged, or was written by an unreleased molequi {here}: {reason}; copy "
            "the file again, or train the model again"
        )
    return (
        f"{path} was written by molequi {writer}, this is molequi {here}: {reason}; install "
        f"molequi {writer}, or train the model again"
    )
