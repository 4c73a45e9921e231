"""Linear response of a closed-shell mean field by iteration.

Any functional, any size, any frequency.

With A ± B the orbital Hessians, r the dipole operator and l = r x nabla between virtual and
occupied orbitals, a field of frequency w gives (A + B) p - w q = r and (A - B) q - w p = 0; then
alpha = 4 p·r and beta = -2 q·l / w, whose static limit is beta = -2 u·x with (A + B) u = r, (A - B)
x = l. Length gauge, conventions of Ruud et al., Chem. Phys. Lett. 373 (2003) 606. Atomic units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from molequi.labeling.levels import LabelError, ResponseTensors

_TOLERANCE = 1e-7
_MAX_CYCLES = 40
Operator = Callable[[np.ndarray], np.ndarray]


def response(field: Any, frequency: float = 0.0) -> ResponseTensors:
    """Return the polarizability and the Rosenfeld tensor.

    field: a converged `pyscf.scf.RHF` or
    `pyscf.dft.RKS`. frequency: Ha, below the first excitation. The origin is that of the
    coordinates. Raises LabelError where the equations do not converge.
    """
    plus, minus, gaps = _hessians(field)
    electric, magnetic = _transitions(field)
    if frequency == 0.0:
        u, x = _solve(plus, gaps, electric), _solve(minus, gaps, magnetic)
        return ResponseTensors(4.0 * u @ electric.T, -2.0 * u @ x.T)
    size = len(gaps)

    def coupled(z: np.ndarray) -> np.ndarray:
        p, q = z[:, :size], z[:, size:]
        return np.hstack([plus(p) - frequency * q, minus(q) - frequency * p])

    z = _solve(
        coupled, np.concatenate([gaps, gaps]), np.hstack([electric, np.zeros_like(electric)])
    )
    alpha, beta = 4.0 * z[:, :size] @ electric.T, -2.0 * z[:, size:] @ magnetic.T / frequency
    return ResponseTensors(alpha, beta)


def specific_rotation(rosenfeld: np.ndarray, mass: float, frequency: float) -> float:
    """Return [alpha] in deg/[dm (g/cm³)] for a Rosenfeld tensor in bohr⁴.

    mass: g/mol. frequency: Ha. 28800 pi² N_A nu² beta / M with the wave number nu in 1/cm and beta,
    a third of the trace, in cm⁴.
    """
    wave_number = frequency * 219474.6313632
    return (
        28800.0
        * np.pi**2
        * 6.02214076e23
        * wave_number**2
        * np.trace(rosenfeld)
        / 3.0
        * 0.529177210903e-8**4
        / mass
    )


class _Hessians(NamedTuple):
    """A + B and A - B as functions of rows (k, v o), and the orbital gaps (v o,)."""

    plus: Operator
    minus: Operator
    gaps: np.ndarray


def _hessians(field: Any) -> _Hessians:
    occupied, virtual = _orbitals(field)
    filled = field.mo_occ > 0
    gaps = (field.mo_energy[~filled][:, None] - field.mo_energy[filled][None, :]).ravel()

    def operator(potential: Operator, sign: float) -> Operator:
        def apply(rows: np.ndarray) -> np.ndarray:
            density = 2.0 * virtual @ rows.reshape(len(rows), virtual.shape[1], -1) @ occupied.T
            density = density + sign * density.transpose(0, 2, 1)
            return gaps * rows + (virtual.T @ np.asarray(potential(density)) @ occupied).reshape(
                len(rows), -1
            )

        return apply

    return _Hessians(
        operator(field.gen_response(hermi=1), 1.0),
        operator(field.gen_response(hermi=2), -1.0),
        gaps,
    )


def _transitions(field: Any) -> tuple[np.ndarray, np.ndarray]:
    occupied, virtual = _orbitals(field)
    electric = field.mol.intor_symmetric("int1e_r", comp=3)
    magnetic = field.mol.intor("int1e_cg_irxp", comp=3, hermi=2)
    return (virtual.T @ electric @ occupied).reshape(3, -1), (
        virtual.T @ magnetic @ occupied
    ).reshape(3, -1)


def _orbitals(field: Any) -> tuple[np.ndarray, np.ndarray]:
    filled = field.mo_occ > 0
    return field.mo_coeff[:, filled], field.mo_coeff[:, ~filled]


def _solve(apply: Operator, diagonal: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Solve for several right-hand sides in one growing space, with the smallest residual."""
    directions, images = np.zeros((0, rows.shape[1])), np.zeros((0, rows.shape[1]))
    residual, weights = rows, np.zeros((len(rows), 0))
    for _ in range(_MAX_CYCLES):
        open_rows = np.abs(residual).max(axis=1) > _TOLERANCE * np.abs(rows).max()
        if not open_rows.any():
            return weights @ directions
        new = residual[open_rows] / diagonal
        for _ in range(2):
            new = new - (new @ directions.T) @ directions
        _, sizes, new = np.linalg.svd(new, full_matrices=False)
        new = new[sizes > 1e-7 * sizes[0]]
        directions, images = np.vstack([directions, new]), np.vstack([images, apply(new)])
        weights = np.linalg.lstsq(images.T, rows.T, rcond=None)[0].T
        residual = rows - weights @ images
    raise LabelError(
        f"the response equations did not converge in {_MAX_CYCLES} cycles (residual "
        f"{np.abs(residual).max():.1e})"
    )
