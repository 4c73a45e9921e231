"""Two atoms alone, near and far: the curve of every pair of elements, and what is wrong with it.

A curve runs from half the sum of the covalent radii to beyond the reach of the model. Healthy ones
have one minimum or none, rise all the way down the repulsive wall, and change as the work of their
forces says.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from ase.data import chemical_symbols, covalent_radii

from molequi.diagnostics.model_runner import CheckableModel, Deviation, ModelRunner
from molequi.errors import UserError
from molequi.models.molecular import MolecularModel
from molequi.models.structure import Structure

# In units of the sum of the covalent radii: where a curve begins, where no bond is shorter (that of
# N2 is 0.77), and how far it goes at least.
_BEGIN, _WALL, _END = 0.5, 0.7, 2.5
_UNKNOWN_REACH = 6.0  # Å, where a calculator does not say how far it sees
_STEP, _BEYOND = 0.02, 0.5  # Å
# eV/Å: forces below it, such as the last digits of a far pair, are none.
_NO_FORCE = 5e-3
# Energy and work agree to this, eV, where nothing jumps; else the place is parted into so many, so
# often, of which each has this many nodes.
_FITS, _FINER, _CLOSER, _N_NODES = 1e-3, 8, 3, 4


class DimerCurve(NamedTuple):
    """Energy and force of two atoms over their distance.

    numbers: atomic numbers. distances: (K,), Å, ascending, at equal steps. energies: (K,), eV, zero
    at the last. forces: (K,), eV/Å, positive where they repel.
    """

    numbers: tuple[int, int]
    distances: np.ndarray
    energies: np.ndarray
    forces: np.ndarray

    @property
    def length(self) -> float:
        """Sum of the covalent radii, Å."""
        return float(covalent_radii[list(self.numbers)].sum())

    @property
    def symbols(self) -> tuple[str, str]:
        """Symbols of the two elements."""
        return chemical_symbols[self.numbers[0]], chemical_symbols[self.numbers[1]]

    @property
    def name(self) -> str:
        """The pair, as C-O."""
        return "-".join(self.symbols)

    def n_minima(self) -> int:
        """Count how often the force turns from repulsion to attraction, going out."""
        signs = np.sign(np.where(np.abs(self.forces) < _NO_FORCE, 0.0, self.forces))
        turns = np.diff(signs[signs != 0])
        return int((turns < 0).sum())

    def hole(self) -> tuple[float, float]:
        """Return by how much the energy falls, eV, where the wall should rise; and where, Å."""
        wall = self.distances <= _WALL * self.length
        energies = self.energies[wall]
        fall = np.maximum.accumulate(energies[::-1])[::-1] - energies
        worst = int(np.argmax(fall))
        return float(fall[worst]), float(self.distances[worst])

    def misfits(self) -> tuple[np.ndarray, np.ndarray]:
        """Return changes of the energy without work of the force, eV; and where, Å.

        Over two steps each, one behind the other: (K - 1) // 2. Work by Simpson's rule.
        """
        step = self.distances[1] - self.distances[0]
        work = step / 3.0 * (self.forces[:-2:2] + 4.0 * self.forces[1:-1:2] + self.forces[2::2])
        return self.energies[2::2] - self.energies[:-2:2] + work, self.distances[1:-1:2]


def dimer_curves(runner: ModelRunner) -> Iterator[DimerCurve | Deviation]:
    """Compute the curves of all pairs of a model's elements.

    Where a calculator fails for a pair, a deviation of `dimer_failures` says how.
    """
    for pair in itertools.combinations_with_replacement(sorted(runner.model.elements), 2):
        try:
            yield _curve(runner, pair)
        except UserError as error:
            yield Deviation("dimer_failures", 1.0, str(error))


def dimer_deviations(runner: ModelRunner, curve: DimerCurve) -> Iterator[Deviation]:
    """Measure a curve: `dimer_minima`, `dimer_holes` (eV) and `dimer_jumps` (eV)."""
    yield Deviation("dimer_minima", float(curve.n_minima()), curve.name)
    size, place = curve.hole()
    yield Deviation("dimer_holes", size, f"{curve.name} at {place:.2f} Å")
    size, place = _largest_misfit(runner, curve)
    yield Deviation("dimer_jumps", size, f"{curve.name} at {place:.2f} Å")


def _largest_misfit(runner: ModelRunner, curve: DimerCurve) -> tuple[float, float]:
    """Return the largest change of the energy that no force explains, eV; and where, Å.

    Beyond the wall, and from the worst place on for as long as a closer look may find a worse one.
    """
    step = curve.distances[1] - curve.distances[0]
    misfits, places = curve.misfits()
    is_beyond = places - step >= _WALL * curve.length
    misfits, places = misfits[is_beyond], places[is_beyond]
    order = np.argsort(-np.nan_to_num(np.abs(misfits), nan=np.inf))
    found = 0.0, float(places[order[0]])
    for size, place in zip(misfits[order].tolist(), places[order].tolist(), strict=True):
        if abs(size) < max(found[0], _FITS):
            break
        closer = _looked_closer(runner, curve.numbers, (size, place), step)
        if np.isnan(closer[0]):
            return closer
        found = max(found, closer)
    return found if found[0] else (abs(float(misfits[order[0]])), found[1])


def _looked_closer(
    runner: ModelRunner, numbers: tuple[int, int], misfit: tuple[float, float], step: float
) -> tuple[float, float]:
    """Measure a misfit over two steps anew; return its size, eV, and where most of it is, Å.

    A jump stays, and so does what wrong forces leave out; a steep but smooth place does not.
    """
    whole, (part, place) = misfit[0], misfit
    for _ in range(_CLOSER):
        if abs(part) < _FITS:
            break
        edges = np.linspace(place - step, place + step, _FINER + 1)
        parts = _misfits_between(runner, numbers, edges)
        whole += float(parts.sum()) - part
        worst = int(np.argmax(np.abs(parts)))
        step /= _FINER
        part, place = float(parts[worst]), float(edges[worst] + step)
    return abs(whole), place


def _misfits_between(
    runner: ModelRunner, numbers: tuple[int, int], edges: np.ndarray
) -> np.ndarray:
    """Return changes of the energy without work, eV, between (n + 1,) edges, Å: (n,).

    Work by Gauss and Legendre, to the last digit of energies however steep a wall is.
    """
    nodes, weights = np.polynomial.legendre.leggauss(_N_NODES)
    half = 0.5 * np.diff(edges)
    inner = edges[:-1, None] + half[:, None] * (1.0 + nodes)
    energies, forces = _measured(runner, numbers, np.concatenate([edges, inner.ravel()]))
    work = half * (forces[len(edges) :].reshape(inner.shape) @ weights)
    return np.diff(energies[: len(edges)]) + work


def _curve(runner: ModelRunner, pair: tuple[int, int]) -> DimerCurve:
    length = float(covalent_radii[list(pair)].sum())
    reach = runner.model.cutoff or _UNKNOWN_REACH
    end = max(_END * length, reach) + _BEYOND
    distances = np.arange(_BEGIN * length, end, _STEP)
    energies, forces = _measured(runner, pair, distances)
    return DimerCurve(pair, distances, energies - energies[-1], forces)


def _measured(
    runner: ModelRunner, pair: tuple[int, int], distances: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return energies, eV, and forces, eV/Å, positive where two atoms repel: (K,) each."""
    charge, multiplicity = lowest_electrons(runner.model, pair)
    dimer = Structure(
        "dimer",
        np.zeros((2, 3)),
        np.array(pair),
        total_charge=charge,
        spin_multiplicity=multiplicity,
    )
    found = runner.observe([dimer.at(np.array([[0.0] * 3, [0.0, 0.0, r]])) for r in distances])
    energies = np.array([float(outputs["energy"]) for outputs in found])
    return energies, np.array([outputs["forces"][1, 2] for outputs in found])


def lowest_electrons(model: CheckableModel, numbers: Sequence[int]) -> tuple[int, int]:
    """Return the charge and multiplicity with which atoms are computed.

    For a model of ours what it was trained on, whatever the number of electrons; a foreign one,
    which may count them, gets the lowest multiplicity that they allow.
    """
    if not isinstance(model, MolecularModel):
        return 0, 1 + int(sum(numbers)) % 2
    states = model.metadata.charge_multiplicity
    return states[0] if states and (0, 1) not in states else (0, 1)
