"""Data in: files, data sets and conversions to the batch type."""

from __future__ import annotations

import importlib
from typing import Any

# Loaded on first use: PyTorch Geometric and RDKit take a second each.
_NAMES = {
    "Frames": "molequi.datasets.in_memory",
    "make_frames": "molequi.datasets.making",
    "join_frames": "molequi.datasets.making",
    "LabelledSet": "molequi.datasets.labelled_set",
    "load_npz": "molequi.datasets.npz",
    "save_npz": "molequi.datasets.npz",
    "LabelReport": "molequi.datasets.report",
    "read_frames": "molequi.datasets.formats.extxyz",
    "read_table": "molequi.datasets.formats.tables",
    "read_structures": "molequi.structures.readers",
    "graph_from_atoms": "molequi.structures.atoms",
    "frames_from_atoms": "molequi.datasets.conversion",
    "atoms_from_smiles": "molequi.structures.molecules",
    "conformers_from_smiles": "molequi.structures.molecules",
    "load_qm9": "molequi.datasets.qm9.qm9",
    "atom_references": "molequi.datasets.qm9.columns",
    "load_rmd17": "molequi.datasets.rmd17",
    "read_chiral": "molequi.datasets.chirality.chiral",
    "enantiomers": "molequi.datasets.chirality.enantiomers",
    "stereoisomers": "molequi.datasets.chirality.enantiomers",
    "labels_from_geometry": "molequi.structures.perception",
    "constitution_of": "molequi.structures.cip",
    "mirror_frames": "molequi.datasets.chirality.mirror",
    "load_alanine": "molequi.datasets.chirality.alanine",
    "load_qm9_chirality": "molequi.datasets.chirality.qm9_centres",
    "load_rosenfeld": "molequi.datasets.chirality.rosenfeld",
    "load_axial": "molequi.datasets.chirality.axial",
    "DatasetSpec": "molequi.datasets.base",
    "detect": "molequi.datasets.registry",
    "load_dataset": "molequi.datasets.load",
    "load_labelled": "molequi.datasets.load",
    "describe_datasets": "molequi.datasets.catalog",
    "prepare": "molequi.datasets.catalog",
    "inspect": "molequi.datasets.catalog",
    "QM9": "molequi.datasets.qm9.pyg",
    "Molecules": "molequi.datasets.pyg",
    "frames_from_data": "molequi.datasets.qm9.pyg",
    "graph_from_data": "molequi.datasets.qm9.pyg",
}

__all__ = list(_NAMES)


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_NAMES[name]), name)


def __dir__() -> list[str]:
    return __all__
