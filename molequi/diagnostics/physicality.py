"""Physics that a model should have learned, measured without data.

The laws of `diagnostics.check` hold for every model of ours by construction. What is measured here
may go wrong in training: repulsive walls, rings, bond lengths. Values have units, and limits are
those beyond which others who measure the same call a model bad.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from ase.data import chemical_symbols

from molequi.diagnostics.bounds import BOUNDS
from molequi.diagnostics.dimers import (
    DimerCurve,
    dimer_curves,
    dimer_deviations,
    lowest_electrons,
)
from molequi.diagnostics.known_molecules import flat_rings, known_molecules
from molequi.diagnostics.limits import Measurement
from molequi.diagnostics.model_runner import CheckableModel, Deviation, ModelRunner, ratio
from molequi.diagnostics.shapes import bond_lengths, ring_planarity
from molequi.errors import UserError
from molequi.models.molecular import MolecularModel
from molequi.models.probes import built_in_probes
from molequi.models.structure import Structure, random_rotation

_FAR = 100.0  # Å
_MEV = 1000.0
_N_MOLECULES = 4
_RATTLE = 0.1  # Å, so that no symmetry hides a fault
_STEP = 0.005  # Å, of the finite differences


class PhysicsReport(NamedTuple):
    """One measurement per test, and the curves of all pairs of elements, for a plot."""

    measurements: dict[str, Measurement]
    curves: list[DimerCurve]


def check_physics(model: CheckableModel, *, seed: int = 0) -> PhysicsReport:
    """Measure a model, or a foreign one by `testing.calculators.as_checkable`.

    Tests for which the model knows no molecule are absent; what a calculator cannot compute is a
    value that is not a number. Raises UserError for a model without energy or forces.
    """
    runner = ModelRunner(model)
    if not runner.has_forces:
        raise UserError(
            f"{model.metadata.name} gives no energy with forces, whose physics could be measured"
        )
    curves: list[DimerCurve] = []
    found: dict[str, Measurement] = {}
    for name, deviations_of in _measures(runner, np.random.default_rng(seed), curves).items():
        try:
            for deviation in deviations_of():
                _keep_worst(found, deviation)
        except UserError as error:
            _keep_worst(found, Deviation(name, float("nan"), str(error)))
    return PhysicsReport({test: found[test] for test in BOUNDS if test in found}, curves)


def _keep_worst(found: dict[str, Measurement], deviation: Deviation) -> None:
    test, value, where = deviation
    # Written so that a value which is not a number is kept as the worst.
    if test not in found or not value <= found[test].value:
        limit, unit, description = BOUNDS[test]
        found[test] = Measurement(value, limit, unit, description, where)


def _measures(
    runner: ModelRunner, rng: np.random.Generator, curves: list[DimerCurve]
) -> dict[str, Callable[[], Iterator[Deviation]]]:
    """Return what measures which tests; the keys name one of them. Curves are put into `curves`."""
    elements = runner.model.elements
    molecules = _molecules(runner, rng)
    return {
        "rotation_energy": lambda: _rotation(runner, molecules, rng),
        "translation_energy": lambda: _translation(runner, molecules),
        "ghost_atoms": lambda: _ghosts(runner, molecules),
        "extensivity": lambda: _extensivity(runner, molecules),
        "jacobian_asymmetry": lambda: _asymmetry(runner, molecules),
        "ring_planarity": lambda: ring_planarity(runner, flat_rings(elements), rng),
        "bond_lengths": lambda: bond_lengths(runner, known_molecules(elements)),
        "dimer_minima": lambda: _dimers(runner, curves),
    }


def _molecules(runner: ModelRunner, rng: np.random.Generator) -> list[Structure]:
    """Return some of the known molecules of the model's elements, rattled; else a cluster."""
    elements = runner.model.elements
    known = [one.structure for one in known_molecules(elements) if len(one.bonds) > 1]
    chosen = [*flat_rings(elements)[-2:], *known[-2:]][:_N_MOLECULES]
    if not chosen:
        chosen = [_as_computed(runner, built_in_probes(elements)[0])]
    return [
        one.at(one.positions + _RATTLE * rng.standard_normal(one.positions.shape)) for one in chosen
    ]


def _rotation(
    runner: ModelRunner, molecules: Sequence[Structure], rng: np.random.Generator
) -> Iterator[Deviation]:
    for one in molecules:
        matrix = random_rotation(rng)
        before, after = runner.observe([one, one.mapped(matrix)])
        yield from _changes("rotation", one, before, after, before["forces"] @ matrix.T)


