"""Relaxation of embedded conformers by a force field of RDKit.

Neither MMFF94 nor UFF has a torsion about C=C=C, so that they turn the ends of allenes and other
cumulated double bonds until these are flat, which they are at the top of their barrier. The ends
are held as bonds have them: upright where the double bonds are even in number, flat where odd. Nor
have they the shapes of `polyhedra`, and hold these as they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from rdkit import Chem
from rdkit.Chem import rdForceFieldHelpers, rdMolTransforms

from molequi.structures.cumulenes import double_bond_rows, neighbours_of_end
from molequi.structures.polyhedra import SLACK, Distance, distances

_MAX_ITERATIONS = 2000
_MMFF = "MMFF94"
_STIFFNESS = 1000.0  # kcal/mol/rad², of what holds a twist
_RIGIDITY = 5000.0  # kcal/mol/Å², of what holds a distance
_BROKEN = 0.3  # Å, by which a held distance is off
_CONTACT, _WATCHED, _FAR = 2.2, 6.0, 1000.0  # Å, of atoms that must not come nearer
_SLACK = 10.0  # degrees, of a row in a ring, whose twist is what the ring allows


class Twist(NamedTuple):
    """The ends of a row of double bonds: a neighbour, both ends, and a neighbour of the other.

    is_even: whether the double bonds are even in number. in_ring: whether a ring closes over them.
    """

    atoms: tuple[int, int, int, int]
    is_even: bool
    in_ring: bool


def relax(molecule: Chem.Mol, seed: int = 0, *, between_fragments: bool = False) -> str:
    """Relax all conformers in place, MMFF94 or else UFF, and name the force field.

    seed: of the embedding. between_fragments: whether separate molecules feel each other.
    """
    apart = distances(molecule, seed)
    if apart:
        _set_apart(molecule, apart)
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule):
        method = _MMFF
    elif rdForceFieldHelpers.UFFHasAllMoleculeParams(molecule):
        method = f"UFF ({_MMFF} has no parameters)"
    else:
        return "no relaxation (no force field has parameters)"
    turned = list(twists(molecule))
    if turned or apart:
        flags = _held(molecule, turned, apart, between_fragments=between_fragments)
    else:
        flags = _free(molecule, between_fragments=between_fragments)
    return method if not any(flags) else f"{method} (not converged)"


def twists(molecule: Chem.Mol) -> Iterator[Twist]:
    """Yield the rows of two or more double bonds both of whose ends have further neighbours."""
    for row in double_bond_rows(molecule):
        near = neighbours_of_end(molecule, row[0], row[1])
        far = neighbours_of_end(molecule, row[-1], row[-2])
        if near and far:
            in_ring = molecule.GetAtomWithIdx(row[1]).IsInRing()
            yield Twist((near[0], row[0], row[-1], far[0]), len(row) % 2 == 1, in_ring)


def _free(molecule: Chem.Mol, *, between_fragments: bool) -> list[int]:
    """Relax without anything held; return for each conformer whether it has not converged."""
    ignore = not between_fragments
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule):
        results = rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(
            molecule,
            maxIters=_MAX_ITERATIONS,
            mmffVariant=_MMFF,
            ignoreInterfragInteractions=ignore,
        )
    else:
        results = rdForceFieldHelpers.UFFOptimizeMoleculeConfs(
            molecule, maxIters=_MAX_ITERATIONS, ignoreInterfragInteractions=ignore
        )
    return [flag for flag, _ in results]


def _held(
    molecule: Chem.Mol, turned: list[Twist], apart: list[Distance], *, between_fragments: bool
) -> list[int]:
    """Relax with twists and distances held; return as `_free`."""
    flags = []
    for conformer in molecule.GetConformers():
        field, hold = _field(molecule, conformer.GetId(), ignore=not between_fragments)
        field.Initialize()
        for twist in turned:
            angle = rdMolTransforms.GetDihedralDeg(conformer, *twist.atoms)
            hold.torsion(*twist.atoms, False, *_allowed(twist, angle), _STIFFNESS)
        for first, second, length in apart:
            hold.distance(first, second, False, length - SLACK, length + SLACK, _RIGIDITY)
        before = conformer.GetPositions()
        flags.append(int(field.Minimize(maxIts=_MAX_ITERATIONS)))
        # UFF has terms about iodine with three neighbours that nothing holds.
        if any(_off(conformer, *one) > _BROKEN for one in apart):
            conformer.SetPositions(before)
            flags[-1] = 1
    return flags


def _set_apart(molecule: Chem.Mol, apart: list[Distance]) -> None:
    """Give pairs of atoms their distances, while bonds and angles of the rest stay."""
    held = {frozenset(one[:2]) for one in apart}
    steps = Chem.GetDistanceMatrix(molecule)
    for conformer in molecule.GetConformers():
        field = rdForceFieldHelpers.CreateEmptyForceFieldForMol(molecule, conformer.GetId())
        field.Initialize()
        for first, second, length in apart:
            field.UFFAddDistanceConstraint(first, second, False, length, length, _RIGIDITY)
        for first, second in itertools.combinations(range(molecule.GetNumAtoms()), 2):
            length = rdMolTransforms.GetBondLength(conformer, first, second)
            is_near = steps[first, second] < 3
            if frozenset((first, second)) not in held and (is_near or length < _WATCHED):
                limits = (length, length) if is_near else (min(length, _CONTACT), _FAR)
                field.UFFAddDistanceConstraint(first, second, False, *limits, _STIFFNESS)
        field.Minimize(maxIts=_MAX_ITERATIONS)


def _off(conformer: Chem.Conformer, first: int, second: int, length: float) -> float:
    return abs(rdMolTransforms.GetBondLength(conformer, first, second) - length)


class Hold(NamedTuple):
    """What adds a held torsion and a held distance to a force field."""

    torsion: Callable[..., None]
    distance: Callable[..., None]


def _field(molecule: Chem.Mol, conformer: int, *, ignore: bool) -> tuple[Any, Hold]:
    """Return the force field of a conformer, and what holds parts of it."""
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule):
        parameters = rdForceFieldHelpers.MMFFGetMoleculeProperties(molecule, mmffVariant=_MMFF)
        field = rdForceFieldHelpers.MMFFGetMoleculeForceField(
            molecule, parameters, confId=conformer, ignoreInterfragInteractions=ignore
        )
        return field, Hold(field.MMFFAddTorsionConstraint, field.MMFFAddDistanceConstraint)
    field = rdForceFieldHelpers.UFFGetMoleculeForceField(
        molecule, confId=conformer, ignoreInterfragInteractions=ignore
    )
    return field, Hold(field.UFFAddTorsionConstraint, field.UFFAddDistanceConstraint)


def _allowed(twist: Twist, angle: float) -> tuple[float, float]:
    """Return the least and the largest twist, degrees, near that of the embedding."""
    if twist.in_ring:
        return angle - _SLACK, angle + _SLACK
    if twist.is_even:
        upright = 90.0 if angle > 0.0 else -90.0
        return upright, upright
    flat = 0.0 if abs(angle) < 90.0 else 180.0
    return flat, flat
