"""Relaxation of embedded conformers by a force field of RDKit.

Neither MMFF94 nor UFF has a torsion about C=C=C, so that they turn the ends of allenes and other
cumulated double bonds until these are flat, which they are at the top of their barrier. The ends
are held as bonds have them: upright where the double bonds are even in number, flat where odd.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from rdkit import Chem
from rdkit.Chem import rdForceFieldHelpers, rdMolTransforms

from molequi.structures.cumulenes import double_bond_rows, neighbours_of_end

_MAX_ITERATIONS = 2000
_MMFF = "MMFF94"
_STIFFNESS = 1000.0  # kcal/mol/rad², of what holds a twist
_SLACK = 10.0  # degrees, of a row in a ring, whose twist is what the ring allows


class Twist(NamedTuple):
    """The ends of a row of double bonds: a neighbour, both ends, and a neighbour of the other.

    is_even: whether the double bonds are even in number. in_ring: whether a ring closes over them.
    """

    atoms: tuple[int, int, int, int]
    is_even: bool
    in_ring: bool


def relax(molecule: Chem.Mol, *, between_fragments: bool = False) -> str:
    """Relax all conformers in place, MMFF94 or else UFF, and name the force field.

    between_fragments: whether separate molecules feel each other.
    """
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule):
        method = _MMFF
    elif rdForceFieldHelpers.UFFHasAllMoleculeParams(molecule):
        method = f"UFF ({_MMFF} has no parameters)"
    else:
        return "no relaxation (no force field has parameters)"
    held = list(twists(molecule))
    if held:
        flags = _held(molecule, held, between_fragments=between_fragments)
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


def _held(molecule: Chem.Mol, held: list[Twist], *, between_fragments: bool) -> list[int]:
    """Relax with the twists held; return as `_free`."""
    flags = []
    for conformer in molecule.GetConformers():
        field, hold = _field(molecule, conformer.GetId(), ignore=not between_fragments)
        field.Initialize()
        for twist in held:
            angle = rdMolTransforms.GetDihedralDeg(conformer, *twist.atoms)
            hold(*twist.atoms, False, *_allowed(twist, angle), _STIFFNESS)
        flags.append(int(field.Minimize(maxIts=_MAX_ITERATIONS)))
    return flags


def _field(molecule: Chem.Mol, conformer: int, *, ignore: bool) -> tuple[Any, Callable[..., None]]:
    """Return the force field of a conformer, and what adds a held torsion to it."""
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule):
        parameters = rdForceFieldHelpers.MMFFGetMoleculeProperties(molecule, mmffVariant=_MMFF)
        field = rdForceFieldHelpers.MMFFGetMoleculeForceField(
            molecule, parameters, confId=conformer, ignoreInterfragInteractions=ignore
        )
        return field, field.MMFFAddTorsionConstraint
    field = rdForceFieldHelpers.UFFGetMoleculeForceField(
        molecule, confId=conformer, ignoreInterfragInteractions=ignore
    )
    return field, field.UFFAddTorsionConstraint


def _allowed(twist: Twist, angle: float) -> tuple[float, float]:
    """Return the least and the largest twist, degrees, near that of the embedding."""
    if twist.in_ring:
        return angle - _SLACK, angle + _SLACK
    if twist.is_even:
        upright = 90.0 if angle > 0.0 else -90.0
        return upright, upright
    flat = 0.0 if abs(angle) < 90.0 else 180.0
    return flat, flat