def _translation(runner: ModelRunner, molecules: Sequence[Structure]) -> Iterator[Deviation]:
    for one in molecules:
        before, after = runner.observe([one, one.at(one.positions + _FAR)])
        yield from _changes("translation", one, before, after, before["forces"])


def _changes(
    test: str,
    one: Structure,
    before: Mapping[str, np.ndarray],
    after: Mapping[str, np.ndarray],
    forces: np.ndarray,
) -> Iterator[Deviation]:
    energy = abs(float(after["energy"] - before["energy"])) / len(one.positions)
    yield Deviation(f"{test}_energy", _MEV * energy, one.name)
    yield Deviation(f"{test}_forces", _MEV * _largest(after["forces"] - forces), one.name)


def _ghosts(runner: ModelRunner, molecules: Sequence[Structure]) -> Iterator[Deviation]:
    for k, ghost in enumerate(_far_things(runner)):
        one = molecules[k % len(molecules)]
        both = _as_computed(runner, one.beside(ghost, _FAR))
        alone, together = runner.observe([one, both])
        change = together["forces"][: len(one.positions)] - alone["forces"]
        yield Deviation("ghost_atoms", _MEV * _largest(change), f"{one.name} and {ghost.name}")


def _far_things(runner: ModelRunner) -> list[Structure]:
    """Return an atom of every element; for a foreign model, if it can, molecules without spin.

    Self-consistent fields of lone atoms often do not converge, which says nothing of distances.
    """
    elements = sorted(runner.model.elements)
    closed = [one.structure for one in known_molecules(elements)]
    if closed and not isinstance(runner.model, MolecularModel):
        return closed[:_N_MOLECULES]
    return [
        Structure(f"an atom of {chemical_symbols[number]}", np.zeros((1, 3)), np.array([number]))
        for number in elements
    ]


def _as_computed(runner: ModelRunner, one: Structure) -> Structure:
    charge, multiplicity = lowest_electrons(runner.model, one.atomic_numbers.tolist())
    return dataclasses.replace(one, total_charge=charge, spin_multiplicity=multiplicity)


def _extensivity(runner: ModelRunner, molecules: Sequence[Structure]) -> Iterator[Deviation]:
    for one in molecules:
        alone, together = runner.observe([one, one.beside(one, _FAR)])
        excess = abs(float(together["energy"] - 2.0 * alone["energy"]))
        yield Deviation("extensivity", _MEV * excess, one.name)


def _asymmetry(runner: ModelRunner, molecules: Sequence[Structure]) -> Iterator[Deviation]:
    for one in molecules:
        moves = _STEP * np.eye(one.positions.size).reshape(-1, *one.positions.shape)
        found = runner.observe(
            [one.at(one.positions + s * move) for move in moves for s in (1, -1)]
        )
        forces = np.array([outputs["forces"].ravel() for outputs in found])
        jacobian = (forces[::2] - forces[1::2]) / (2.0 * _STEP)
        odd = 0.5 * np.linalg.norm(jacobian - jacobian.T)
        size = float(np.linalg.norm(jacobian))
        yield Deviation("jacobian_asymmetry", ratio(float(odd), size), one.name)


def _dimers(runner: ModelRunner, curves: list[DimerCurve]) -> Iterator[Deviation]:
    """Measure all pairs; of each test the worst pair is named, and the others beyond the limit."""
    failures = 0
    measured: dict[str, list[Deviation]] = {}
    yield Deviation("dimer_failures", 0.0, "no pair")
    for found in dimer_curves(runner):
        if isinstance(found, Deviation):
            failures += 1
            yield found._replace(value=float(failures))
            continue
        curves.append(found)
        for deviation in dimer_deviations(runner, found):
            measured.setdefault(deviation.test, []).append(deviation)
    for test, deviations in measured.items():
        worst, *others = sorted(deviations, key=lambda deviation: -deviation.value)
        beyond = [one.where.split()[0] for one in others if not one.value <= BOUNDS[test].limit]
        also = f"; beyond the limit too: {' '.join(beyond)}" if beyond else ""
        yield worst._replace(where=worst.where + also)


def _largest(forces: np.ndarray) -> float:
    return float(np.linalg.norm(forces, axis=1).max(initial=0.0))
