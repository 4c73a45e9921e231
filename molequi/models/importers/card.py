"""The card of an imported model: what was read, and where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ase.data import chemical_symbols

from molequi.errors import UserError
from molequi.models.checkpoint import load_model
from molequi.models.metadata import Origin
from molequi.models.molecular import MolecularModel
from molequi.models.zoo import list_models
from molequi.nn.backbones.mace import MaceBackbone


def card_of_file(path: Path) -> dict[str, Any]:
    """Return the card of an imported model's file. Raises UserError for any other file."""
    model = load_model(path) if path.is_file() else None
    if model is None or model.metadata.origin is None:
        raise UserError(
            f"{path} is a file or folder; cards are those of the bundled models, which are "
            f"{', '.join(list_models())}, and of files that `molequi import` has written"
        )
    return card(model, path)


def card(model: MolecularModel, path: Path) -> dict[str, Any]:
    """Return what there is to say of an imported model, as plain JSON data."""
    origin, backbone = model.metadata.origin, model.backbone
    if origin is None or not isinstance(backbone, MaceBackbone):
        raise UserError(f"{path} is no imported model")
    return {
        "file": str(path),
        "gives": ", ".join(model.outputs),
        "elements": " ".join(chemical_symbols[number] for number in model.elements),
        "cutoff": f"{model.cutoff:g} Å",
        "irreps": str(backbone.settings["hidden"]),
        "channels": backbone.n_channels,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "dtype": str(model.dtype).removeprefix("torch."),
        "radial_functions": "splines" if backbone.may_have_splines else "networks",
        "multiplicities": _multiplicities(model.metadata.charge_multiplicity),
        "head": _head(origin),
        **({"trained_from": trained} if (trained := model.metadata.training.init) else {}),
        "made_by": origin.program,
        "original": origin.file,
        "sha256_of_the_original": origin.sha256,
        "licence": origin.licence,
    }


def _multiplicities(states: Sequence[tuple[int, int]]) -> str:
    """Name them, of ions by their charges too: `1 (-1 e), 1, 2 (+1 e)`."""
    pairs = sorted(set(states))
    return ", ".join(f"{m} ({q:+d} e)" if q else str(m) for q, m in pairs)


def _head(origin: Origin) -> str:
    several = f" of {', '.join(origin.heads)}" if len(origin.heads) > 1 else ""
    return f"{origin.head}{several}"
