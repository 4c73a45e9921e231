"""The forces of a model for i-PI: every bead that is sent together goes through it together.

i-PI loads this file by itself (`<ffdirect>` with `<pes>custom</pes>`, `i-pi-driver-py -m custom`),
or talks to `molequi drive` over a socket: `ipi_socket`. i-PI's numbers are in atomic units, its
cells have their vectors in columns, and a virial is -dE/dstrain.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from os import PathLike
from typing import NamedTuple

import numpy as np
from ase import units
from torch import Tensor

from molequi.engines.replicas import Replicas
from molequi.errors import UserError
from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.models.structure import Structure
from molequi.models.zoo import frozen_model
from molequi.prediction.records import refuse_not_finite
from molequi.runtime.wording import counted
from molequi.simulation.offers import refuse_without_forces
from molequi.structures.atoms import charge_of, multiplicity_of
from molequi.structures.inputs import read_inputs

# By which i-PI finds the class in this file; it reads them as text.
__DRIVER_NAME__ = "molequi"
__DRIVER_CLASS__ = "IpiDriver"


class BeadForces(NamedTuple):
    """What i-PI asks for: energy, hartree; forces (N, 3), hartree/bohr; virial (3, 3), hartree.

    extras: a JSON text, the dipole in e·bohr of what has one, or nothing.
    """

    energy: float
    forces: np.ndarray
    virial: np.ndarray
    extras: str


class IpiDriver:
    """A model as i-PI's potential energy surface.

    template: a structure file, whose first structure says which atoms come, in which order,
    and whether they are periodic; an open one has no virial, and i-PI is told zero. model: as
    `Calculator` takes it. charge, spin_multiplicity: override what the template says. verbose,
    verbosity: i-PI gives them to every driver; they change nothing.
    Raises UserError for a template that the model does not know, or that is a slab.
    """

    def __init__(
        self,
        template: str | PathLike[str],
        model: str | PathLike[str] | MolecularModel | FrozenModel = "organic",
        *,
        device: str | None = None,
        dtype: str | None = None,
        charge: int | None = None,
        spin_multiplicity: int | None = None,
        verbose: bool = False,
        verbosity: object = None,
    ) -> None:
        self.model = frozen_model(model, device=device, dtype=dtype)
        refuse_without_forces(self.model)
        self._replicas = Replicas(self.model.cutoff)
        self._template = _template(template, charge, spin_multiplicity)
        self.model.check_input(self._replicas.graph([self._template]).to(self.model.device))

    def __call__(
        self, cell: np.ndarray | Sequence[np.ndarray], pos: np.ndarray | Sequence[np.ndarray]
    ) -> BeadForces | list[BeadForces]:
        """Return the forces of one bead, or of a list of beads; bohr, as i-PI calls it."""
        if isinstance(cell, np.ndarray) and isinstance(pos, np.ndarray):
            return self.beads([cell], [pos])[0]
        return self.beads([*cell], [*pos])

    def beads(
        self, cells: Sequence[np.ndarray], positions: Sequence[np.ndarray]
    ) -> list[BeadForces]:
        """Return the forces of beads; cells: (3, 3) each, positions: (N, 3) each, bohr.

        Raises UserError for another number of atoms than the template's, and where the model gives
        no finite numbers.
        """
        self._refuse_others(positions)
        structures = [
            dataclasses.replace(
                self._template,
                positions=units.Bohr * np.reshape(x, (-1, 3)),
                cell=units.Bohr * np.reshape(cell, (3, 3)).T,
            )
            for cell, x in zip(cells, positions, strict=True)
        ]
        is_periodic = self._template.is_periodic
        graph = self._replicas.graph(structures).to(self.model.device)
        found = self.model.compute(graph, forces=True, stress=is_periodic)
        refuse_not_finite(self.model, found, only=("energy", "forces"))
        forces = _array(found["forces"]).reshape(len(structures), -1, 3)
        dipoles = _array(found["dipole"]) if "dipole" in found and not is_periodic else None
        return [
            BeadForces(
                float(found["energy"][k]) / units.Hartree,
                forces[k] * (units.Bohr / units.Hartree),
                -_array(found["stress"][k]) * (one.volume / units.Hartree)
                if is_periodic
                else np.zeros((3, 3)),
                "" if dipoles is None else json.dumps({"dipole": [*(dipoles[k] / units.Bohr)]}),
            )
            for k, one in enumerate(structures)
        ]

    def _refuse_others(self, positions: Sequence[np.ndarray]) -> None:
        n_atoms = len(self._template.atomic_numbers)
        for sent in (np.size(bead) // 3 for bead in positions):
            if sent != n_atoms:
                raise UserError(
                    f"the server sends {counted(sent, 'atom')}, {self._template.name} has "
                    f"{n_atoms}; give the structure that i-PI moves"
                )


def _template(
    file: str | PathLike[str], charge: int | None, spin_multiplicity: int | None
) -> Structure:
    atoms = next(read_inputs(file, charge=charge, as_is=True)).require_atoms()
    if atoms.pbc.any() and not atoms.pbc.all():
        raise UserError(
            f"{file} has pbc {atoms.pbc.tolist()}; i-PI moves structures that are periodic in all "
            "three directions or in none"
        )
    total_charge = charge_of(atoms, charge)
    return Structure(
        str(file),
        atoms.positions,
        atoms.numbers,
        atoms.cell.array,
        atoms.pbc,
        total_charge,
        multiplicity_of(atoms, total_charge, spin_multiplicity),
    )


def _array(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy().astype(np.float64)
