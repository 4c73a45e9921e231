"""Both hands of chiral molecules, as structures with labels.

The second hand is always the reflection of the first, never a conformer of its own: embedding both
would leave differences in their distances by which a model that cannot tell left from right would
beat chance. For the same reason both hands, all diastereomers and all conformers of a constitution
form one group (`constitution_of`), and a group never stands in two parts of a split
(`splits.grouped_split`).
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import ase
import numpy as np
import torch
from rdkit import Chem, rdBase
from rdkit.Chem.EnumerateStereoisomers import (
    EnumerateStereoisomers,
    GetStereoisomerCount,
    StereoEnumerationOptions,
)

from molequi.datasets.chirality.sources import molecules
from molequi.datasets.in_memory import Frames, frames_from_atoms
from molequi.errors import UserError
from molequi.properties import PROPERTIES
from molequi.structures.cip import (
    StereoLabels,
    constitution_of,
    label_molecule,
    marked_axes,
    opposite,
    read_stereo,
    reflected,
    same_stereoisomer,
)
from molequi.structures.molecules import atoms_from_molecule, place

_LOG = logging.getLogger(__name__)
_TRIALS = 20
# Embeddings of one stereoisomer among several, of which some may not exist; molecules of drug size
# need one or two.
_ATTEMPTS = 20
_TARGETS = ("handedness", "axial_handedness")
_SWAPPED = {"R": "S", "S": "R", "M": "P", "P": "M"}
_FAILURES_LOGGED = 20


@dataclasses.dataclass(frozen=True)
class Stereoisomer:
    """One stereoisomer with its conformers. smiles: with marks. group: without. geometry.

    How it was placed. is_reflection: made in the mirror.
    """

    molecule: Chem.Mol
    labels: StereoLabels
    smiles: str
    group: str
    geometry: str
    is_reflection: bool = False


@dataclasses.dataclass(frozen=True)
class ChiralSet:
    """Structures with the targets `handedness` and `axial_handedness`.

    groups, labels: one for each structure. failures: where and why, for what could not be used.
    notes: plain data.
    """

    frames: Frames
    groups: tuple[str, ...]
    labels: tuple[StereoLabels, ...]
    failures: tuple[str, ...]
    notes: dict[str, object]


def read_chiral(
    source: str | Path | Sequence[str],
    *,
    smiles: str | None = None,
    n_conformers: int = 1,
    seed: int = 0,
    max_isomers: int = 32,
) -> ChiralSet:
    """Make every stereoisomer that the input leaves open, in both hands.

    Lines that fail are listed and the others go on.

    source: a file (.smi .csv .tsv .sdf .mol, also .gz), or a list of SMILES. smiles: the column
    with SMILES of a table. n_conformers: of each.
    max_isomers: a molecule with more is a failure. A record in space keeps its coordinates and gets
    its reflection beside it. A stereoisomer that an earlier line has given already is left out and
    counted in the notes. Raises UserError where nothing can be used.
    """
    structures: list[tuple[str, Stereoisomer, int]] = []
    failures: list[str] = []
    seen: set[tuple[str, tuple[str, ...]]] = set()
    n_repeated = 0
    for where, item in molecules(source, smiles):
        try:
            if isinstance(item, str):
                raise UserError(item)
            made, problems = _made(item, n_conformers, seed, max_isomers)
        except UserError as error:
            failures.append(f"{where}: {error}")
            continue
        failures += [f"{where}: {problem}" for problem in problems]
        keys = [(isomer.smiles, tuple(sorted(isomer.labels.axes.values()))) for isomer in made]
        fresh = [
            isomer
            for isomer, key in zip(made, keys, strict=True)
            if _has_coordinates(item) or key not in seen
        ]
        n_repeated += len(made) - len(fresh)
        seen.update(keys)
        structures += [
            (where, isomer, number)
            for isomer in fresh
            for number in range(isomer.molecule.GetNumConformers())
        ]
    for failure in failures[:_FAILURES_LOGGED]:
        _LOG.warning("skipped %s", failure)
    if len(failures) > _FAILURES_LOGGED:
        _LOG.warning(
            "skipped %d more of %s",
            len(failures) - _FAILURES_LOGGED,
            source if isinstance(source, str | Path) else "the SMILES",
        )
    if not structures:
        raise UserError(
            f"{source}: no molecule can be used; {failures[0] if failures else 'there is none'}"
        )
    return _joined(structures, failures, n_repeated)


def hands(
    molecule: Chem.Mol, *, n_conformers: int = 1, seed: int = 0, max_isomers: int = 32
) -> list[Stereoisomer]:
    """Place every stereoisomer of a molecule in space, a chiral one followed by its reflection.

    A molecule with coordinates in space keeps them, and its stereo marks are read off them. Of
    several stereoisomers those that cannot be placed, such as trans bridgeheads of a small cage,
    are left out. Raises UserError where none can be placed.
    """
    return _made(molecule, n_conformers, seed, max_isomers)[0]


def _made(
    molecule: Chem.Mol, n_conformers: int, seed: int, max_isomers: int
) -> tuple[list[Stereoisomer], list[str]]:
    """Return the stereoisomers with their reflections, and what is wrong with those that were left out."""
    if _has_coordinates(molecule):
        complete = Chem.AddHs(molecule, addCoords=True)
        placed, problems = [_stereoisomer(read_stereo(complete), "the file's coordinates")], []
    else:
        placed, problems = [], []
        isomers = stereoisomers(molecule, max_isomers)
        for isomer in isomers:
            try:
                placed.append(
                    _placed(isomer, n_conformers, seed, _ATTEMPTS if len(isomers) > 1 else 0)
                )
            except UserError as error:
                problems.append(str(error))
        if not placed:
            raise UserError(problems[0])
    made = []
    for isomer in placed:
        made.append(isomer)
        if isomer.labels.kind in {"chiral", "unknown"}:
            made.append(
                dataclasses.replace(
                    _stereoisomer(reflected(isomer.molecule), isomer.geometry), is_reflection=True
                )
            )
    return made, problems


def stereoisomers(molecule: Chem.Mol, max_isomers: int = 32) -> list[Chem.Mol]:
    """Return the stereoisomers that the marks of a molecule leave open, one of each pair of mirror images, without coordinates.

    Raises UserError where there may be more than `max_isomers`.
    """
    options = StereoEnumerationOptions(unique=True, onlyUnassigned=True)
    count = GetStereoisomerCount(molecule, options=options)
    if count > max_isomers:
        raise UserError(
            f"up to {count} stereoisomers, more than {max_isomers}: mark centres with @ and double "
            "bonds with / in the SMILES"
        )
    kept: list[Chem.Mol] = []
    with rdBase.BlockLogs():
        for isomer in EnumerateStereoisomers(molecule, options=options):
            if not any(
                same_stereoisomer(other, hand)
                for other in kept
                for hand in (isomer, opposite(isomer))
            ):
                kept.append(isomer)
    return kept


def _placed(molecule: Chem.Mol, n_conformers: int, seed: int, max_attempts: int) -> Stereoisomer:
    what = f"SMILES {Chem.MolToSmiles(molecule)!r}"
    wanted = label_molecule(molecule)
    if marked_axes(molecule):
        placed, method = _placed_with_axes(molecule, wanted, n_conformers, seed, what)
    else:
        placed, method = place(molecule, n_conformers, seed, what, max_attempts=max_attempts)
    found = _stereoisomer(read_stereo(placed), f"ETKDGv3 + {method}, seed {seed}")
    if _contradicts(molecule, wanted, found.labels):
        raise UserError(
            f"{what} was placed with the centres {_brief(found.labels)} in place of "
            f"{_brief(wanted)}; give coordinates in an SDF"
        )
    return found


def _contradicts(molecule: Chem.Mol, wanted: StereoLabels, found: StereoLabels) -> bool:
    """Whether the coordinates have other centres.

    The nitrogen of a bridgehead, whose hand follows from the cage, is not read off them.
    """
    pairs = zip(molecule.GetAtoms(), wanted.atoms, found.atoms, strict=False)
    return any(
        label != read and not (atom.GetAtomicNum() == 7 and not read) for atom, label, read in pairs
    )


def _placed_with_axes(
    molecule: Chem.Mol, wanted: StereoLabels, n_conformers: int, seed: int, what: str
) -> tuple[Chem.Mol, str]:
    """Place a molecule until its axes have their senses, which the embedding does not know of.

    Without centres the mirror image will do.
    """
    kept, method = None, ""
    may_reflect = not any(label in _SWAPPED for label in wanted.atoms)
    mirrored = {axis: _SWAPPED.get(label, label) for axis, label in wanted.axes.items()}
    for trial in range(_TRIALS * n_conformers):
        single, method = place(molecule, 1, seed + trial, what)
        axes = label_molecule(read_stereo(single)).axes
        if axes == mirrored and may_reflect:
            single = reflected(single)
        elif axes != wanted.axes:
            continue
        if kept is None:
            kept = single
        else:
            kept.AddConformer(single.GetConformer(), assignId=True)
        if kept.GetNumConformers() == n_conformers:
            return kept, method
    raise UserError(
        f"{what} could not be placed with its axes {dict(wanted.axes)} in {_TRIALS * n_conformers} "
        "trials; give coordinates in an SDF"
    )


def _stereoisomer(molecule: Chem.Mol, geometry: str) -> Stereoisomer:
    with rdBase.BlockLogs():
        text = Chem.MolToSmiles(Chem.RemoveHs(molecule))
    return Stereoisomer(
        molecule, label_molecule(molecule), text, constitution_of(molecule), geometry
    )


def _joined(
    structures: Sequence[tuple[str, Stereoisomer, int]], failures: Sequence[str], n_repeated: int
) -> ChiralSet:
    atoms, sources = [], []
    for where, isomer, number in structures:
        conformer = isomer.molecule.GetConformers()[number].GetId()
        atoms.append(
            atoms_from_molecule(
                isomer.molecule, conformer, {"smiles": isomer.smiles, "geometry": isomer.geometry}
            )
        )
        marks = [f"conformer {number}"] * (isomer.molecule.GetNumConformers() > 1) + [
            "mirror"
        ] * isomer.is_reflection
        sources.append(" ".join([where, isomer.smiles, *marks]))
    isomers = [isomer for _, isomer, _ in structures]
    kinds = Counter(isomer.labels.kind for isomer in isomers)
    geometry = Counter(isomer.geometry for isomer in isomers)
    notes = {
        "geometry": "; ".join(f"{text}: {count}" for text, count in geometry.items()),
        "kinds": ", ".join(f"{kind} {count}" for kind, count in kinds.items()),
        "reflections": sum(isomer.is_reflection for isomer in isomers),
        "repeated": n_repeated,
    }
    labels = tuple(isomer.labels for isomer in isomers)
    return ChiralSet(
        _frames(atoms, labels, sources),
        tuple(isomer.group for isomer in isomers),
        labels,
        tuple(failures),
        notes,
    )


def _frames(
    atoms: Sequence[ase.Atoms], labels: Sequence[StereoLabels], sources: Sequence[str]
) -> Frames:
    targets = {
        name: torch.from_numpy(np.concatenate([getattr(label, name) for label in labels]))
        for name in _TARGETS
    }
    return frames_from_atoms(
        atoms,
        targets=targets,
        properties={name: PROPERTIES[name] for name in _TARGETS},
        source=sources,
    )


def _has_coordinates(molecule: Chem.Mol) -> bool:
    return molecule.GetNumConformers() > 0 and molecule.GetConformer().Is3D()


def _brief(labels: StereoLabels) -> str:
    return (
        " ".join(f"{number}:{label}" for number, label in enumerate(labels.atoms) if label)
        or "none"
    )
