"""Vibrations: harmonic frequencies, infrared intensities, zero-point energy; the Hessian is exact.

With masses m, Hessian H and the orthonormal basis P of all mass-weighted motions that are no
translation or rotation of the whole,

    P^T m^-1/2 H m^-1/2 P w = omega^2 w,    Q-direction v = P w,    A = N_A |d mu / d Q|^2 / (12
    epsilon_0 c^2).

(E. B. Wilson, J. C. Decius, P. C. Cross, Molecular Vibrations, 1955, chapters 2 and 7.)
"""

from __future__ import annotations

import csv
import logging
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from ase import Atoms, units
from ase.io.extxyz import write_xyz

from molequi.graphs.elements import MASSES, about_centre_of_mass, mass_shares
from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.nn.response import dipole_derivative
from molequi.prediction.records import labelled_atoms, max_force
from molequi.runtime.files import check_output
from molequi.runtime.folders import folder_by_rename
from molequi.runtime.plain import json_text
from molequi.simulation.calculator import Calculator
from molequi.simulation.movers import as_calculator
from molequi.simulation.relaxation import relax_atoms
from molequi.simulation.rotation import rotational_constants
from molequi.structures.inputs import Input, first_atoms
from molequi.structures.symbols import has_isotopes

logger = logging.getLogger(__name__)

# omega^2 in eV/(Å² amu) to wavenumbers, cm^-1: hbar omega in ASE's units over one wavenumber.
_WAVENUMBER = units._hbar * units.J * units.second / units.invcm
# (d mu / d Q)^2 in e²/amu to km/mol.
_INTENSITY = units._Nav / (12.0 * units._eps0 * units._c**2) * units._e**2 / units._amu / 1000.0
# Atoms nearer than this (Å) to one line make a linear molecule: relaxed geometries are straight to
# a few thousandths.
_STRAIGHT = 0.02
_RELAXATION_STEPS = 1000
_MAX_FORCE_WITHOUT_RELAXATION = 0.05


class NormalModes(NamedTuple):
    """Harmonic modes of one structure, K of them.

    frequencies: (K,), cm^-1, ascending, imaginary ones negative. weighted: (K, N, 3), unit vectors
    in mass-weighted coordinates.
    is_linear: whether there are 3N - 5 of them.
    """

    frequencies: np.ndarray
    weighted: np.ndarray
    is_linear: bool


