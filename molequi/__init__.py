"""Molecular machine learning with E(3)-equivariant models: train them, check them, use them.

The public names are loaded when they are first used, so that `import molequi` costs milliseconds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from molequi.version import __version__

if TYPE_CHECKING:
    from molequi import datasets
    from molequi.evaluation import evaluate
    from molequi.experiments import train
    from molequi.labeling.run import label
    from molequi.models.zoo import load
    from molequi.prediction.embedding import embed
    from molequi.prediction.predict import predict
    from molequi.simulation.calculator import Calculator

__all__ = [
    "Calculator",
    "datasets",
    "embed",
    "evaluate",
    "label",
    "load",
    "predict",
    "train",
    "__version__",
]

_HOMES = {
    "Calculator": "molequi.simulation.calculator",
    "embed": "molequi.prediction.embedding",
    "evaluate": "molequi.evaluation",
    "label": "molequi.labeling.run",
    "load": "molequi.models.zoo",
    "predict": "molequi.prediction.predict",
    "train": "molequi.experiments",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name == "datasets":
        return importlib.import_module("molequi.datasets")
    raise AttributeError(f"module 'molequi' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
