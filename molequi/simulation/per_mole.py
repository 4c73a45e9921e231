"""Energies in the units that chemists compare barriers in."""

from __future__ import annotations

from ase import units

KJ_MOL, KCAL_MOL = units.kJ / units.mol, units.kcal / units.mol  # eV
NAMES = ("eV", "kJ/mol", "kcal/mol")


def in_three_units(name: str, energy: float) -> dict[str, float]:
    """Return an energy, eV, under names that tell its units."""
    return {
        f"{name}_ev": energy,
        f"{name}_kj_mol": energy / KJ_MOL,
        f"{name}_kcal_mol": energy / KCAL_MOL,
    }
