"""Train: what scripts and the command line call."""

from __future__ import annotations

from molequi.experiments.starting import fit, load_experiment, prepare, train

__all__ = ["fit", "load_experiment", "prepare", "train"]
