"""What is told of structures in motion: frames for a file, rows of a log, results at the end."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms, units
from ase.constraints import FixBondLengths, FixInternals

from molequi.prediction.records import labelled_atoms, level_text, max_force, result_labels
from molequi.simulation.motion import Motion
from molequi.simulation.velocities import angular_momentum


def structure_now(motion: Motion, place: int) -> Atoms:
    """Return a structure as it is at this moment, by its place in `motion.moving`."""
    joined = motion.joined
    atoms = joined.structures[place]
    if len(joined) > 1:
        first = joined.first[place]
        own = slice(first, first + joined.counts[place])
        atoms.set_positions(motion.one.positions[own], apply_constraint=False)
        atoms.set_momenta(motion.one.get_momenta()[own], apply_constraint=False)
    return atoms


def frame(motion: Motion, place: int, stopped: str | None = None) -> Atoms:
    """Return this moment of a structure for a file."""
    number, calculator = motion.moving[place], motion.calculator
    labels = {
        "index": number if len(motion.structures) > 1 else None,
        "step": motion.state.step,
        "time_fs": motion.time,
        "temperature": float(motion.temperatures()[place]),
        "ensemble": motion.settings.ensemble,
        "stopped": stopped,
        "model": calculator.model.metadata.name,
        "level": level_text(calculator.model),
        "unsafe": calculator.each[place].doubt,
    }
    made = labelled_atoms(
        calculator.model, structure_now(motion, place), calculator.predictions[place], labels,
        total_charge=calculator.each[place].electrons.charge,
    )  # fmt: skip
    made.set_constraint(motion.structures[number].constraints)
    return made


def rows(motion: Motion) -> list[dict[str, Any]]:
    """Return the rows of the log for this moment: one for each structure in motion.

    fs, K, eV, bar, Å³, e·Å, eV/Å; a place is empty where there is no such value.
    """
    kinetic = motion.joined.kinetic(motion.one.get_momenta())
    kelvin, conserved = motion.temperatures(), motion.conserved()
    return [
        {
            "index": motion.moving[place],
            "step": motion.state.step,
            "time_fs": motion.time,
            "temperature_K": float(kelvin[place]),
            "potential_eV": float(motion.calculator.energies[place]),
            "kinetic_eV": float(kinetic[place]),
            "total_eV": float(motion.calculator.energies[place] + kinetic[place]),
            "conserved_eV": None if motion.mover.reservoirs() is None else float(conserved[place]),
            **_of_cell(motion, place),
            **_of_model(motion, place),
        }
        for place in range(len(motion.moving))
    ]


def _of_cell(motion: Motion, place: int) -> dict[str, float | None]:
    """Return pressure and volume, where a structure has them.

    Bonds of fixed length bear a part of the pressure that the forces do not tell.
    """
    values = motion.calculator.predictions[place]
    if "stress" not in values:
        return {"pressure_bar": None, "volume_A3": None}
    atoms = structure_now(motion, place)
    if any(isinstance(one, FixBondLengths | FixInternals) for one in motion.one.constraints):
        return {"pressure_bar": None, "volume_A3": float(atoms.get_volume())}
    kinetic = np.trace(atoms.get_kinetic_stress(voigt=False))
    pressure = -(np.trace(np.asarray(values["stress"])) + kinetic) / 3.0
    return {"pressure_bar": float(pressure / units.bar), "volume_A3": float(atoms.get_volume())}


def _of_model(motion: Motion, place: int) -> dict[str, float | None]:
    values, spreads = motion.calculator.predictions[place], motion.calculator.spreads
    dipole = values.get("dipole")
    axes: list[float | None] = [None] * 3
    if dipole is not None:
        axes = [float(value) for value in np.asarray(dipole)]
    return {
        **{f"dipole_{axis}_eA": value for axis, value in zip("xyz", axes, strict=True)},
        "max_force_eV_A": max_force(np.asarray(values["forces"])),
        "max_doubt_eV_A": None if spreads is None else float(spreads[place]),
        "energy_std_eV": float(values["energy_std"]) if "energy_std" in values else None,
    }


def summary(motion: Motion, number: int) -> dict[str, Any]:
    """Return the results of a structure so far, by its number."""
    settings, one, atoms = motion.settings, motion.state.each[number], _last(motion, number)
    statistics, n = one.statistics, int(motion.n_degrees[number])
    is_steady = settings.how != "langevin" and not settings.ramp
    slope = statistics.slope if is_steady else None
    mean = statistics.temperature_mean if statistics.n else None
    momenta = atoms.get_momenta()
    per_fs = np.array([momenta.sum(axis=0), angular_momentum(atoms, momenta)]) * units.fs
    return {
        **_labels(motion, number),
        "ensemble": settings.ensemble,
        "thermostat": settings.thermostat if settings.ensemble == "nvt" else None,
        "timestep_fs": settings.timestep,
        "seed": settings.seed + number,
        "steps": one.steps,
        "time_ps": one.steps * settings.timestep / 1000.0,
        # eV/fs -> meV/ps
        "drift_mev_atom_ps": None if slope is None else slope * 1e6 / max(len(atoms), 1),
        "temperature_mean": mean,
        "temperature_std": statistics.temperature_std,
        "temperature_std_canonical": None if mean is None else mean * float(np.sqrt(2.0 / n)),
        "max_doubt_ev_a": statistics.largest_doubt or None,
        "momentum": float(np.linalg.norm(per_fs[0])),
        "angular_momentum": float(np.linalg.norm(per_fs[1])),
        "frames": one.n_frames,
        "stopped": one.stopped,
    }


def _labels(motion: Motion, number: int) -> dict[str, Any]:
    """Return of which structure and model the results are, and `unsafe` where it is."""
    atoms, doubt = motion.structures[number], motion.doubts.get(number)
    charge, multiplicity = motion.own.electrons(atoms)
    labels = result_labels(motion.own.model, atoms, total_charge=charge, multiplicity=multiplicity)
    return labels if doubt is None else {**labels, "unsafe": doubt}


def _last(motion: Motion, number: int) -> Atoms:
    """Return a structure where the state has it."""
    atoms = motion.structures[number].copy()
    own = motion.atoms_of([number])
    atoms.set_positions(motion.state.positions[own], apply_constraint=False)
    atoms.set_momenta(motion.state.momenta[own], apply_constraint=False)
    return atoms
