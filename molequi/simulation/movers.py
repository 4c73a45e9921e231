"""What everything that moves atoms takes: a calculator, or a model to make one of."""

from __future__ import annotations

import os

import torch

from molequi.errors import UserError
from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.simulation.calculator import Calculator


def as_calculator(
    model: str | os.PathLike[str] | MolecularModel | FrozenModel | Calculator,
    *,
    dtype: torch.dtype | None = None,
) -> Calculator:
    """Return the calculator itself, or a new one of a model, for something that moves atoms.

    `dtype` is that of a new one, except of a frozen model, which keeps its own.

    Raises UserError for a model without an energy.
    """
    if isinstance(model, Calculator):
        calculator = model
    else:
        is_open = isinstance(model, str | os.PathLike | MolecularModel)
        calculator = Calculator(model, dtype=dtype if is_open else None)
    if "forces" not in calculator.implemented_properties:
        name, outputs = calculator.model.metadata.name, ", ".join(calculator.model.outputs)
        raise UserError(
            f"model {name} gives {outputs}, but no energy; to move atoms a model with an energy is "
            "needed"
        )
    return calculator
