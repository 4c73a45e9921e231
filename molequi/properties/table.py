"""The table of properties: what a model can predict without a declaration.

A new target is a new row here, or a row declared in a config (`declarations.declare`); it is never
a new model class. No code asks for a property by its name where a row can say it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from ase import units

from molequi.properties.property import Periodicity, Property, PropertyError

DEBYE = units.Debye  # e·Å in one debye
_OPEN, _FULL = Periodicity.OPEN, Periodicity.FULL

# fmt: off
_ROWS = (
    Property("energy", "0e", "eV", "total energy at the model's level of theory", head="energy",
             extensive=True, has_reference=True, serves=("short_range_energies",),
             aliases=("energy", "ref_energy", "total_energy", "dft_energy", "potential_energy",
                      "u0")),
    Property("forces", "1o", "eV/Å", "minus the gradient of the energy", per_atom=True,
             derived_from="energy", aliases=("forces", "ref_forces", "force", "dft_forces")),
    Property("stress", "0e+2e", "eV/Å³",
             "strain derivative of the energy per volume, tension positive",
             derived_from="energy", periodicity=_FULL,
             aliases=("stress", "ref_stress", "dft_stress")),
    Property("short_range_energies", "0e", "eV",
             "what the network gives an atom of the energy: without Coulomb, dispersion and "
             "repulsion terms, up to a constant of each element",
             per_atom=True, free_constants=True,
             aliases=("short_range_energies", "atom_energies", "atomic_energies")),
    Property("force_changes", "1o", "eV/Å²",
             "F(x + d) - F(x - d) over twice the length of the displacement d", per_atom=True,
             derived_from="energy", along="displacements", aliases=("force_changes",)),
    Property("displacements", "1o", "Å", "the displacement that force_changes belong to",
             per_atom=True, aliases=("displacements",)),
    Property("interaction_energy", "0e", "eV",
             "energy less that of each of its pieces alone, at the same geometry",
             derived_from="energy", along="pieces",
             aliases=("interaction_energy", "ref_interaction_energy")),
    Property("pieces", "0e+0e", "1, e", "the number of the piece that an atom is of, and the total "
             "charge of that piece", per_atom=True, aliases=("pieces",)),
    Property("relative_energy", "0e", "eV", "energy less that of the same atoms elsewhere, such as "
             "those of another conformer", derived_from="energy", along="other_positions",
             aliases=("relative_energy", "ref_relative_energy")),
    Property("other_positions", "1o", "Å", "where the atoms are that relative_energy is relative "
             "to", per_atom=True, aliases=("other_positions",)),
    Property("forces_std", "0e", "eV/Å", "length that 68 % of the errors of an atom's force stay "
             "below", per_atom=True, head="doubt", spread_of="forces", aliases=("forces_std",)),
    Property("energy_std", "0e", "eV", "size that 68 % of the errors of the energy stay below",
             head="doubt", spread_of="energy", aliases=("energy_std",)),
    Property("charges", "0e", "e", "partial charges", per_atom=True, head="charges",
             aliases=("charges", "ref_charges", "initial_charges", "partial_charges")),
    Property("local_charge", "0e", "e", "what atoms claim of the total charge, added up",
             extensive=True),
    Property("dipole", "1o", "e·Å", "electric dipole moment, from - to +", extensive=True,
             head="dipole", reads="0e+1o", gives=("dipole_magnitude", "charges"),
             periodicity=_OPEN,
             aliases=("dipole", "ref_dipole", "mu", "dipole_moment", "dft_dipole")),
    Property("dipole_magnitude", "0e", "D", "length of the dipole moment", head="dipole_magnitude",
             reads="0e+1o", serves=("charges",), periodicity=_OPEN,
             aliases=("dipole_magnitude", "mu_norm")),
    Property("polarizability", "0e+2e", "Å³", "static dipole polarizability", extensive=True,
             aliases=("polarizability", "ref_polarizability", "alpha_tensor")),
    Property("isotropic_polarizability", "0e", "Å³", "a third of the trace of the polarizability",
             extensive=True, aliases=("isotropic_polarizability", "alpha")),
    Property("homo", "0e", "eV", "energy of the highest occupied orbital", aliases=("homo",)),
    Property("lumo", "0e", "eV", "energy of the lowest empty orbital", aliases=("lumo",)),
    Property("gap", "0e", "eV", "lumo - homo", aliases=("gap",)),
    Property("r2", "0e", "Å²", "electronic spatial extent", extensive=True, head="spatial_extent",
             depends_on_origin=True, periodicity=_OPEN, aliases=("r2",)),
    Property("zpve", "0e", "eV", "zero-point vibrational energy", extensive=True,
             aliases=("zpve",)),
    Property("cv", "0e", "cal/(mol K)", "heat capacity at 298.15 K", extensive=True,
             aliases=("cv",)),
    Property("u0", "0e", "eV", "internal energy at 0 K", extensive=True, has_reference=True),
    Property("u298", "0e", "eV", "internal energy at 298.15 K", extensive=True, has_reference=True,
             aliases=("u298",)),
    Property("h298", "0e", "eV", "enthalpy at 298.15 K", extensive=True, has_reference=True,
             aliases=("h298",)),
    Property("g298", "0e", "eV", "free energy at 298.15 K", extensive=True, has_reference=True,
             aliases=("g298",)),
    Property("rosenfeld", "0o+1o+2o", "bohr⁴",
             "static Rosenfeld tensor, origin at the centre of mass", extensive=True,
             head="rosenfeld", reads="0e+0o+1o+1e+2e+2o",
             gives=("rosenfeld_isotropic", "specific_rotation"), serves=("polarizability",),
             depends_on_origin=True, periodicity=_OPEN, aliases=("rosenfeld", "beta")),
    Property("rosenfeld_isotropic", "0o", "bohr⁴", "a third of the trace of the Rosenfeld tensor",
             extensive=True, head="optical_rotation", gives=("specific_rotation",),
             periodicity=_OPEN, aliases=("rosenfeld_isotropic",)),
    Property("specific_rotation", "0o", "deg/[dm (g/cm³)]",
             "specific rotation at 589.3 nm from the static rosenfeld_isotropic and the molar mass",
             periodicity=_OPEN, aliases=("specific_rotation",)),
    Property("handedness", "0o", "1", "label of a stereocentre: R 1, S 0", per_atom=True,
             binary=True, aliases=("handedness",)),
    Property("axial_handedness", "0o", "1", "label of both ends of a chiral axis: P 1, M 0",
             per_atom=True, binary=True, aliases=("axial_handedness",)),
)
# fmt: on

PROPERTIES: Mapping[str, Property] = MappingProxyType({row.name: row for row in _ROWS})


def get_property(name: str, declared: Mapping[str, Property] | None = None) -> Property:
    """Look a row up by name, in `declared` first.

    Raises PropertyError that names the nearest known property.
    """
    table = {**PROPERTIES, **(declared or {})}
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(table))};"
    raise PropertyError(
        f"unknown property {name!r}; {hint} a new one is declared in the config under `properties`"
    )


def with_company(targets: Iterable[Property]) -> dict[str, Property]:
    """Return targets by name, and behind them what a model that learns them gives unasked."""
    shown = {target.name: target for target in targets}
    asked = frozenset(shown)
    known = {**PROPERTIES, **shown}
    derived = [row for row in known.values() if row.derived_from in asked and not row.along]
    given = [
        get_property(name, known)
        for row in known.values()
        if row.name in asked
        for name in row.gives
    ]
    for row in (*derived, *given):
        shown.setdefault(row.name, row)
    return shown
