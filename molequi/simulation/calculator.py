"""The ASE calculator: a model behind `atoms.get_potential_energy()`."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any, NamedTuple

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import PropertyNotImplementedError, all_changes

from molequi.errors import UnknownElementError, UserError
from molequi.graphs.graph import AtomGraph
from molequi.graphs.verlet import VerletList
from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.models.zoo import frozen_model
from molequi.prediction.records import (
    ASE_NAMES,
    Values,
    ase_results,
    result_labels,
    split_outputs,
    spreads,
)
from molequi.structures.atoms import charge_of, multiplicity_of

logger = logging.getLogger(__name__)


class Electrons(NamedTuple):
    """What a structure is computed with: its total charge, e, and its spin multiplicity."""

    charge: int
    multiplicity: int


_SLAB_STRESS = (
    "for a slab switch pbc on along all axes, with vacuum above the cutoff, and hold the axis of "
    "the vacuum, for c by FrechetCellFilter(atoms, mask=[1, 1, 0, 0, 0, 1])"
)
# What may be changed after a calculator was made: `Calculator.set`.
_CHANGEABLE = ("charge", "spin_multiplicity", "unsafe")


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
    `results` have beside ASE's own names the spreads `forces_std` and `energy_std` of a model that
    gives them.
    `parameters` say what it was made with; `set` changes charge, spin_multiplicity and unsafe.
    Threads may share a calculator: one computes while the others wait. Calculators that share a
    frozen model agree to rounding alone where its `auto` kernels change in between.
    Raises UserError for structures the model does not know.
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
        _refuse_without_forces(self.model)
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
        self.implemented_properties = _ase_properties(self.model)
        self._skin = VerletList(self.model.cutoff, skin)
        self._kept: Atoms | None = None
        self._electrons: Electrons | None = None
        self._device = self.model.device
        self._in_use = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the lock, which belongs to this process and object."""
        return {name: value for name, value in vars(self).items() if name != "_in_use"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what another calculator was."""
        vars(self).update(state)
        self._in_use = threading.RLock()

    def set(self, **changes: Any) -> dict[str, Any]:
        """Change charge, spin_multiplicity or unsafe; returns what is new. Results are forgotten.

        Raises UserError for anything else.
        """
        for name in changes:
            if name not in _CHANGEABLE:
                raise UserError(
                    f"a calculator cannot change its {name}; `set` takes "
                    f"{', '.join(_CHANGEABLE)}, and the rest is said when it is made"
                )
        return super().set(**changes)

    def electrons(self, atoms: Atoms) -> Electrons:
        """Return the charge, e, and the spin multiplicity that a structure is computed with."""
        charge = charge_of(atoms, self.charge)
        if self.spin_multiplicity is not None:
            return Electrons(charge, self.spin_multiplicity)
        return Electrons(charge, multiplicity_of(atoms, charge))

    def graph(self, atoms: Atoms, electrons: Electrons | None = None) -> AtomGraph:
        """Return the structure as the model sees it, on the model's device.

        `electrons` where they are known already.
        """
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

        Exact, and charges written in `info` count.

        ASE's own comparison takes longer than a small model; and a changed `info['charge']` would
        go unseen.
        """
        last = self.atoms
        if last is None:
            return list(all_changes)
        changes = [
            name
            for name in ("numbers", "positions")
            if not np.array_equal(getattr(last, name), getattr(atoms, name))
        ]
        if not np.array_equal(last.cell.array, atoms.cell.array):
            changes.append("cell")
        if not np.array_equal(last.pbc, atoms.pbc):
            changes.append("pbc")
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
            self.unsafe_reason = _refusal(self.model, graph, unsafe=self.unsafe)
        outputs = self.model.compute(graph, forces=True, stress=bool(atoms.pbc.all()))
        (self.predictions,) = split_outputs(self.model, graph, outputs)
        self.results = ase_results(self.predictions) | spreads(self.model, self.predictions)
        self._remember(atoms, electrons)

    def _remember(self, atoms: Atoms, electrons: Electrons) -> None:
        """Keep what `check_state` compares with.

        Only a structure of other atoms is worth a full copy.
        """
        kept = self._kept
        if kept is None or not np.array_equal(kept.numbers, atoms.numbers):
            kept = self._kept = atoms.copy()
        else:
            kept.positions[:] = atoms.positions
            kept.cell[:] = atoms.cell
            kept.pbc[:] = atoms.pbc
        self.atoms, self._electrons = kept, electrons

    def get_property(
        self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        """Return a property in ASE's units and conventions.

        Raises PropertyNotImplementedError that says why the model or the structure has none.
        """
        with self._in_use:
            reason = self._why_not(name, self.atoms if atoms is None else atoms)
            if reason is not None:
                raise PropertyNotImplementedError(reason)
            return super().get_property(name, atoms, allow_calculation)

    def get_hessian(self, atoms: Atoms) -> np.ndarray:
        """Return d2E/dx2: (3N, 3N), eV/Å², symmetric; rows atom by atom, x y z.

        Raises UserError for structures and models that have none.
        """
        with self._in_use:
            graph = self.graph(atoms)
            _refusal(self.model, graph, unsafe=self.unsafe)
            return self.model.hessian(graph).cpu().numpy()

    def labels(self, atoms: Atoms) -> dict[str, Any]:
        """Return the labels of a result: `records.result_labels`, and `unsafe` where it is."""
        labels = result_labels(self.model, atoms, total_charge=self.electrons(atoms)[0])
        return {**labels, "unsafe": self.unsafe_reason} if self.unsafe_reason else labels

    def todict(self, skip_default: bool = True) -> dict[str, Any]:
        """Return what ASE stores about the calculator."""
        return dict(self.parameters)

    def _why_not(self, name: str, atoms: Atoms | None) -> str | None:
        if name not in self.implemented_properties:
            return f"this model has no {name}; it gives {', '.join(self.implemented_properties)}"
        if atoms is None:
            return None
        target = self.model.properties.get(name)
        if target is None or target.is_defined(atoms.pbc):
            return None
        reason = f"{target.condition}; this structure has pbc {atoms.pbc.tolist()}"
        return f"{reason}; {_SLAB_STRESS}" if name == "stress" and atoms.pbc.any() else reason


def _refuse_without_forces(model: FrozenModel) -> None:
    """Refuse a model whose energy has no continuous derivative: it cannot move atoms."""
    obstacle = model.capabilities.no_forces_reason
    if "energy" in model.outputs and obstacle is not None:
        raise UserError(
            f"model {model.metadata.name} has no continuous forces: {obstacle}; `molequi "
            "predict` gives its energies"
        )


def _ase_properties(model: FrozenModel) -> list[str]:
    """Name what the model gives of what ASE has names for, and the spreads that it gives."""
    beside_energy = {"free_energy", "energies"} if "energy" in model.properties else set()
    named = [name for name in ASE_NAMES if name in {*model.properties, *beside_energy}]
    return named + [name for name, row in model.properties.items() if row.spread_of]


def _refusal(model: FrozenModel, graph: AtomGraph, *, unsafe: bool) -> str | None:
    """Return what the model was not made for, None where all is well.

    Without `unsafe` that is an error.
    """
    try:
        model.check_input(graph)
    except UserError as error:
        if not unsafe or isinstance(error, UnknownElementError):
            raise
        logger.warning("outside the model: %s", error)
        return str(error)
    return None


def as_calculator(
    model: str | os.PathLike[str] | MolecularModel | FrozenModel | Calculator,
    *,
    dtype: torch.dtype | None = None,
) -> Calculator:
    """Return the calculator itself, or a new one of a model, for something that moves atoms.

    `dtype` is that of a new one, except of a frozen model, which keeps its own.

    Raises UserError for a model without an energy.
    """
    if isinstance(model, Calculator):
        calculator = model
    else:
        is_open = isinstance(model, str | os.PathLike | MolecularModel)
        calculator = Calculator(model, dtype=dtype if is_open else None)
    if "forces" not in calculator.implemented_properties:
        name, outputs = calculator.model.metadata.name, ", ".join(calculator.model.outputs)
        raise UserError(
            f"model {name} gives {outputs}, but no energy; to move atoms a model with an energy is "
            "needed"
        )
    return calculator
