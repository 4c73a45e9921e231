"""The lines of one molecule or of its conformers: where modes absorb or scatter, and how much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms

from molequi.errors import UserError
from molequi.models.freeze import FrozenModel
from molequi.simulation.boltzmann import boltzmann_weights
from molequi.simulation.calculator import Calculator
from molequi.simulation.conformer_shapes import is_same_conformer
from molequi.simulation.conformers import Pool, mirrored
from molequi.simulation.harmonic import Harmonic, harmonic
from molequi.simulation.intensities import infrared, raman
from molequi.simulation.vibrations import gas_functions

KINDS = ("ir", "raman")
_SAME_ENERGY = 1e-3  # eV, of mirror images


class Lines(NamedTuple):
    """The lines of one geometry.

    frequencies: (K,), cm^-1, imaginary ones negative. strengths: (K,), km/mol or Å⁴/amu.
    depolarisation: (K,), of Raman lines alone. energies, eV: electronic, and Gibbs where asked.
    """

    found: Harmonic
    strengths: np.ndarray
    depolarisation: np.ndarray | None
    energy: float
    gibbs_energy: float | None = None

    @property
    def frequencies(self) -> np.ndarray:
        """Of the modes, cm^-1."""
        return self.found.modes.frequencies


class How(NamedTuple):
    """How lines are computed.

    kind: of `KINDS`. optics: the model of the polarizability, for Raman. temperature: K. gibbs:
    whether conformers are weighed by their Gibbs energies.
    """

    kind: str
    optics: FrozenModel | None
    relax_first: bool
    fmax: float
    temperature: float
    gibbs: bool


def lines_of(atoms: Atoms, calculator: Calculator, how: How) -> Lines:
    """Return the lines of one structure. Raises UserError where a model does not give them."""
    found = harmonic(atoms, calculator, relax_first=how.relax_first, fmax=how.fmax)
    depolarisation = None
    if how.kind == "raman" and how.optics is not None:
        charge = calculator.electrons(atoms).charge
        strengths, depolarisation = raman(found.atoms, how.optics, found.modes, charge=charge)
    else:
        strengths = _infrared(found, calculator)
    gibbs = None
    if how.gibbs:
        functions = gas_functions(found, calculator, how.temperature, 1.01325)
        gibbs = functions["quasi_harmonic"]["gibbs_energy_ev"] if functions else None
    energy = float(found.atoms.get_potential_energy())
    return Lines(found, strengths, depolarisation, energy, gibbs)


def lines_of_pool(pool: Pool, calculator: Calculator, how: How) -> tuple[list[Lines], np.ndarray]:
    """Return the lines of every conformer, and their Boltzmann weights.

    A mirror image has the lines of what it is the image of.
    """
    lines: list[Lines] = []
    for atoms, energy in zip(pool.atoms, pool.energies, strict=True):
        twin = _twin(atoms, float(energy), pool, len(lines))
        lines.append(lines_of(atoms, calculator, how) if twin is None else lines[twin])
    energies = [line.energy if line.gibbs_energy is None else line.gibbs_energy for line in lines]
    numbers = 1.0 if how.gibbs else pool.symmetry_numbers
    return lines, boltzmann_weights(np.array(energies), how.temperature, numbers)


def sticks(lines: Sequence[Lines], weights: np.ndarray, scale: float) -> list[dict[str, Any]]:
    """Return the real modes of all conformers, by wavenumber; strengths hold the weights."""
    rows = []
    for number, (one, weight) in enumerate(zip(lines, weights.tolist(), strict=True)):
        ratios = one.depolarisation
        for mode in np.flatnonzero(one.frequencies > 0).tolist():
            row = {
                "conformer": number,
                "mode": mode,
                "wavenumber_cm1": float(scale * one.frequencies[mode]),
                "strength": float(weight * one.strengths[mode]),
            }
            rows.append(row if ratios is None else {**row, "depolarisation": float(ratios[mode])})
    return sorted(rows, key=lambda row: row["wavenumber_cm1"])


def _infrared(found: Harmonic, calculator: Calculator) -> np.ndarray:
    strengths = infrared(found.atoms, calculator, found.modes)
    if strengths is None:
        why = (
            "periodic structures have none"
            if found.atoms.pbc.any()
            else f"model {calculator.model.metadata.name} gives none"
        )
        raise UserError(f"infrared intensities need a dipole, and {why}")
    return strengths


def _twin(atoms: Atoms, energy: float, pool: Pool, count: int) -> int | None:
    """Return the earlier conformer of which this one is the mirror image."""
    for number in range(count if pool.is_achiral else 0):
        is_near = abs(float(pool.energies[number]) - energy) < _SAME_ENERGY
        if is_near and is_same_conformer(mirrored(pool.atoms[number]), atoms):
            return number
    return None
