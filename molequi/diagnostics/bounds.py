"""How far a model may stray from physics that it has to learn, with units."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Bound(NamedTuple):
    """How large a value may be, its unit, and what is measured."""

    limit: float
    unit: str
    description: str


BOUNDS: Mapping[str, Bound] = MappingProxyType(
    {
        "rotation_energy": Bound(1.0, "meV/atom", "change of the energy when a molecule turns"),
        "rotation_forces": Bound(1.0, "meV/Å", "change of the turned forces when it turns"),
        "translation_energy": Bound(1.0, "meV/atom", "change of the energy when it moves by 100 Å"),
        "translation_forces": Bound(1.0, "meV/Å", "change of the forces when it moves by 100 Å"),
        "ghost_atoms": Bound(5.0, "meV/Å", "change of the forces by an atom 100 Å away"),
        "extensivity": Bound(10.0, "meV", "energy of two copies 100 Å apart - twice that of one"),
        "jacobian_asymmetry": Bound(
            0.004, "1", "antisymmetric part of the force Jacobian, per size of the whole"
        ),
        "ring_planarity": Bound(
            0.05, "Å", "distance to the plane after a push of 0.05 Å and relaxation"
        ),
        "bond_lengths": Bound(0.05, "Å", "relaxed bond - bond in nature"),
        "dimer_failures": Bound(0.0, "pairs", "two atoms that could not be computed"),
        "dimer_minima": Bound(1.0, "minima", "minima of the energy of two atoms"),
        "dimer_holes": Bound(
            0.01, "eV", "fall of the energy at 0.5 to 0.7 of the bond, where it should rise"
        ),
        "dimer_jumps": Bound(0.01, "eV", "change of the energy that no force explains"),
    }
)
