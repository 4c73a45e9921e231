"""Where data lie: the bundled samples by name, and the folder of prepared sets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from molequi.runtime import resources


class Sample(NamedTuple):
    """A bundled file. path: below the package's data."""

    path: str
    description: str


# Bundled sets by short name; files below `samples/` are found by their path too.
SAMPLES: Mapping[str, Sample] = MappingProxyType(
    {
        "qm9_sample": Sample(
            "samples/qm9_sample.npz", "3,000 molecules of QM9, all properties, stored split"
        ),
        "ethanol_sample": Sample(
            "samples/ethanol.extxyz.gz", "300 frames of rMD17 ethanol with energies and forces"
        ),
        "gaps": Sample(
            "samples/gaps.csv",
            "SMILES and HOMO-LUMO gaps of 600 molecules of QM9, as a table of one's own",
        ),
        "alanine_sample": Sample(
            "samples/alanine.npz",
            "200 frames of L-alanine, read with their reflections by data.kind=alanine",
        ),
        "qm9_chirality_sample": Sample(
            "samples/qm9_chirality_sample.npz",
            "300 molecules of QM9 with one R or S centre, stored split",
        ),
        "rosenfeld_sample": Sample(
            "samples/rosenfeld_sample.npz",
            "Rosenfeld tensors of 300 molecules of QM9, stored split",
        ),
        "axial_sample": Sample(
            "samples/axial.sdf.gz",
            "conformers of 20 axially chiral molecules, read by data.kind=axial",
        ),
        "molecules": Sample("samples/molecules.xyz", "ten molecules to predict"),
    }
)


def find_data(path: str | Path) -> Path:
    """Return an existing path, or the bundled file of a name in `SAMPLES` or below `samples/`."""
    name = str(path)
    if not os.path.exists(path):  # which takes a list of files too, longer than any name
        name = SAMPLES[name].path if name in SAMPLES else name
        if name.startswith("samples/"):
            return resources.data_path(name)
    return Path(path)


def default_root() -> Path:
    """Return the folder of prepared data sets: `molequi` in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "molequi"
