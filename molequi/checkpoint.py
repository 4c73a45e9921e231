"""One safetensors file holds a model: tensors, and JSON metadata with a format number. No pickle, no code."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from molequi.errors import UserError
from molequi.model import MolecularModel
from molequi.nn.backbone import Backbone
from molequi.properties import from_dict, to_dict

FORMAT = 1
_KEY = "molequi"


def describe(model: MolecularModel) -> dict:
    """Return everything but the weights as plain JSON data: what `build` needs to make the same network."""
    return {
        "format": FORMAT,
        "elements": list(model.elements),
        "backbone": {**model.backbone.settings, "irreps_out": [list(irrep) for irrep in model.backbone.irreps_out]},
        "properties": [to_dict(model.properties[name]) for name in model.outputs],
        "dtype": str(model.dtype).removeprefix("torch."),
        "metadata": model.metadata,
    }


def build(description: dict) -> MolecularModel:
    """Make the network that `describe` described, with random weights and in its dtype."""
    settings = dict(description["backbone"])
    settings["irreps_out"] = tuple((l, p) for l, p in settings["irreps_out"])
    rows = [from_dict(row) for row in description["properties"]]
    with torch.random.fork_rng(devices=[]):
        model = MolecularModel(Backbone(description["elements"], **settings), rows, metadata=description["metadata"])
    return model.to(getattr(torch, description["dtype"]))


def save_model(model: MolecularModel, path: str | Path) -> None:
    """Write the model to `path` by rename, so that a reader never sees half a file."""
    path = Path(path)
    part = path.with_name(path.name + ".part")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, part, metadata={_KEY: json.dumps(describe(model))})
    # The writer makes private files; a model is for everybody who may read its folder.
    part.chmod(0o644)
    os.replace(part, path)


def read_description(path: str | Path) -> dict:
    """Read a model file's metadata without its weights.

    Raises UserError where the file is missing, is no molequi model, or has a newer format.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no model file at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_KEY)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a model file: {error}; molequi writes .safetensors files") from error
    if text is None:
        raise UserError(f"{path} is a safetensors file but holds no molequi model")
    description = json.loads(text)
    if description.get("format") != FORMAT:
        raise UserError(f"{path} has model format {description.get('format')}; this molequi reads format {FORMAT}: install the version that wrote it")
    return description


def load_model(path: str | Path, *, device: str | torch.device = "cpu", dtype: torch.dtype | None = None) -> MolecularModel:
    """Read a model in evaluation mode; `dtype` recasts the network.

    Raises UserError as `read_description`, and where the tensors do not fit the description.
    """
    model = build(read_description(path))
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(f"{path} is damaged: its tensors do not fit its description ({str(error).splitlines()[0]})") from error
    if dtype is not None:
        model = model.to(dtype)
    return model.to(device).eval().requires_grad_(False)
