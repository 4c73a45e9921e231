"""The sets of handed molecules by name.

What they are, which file each is read from, and how it is made ready.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from molequi.datasets.chirality.axial import load_axial
from molequi.datasets.chirality.labelled_sets import load_alanine, load_qm9_chirality
from molequi.datasets.chirality.rosenfeld import load_rosenfeld
from molequi.datasets.npz import FlatFile, load_npz, open_arrays, save_npz
from molequi.datasets.qm9.qm9 import default_root
from molequi.errors import UserError
from molequi.runtime import resources

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class NamedSet:
    """One set. file: its usual name. joins_qm9: whether its labels name molecules of QM9."""

    file: str
    description: str
    joins_qm9: bool = False


SETS: Mapping[str, NamedSet] = MappingProxyType(
    {
        "alanine": NamedSet(
            "alanine_L_conformers.npz",
            "10,000 frames of L-alanine and their reflections, which are D; handedness; MIT",
        ),
        "qm9_chirality": NamedSet(
            "qm9_chirality.csv.gz",
            "the 23,472 molecules of QM9 with one R or S centre; handedness",
            joins_qm9=True,
        ),
        "rosenfeld": NamedSet(
            "qm9_rosenfeld.npz",
            "Rosenfeld tensors of molecules of QM9, HF/6-31G, static; polarizability, dipole",
            joins_qm9=True,
        ),
        "axial": NamedSet(
            "rota_axial_conformers.sdf.gz",
            "conformers of axially chiral molecules, heavy atoms; axial handedness; MIT",
        ),
    }
)


def load_set(
    name: str, paths: Sequence[Path] | None = None, structures: str | Path | None = None
) -> tuple[FlatFile, tuple[str, ...]]:
    """Load a set of `SETS` from its own files or from the npz that `prepare_set` made, and what could not be used.

    paths: one file, or several of `rosenfeld`; without it the prepared file in `default_root()`.
    structures: QM9, for labels that name its molecules.
    Raises UserError for a file of another kind.
    """
    entry = SETS[name]
    if structures is not None and not entry.joins_qm9:
        raise UserError(
            f"data.structures has no meaning for {name}, whose file has its own structures; remove "
            "it"
        )
    if paths is None:
        paths = [default_root() / f"{name}.npz"]
        if not paths[0].is_file():
            advice = f"run `molequi data prepare {name} --source {entry.file}`, or set data.path"
            raise UserError(f"{name} is not prepared ({paths[0]} does not exist); {advice}")
    if len(paths) == 1 and _is_prepared(paths[0]):
        loaded = load_npz(paths[0])
        if loaded.notes.get("set") != name:
            raise UserError(
                f"{paths[0]} is no prepared {name} but "
                f"{loaded.notes.get('set', 'a flat npz of other data')}; take data.kind=npz"
            )
        return loaded, ()
    if name == "rosenfeld":
        return load_rosenfeld(paths, structures), ()
    if len(paths) > 1:
        raise UserError(f"{name} is read from one file, but {len(paths)} were given")
    if name == "axial":
        return load_axial(paths[0])
    if name == "alanine":
        return load_alanine(paths[0]), ()
    return load_qm9_chirality(paths[0], structures), ()


def prepare_set(
    name: str,
    root: str | Path,
    sources: Sequence[str | Path] = (),
    structures: str | Path | None = None,
) -> Path:
    """Make the prepared npz of a set in `root` from `sources` (see `load_set`), or from the file of that usual name in `root`.

    Without sources a prepared file that is there already is kept. Raises UserError where the file
    is not there.
    """
    root, entry = Path(root), SETS[name]
    target = root / f"{name}.npz"
    if not sources and target.is_file():
        return target
    paths = [
        Path(source) / entry.file if Path(source).is_dir() else Path(source)
        for source in sources or (root,)
    ]
    for path in paths:
        if not path.is_file():
            raise UserError(
                f"{name} is made from {entry.file}, which is not at {path}; give it with --source "
                f"FILE, or put it into {root}"
            )
    loaded, failures = load_set(name, paths, structures)
    for failure in failures:
        _LOG.warning("skipped %s", failure)
    save_npz(loaded.frames, target, splits=loaded.splits, notes=loaded.notes, groups=loaded.groups)
    return target


def _is_prepared(path: Path) -> bool:
    return path.suffix == ".npz" and "meta" in open_arrays(path, only=("meta",))


# Bundled sets by short name; files below `samples/` are found by their path too.
SAMPLES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "qm9_sample": (
            "samples/qm9_sample.npz",
            "3,000 molecules of QM9, all properties, stored split",
        ),
        "ethanol_sample": (
            "samples/ethanol.extxyz.gz",
            "300 frames of rMD17 ethanol with energies and forces",
        ),
        "gaps": (
            "samples/gaps.csv",
            "SMILES and HOMO-LUMO gaps of 600 molecules of QM9, as a table of one's own",
        ),
        "alanine_sample": (
            "samples/alanine.npz",
            "200 frames of L-alanine, read with their reflections by data.kind=alanine",
        ),
        "qm9_chirality_sample": (
            "samples/qm9_chirality_sample.npz",
            "300 molecules of QM9 with one R or S centre, stored split",
        ),
        "rosenfeld_sample": (
            "samples/rosenfeld_sample.npz",
            "Rosenfeld tensors of 300 molecules of QM9, stored split",
        ),
        "axial_sample": (
            "samples/axial.sdf.gz",
            "conformers of 20 axially chiral molecules, read by data.kind=axial",
        ),
        "ecd_sample": (
            "samples/ecd.json",
            "200 excited states of ten molecules, for molequi.datasets.load_ecd",
        ),
        "molecules": ("samples/molecules.xyz", "ten molecules to predict"),
    }
)


def find_data(path: str | Path) -> Path:
    """Return an existing path, or the bundled file of a name in `SAMPLES` or that starts with `samples/`."""
    if not Path(path).exists():
        name = SAMPLES.get(str(path), (str(path), ""))[0]
        if name.startswith("samples/"):
            return resources.data_path(name)
    return Path(path)
