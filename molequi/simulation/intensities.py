"""How strongly normal modes absorb and scatter: infrared intensities and Raman activities.

    A = N_A |d mu / d Q|^2 / (12 epsilon_0 c^2),
    S = 45 a'^2 + 7 g'^2,    rho = 3 g'^2 / (45 a'^2 + 4 g'^2),

with a' the mean and g'^2 the squared anisotropy of d alpha / d Q (E. B. Wilson, J. C. Decius, P. C.
Cross, Molecular Vibrations, 1955, chapters 3 and 7; D. A. Long, The Raman Effect, 2002, chapter 5).
rho, the depolarisation ratio, is that of light polarised in a plane, scattered at right angles.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from ase import Atoms, units

from molequi.errors import UserError
from molequi.graphs.elements import MASSES, mass_shares
from molequi.models.freeze import FrozenModel
from molequi.nn.response import output_derivative
from molequi.simulation.calculator import Calculator
from molequi.simulation.normal_modes import NormalModes
from molequi.structures.atoms import graph_from_atoms

POLARIZABILITY = "polarizability"
# (d mu / d Q)^2 in e²/amu to km/mol.
PER_SQUARED_SLOPE = (
    units._Nav / (12.0 * units._eps0 * units._c**2) * units._e**2 / units._amu / 1000.0
)
# Å⁴/amu: less is what rounding leaves of a mode that symmetry forbids, and has no ratio.
_ROUNDING = 1e-10


class Raman(NamedTuple):
    """What a model says of Raman scattering.

    activities: (K,), Å⁴/amu. depolarisation: (K,), 0 to 3/4; NaN where nothing is scattered.
    """

    activities: np.ndarray
    depolarisation: np.ndarray


def infrared(atoms: Atoms, calculator: Calculator, modes: NormalModes) -> np.ndarray | None:
    """Return the infrared intensities, km/mol; None where model or structure has no dipole."""
    model = calculator.model
    dipole = model.properties.get("dipole")
    if dipole is None or not dipole.is_defined(atoms.pbc):
        return None
    slopes = output_derivative(model, calculator.graph(atoms), "dipole").cpu().numpy()
    charge = calculator.electrons(atoms).charge
    slopes += charge * centre_shares(atoms)[None, :, None] * np.eye(3)[:, None, :]
    return infrared_intensities(modes, slopes, atoms.get_masses())


def centre_shares(atoms: Atoms) -> np.ndarray:
    """Return the weights (N,) of positions that lead from the true to the standard centre of mass.

    The dipole of an ion refers to the centre of the standard masses, which moves in a vibration of
    isotopes; that of their own masses stays where it is.
    """
    return mass_shares(MASSES[atoms.numbers]) - mass_shares(atoms.get_masses())


def raman(atoms: Atoms, model: FrozenModel, modes: NormalModes, *, charge: int) -> Raman:
    """Return the Raman activities by a model with a polarizability.

    Raises UserError where it has none, or does not know the structure.
    """
    if POLARIZABILITY not in model.outputs:
        raise UserError(
            f"model {model.metadata.name} gives {', '.join(model.outputs)}, but no polarizability, "
            "which Raman needs; the bundled chiroptical has one (--optics chiroptical)"
        )
    if atoms.pbc.any():
        raise UserError("Raman activities are of molecules; the structure is periodic")
    graph = graph_from_atoms(atoms, model.cutoff, charge).to(model.device)
    try:
        model.check_input(graph)
    except ValueError as error:
        raise type(error)(f"polarizability by {model.metadata.name}: {error}") from None
    slopes = output_derivative(model, graph, POLARIZABILITY).cpu().numpy()
    return raman_activities(modes, slopes, atoms.get_masses())


def infrared_intensities(
    modes: NormalModes, derivative: np.ndarray, masses: np.ndarray
) -> np.ndarray:
    """Return the infrared intensities: (K,), km/mol.

    derivative: d mu / d x, (3, N, 3), e. masses: (N,), amu.
    """
    slopes = np.einsum("xni,kni->kx", derivative, _directions(modes, masses))
    return PER_SQUARED_SLOPE * np.square(slopes).sum(axis=1)


def raman_activities(modes: NormalModes, derivative: np.ndarray, masses: np.ndarray) -> Raman:
    """Return Raman activities and depolarisation ratios, NaN of modes that symmetry forbids.

    derivative: d alpha / d x, (3, 3, N, 3), Å². masses: (N,), amu.
    """
    slopes = np.einsum("xyni,kni->kxy", derivative, _directions(modes, masses))
    mean = np.trace(slopes, axis1=1, axis2=2) / 3.0
    traceless = 0.5 * (slopes + slopes.transpose(0, 2, 1)) - mean[:, None, None] * np.eye(3)
    isotropic, anisotropic = 45.0 * mean**2, 1.5 * np.square(traceless).sum(axis=(1, 2))
    scattered = isotropic + 4.0 * anisotropic
    ratio = np.full_like(scattered, np.nan)
    np.divide(3.0 * anisotropic, scattered, out=ratio, where=scattered > _ROUNDING)
    return Raman(isotropic + 7.0 * anisotropic, ratio)


def _directions(modes: NormalModes, masses: np.ndarray) -> np.ndarray:
    """Return d x / d Q: (K, N, 3), 1/sqrt(amu)."""
    return np.asarray(modes.weighted / np.sqrt(masses)[None, :, None])
