"""Vibrations: frequencies, infrared intensities, zero-point energy, thermochemistry.

The Hessian is exact; modes as `normal_modes`, intensities as `intensities`, functions of a gas as
`thermochemistry` define them.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.io.extxyz import write_xyz

from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.prediction.records import labelled_atoms
from molequi.runtime.folders import check_folder, folder_by_rename
from molequi.runtime.plain import json_text
from molequi.simulation.bare_frames import bare_frame
from molequi.simulation.calculator import Calculator
from molequi.simulation.films import displacement, write_films
from molequi.simulation.harmonic import Harmonic, harmonic
from molequi.simulation.intensities import infrared
from molequi.simulation.movers import as_calculator, first_computable
from molequi.simulation.normal_modes import NormalModes
from molequi.simulation.offers import spread_names
from molequi.simulation.rotation import rotational_constants
from molequi.simulation.symmetry_number import rotational_symmetry_number
from molequi.simulation.thermochemistry import Functions, Gas, check_state, thermochemistry
from molequi.structures.inputs import Input
from molequi.structures.symbols import has_isotopes


def vibrations(
    structure: Input,
    model: str | os.PathLike[str] | MolecularModel | FrozenModel | Calculator = "organic", *,
    relax_first: bool = True, fmax: float = 1e-3, temperature: float = 298.15,
    pressure: float = 1.01325, symmetry_number: int | None = None, films: bool = False,
    output: str | os.PathLike[str] | None = None, overwrite: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Compute the vibrations of the first structure of an input, relaxed first unless told not to.

    A model given by name or path runs in float64. Constraints are lifted and named; crystals keep
    their rotations. fmax: eV/Å, of the relaxation. temperature: K. pressure: bar. symmetry_number:
    read off the geometry where it is not given. films: of every mode. output: a folder.
    Returns frequencies_cm1 (imaginary ones negative), ir_km_mol (None without a dipole), zpe_ev,
    n_imaginary, linear, masses, fmax, max_forces_std (eV/Å, where there is doubt), converged (None:
    not relaxed), rotational_constants_ghz, _cm1, thermochemistry (None of crystals), labels.
    """
    check_state(temperature, pressure, symmetry_number)
    if output is not None:
        check_folder(output, overwrite=overwrite)
    calculator = as_calculator(model, dtype=torch.float64)
    atoms = first_computable(structure, calculator)
    found = harmonic(atoms, calculator, relax_first=relax_first, fmax=fmax)
    atoms, modes = found.atoms, found.modes
    result = {
        **calculator.labels(atoms),
        "energy": atoms.get_potential_energy(),
        **_summary(modes, infrared(atoms, calculator, modes)),
        **(_rotation(atoms, modes) | _doubt(atoms, calculator)),
        "thermochemistry": gas_functions(found, calculator, temperature, pressure, symmetry_number),
        "fmax": found.fmax,
        "converged": found.converged,
        "relaxation_steps": found.steps,
        "output": None if output is None else str(output),
    }
    if output is not None:
        with folder_by_rename(output, overwrite=overwrite) as folder:
            _write(folder, atoms, calculator, modes, result)
            if films:
                write_films(folder / "films", atoms, calculator, modes)
    return result


def gas_functions(
    found: Harmonic,
    calculator: Calculator,
    temperature: float,
    pressure: float,
    symmetry_number: int | None = None,
) -> dict[str, Any] | None:
    """Return the thermochemistry of a molecule as plain values; None of a crystal.

    Energies, eV, hold the electronic energy; entropies are in eV/K and
    J/(mol K).
    """
    atoms, modes = found.atoms, found.modes
    if atoms.pbc.any():
        return None
    masses = atoms.get_masses()
    number = symmetry_number or rotational_symmetry_number(
        atoms.numbers, atoms.positions, masses, is_linear=modes.is_linear
    )
    gas = Gas(
        modes.frequencies, atoms.positions, masses, modes.is_linear, number,
        calculator.electrons(atoms).multiplicity, temperature, pressure,
    )  # fmt: skip
    forms, energy = thermochemistry(gas), float(atoms.get_potential_energy())
    return {
        "temperature": temperature,
        "pressure_bar": pressure,
        "symmetry_number": number,
        "symmetry_number_source": "given" if symmetry_number else "read off the geometry",
        "harmonic": _named(forms.harmonic, energy),
        "quasi_harmonic": _named(forms.quasi_harmonic, energy),
    }


def _named(functions: Functions, energy: float) -> dict[str, float]:
    return {
        "internal_energy_ev": energy + functions.internal_energy,
        "enthalpy_ev": energy + functions.enthalpy,
        "entropy_ev_k": functions.entropy,
        "entropy_j_mol_k": functions.entropy * units._e * units._Nav,
        "gibbs_energy_ev": energy + functions.gibbs_energy,
    }


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


def _doubt(atoms: Atoms, calculator: Calculator) -> dict[str, float]:
    """Return the largest error of a force that the model expects, eV/Å, where it says so."""
    if "forces_std" not in spread_names(calculator.model):
        return {}
    spreads = calculator.get_property("forces_std", atoms)
    return {"max_forces_std": float(np.max(spreads, initial=0.0))}


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
        for k in range(len(modes.frequencies)):
            info: dict[str, Any] = {"mode_index": k, "frequency_cm1": modes.frequencies[k]}
            if intensities[k] is not None:
                info["ir_km_mol"] = intensities[k]
            frame = bare_frame(atoms, calculator, info)
            # Cartesian displacements, the largest one Å long.
            frame.arrays["mode"] = displacement(atoms, modes, k)
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
