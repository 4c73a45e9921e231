"""Thermochemistry of an ideal gas of rigid, harmonic molecules, and with Grimme's entropy.

Translation, rotation and vibration as in D. A. McQuarrie, Statistical Mechanics, 1976, chapters 5,
6 and 8. A soft mode's harmonic entropy grows without bound; in the quasi-harmonic form (S. Grimme,
Chem. Eur. J. 18, 9955, 2012) it turns into that of a free rotor,

    S = w S_harmonic + (1 - w) S_rotor,    w = 1 / (1 + (100 cm^-1 / nu)^4),
    S_rotor = k (1/2 + ln sqrt(8 pi^3 mu' k T / h^2)),    mu = h / (8 pi^2 c nu),
    mu' = mu B / (mu + B),    B = 1e-44 kg m^2;

energies stay harmonic.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
from ase import units

from molequi.errors import UserError
from molequi.simulation.rotation import principal_moments

BAR = 1e5  # Pa
_TURNING_POINT = 100.0  # cm^-1
_MEAN_MOMENT = 1e-44  # kg m²
_KG_M2 = units._amu * 1e-20  # of one amu Å²


class _Part(NamedTuple):
    """What one kind of motion adds: energy, eV, and entropy, eV/K."""

    energy: float
    entropy: float


@dataclasses.dataclass(frozen=True)
class Gas:
    """A molecule in an ideal gas, and the state of that gas.

    frequencies: (K,), cm^-1; imaginary ones, given as negative numbers, are left out. positions:
    (N, 3), Å. masses: (N,), amu. temperature: K. pressure: bar. symmetry_number: in how many ways
    the molecule can be turned onto itself.
    """

    frequencies: np.ndarray
    positions: np.ndarray
    masses: np.ndarray
    is_linear: bool
    symmetry_number: int
    multiplicity: int = 1
    temperature: float = 298.15
    pressure: float = 1.01325


class Functions(NamedTuple):
    """Internal energy, enthalpy and Gibbs energy, eV, without the electronic energy; S in eV/K."""

    internal_energy: float
    enthalpy: float
    entropy: float
    gibbs_energy: float


class Thermochemistry(NamedTuple):
    """Both forms, harmonic and quasi-harmonic."""

    harmonic: Functions
    quasi_harmonic: Functions


def check_state(temperature: float, pressure: float, symmetry_number: int | None = None) -> None:
    """Raise UserError for a state that no gas has."""
    for name, value, unit, usual in (
        ("temperature", temperature, "K", "298.15"),
        ("pressure", pressure, "bar", "1.01325"),
    ):
        if not 0 < value < np.inf:
            raise UserError(f"{name} is {value} {unit}; it must be positive, {usual} is usual")
    if symmetry_number is not None and symmetry_number < 1:
        raise UserError(f"the symmetry number is {symmetry_number}; it must be at least 1")


def thermochemistry(gas: Gas) -> Thermochemistry:
    """Return the thermodynamic functions of a gas: the parts beside the electronic energy."""
    kT = units.kB * gas.temperature
    rigid = [
        _translation(gas),
        _rotation(gas),
        _Part(0.0, units.kB * np.log(gas.multiplicity)),
    ]
    quanta = gas.frequencies[gas.frequencies > 0] * units.invcm
    vibrational = float((quanta * (0.5 + _occupation(quanta / kT))).sum())
    forms = []
    for entropies in (
        harmonic_entropies(quanta, gas.temperature),
        quasi_harmonic_entropies(quanta, gas.temperature),
    ):
        energy = vibrational + sum(part.energy for part in rigid)
        entropy = float(entropies.sum()) + sum(part.entropy for part in rigid)
        enthalpy = energy + kT
        forms.append(Functions(energy, enthalpy, entropy, enthalpy - gas.temperature * entropy))
    return Thermochemistry(*forms)


def harmonic_entropies(quanta: np.ndarray, temperature: float) -> np.ndarray:
    """Return the entropies of oscillators, eV/K; quanta: (K,), eV, positive."""
    x = quanta / (units.kB * temperature)
    return np.asarray(units.kB * (x * _occupation(x) - np.log1p(-np.exp(-x))))


def _occupation(x: np.ndarray) -> np.ndarray:
    """Return 1 / (exp(x) - 1), which for the largest x is zero and no overflow."""
    return np.asarray(np.exp(-x) / -np.expm1(-x))


def quasi_harmonic_entropies(quanta: np.ndarray, temperature: float) -> np.ndarray:
    """Return Grimme's entropies, eV/K; quanta: (K,), eV, positive."""
    moment = units._hplanck**2 / (8.0 * np.pi**2 * quanta * units._e)
    limited = moment * _MEAN_MOMENT / (moment + _MEAN_MOMENT)
    joules = units._k * temperature
    rotor = units.kB * (0.5 + 0.5 * np.log(8 * np.pi**3 * limited * joules / units._hplanck**2))
    weight = 1.0 / (1.0 + (_TURNING_POINT * units.invcm / quanta) ** 4)
    return np.asarray(weight * harmonic_entropies(quanta, temperature) + (1.0 - weight) * rotor)


def _translation(gas: Gas) -> _Part:
    joules = units._k * gas.temperature
    mass = float(gas.masses.sum()) * units._amu
    states = (2 * np.pi * mass * joules / units._hplanck**2) ** 1.5 * joules / (gas.pressure * BAR)
    return _Part(1.5 * units.kB * gas.temperature, units.kB * (float(np.log(states)) + 2.5))


def _rotation(gas: Gas) -> _Part:
    if len(gas.masses) < 2:
        return _Part(0.0, 0.0)
    moments = np.array(
        [
            moment * _KG_M2
            for moment in principal_moments(gas.positions, gas.masses, is_linear=gas.is_linear)
            if moment is not None
        ]
    )
    states = 8.0 * np.pi**2 * moments * units._k * gas.temperature / units._hplanck**2
    if gas.is_linear:  # both moments are the same
        number, half_degrees = float(np.sqrt(states.prod())), 1.0
    else:
        number, half_degrees = float(np.sqrt(np.pi * states.prod())), 1.5
    return _Part(
        half_degrees * units.kB * gas.temperature,
        units.kB * (float(np.log(number / gas.symmetry_number)) + half_degrees),
    )
