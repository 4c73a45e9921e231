"""Energies of many structures, by a model or by an ASE calculator; a refused one says why.

How a calculator is told the electrons of a structure, for there is no one way: as
`info["charge"]`, `info["spin_multiplicity"]` and `info["spin"]` (the multiplicity too); as initial
charges and magnetic moments that add up to them; and as arguments of its factory, where that has a
`charge` or `total_charge`, and a `multiplicity` or `spin_multiplicity`.
"""

from __future__ import annotations

import functools
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph, collate
from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.models.zoo import frozen_model
from molequi.structures.atoms import (
    charge_of,
    graph_from_atoms,
    multiplicity_of,
    with_electrons,
)
from molequi.structures.batching import in_batches

# Few enough that what plain torch makes of the edges is memory used again and again, and not mapped
# anew for every batch, which took half of the time; a GPU wants many.
_ATOMS_PER_BATCH, _ATOMS_ON_GPU = 128, 8192
_CHARGE_ARGUMENTS = ("charge", "total_charge")
_MULTIPLICITY_ARGUMENTS = ("multiplicity", "spin_multiplicity")

Factory = Callable[..., BaseCalculator]


class Refusal(NamedTuple):
    """Why there is no energy."""

    reason: str


Energies = list["float | Refusal"]
# Gets the size of a batch and what computes it, and returns its energies.
Answer = Callable[[int, Callable[[], Energies]], Energies]


def at_once(_size: int, compute: Callable[[], Energies]) -> Energies:
    """Compute a batch, and no more."""
    return compute()


class EnergySource(ABC):
    """What gives energies: a model or a calculator."""

    @abstractmethod
    def energies(self, structures: Sequence[Atoms], answer: Answer = at_once) -> Energies:
        """Return the energy of every structure, eV, or why there is none.

        answer: called for every batch in turn, so that it may be kept, or known already.
        """


class ModelEnergies(EnergySource):
    """Energies of a model, in batches of a hundred atoms or so, or of `batch_size` structures.

    Raises UserError for a model without an energy.
    """

    def __init__(
        self, model: MolecularModel | FrozenModel, *, batch_size: int | None = None
    ) -> None:
        self.model, self.batch_size = frozen_model(model), batch_size
        if "energy" not in self.model.outputs:
            raise UserError(
                f"model {self.model.metadata.name} gives {', '.join(self.model.outputs)}, but no "
                "energy; a suite compares energies"
            )

    def energies(self, structures: Sequence[Atoms], answer: Answer = at_once) -> Energies:
        """Return the energy of every structure, eV, or why there is none."""
        found = [self._prepare(atoms) for atoms in structures]
        energies: Energies = [
            Refusal("") if isinstance(graph, AtomGraph) else graph for graph in found
        ]
        graphs = {place: graph for place, graph in enumerate(found) if isinstance(graph, AtomGraph)}
        self.model.expect(sum(graph.edge_index.shape[1] for graph in graphs.values()))
        for batch in self._batches(list(graphs), structures):
            compute = functools.partial(self._compute, [graphs[place] for place in batch])
            for place, energy in zip(batch, answer(len(batch), compute), strict=True):
                energies[place] = energy
        return energies

    def _compute(self, graphs: Sequence[AtomGraph]) -> Energies:
        graph = collate(graphs).to(self.model.device)
        values = self.model.compute(graph, forces=False)["energy"]
        return [_finite(value, "the model") for value in values.tolist()]

    def _prepare(self, atoms: Atoms) -> AtomGraph | Refusal:
        try:
            graph = graph_from_atoms(atoms, self.model.cutoff)
            self.model.check_input(graph)
        except UserError as error:
            return Refusal(str(error))
        return graph

    def _batches(self, places: Sequence[int], structures: Sequence[Atoms]) -> Iterator[list[int]]:
        most = _ATOMS_PER_BATCH if self.model.device.type == "cpu" else _ATOMS_ON_GPU
        limit = {"atoms": most} if self.batch_size is None else {"count": self.batch_size}
        return in_batches(places, lambda place: len(structures[place]), **limit)


