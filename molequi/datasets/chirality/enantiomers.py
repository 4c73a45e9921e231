"""Every stereoisomer of a molecule in space, a chiral one followed by its mirror image.

The second enantiomer is always the reflection of the first, never a conformer of its own: embedding
both would leave differences in their distances by which a model that cannot tell left from right
would beat chance.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from rdkit import Chem, rdBase
from rdkit.Chem.EnumerateStereoisomers import (
    EnumerateStereoisomers,
    GetStereoisomerCount,
    StereoEnumerationOptions,
)

from molequi.errors import UserError
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
from molequi.structures.mirror_images import is_conformer_of_image
from molequi.structures.molecules import Placed, place

_TRIALS = 20
# Embeddings of one stereoisomer among several, of which some may not exist; molecules of drug size
# need one or two.
_ATTEMPTS = 20
_SWAPPED = {"R": "S", "S": "R", "M": "P", "P": "M"}


@dataclasses.dataclass(frozen=True)
class Stereoisomer:
    """One stereoisomer with its conformers.

    smiles: with marks. group: without. geometry: how it was placed. is_reflection: made in the
    mirror.
    """

    molecule: Chem.Mol
    labels: StereoLabels
    smiles: str
    group: str
    geometry: str
    is_reflection: bool = False


class Enantiomers(NamedTuple):
    """isomers: a chiral one is followed by its reflection. problems: why others were left out."""

    isomers: list[Stereoisomer]
    problems: list[str]


def enantiomers(
    molecule: Chem.Mol, *, n_conformers: int = 1, seed: int = 0, max_isomers: int = 32
) -> list[Stereoisomer]:
    """Place every stereoisomer of a molecule in space, a chiral one followed by its reflection.

    A molecule with coordinates in space keeps them, and its stereo marks are read off them. Of
    several stereoisomers those that cannot be placed, such as trans bridgeheads of a small cage,
    are left out. Raises UserError where none can be placed.
    """
    return place_enantiomers(molecule, n_conformers, seed, max_isomers).isomers


def place_enantiomers(
    molecule: Chem.Mol, n_conformers: int, seed: int, max_isomers: int
) -> Enantiomers:
    """Do as `enantiomers`, and say what is wrong with those that were left out."""
    if has_coordinates(molecule):
        complete = Chem.AddHs(molecule, addCoords=True)
        kept = _stereoisomer(read_stereo(complete), "the file's coordinates")
        found = Enantiomers([kept], [])
    else:
        found = _place_all(stereoisomers(molecule, max_isomers), n_conformers, seed)
    made = []
    for isomer in found.isomers:
        made.append(isomer)
        if isomer.labels.kind in {"chiral", "unknown"}:
            mirrored = _stereoisomer(reflected(isomer.molecule), isomer.geometry)
            made.append(dataclasses.replace(mirrored, is_reflection=True))
    return Enantiomers(made, found.problems)


def _place_all(isomers: list[Chem.Mol], n_conformers: int, seed: int) -> Enantiomers:
    found = Enantiomers([], [])
    max_attempts = _ATTEMPTS if len(isomers) > 1 else 0
    for isomer in isomers:
        try:
            found.isomers.append(_placed(isomer, n_conformers, seed, max_attempts))
        except UserError as error:
            found.problems.append(str(error))
    if not found.isomers:
        raise UserError(found.problems[0])
    return found


def stereoisomers(molecule: Chem.Mol, max_isomers: int = 32) -> list[Chem.Mol]:
    """Return the stereoisomers that the marks leave open, one of each pair of mirror images.

    They have no coordinates. Raises UserError where there may be more than `max_isomers`.
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
                same_stereoisomer(other, image)
                for other in kept
                for image in (isomer, opposite(isomer))
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

    The nitrogen of a bridgehead, whose sense follows from the cage, is not read off them.
    """
    pairs = zip(molecule.GetAtoms(), wanted.atoms, found.atoms, strict=False)
    return any(
        label != read and not (atom.GetAtomicNum() == 7 and not read) for atom, label, read in pairs
    )


def _placed_with_axes(
    molecule: Chem.Mol, wanted: StereoLabels, n_conformers: int, seed: int, what: str
) -> Placed:
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
            return Placed(kept, method)
    raise UserError(
        f"{what} could not be placed with its axes {dict(wanted.axes)} in {_TRIALS * n_conformers} "
        "trials; give coordinates in an SDF"
    )


def _stereoisomer(molecule: Chem.Mol, geometry: str) -> Stereoisomer:
    with rdBase.BlockLogs():
        text = Chem.MolToSmiles(Chem.RemoveHs(molecule))
    labels = label_molecule(molecule)
    # No mark tells the hand of a spiro centre or a cage, so that marks alone make it achiral.
    if labels.kind in {"achiral", "meso"} and is_conformer_of_image(molecule) is False:
        labels = dataclasses.replace(labels, kind="unknown")
    return Stereoisomer(molecule, labels, text, constitution_of(molecule), geometry)


def has_coordinates(molecule: Chem.Mol) -> bool:
    """Tell whether a molecule has a conformer in space."""
    return molecule.GetNumConformers() > 0 and molecule.GetConformer().Is3D()


def _brief(labels: StereoLabels) -> str:
    return (
        " ".join(f"{number}:{label}" for number, label in enumerate(labels.atoms) if label)
        or "none"
    )
