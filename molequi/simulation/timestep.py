"""Is the timestep short enough for the fastest vibration?"""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
from ase import Atoms, units

from molequi.simulation.constraints import Held
from molequi.simulation.forces import JointCalculator
from molequi.simulation.joined import Joined

logger = logging.getLogger(__name__)

# Å, of the atom that moves most while a force is differentiated.
_STEP = 1e-3
_ROUNDS = 10
# Steps in a period: below, energies swing by more than a tenth; velocity Verlet is unstable where
# timestep * omega > 2, below pi.
_FEW = 8.0
_TOO_FEW = np.pi
# Of a unit vector times the Hessian, eV/Å²/(g/mol): below is rounding.
_NOTHING = 1e-4
_Map = Callable[[np.ndarray], np.ndarray]
_Dot = Callable[[np.ndarray, np.ndarray], np.ndarray]


def too_long(
    calculator: JointCalculator, joined: Joined, held: Held, timestep: float
) -> dict[int, str]:
    """Return which structures cannot be integrated with a timestep, fs, and why.

    Warn of one that is long.
    """
    omegas = fastest_vibrations(calculator, joined, held)
    reasons = [objection(omega, timestep) for omega in omegas]
    stopped = {number: reason for number, reason in enumerate(reasons) if reason is not None}
    warning = advice(omegas.max(), timestep)
    if not stopped and warning is not None:
        logger.warning("%s", warning)
    return stopped


def fastest_vibrations(
    calculator: JointCalculator, joined: Joined, held: Held, seed: int = 0
) -> np.ndarray:
    """Return the largest angular frequency of each structure: (B,), in ASE's inverse time.

    The root of the largest eigenvalue of the mass-weighted Hessian, by the Lanczos method (C.
    Lanczos, J. Res. Natl. Bur. Stand. 45, 255 (1950)); the Hessian times a vector is a difference
    of forces, so that all structures are done in ten calls of the model, to a few per cent. What
    is held does not vibrate.
    """
    positions = np.concatenate([atoms.positions for atoms in joined.structures])
    atoms, root = _with(held, joined), np.sqrt(joined.masses)
    calculator.update(positions)
    rest = calculator.forces.copy()

    def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return joined.sums((a * b).sum(axis=1))

    def allowed(vector: np.ndarray) -> np.ndarray:
        momenta = vector * root
        for constraint in atoms.constraints:
            constraint.adjust_momenta(atoms, momenta)
        return momenta / root

    def times_hessian(vector: np.ndarray) -> np.ndarray:
        move = vector / root
        length = joined.largest(np.sqrt((move**2).sum(axis=1)))
        step = (_STEP / np.where(length > 0, length, 1.0))[joined.owner][:, None]
        calculator.update(positions + step * move)
        return allowed((rest - calculator.forces) / step / root)

    start = allowed(np.random.default_rng(seed).standard_normal(positions.shape))
    largest = _lanczos(start, times_hessian, dot, joined)
    calculator.update(positions)
    return np.sqrt(np.clip(np.nan_to_num(largest), 0.0, None))


def _lanczos(start: np.ndarray, times: _Map, dot: _Dot, joined: Joined) -> np.ndarray:
    """Return the largest eigenvalue of each structure's matrix."""
    matrix = np.zeros((len(joined), _ROUNDS, _ROUNDS))
    vector, basis = _normalized(start, dot, joined)[0], []
    for row in range(_ROUNDS):
        basis.append(vector)
        new = times(vector)
        matrix[:, row, row] = dot(vector, new)
        for _ in range(2):  # once more, for rounding
            for old in basis:
                new = new - dot(old, new)[joined.owner][:, None] * old
        vector, length = _normalized(new, dot, joined)
        if row + 1 < _ROUNDS:
            matrix[:, row, row + 1] = matrix[:, row + 1, row] = length
    finite = np.isfinite(matrix).all(axis=(1, 2))
    matrix[~finite] = 0.0
    return np.linalg.eigvalsh(matrix)[:, -1]


def _normalized(vector: np.ndarray, dot: _Dot, joined: Joined) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors of unit length, zero where all directions are used up, and the lengths."""
    length = np.sqrt(dot(vector, vector))
    length = np.where(length > _NOTHING, length, 0.0)
    inverse = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
    return vector * inverse[joined.owner][:, None], length


def advice(omega: float, timestep: float) -> str | None:
    """Return a warning where a vibration has few steps in a period, else None.

    omega: its angular frequency, ASE's 1/time. timestep: fs.
    """
    n_steps = _period(omega) / timestep
    if n_steps >= _FEW:
        return None
    return (
        f"the fastest vibration ({_wavenumber(omega):.0f} cm⁻¹) has a period of "
        f"{_period(omega):.1f} fs, {n_steps:.1f} steps of {timestep:g} fs; energies are poor below "
        f"{_FEW:.0f}, take {_period(omega) / 16:.1g} fs"
    )


def objection(omega: float, timestep: float) -> str | None:
    """Return why no integration is possible, where it is not; arguments as `advice`."""
    if _period(omega) / timestep > _TOO_FEW:
        return None
    return (
        f"the timestep of {timestep:g} fs is too long for the fastest vibration "
        f"({_wavenumber(omega):.0f} cm⁻¹, period {_period(omega):.1f} fs): above "
        f"{_period(omega) / np.pi:.2g} fs the integration blows up"
    )


def _period(omega: float) -> float:
    """Return the period in fs; of nothing, for ever."""
    return 2.0 * np.pi / omega / units.fs if omega > 0 else np.inf


def _wavenumber(omega: float) -> float:
    """Return the wavenumber in cm⁻¹: 1 / (c period)."""
    return 1.0 / (units._c * 100.0 * _period(omega) * 1e-15)


def _with(held: Held, joined: Joined) -> Atoms:
    """Return a joined copy that its constraints can project momenta of."""
    atoms = joined.one().copy()
    atoms.set_constraint(held.constraints)
    return atoms
