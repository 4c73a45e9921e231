"""Data in: files, data sets and conversions to the batch type."""

from __future__ import annotations

import importlib

# Loaded on first use: PyTorch Geometric and RDKit take a second each.
_NAMES = {
    "Frames": "flat",
    "make_frames": "flat",
    "FlatFile": "flat_file",
    "load_npz": "flat_file",
    "save_npz": "flat_file",
    "LabelReport": "labels",
    "read_frames": "frames",
    "read_table": "tables",
    "read_structures": "convert",
    "graph_from_atoms": "convert",
    "frames_from_atoms": "convert",
    "atoms_from_smiles": "molecules",
    "conformers_from_smiles": "molecules",
    "load_qm9": "qm9",
    "atom_references": "qm9",
    "load_rmd17": "rmd17",
    "read_chiral": "chiral",
    "hands": "chiral",
    "stereoisomers": "chiral",
    "labels_from_geometry": "stereo_geometry",
    "constitution_of": "stereo",
    "mirror_frames": "mirror",
    "load_alanine": "chiral_sets",
    "load_qm9_chirality": "chiral_sets",
    "load_rosenfeld": "rosenfeld",
    "load_axial": "axial",
    "load_ecd": "ecd",
    "Dataset": "load",
    "load_dataset": "load",
    "open_dataset": "load",
    "describe_datasets": "catalog",
    "prepare": "catalog",
    "inspect": "catalog",
    "QM9": "pyg",
}

__all__ = list(_NAMES)


def __getattr__(name: str) -> object:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