def vibrations(
    structure: Input,
    model: str | os.PathLike[str] | MolecularModel | FrozenModel | Calculator = "organic",
    *,
    relax_first: bool = True,
    fmax: float = 1e-3,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Compute the vibrations of the first structure of an input, relaxed first unless told not to.

    A model given by name or path runs in float64. Constraints are lifted; crystals keep their
    rotations. fmax: eV/Å, of the relaxation. output: a folder. Returns frequencies_cm1 (imaginary
    ones negative), ir_km_mol (None without a dipole), zpe_ev, n_imaginary, linear, masses, fmax,
    rotational_constants_ghz, _cm1 (None of crystals, atoms), converged (None: not relaxed), labels.
    """
    if output is not None:
        check_output(output, overwrite=overwrite)
    atoms = first_atoms(structure)
    atoms.set_constraint()
    calculator = atoms.calc = as_calculator(model, dtype=torch.float64)
    converged, n_steps = None, 0
    if relax_first:
        atoms, converged, _, n_steps = relax_atoms(atoms, fmax=fmax, steps=_RELAXATION_STEPS)
    left = _largest_force(atoms, relaxed=relax_first)
    modes = _modes(atoms, calculator)
    result = {
        **calculator.labels(atoms),
        "energy": atoms.get_potential_energy(),
        **_summary(modes, _intensities(atoms, calculator, modes)),
        **_rotation(atoms, modes),
        "fmax": left,
        "converged": converged,
        "relaxation_steps": n_steps,
        "output": None if output is None else str(output),
    }
    if output is not None:
        with folder_by_rename(output, overwrite=overwrite) as folder:
            _write(folder, atoms, calculator, modes, result)
    return result


def _largest_force(atoms: Atoms, *, relaxed: bool) -> float:
    """Return the largest force, eV/Å, with a warning away from a minimum."""
    left = max_force(atoms.get_forces())
    if not relaxed and left > _MAX_FORCE_WITHOUT_RELAXATION:
        logger.warning(
            "the largest force is %.3f eV/Å: away from a minimum this means little", left
        )
    return left


def _modes(atoms: Atoms, calculator: Calculator) -> NormalModes:
    return normal_modes(
        calculator.model.hessian(calculator.graph(atoms)).cpu().numpy(),
        atoms.get_masses(),
        atoms.positions,
        is_periodic=bool(atoms.pbc.any()),
    )


def _intensities(atoms: Atoms, calculator: Calculator, modes: NormalModes) -> np.ndarray | None:
    """Return the infrared intensities; None where the model or the structure has no dipole."""
    model = calculator.model
    dipole = model.properties.get("dipole")
    if dipole is None or not dipole.is_defined(atoms.pbc):
        return None
    derivative = dipole_derivative(model, calculator.graph(atoms)).cpu().numpy()
    charge, masses = calculator.electrons(atoms).charge, atoms.get_masses()
    # The dipole of an ion refers to the centre of the standard masses, which moves in a vibration
    # of isotopes; that of their own masses stays where it is.
    moving = mass_shares(MASSES[atoms.numbers]) - mass_shares(masses)
    derivative += charge * moving[None, :, None] * np.eye(3)[:, None, :]
    return infrared_intensities(modes, derivative, masses)


def _rotation(atoms: Atoms, modes: NormalModes) -> dict[str, Any]:
    masses = (
        "of the isotopes that the structure names" if has_isotopes(atoms) else "natural mixture"
    )
    constants = None
    if not atoms.pbc.any():
        constants = rotational_constants(
            atoms.positions, atoms.get_masses(), is_linear=modes.is_linear
        )
    return {
        "rotational_constants_ghz": None if constants is None else constants.ghz,
        "rotational_constants_cm1": None if constants is None else constants.cm1,
        "masses": masses,
    }


def normal_modes(
    hessian: np.ndarray, masses: np.ndarray, positions: np.ndarray, *, is_periodic: bool = False
) -> NormalModes:
    """Diagonalise a Hessian with translations and, for a molecule, rotations taken out.

    hessian: (3N, 3N), eV/Å². masses: (N,), amu. positions: (N, 3), Å.
    """
    is_linear = not is_periodic and _is_linear(positions, masses)
    n_rigid = 3 if is_periodic or len(masses) == 1 else 5 if is_linear else 6
    # The left singular vectors: first the rigid motions, then an orthonormal basis of everything
    # else.
    basis = np.linalg.svd(
        _rigid_motions(positions, masses, with_rotations=not is_periodic), full_matrices=True
    )[0][:, n_rigid:]
    root = np.repeat(np.sqrt(masses), 3)
    omega_squared, vectors = np.linalg.eigh(basis.T @ (hessian / np.outer(root, root)) @ basis)
    frequencies = np.sign(omega_squared) * np.sqrt(np.abs(omega_squared)) * _WAVENUMBER
    return NormalModes(frequencies, (basis @ vectors).T.reshape(-1, len(masses), 3), is_linear)


def infrared_intensities(
    modes: NormalModes, derivative: np.ndarray, masses: np.ndarray
) -> np.ndarray:
    """Return the infrared intensities: (K,), km/mol.

    derivative: d mu / d x, (3, N, 3), e. masses: (N,), amu.
    """
    per_mode = np.einsum("xni,kni->kx", derivative, modes.weighted / np.sqrt(masses)[None, :, None])
    return _INTENSITY * np.square(per_mode).sum(axis=1)


def _rigid_motions(
    positions: np.ndarray, masses: np.ndarray, *, with_rotations: bool
) -> np.ndarray:
    """Return translations, and rotations about the centre of mass: (3N, 3 or 6).

    They are the columns, in mass-weighted coordinates.
    """
    root = np.sqrt(masses)[:, None]
    centred = about_centre_of_mass(positions, masses)
    motions = [np.broadcast_to(axis, positions.shape) for axis in np.eye(3)]
    if with_rotations:
        motions += [np.cross(axis, centred) for axis in np.eye(3)]
    return np.stack([(root * motion).ravel() for motion in motions], axis=1)


def _is_linear(positions: np.ndarray, masses: np.ndarray) -> bool:
    if len(masses) < 2:
        return False
    centred = about_centre_of_mass(positions, masses)
    axis = np.linalg.svd(centred)[2][0]
    return bool(np.linalg.norm(centred - np.outer(centred @ axis, axis), axis=1).max() < _STRAIGHT)


def _summary(modes: NormalModes, intensities: np.ndarray | None) -> dict[str, Any]:
    real = modes.frequencies[modes.frequencies > 0]
    return {
        "frequencies_cm1": modes.frequencies.tolist(),
        "ir_km_mol": None if intensities is None else intensities.tolist(),
        "zpe_ev": float(0.5 * real.sum() * units.invcm),
        "n_imaginary": int((modes.frequencies < 0).sum()),
        "linear": modes.is_linear,
    }


def _write(
    folder: Path, atoms: Atoms, calculator: Calculator, modes: NormalModes, result: dict[str, Any]
) -> None:
    """Write frequencies.csv, modes.xyz with displacements, structure.xyz and result.json."""
    intensities = result["ir_km_mol"] or [None] * len(modes.frequencies)
    with (folder / "frequencies.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["mode", "frequency [cm^-1]", "ir [km/mol]", "imaginary"])
        writer.writerows(
            [k, f, i, "yes" if f < 0 else "no"]
            for k, (f, i) in enumerate(zip(modes.frequencies.tolist(), intensities, strict=True))
        )
    with (folder / "modes.xyz").open("w", encoding="utf-8") as file:
        for k, mode in enumerate(modes.weighted / np.sqrt(atoms.get_masses())[None, :, None]):
            frame = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
            # Cartesian displacements, the largest one Å long.
            frame.arrays["mode"] = mode / np.linalg.norm(mode, axis=1).max()
            frame.info.update({"mode_index": k, "frequency_cm1": modes.frequencies[k]})
            if intensities[k] is not None:
                frame.info["ir_km_mol"] = intensities[k]
            write_xyz(file, frame)
    with (folder / "structure.xyz").open("w", encoding="utf-8") as file:
        marks = {name: result.get(name) for name in ("model", "level", "unsafe", "fmax")}
        charge = calculator.electrons(atoms).charge
        write_xyz(
            file,
            labelled_atoms(
                calculator.model, atoms, calculator.predictions, marks, total_charge=charge
            ),
        )
    (folder / "result.json").write_text(json_text(result), encoding="utf-8")
