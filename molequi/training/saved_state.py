"""What a file to resume from holds, compared with what the run would save itself."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

_NUMBERS = (int, float)


def refuse_unlike(saved: Any, own: Any, where: str = "the state") -> None:
    """Refuse a saved state that a run could not go on from; `own` is a state of the same run.

    Groups have the same names, tensors the same shapes and finite numbers, plain values the same
    kinds. Raises ValueError that names the first difference, `where` what is compared.
    """
    if isinstance(own, Mapping):
        if not isinstance(saved, Mapping) or own.keys() - saved.keys():
            missing = sorted(own.keys() - saved.keys()) if isinstance(saved, Mapping) else ["names"]
            raise ValueError(f"{where} has no {missing[0]}")
        for name, value in own.items():
            refuse_unlike(saved[name], value, f"{where}, {name}")
    elif isinstance(own, Tensor):
        if not isinstance(saved, Tensor) or saved.shape != own.shape:
            raise ValueError(f"{where} is no tensor of shape {tuple(own.shape)}")
        if not bool(torch.isfinite(saved).all()):
            raise ValueError(f"{where} holds numbers that are not finite")
    elif not _is_alike(saved, own):
        raise ValueError(f"{where} is {str(saved)[:40]!r}")


def _is_alike(saved: Any, own: Any) -> bool:
    """Tell whether a plain value may stand for another: a count is none below -1, NaN no number."""
    if isinstance(own, bool) or not isinstance(own, _NUMBERS):
        return isinstance(saved, type(own)) or own is None or saved is None
    if isinstance(saved, bool) or not isinstance(saved, _NUMBERS) or math.isnan(saved):
        return False
    return not isinstance(own, int) or (isinstance(saved, int) and -1 <= saved < 1 << 62)


def refuse_useless(saved: Mapping[str, Any], model: nn.Module, make: Any) -> None:
    """Refuse the saved state of an optimiser that could not make a step.

    The step is made with a copy of the model and no gradient. make: from a model to its optimiser.
    Raises whatever the optimiser stumbles over, or ValueError where the step leads to nowhere.
    """
    trial = copy.deepcopy(model)
    optimizer = make(trial)
    optimizer.load_state_dict(copy.deepcopy(dict(saved)))
    weights = [weight for weight in trial.parameters() if weight.requires_grad]
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    if not all(bool(torch.isfinite(weight).all()) for weight in weights):
        raise ValueError("the state of the optimiser holds numbers that are not finite")
