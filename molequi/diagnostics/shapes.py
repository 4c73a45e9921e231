"""Shapes that a model gives molecules whose shapes are known: bond lengths, and flat rings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.optimize import minimize

from molequi.diagnostics.known_molecules import KnownMolecule
from molequi.diagnostics.model_runner import Deviation, ModelRunner
from molequi.models.structure import Structure

_FORCE = 5e-3  # eV/Å, left on any coordinate
_STEPS = 300
_PUSH = 0.05  # Å, how far atoms are moved out of a flat ring before it is relaxed, at random


def relaxed(runner: ModelRunner, structure: Structure) -> Structure:
    """Relax a structure by L-BFGS, in at most 300 steps; what has not converged is returned too."""

    def energy_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        (outputs,) = runner.observe([structure.at(flat.reshape(-1, 3))])
        return float(outputs["energy"]) - start, -outputs["forces"].ravel()

    start = float(runner.observe([structure])[0]["energy"])
    found = minimize(
        energy_and_gradient,
        structure.positions.ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"gtol": _FORCE, "maxiter": _STEPS, "ftol": 0.0},
    )
    return structure.at(found.x.reshape(-1, 3))


def bond_lengths(runner: ModelRunner, molecules: Sequence[KnownMolecule]) -> Iterator[Deviation]:
    """Relax molecules and compare their bonds with those in nature, Å."""
    for structure, bonds in molecules:
        positions = relaxed(runner, structure).positions
        for i, j, length in bonds:
            found = float(np.linalg.norm(positions[i] - positions[j]))
            where = f"bond {i}-{j} of {structure.name}, {found:.3f} Å instead of {length:.2f} Å"
            yield Deviation("bond_lengths", abs(found - length), where)


def ring_planarity(
    runner: ModelRunner, rings: Sequence[Structure], rng: np.random.Generator
) -> Iterator[Deviation]:
    """Push flat rings out of their planes and relax them: the largest distance to the plane, Å."""
    for ring in rings:
        pushed = ring.at(ring.positions + _PUSH * rng.standard_normal(ring.positions.shape))
        positions = relaxed(runner, pushed).positions
        yield Deviation("ring_planarity", out_of_plane(positions), ring.name)


def out_of_plane(positions: np.ndarray) -> float:
    """Return the largest distance of a point to the plane nearest to all: (N, 3)."""
    centred = positions - positions.mean(axis=0)
    normal = np.linalg.svd(centred)[2][-1]
    return float(np.abs(centred @ normal).max())