class CalculatorEnergies(EnergySource):
    """Energies of an ASE calculator, one structure after the other.

    make: a calculator, or what makes one; a factory that takes charge or multiplicity is called
    once for each pair of them. What the calculator raises is the reason of a refusal.
    """

    def __init__(self, make: BaseCalculator | Factory) -> None:
        self._make = make
        self._made: dict[tuple[tuple[str, int], ...], BaseCalculator] = {}
        self._arguments = () if isinstance(make, BaseCalculator) else _arguments_of(make)

    def energies(self, structures: Sequence[Atoms], answer: Answer = at_once) -> Energies:
        """Return the energy of every structure, eV, or why there is none."""
        return [answer(1, functools.partial(self._alone, atoms))[0] for atoms in structures]

    def _alone(self, atoms: Atoms) -> Energies:
        return [self._energy(atoms)]

    def compute(self, atoms: Atoms, names: Sequence[str]) -> dict[str, Any] | Refusal:
        """Return the properties that ASE calls by these names, in its units, or why there are none.

        What is no finite number, or of another shape, is none. Raises UserError where the factory
        makes something else than a calculator.
        """
        charge = charge_of(atoms)
        multiplicity = multiplicity_of(atoms, charge)
        try:
            calculator = self._calculator(charge, multiplicity)
            given = with_electrons(atoms, charge, multiplicity)
            found = {name: calculator.get_property(name, given) for name in names}
        except _NoCalculatorError as error:
            raise UserError(str(error)) from error
        except Exception as error:  # noqa: BLE001  # what a foreign program raises is its answer
            return Refusal(f"{type(error).__name__}: {' '.join(str(error).split())}")
        for name, value in found.items():
            doubt = _why_no_value(name, value, len(atoms))
            if doubt is not None:
                return Refusal(f"the calculator gives {doubt}")
        return found

    def _energy(self, atoms: Atoms) -> float | Refusal:
        found = self.compute(atoms, ["energy"])
        return found if isinstance(found, Refusal) else np.asarray(found["energy"]).item()

    def _calculator(self, charge: int, multiplicity: int) -> BaseCalculator:
        if isinstance(self._make, BaseCalculator):
            return self._make
        given = {
            **dict.fromkeys(_CHARGE_ARGUMENTS, charge),
            **dict.fromkeys(_MULTIPLICITY_ARGUMENTS, multiplicity),
        }
        chosen = tuple((name, given[name]) for name in self._arguments)
        if chosen not in self._made:
            made = self._make(**dict(chosen))
            if not isinstance(made, BaseCalculator):
                raise _NoCalculatorError(
                    f"the factory gives a {type(made).__name__}, which is no ASE calculator"
                )
            self._made[chosen] = made
        return self._made[chosen]


class _NoCalculatorError(TypeError):
    """A factory made something else: no structure is to blame."""


def _arguments_of(make: Factory) -> tuple[str, ...]:
    """Name the arguments of a factory that stand for charge and multiplicity."""
    try:
        parameters = inspect.signature(make).parameters
    except ValueError:  # some classes written in C do not say
        return ()
    return tuple(n for n in (*_CHARGE_ARGUMENTS, *_MULTIPLICITY_ARGUMENTS) if n in parameters)


def _finite(energy: float, who: str) -> float | Refusal:
    return energy if math.isfinite(energy) else Refusal(f"{who} gives no finite energy")


def _why_no_value(name: str, value: Any, n_atoms: int) -> str | None:
    """Say what a foreign program gave where it should have given finite numbers; None if it did."""
    if value is None:
        return f"no finite {name}"
    try:
        numbers = np.asarray(value)
    except ValueError:  # of lists of different lengths
        return f"no array of numbers as {name}"
    if numbers.dtype.kind not in "iuf":
        return f"{_shortened(value)} as {name}, which is no number"
    shape = {"forces": (n_atoms, 3), "dipole": (3,)}.get(name, numbers.shape)
    if numbers.shape != shape or (name == "energy" and numbers.size != 1):
        return f"{name} of the shape {numbers.shape}"
    return None if np.isfinite(numbers).all() else f"no finite {name}"


def _shortened(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else f"{text[:40]}..."
