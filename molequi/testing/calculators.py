"""A foreign ASE calculator in the place of a model, for the physics report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeGuard

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, Calculator
from torch import Tensor

from molequi.diagnostics.model_runner import CheckableModel
from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph
from molequi.models.metadata import ModelMetadata
from molequi.models.probes import built_in_probes
from molequi.models.structure import Structure
from molequi.nn.backbones.base import Capabilities
from molequi.properties import PROPERTIES
from molequi.structures.atoms import charge_of, check_atoms, multiplicity_of, with_electrons

Subject = CheckableModel | BaseCalculator | Callable[[], "CheckableModel | BaseCalculator"]
# ASE's names of what the report can turn, mirror and add up.
_RESULTS = ("energy", "energies", "forces", "stress", "dipole", "charges")
_PER_ATOM = ("energies", "forces", "charges")
_ORGANIC = (1, 6, 7, 8)


class CalculatorModel:
    """What an ASE calculator gives, as a `CheckableModel`.

    calculator: of ASE. elements: atomic numbers that it may be asked for. Its cutoff is not known,
    so that jumps are looked for at all distances.

    Where the calculator has a free energy, this is the energy here: forces are its gradient. Charge
    and multiplicity reach it by `structures.atoms.with_electrons`.
    """

    def __init__(
        self,
        calculator: BaseCalculator,
        *,
        elements: Sequence[int] = _ORGANIC,
    ) -> None:
        self.calculator, self.elements = calculator, tuple(elements)
        given = set(calculator.implemented_properties)
        self._names = [name for name in _RESULTS if name in given]
        if "energy" not in given:
            raise UserError(
                f"the calculator {self.name} gives {', '.join(sorted(given)) or 'nothing'}; the "
                "report needs one with an energy"
            )
        self._no_forces_reason = None if "forces" in given else "the calculator gives none"
        self._energy = "free_energy" if "free_energy" in given else "energy"
        self.outputs = tuple(n for n in self._names if n not in {"forces", "stress", "energies"})
        self.properties = {name: PROPERTIES[name] for name in self.outputs}
        self.metadata = ModelMetadata(name=self.name)

    @property
    def name(self) -> str:
        """Name of the calculator's class."""
        return type(self.calculator).__name__

    @property
    def cutoff(self) -> None:
        """None: the calculator finds its neighbours itself."""

    @property
    def dtype(self) -> torch.dtype:
        """Number type whose limits count: a calculator may iterate to self-consistency."""
        return torch.float32

    @property
    def device(self) -> torch.device:
        """The CPU, where ASE's arrays are."""
        return torch.device("cpu")

    @property
    def capabilities(self) -> Capabilities:
        """What any calculator can do."""
        return Capabilities(no_forces_reason=self._no_forces_reason)

    def compute(self, graph: AtomGraph, *, forces: bool, stress: bool) -> dict[str, Tensor]:
        """Compute the structures of a graph one after the other.

        Raises UserError that says on which one the calculator failed.
        """
        if isinstance(self.calculator, Calculator):
            self.calculator.reset()  # so that a second call is a second computation
        ends = np.cumsum(np.bincount(graph.batch.numpy(), minlength=graph.n_molecules))
        found = []
        for molecule, end in enumerate(ends):
            start = int(ends[molecule - 1]) if molecule else 0
            atoms = _atoms(graph, molecule, slice(start, int(end)))
            found.append(self._results(atoms, with_stress=stress))
            # What it does to its atoms happens to the graph, where the report looks.
            graph.positions[start:end] = torch.as_tensor(atoms.positions)
        return {name: _joined([results[name] for results in found], name) for name in found[0]}

    def _results(self, atoms: Atoms, *, with_stress: bool) -> dict[str, np.ndarray]:
        results = {}
        for name in self._names:
            if name == "stress" and not with_stress:
                continue
            if name == "stress" and not atoms.pbc.all():
                results[name] = np.full((3, 3), np.nan)
                continue
            value = self._property(name, atoms)
            results[name] = _full(value) if name == "stress" else value
        return results

    def _property(self, name: str, atoms: Atoms) -> np.ndarray:
        try:
            asked = self._energy if name == "energy" else name
            return np.array(self.calculator.get_property(asked, atoms), dtype=np.float64)
        except Exception as error:  # what a foreign program raises is its answer
            what = " ".join(str(error).split())
            raise UserError(
                f"the calculator {self.name} has no {name} of {atoms.get_chemical_formula()} with "
                f"pbc {atoms.pbc.tolist()}: {type(error).__name__}: {what}"
            ) from error


def as_checkable(subject: Subject, structures: Sequence[Structure] = ()) -> CheckableModel:
    """Return a model as it is, and a calculator, or what makes one, as a `CalculatorModel`.

    structures: of whose elements a calculator may be asked. Raises UserError for anything else.
    """
    made: object = subject() if _is_factory(subject) else subject
    if isinstance(made, BaseCalculator):
        elements = sorted({int(z) for structure in structures for z in structure.atomic_numbers})
        return CalculatorModel(made, elements=elements or _ORGANIC)
    if not isinstance(made, CheckableModel):
        raise UserError(
            f"{made!r:.80} is neither a model nor an ASE calculator, nor a function without "
            "arguments that returns one"
        )
    return made


def default_structures() -> list[Structure]:
    """Return two organic molecules as they are in nature; not every calculator takes the others."""
    return built_in_probes(_ORGANIC)[1:3]


def structure_of(atoms: Atoms, name: str) -> Structure:
    """Return what a report needs of ASE's atoms.

    Raises UserError for atoms that make no structure.
    """
    check_atoms(atoms)
    charge = charge_of(atoms)
    return Structure(
        name,
        np.array(atoms.positions),
        np.array(atoms.numbers),
        np.array(atoms.cell),
        np.array(atoms.pbc),
        charge,
        multiplicity_of(atoms, charge),
    )


def _is_factory(subject: Subject) -> TypeGuard[Callable[[], object]]:
    """Whether something makes a calculator; models and calculators may be callable themselves."""
    is_made = isinstance(subject, torch.nn.Module | BaseCalculator)
    return isinstance(subject, type) or (callable(subject) and not is_made)


def _atoms(graph: AtomGraph, molecule: int, mine: slice) -> Atoms:
    atoms = Atoms(
        graph.atomic_numbers[mine].numpy(),
        graph.positions[mine].numpy(),
        cell=graph.cell[molecule].numpy(),
        pbc=graph.pbc[molecule].numpy(),
    )
    charge, multiplicity = graph.total_charge[molecule], graph.spin_multiplicity[molecule]
    return with_electrons(atoms, int(charge), int(multiplicity))


def _full(stress: np.ndarray) -> np.ndarray:
    """Return (3, 3) for ASE's (6,): xx, yy, zz, yz, xz, xy."""
    return stress if stress.shape == (3, 3) else stress[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]


def _joined(values: Sequence[np.ndarray], name: str) -> Tensor:
    return torch.as_tensor(np.concatenate(values) if name in _PER_ATOM else np.stack(values))
