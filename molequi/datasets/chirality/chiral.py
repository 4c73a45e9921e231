"""Molecules with their stereo labels, made of SMILES, tables or an SDF: both enantiomers of each.

Both enantiomers, all diastereomers and all conformers of a constitution form one group
(`constitution_of`), and a group never stands in two parts of a split (`splits.grouped_split`).
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import ase
import numpy as np
import torch

from molequi.datasets.base import DatasetSpec, Request
from molequi.datasets.chirality.enantiomers import (
    Stereoisomer,
    has_coordinates,
    place_enantiomers,
)
from molequi.datasets.chirality.sources import molecules
from molequi.datasets.conversion import frames_from_atoms
from molequi.datasets.in_memory import Frames
from molequi.datasets.labelled_set import LabelledSet, log_failures
from molequi.datasets.report import describe_frames
from molequi.errors import UserError
from molequi.properties import PROPERTIES
from molequi.structures.cip import StereoLabels
from molequi.structures.formats import format_of
from molequi.structures.molecules import atoms_from_molecule

_TARGETS = ("handedness", "axial_handedness")


@dataclasses.dataclass(frozen=True)
class ChiralSet(LabelledSet):
    """Structures with the targets `handedness` and `axial_handedness`.

    labels: of each structure.
    """

    labels: tuple[StereoLabels, ...] = ()


def read_chiral(
    source: str | Path | Sequence[str],
    *,
    smiles: str | None = None,
    n_conformers: int = 1,
    seed: int = 0,
    max_isomers: int = 32,
) -> ChiralSet:
    """Make every stereoisomer that the input leaves open, in both enantiomers.

    Lines that fail are listed and the others go on.

    source: a file (.smi .csv .tsv .sdf .mol, also .gz), or a list of SMILES. smiles: the column
    with SMILES of a table. n_conformers: of each.
    max_isomers: a molecule with more is a failure. A record in space keeps its coordinates and gets
    its reflection beside it. A stereoisomer that an earlier line has given already is left out and
    counted in the notes. Raises UserError where nothing can be used.
    """
    made = _Made()
    for where, item in molecules(source, smiles):
        try:
            if isinstance(item, str):
                raise UserError(item)
            found = place_enantiomers(item, n_conformers, seed, max_isomers)
        except UserError as error:
            made.failures.append(f"{where}: {error}")
            continue
        made.failures += [f"{where}: {problem}" for problem in found.problems]
        made.add(where, found.isomers, keep_all=has_coordinates(item))
    where = str(source) if isinstance(source, str | Path) else "the SMILES"
    log_failures(made.failures, where)
    if not made.structures:
        raise UserError(
            f"{where}: no molecule can be used; "
            f"{made.failures[0] if made.failures else 'there is none'}"
        )
    return _joined(made)


class _Placed(NamedTuple):
    """One conformer of a stereoisomer, and the line that it came from."""

    where: str
    isomer: Stereoisomer
    conformer: int


@dataclasses.dataclass
class _Made:
    """What has been made so far."""

    structures: list[_Placed] = dataclasses.field(default_factory=list)
    failures: list[str] = dataclasses.field(default_factory=list)
    n_repeated: int = 0
    seen: set[tuple[str, tuple[str, ...]]] = dataclasses.field(default_factory=set)

    def add(self, where: str, isomers: Sequence[Stereoisomer], *, keep_all: bool) -> None:
        """Take in the conformers of stereoisomers that have not been seen before."""
        keys = [(isomer.smiles, tuple(sorted(isomer.labels.axes.values()))) for isomer in isomers]
        fresh = [
            isomer
            for isomer, key in zip(isomers, keys, strict=True)
            if keep_all or key not in self.seen
        ]
        self.n_repeated += len(isomers) - len(fresh)
        self.seen.update(keys)
        self.structures += [
            _Placed(where, isomer, number)
            for isomer in fresh
            for number in range(isomer.molecule.GetNumConformers())
        ]


def _joined(made: _Made) -> ChiralSet:
    atoms, sources = [], []
    for where, isomer, number in made.structures:
        conformer = isomer.molecule.GetConformers()[number].GetId()
        info: dict[str, object] = {"smiles": isomer.smiles, "geometry": isomer.geometry}
        atoms.append(atoms_from_molecule(isomer.molecule, conformer, info))
        several = isomer.molecule.GetNumConformers() > 1
        marks = [f"conformer {number}"] * several + ["mirror"] * isomer.is_reflection
        sources.append(" ".join([where, isomer.smiles, *marks]))
    isomers = [placed.isomer for placed in made.structures]
    labels = tuple(isomer.labels for isomer in isomers)
    frames = _frames(atoms, labels, sources)
    kinds = Counter(label.kind for label in labels)
    geometry = Counter(isomer.geometry for isomer in isomers)
    return ChiralSet(
        frames,
        describe_frames(frames, "CIP label"),
        groups=tuple(isomer.group for isomer in isomers),
        failures=tuple(made.failures),
        notes={
            "geometry": "; ".join(f"{text}: {count}" for text, count in geometry.items()),
            "kinds": ", ".join(f"{kind} {count}" for kind, count in kinds.items()),
            "reflections": sum(isomer.is_reflection for isomer in isomers),
            "repeated": made.n_repeated,
        },
        labels=labels,
    )


def _frames(
    atoms: Sequence[ase.Atoms], labels: Sequence[StereoLabels], sources: Sequence[str]
) -> Frames:
    values = {
        "handedness": [label.handedness for label in labels],
        "axial_handedness": [label.axial_handedness for label in labels],
    }
    return frames_from_atoms(
        atoms,
        targets={name: torch.from_numpy(np.concatenate(parts)) for name, parts in values.items()},
        properties={name: PROPERTIES[name] for name in _TARGETS},
        source=sources,
    )


class Chiral(DatasetSpec):
    """Stereoisomers of molecules of one's own, labelled R, S, M and P."""

    name = "chiral"
    description = "SMILES, a table or an SDF: every stereoisomer in both enantiomers; handedness"
    targets = _TARGETS

    def recognises(self, path: Path) -> bool:
        """Recognise files of SMILES; tables and SDF are chiral where a config says so."""
        return format_of(path) == "smiles"

    def read(self, request: Request) -> LabelledSet:
        """Make the stereoisomers; see `read_chiral`."""
        return read_chiral(
            request.file(),
            smiles=request.smiles,
            n_conformers=request.conformers,
            seed=request.seed,
        )
