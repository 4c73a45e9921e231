"""The bundled models, and how a model is named: an existing path first, else a bundled name."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

import torch

from molequi.errors import UserError
from molequi.models.checkpoint import load_model, read_description
from molequi.models.dispersion import with_dispersion
from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.models.outputs import unfounded
from molequi.models.physics import NO_PHYSICS, Physics
from molequi.runtime.device import as_device, as_dtype
from molequi.runtime.gate import reading
from molequi.runtime.plain import read_json
from molequi.runtime.resources import folder


def list_models() -> tuple[str, ...]:
    """Return the names of the bundled models."""
    return tuple(sorted(path.stem for path in _models().glob("*.safetensors")))


def card(name: str) -> dict[str, Any]:
    """Return the card of a bundled model: its data, level of theory, errors and limits.

    Raises UserError for a name that is not bundled.
    """
    if name not in list_models():
        if Path(name).exists():
            raise UserError(
                f"{name} is a file or folder; cards are those of the bundled models, which are "
                f"{', '.join(list_models())}"
            )
        raise UserError(_unknown(name))
    path = _models() / f"{name}.json"
    if not path.is_file():
        raise UserError(
            f"the bundled model {name!r} has no card: {path.name} is missing beside it; install "
            "molequi again"
        )
    shown = read_json(path)
    if not isinstance(shown, dict):
        raise UserError(f"{path} is damaged: it holds no card of a model; install molequi again")
    description = read_description(_models() / f"{name}.safetensors")
    with reading(path, "physics of a model"):
        physics = Physics.from_json(description.get("physics", {}))
        outputs = [row["name"] for row in description["properties"]]
    none = "none: the model learned none, and gives none"
    shown["charges of atoms"] = none if unfounded(outputs) else "learned from labels"
    return shown if physics == NO_PHYSICS else {**shown, "physics": physics.text}


def resolve_model(name_or_path: str | os.PathLike[str]) -> Path:
    """Return the file of a model: a path to it, a run directory, or the name of a bundled model.

    Raises UserError that lists the bundled names.
    """
    if not isinstance(name_or_path, str | os.PathLike):
        raise UserError(
            f"the model is of type {type(name_or_path).__name__}; give a bundled name or a path"
        )
    path = Path(name_or_path)
    if path.is_dir():
        model = path / "model.safetensors"
        if not model.is_file():
            inside = sorted(file.parent for file in path.glob("*/model.safetensors"))
            which = (
                f"one of its {len(inside)} runs, such as {inside[0]},"
                if inside
                else ("a run directory of `molequi train`")
            )
            raise UserError(
                f"the folder {path} holds no model.safetensors; give {which} or the model's file"
            )
        return model
    if path.exists():
        return path
    name = str(name_or_path)
    if name in list_models():
        return _models() / f"{name}.safetensors"
    raise UserError(_unknown(name))


def load(
    model: str | os.PathLike[str] = "organic",
    *,
    device: str = "cpu",
    dtype: str | torch.dtype | None = None,
    dispersion: str | None = None,
) -> MolecularModel:
    """Load a model, ready to predict.

    model: as in `resolve_model`. device: as torch names it, or `auto`. dtype: of the network, its
    own by default. dispersion: added to a model without, see `with_dispersion`.
    """
    loaded = load_model(resolve_model(model), device=as_device(device), dtype=as_dtype(dtype))
    return loaded if dispersion is None else with_dispersion(loaded, dispersion)


def frozen_model(
    model: str | os.PathLike[str] | MolecularModel | FrozenModel,
    *,
    device: str | None = None,
    dtype: str | torch.dtype | None = None,
    kernels: str | None = None,
    dispersion: str | None = None,
) -> FrozenModel:
    """Return a model ready for inference: load what has a name, freeze what is not frozen.

    device, dtype, kernels: as in `load` and `MolecularModel.freeze`, the model's own by default.
    dispersion: added to a model without, see `with_dispersion`. Raises UserError where they are
    given with a model that is frozen already, and for what is no model.
    """
    if isinstance(model, str | os.PathLike):
        model = load(model)
    if isinstance(model, MolecularModel):
        if dispersion is not None:
            model = with_dispersion(model, dispersion)
        where = None if device is None else as_device(device)
        return model.freeze(device=where, dtype=as_dtype(dtype), kernels=kernels)
    if not hasattr(model, "check_input"):  # FrozenModel, and what takes its place
        raise UserError(
            f"the model is a {type(model).__name__}; give a bundled name, a path or a loaded model"
        )
    if (device, dtype, kernels, dispersion) != (None,) * 4:
        raise UserError(
            "device, dtype, kernels and dispersion of a frozen model are its own; give them to "
            "`freeze`, a dispersion to `load`"
        )
    return model


def _models() -> Path:
    return folder("_data") / "models"


def _unknown(name: str) -> str:
    bundled = list_models()
    if not bundled:
        return (
            f"no model {name!r}: no such file or folder, and this installation has no bundled "
            "models"
        )
    near = difflib.get_close_matches(name, bundled, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    names = ", ".join(bundled)
    return f"no model {name!r}: no such file or folder, and the bundled models are {names}{hint}"
