"""Molecular machine learning with E(3)-equivariant models: train them, check them, use them.

The public names are loaded when they are first used, so that `import molequi` costs milliseconds.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from molequi import datasets
    from molequi.calculator import Calculator
    from molequi.label import label
    from molequi.predict import embed, predict
    from molequi.training import evaluate, train
    from molequi.zoo import load

__version__ = "0.1.0"
__all__ = ["Calculator", "datasets", "embed", "evaluate", "label", "load", "predict", "train"]

_HOMES = {
    "Calculator": "molequi.calculator",
    "embed": "molequi.predict",
    "evaluate": "molequi.training",
    "label": "molequi.label",
    "load": "molequi.zoo",
    "predict": "molequi.predict",
    "train": "molequi.training",
}


class _Package(ModuleType):
    """Keeps `molequi.predict` the function: the import system would put the module of the same name in its place."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in _HOMES and isinstance(value, ModuleType):
            return
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name == "datasets":
        return importlib.import_module("molequi.datasets")
    raise AttributeError(f"module 'molequi' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
