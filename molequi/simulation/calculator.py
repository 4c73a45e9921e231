"""The ASE calculator: a model behind `atoms.get_potential_energy()`."""

from __future__ import annotations

import copy
import os
import threading
from typing import Any, NamedTuple

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import PropertyNotImplementedError, all_changes

from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph
from molequi.graphs.verlet import VerletList
from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.models.zoo import frozen_model
from molequi.prediction.records import (
    Values,
    ase_results,
    refuse_not_finite,
    result_labels,
    split_outputs,
)
from molequi.simulation.changes import changes_between
from molequi.simulation.offers import (
    ase_properties,
    refuse_without_forces,
    spread_names,
    why_not,
    why_unsafe,
)
from molequi.structures.atoms import charge_of, multiplicity_of


class Electrons(NamedTuple):
    """What a structure is computed with: its total charge, e, and its spin multiplicity."""

    charge: int
    multiplicity: int


# What may be changed after a calculator was made: `Calculator.set`.
CHANGEABLE = ("charge", "spin_multiplicity", "unsafe")


def _parameter(name: str) -> property:
    """Make an attribute of a parameter, which `set` changes too."""
    return property(
        lambda calculator: calculator.parameters[name],
        lambda calculator, value: calculator.set(**{name: value}),
    )


class Calculator(AseCalculator):
    """Energies, forces, dipoles, charges and stress of a model, for ASE.

    model: a bundled name, a path, or a loaded model, which is frozen as it is now: what is done to
    it later changes nothing here. A frozen model is taken as it is. charge, spin_multiplicity:
    override what the structure says (see `structures.atoms.charge_of` and `multiplicity_of`). skin:
    Å, of the neighbour list.
    kernels: `auto` (the default of loaded models), `reference`, `generic` or `specialized`: see
    `SphericalBackbone.use_kernels`.
    dispersion: `d3bj` or `d3bj:FUNCTIONAL` for a model that was trained without, see
    `models.dispersion.with_dispersion`.
    unsafe: compute outside the model's charges and spins too; `unsafe_reason` then says what the
    model was not made for.

    Units are ASE's: eV, Å, e. `energy` is the total energy at the model's level of theory. There is
    no stress unless the cell is fully periodic, and no dipole where any direction is periodic.
    Everything the last calculation gave, by the names of the property table, is in `predictions`;
    `results` have what ASE has names for. `get_property` gives the spreads `forces_std` and
    `energy_std` too, of a model that has them.
    `parameters` say what it was made with; `set` changes charge, spin_multiplicity and unsafe.
    Threads may share a calculator: one computes while the others wait. Calculators that share a
    frozen model agree to rounding alone where its `auto` kernels change in between.
    Raises UserError for structures the model does not know, and where it gives no finite numbers.
    """

    name = "molequi"
    discard_results_on_any_change = True
    charge = _parameter("charge")
    spin_multiplicity = _parameter("spin_multiplicity")
    unsafe = _parameter("unsafe")

    def __init__(
        self,
        model: str | os.PathLike[str] | MolecularModel | FrozenModel = "organic",
        *,
        device: str | None = None,
        dtype: str | torch.dtype | None = None,
        charge: int | None = None,
        spin_multiplicity: int | None = None,
        skin: float = 0.5,
        kernels: str | None = None,
        dispersion: str | None = None,
        unsafe: bool = False,
    ) -> None:
        super().__init__()
        self.model = frozen_model(
            model, device=device, dtype=dtype, kernels=kernels, dispersion=dispersion
        )
        refuse_without_forces(self.model)
        self.parameters.update(
            model=self.model.metadata.name,
            device=str(self.model.device),
            dtype=str(self.model.dtype).removeprefix("torch."),
            charge=charge,
            spin_multiplicity=spin_multiplicity,
            skin=skin,
            kernels=self.model.kernels,
            unsafe=unsafe,
        )
        self.unsafe_reason: str | None = None
        self.predictions: Values = {}
        self.implemented_properties = ase_properties(self.model)
        self._skin = VerletList(self.model.cutoff, skin)
        self._electrons: Electrons | None = None
        self._device = self.model.device
        self._in_use = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the lock, which belongs to this process and object."""
        return {name: value for name, value in vars(self).items() if name != "_in_use"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what another calculator was; what either changes in place is its own."""
        vars(self).update(state)
        for name in ("parameters", "predictions", "results", "_skin"):
            setattr(self, name, copy.copy(state[name]))
        self._in_use = threading.RLock()

    def set(self, **changes: Any) -> dict[str, Any]:
        """Change charge, spin_multiplicity or unsafe; returns what is new. Results are forgotten.

        Raises UserError for anything else.
        """
        for name in changes:
            if name not in CHANGEABLE:
                raise UserError(
                    f"a calculator cannot change its {name}; `set` takes "
                    f"{', '.join(CHANGEABLE)}, and the rest is said when it is made"
                )
        return super().set(**changes)

    def electrons(self, atoms: Atoms) -> Electrons:
        """Return the charge, e, and the spin multiplicity that a structure is computed with.

        Raises UserError for those that no such structure has.
        """
        charge = charge_of(atoms, self.charge)
        return Electrons(charge, multiplicity_of(atoms, charge, self.spin_multiplicity))

    def graph(self, atoms: Atoms, electrons: Electrons | None = None) -> AtomGraph:
        """Return the structure as the model sees it, on the model's device.

        `electrons` where they are known already. Raises UserError where there are no atoms.
        """
        if not len(atoms):
            raise UserError("the structure has no atoms")
        charge, multiplicity = electrons or self.electrons(atoms)
        graph = self._skin.graph(
            atoms.positions,
            atoms.numbers,
            cell=atoms.cell.array,
            pbc=atoms.pbc,
            total_charge=charge,
            spin_multiplicity=multiplicity,
        )
        return graph if self._device.type == "cpu" else graph.to(self._device)

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """Return what changed since the last calculation.

        Charges written in `info` count, which ASE's own comparison does not see.
        """
        if self.atoms is None:
            return list(all_changes)
        changes = changes_between(self.atoms, atoms)
        if self.electrons(atoms) != self._electrons:
            changes.append("initial_charges")
        return changes

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Compute everything the model gives for this structure; ASE calls it."""
        atoms = self.atoms if atoms is None else atoms
        if atoms is None:
            raise UserError("the calculator has no structure to compute; give it one")
        with self._in_use:
            self._compute(atoms, system_changes)

    def _compute(self, atoms: Atoms, system_changes: list[str]) -> None:
        electrons = self.electrons(atoms)
        graph = self.graph(atoms, electrons)
        if self._electrons != electrons or set(system_changes) - {"positions", "cell"}:
            self.unsafe_reason = why_unsafe(self.model, graph, unsafe=self.unsafe)
        outputs = self.model.compute(graph, forces=True, stress=bool(atoms.pbc.all()))
        (predictions,) = split_outputs(self.model, graph, outputs)
        refuse_not_finite(self.model, predictions)
        self.predictions = predictions
        self.results = ase_results(self.predictions)
        self.atoms = atoms.copy()
        self._electrons = electrons

    def get_property(
        self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        """Return a property in ASE's units and conventions, or a spread.

        Raises PropertyNotImplementedError that says why the model or the structure has none.
        """
        with self._in_use:
            known = self.atoms if atoms is None else atoms
            spreads = spread_names(self.model)
            reason = why_not(self.model, name, [*self.implemented_properties, *spreads], known)
            if reason is not None:
                raise PropertyNotImplementedError(reason)
            if name not in spreads:
                return super().get_property(name, atoms, allow_calculation)
            changes = all_changes if known is None else self.check_state(known)
            if changes and not allow_calculation:
                return None
            if changes:
                self.calculate(known, [name], changes)
            return copy.copy(self.predictions[name])

    def energy_and_forces(self, atoms: Atoms) -> tuple[float, np.ndarray]:
        """Return the energy, eV, and forces (N, 3), eV/Å, of one computation.

        Other threads come before or after it, not between. Errors as of `get_property`.
        """
        with self._in_use:
            return self.get_property("energy", atoms), self.get_property("forces", atoms)

    def get_hessian(self, atoms: Atoms) -> np.ndarray:
        """Return d2E/dx2: (3N, 3N), eV/Å², symmetric; rows atom by atom, x y z.

        Raises UserError for structures and models that have none.
        """
        with self._in_use:
            graph = self.graph(atoms)
            why_unsafe(self.model, graph, unsafe=self.unsafe)
            return self.model.hessian(graph).cpu().numpy()

    def labels(self, atoms: Atoms) -> dict[str, Any]:
        """Return the labels of a result: `records.result_labels`, and `unsafe` where it is."""
        charge, multiplicity = self.electrons(atoms)
        labels = result_labels(self.model, atoms, total_charge=charge, multiplicity=multiplicity)
        return {**labels, "unsafe": self.unsafe_reason} if self.unsafe_reason else labels

    def todict(self, skip_default: bool = True) -> dict[str, Any]:
        """Return what ASE stores about the calculator."""
        return dict(self.parameters)
