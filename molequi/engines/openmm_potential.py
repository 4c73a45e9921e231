"""A model as a potential of OpenMM-ML: `MLPotential("molequi", model="organic")`.

The entry point `molequi` of the group `openmmml.potentials` leads here. Forces are computed in
Python, behind OpenMM's PythonForce, which OpenMM has from 8.4 on.
"""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from typing import Any

import openmm
from ase import Atoms, units
from openmm import unit
from openmm.app import Topology
from openmmml.mlpotential import MLPotentialImpl, MLPotentialImplFactory

from molequi.errors import UserError
from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.models.zoo import frozen_model
from molequi.simulation.calculator import Calculator

_KJ_MOL = units.kJ / units.mol
# Options of OpenMM-ML's own embedding, which it hands on to every potential.
_OF_EMBEDDING = {"linkAtomDistances", "mlLongRange"}


class MolequiPotentialFactory(MLPotentialImplFactory):
    """Makes potentials for `MLPotential`."""

    def createImpl(  # noqa: N802 (OpenMM-ML's name)
        self,
        name: str,
        model: str | PathLike[str] | MolecularModel | FrozenModel = "organic",
        device: str | None = None,
        dtype: str | None = None,
    ) -> MolequiPotential:
        """Return the potential of a model; arguments as those of `Calculator`."""
        return MolequiPotential(frozen_model(model, device=device, dtype=dtype))


class MolequiPotential(MLPotentialImpl):
    """The potential of a frozen model."""

    def __init__(self, model: FrozenModel) -> None:
        self.model = model

    def addForces(  # noqa: N802 (OpenMM-ML's name)
        self,
        topology: Topology,
        system: openmm.System,
        atoms: Iterable[int] | None,
        forceGroup: int,
        charge: int = 0,
        multiplicity: int | None = None,
        **others: Any,
    ) -> None:
        """Add the force of these atoms, or of all, to a system.

        charge: e, multiplicity: 2S + 1, of the atoms together. others: what OpenMM-ML hands on.
        Periodic where the topology has a box, or a force of the system is periodic.
        Raises UserError for atoms without an element, for what the model does not know, and for
        other options.
        """
        _refuse_options(others)
        chosen = None if atoms is None else [int(atom) for atom in atoms]
        has_box = topology.getPeriodicBoxVectors() is not None
        is_periodic = has_box or system.usesPeriodicBoundaryConditions()
        calculator = Calculator(self.model, charge=charge, spin_multiplicity=multiplicity)
        force = openmm.PythonForce(OpenmmForces(_atoms(topology, chosen, is_periodic), calculator))
        force.setForceGroup(forceGroup)
        force.setUsesPeriodicBoundaryConditions(is_periodic)
        if chosen is not None:
            force.setParticles(chosen)
        system.addForce(force)

    def getMLLongRange(self) -> bool:  # noqa: N802 (OpenMM-ML's name)
        """Whether atoms feel their far images: where the energy holds Coulomb's of all charges.

        OpenMM-ML then takes the force field's Coulomb energy of these atoms off, images and all.
        """
        return self.model.physics.coulomb is not None


class OpenmmForces:
    """The function behind a PythonForce, which is pickled with the system: a state to forces.

    Contexts of one system share it, perhaps in several threads.
    """

    def __init__(self, atoms: Atoms, calculator: Calculator) -> None:
        self.atoms, self.calculator = atoms, calculator

    def __call__(self, state: openmm.State) -> tuple[float, Any]:
        """Return the energy, kJ/mol, and the forces (N, 3), kJ/(mol nm)."""
        atoms = self.atoms.copy()
        atoms.positions = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
        if atoms.pbc.any():
            box = state.getPeriodicBoxVectors(asNumpy=True)
            atoms.cell[:] = box.value_in_unit(unit.angstrom)
        energy, forces = self.calculator.energy_and_forces(atoms)
        return energy / _KJ_MOL, forces * (units.nm / _KJ_MOL)


def _refuse_options(others: dict[str, Any]) -> None:
    unknown = sorted(others.keys() - _OF_EMBEDDING)
    if unknown:
        raise UserError(
            f"the potential molequi has no option {', '.join(unknown)}; a system is made with "
            "charge and multiplicity, the potential itself with model, device and dtype"
        )


def _atoms(topology: Topology, chosen: list[int] | None, is_periodic: bool) -> Atoms:
    of_all = list(topology.atoms())
    taken = of_all if chosen is None else [of_all[atom] for atom in chosen]
    for atom in taken:
        if atom.element is None:
            raise UserError(
                f"atom {atom.index} ({atom.name} of {atom.residue.name}) of the topology has no "
                "element; a model sees elements, no virtual sites"
            )
    numbers = [atom.element.atomic_number for atom in taken]
    return Atoms(numbers=numbers, positions=[[0.0, 0.0, 0.0]] * len(numbers), pbc=is_periodic)
