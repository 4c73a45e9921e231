"""Whether energies, forces and stresses belong together, and stay smooth at the cutoff.

The work of a force along a path is integrated with Gauss-Legendre nodes and compared with the
difference of two energies. Unlike a finite difference it does not divide the rounding of the
energies by a small step, so that it is sharp in float32 too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from molequi.diagnostics.model_runner import Deviation, ModelRunner, ratio
from molequi.models.probes import at_cutoff
from molequi.models.structure import Structure

_N_PATHS, _N_STRAINS = 2, 4
_N_NODES = 8
# Root mean square displacements (Å) along a path. Long paths are insensitive to rounding, short
# ones to the roughness of random networks, and a force that is wrong is wrong on all: so a shorter
# one is tried where a longer one has not agreed.
_LENGTHS = (0.1, 0.02, 0.004, 0.0008)
_AGREED = 1e-5
_STRAIN_PER_LENGTH = 0.3  # 1/Å
_N_LOOP, _RADII, _UNIT_RADIUS = 16, (0.02, 0.004, 0.0008), 0.1  # Å
# Å, at the cutoff; eight of them stay within the last knot interval of the radial splines.
_STEP = 0.005


def force_consistency(
    runner: ModelRunner, structures: Sequence[Structure], rng: np.random.Generator
) -> Iterator[Deviation]:
    """Compare energy differences along straight random paths with the work of the forces.

    Relative to the root mean square force component times the length of the path in 3N dimensions.
    """
    for structure in structures:
        for _ in range(_N_PATHS):
            motion = _random_motion(structure, rng)
            error = _best(_path_error(runner, structure, length * motion) for length in _LENGTHS)
            yield Deviation("force_consistency", error, f"forces of {structure.name}")


def _path_error(runner: ModelRunner, structure: Structure, path: np.ndarray) -> float:
    nodes, weights = _gauss_legendre()
    start, end, *inner = runner.observe(
        [structure.at(structure.positions + s * path) for s in (0.0, 1.0, *nodes)]
    )
    forces = np.array([outputs["forces"] for outputs in inner])
    work = float(np.einsum("s,sni,ni->", weights, forces, path))
    error = abs(float(end["energy"] - start["energy"]) + work)
    return ratio(error, float(np.sqrt(np.mean(forces**2)) * np.linalg.norm(path)))


def closed_loop_work(
    runner: ModelRunner, structures: Sequence[Structure], rng: np.random.Generator
) -> Iterator[Deviation]:
    """Integrate the forces around an ellipse in 3N dimensions.

    By the trapezoidal rule, which converges exponentially there. Relative to the root mean square
    force component times the length of the loop. The work grows with the area, so the value is
    scaled from the small loop that is used to a radius of 0.1 Å.
    """
    for structure in structures:
        first, second = _random_motion(structure, rng), _random_motion(structure, rng)
        error = _best(
            _loop_error(runner, structure, radius * first, radius * second)
            * (_UNIT_RADIUS / radius)
            for radius in _RADII
        )
        yield Deviation("closed_loop_work", error, f"forces of {structure.name}")


def _loop_error(
    runner: ModelRunner, structure: Structure, first: np.ndarray, second: np.ndarray
) -> float:
    angles = 2 * np.pi * np.arange(_N_LOOP) / _N_LOOP
    points = [
        structure.at(structure.positions + np.cos(a) * first + np.sin(a) * second) for a in angles
    ]
    forces = np.array([outputs["forces"] for outputs in runner.observe(points)])
    steps = np.array([np.cos(a) * second - np.sin(a) * first for a in angles]) * (
        2 * np.pi / _N_LOOP
    )
    scale = np.sqrt(np.mean(forces**2)) * np.linalg.norm(steps, axis=(1, 2)).sum()
    return ratio(abs(float((forces * steps).sum())), float(scale))


def stress_consistency(
    runner: ModelRunner, structures: Sequence[Structure], rng: np.random.Generator
) -> Iterator[Deviation]:
    """Compare energy differences along random deformations with the work of the stress.

    With the deformation D(s) = 1 + s eta, dE/ds = V tr(stress eta D^-1); eta has an antisymmetric
    part, so that an asymmetric stress is found as well. Relative to the root mean square component
    of V stress times |eta|.
    """
    for structure in structures:
        if not structure.is_periodic:
            continue
        for _ in range(_N_STRAINS):
            eta = _STRAIN_PER_LENGTH * rng.standard_normal((3, 3))
            error = _best(
                _deformation_error(runner, structure, length * eta) for length in _LENGTHS
            )
            yield Deviation("stress_consistency", error, f"stress of {structure.name}")


def _deformation_error(runner: ModelRunner, structure: Structure, eta: np.ndarray) -> float:
    nodes, weights = _gauss_legendre()
    deformations = [np.eye(3) + s * eta for s in (0.0, 1.0, *nodes)]
    images = [structure.mapped(deformation) for deformation in deformations]
    start, end, *inner = runner.observe(images)
    virials = np.array(
        [image.volume * outputs["stress"] for image, outputs in zip(images[2:], inner, strict=True)]
    )
    rates = np.array([eta @ np.linalg.inv(deformation) for deformation in deformations[2:]])
    work = float(np.einsum("s,sij,sji->", weights, virials, rates))
    return ratio(
        abs(float(end["energy"] - start["energy"]) - work),
        float(np.sqrt(np.mean(virials**2)) * np.linalg.norm(eta)),
    )


def smoothness(
    runner: ModelRunner,
    cutoff: float,
    name: str = "cutoff",
    *,
    step: float = _STEP,
    total_charge: int = 0,
    spin_multiplicity: int = 1,
) -> Iterator[Deviation]:
    """Drag an atom out of the others' reach and compare values and slopes on both sides.

    cutoff: Å, the reach. step: Å, of the points that are compared; of this and a quarter of it the
    better counts, since a jump stays what it is and what a parabola cannot follow of a steep
    function falls with its third power. name: of the cutoff, after which the tests are named.
    Values come from the parabola through three points, slopes from one fitted to eight, which is
    less sensitive to rounding.
    """
    electrons = {"total_charge": total_charge, "spin_multiplicity": spin_multiplicity}
    structure, motion = at_cutoff(runner.model.elements, cutoff, **electrons)
    coarse, fine = (_across(runner, structure, motion, name, step * share) for share in (1.0, 0.25))
    for one, other in zip(coarse, fine, strict=True):
        yield min(one, other, key=lambda found: found.value)


def _across(
    runner: ModelRunner, structure: Structure, motion: np.ndarray, name: str, step: float
) -> Iterator[Deviation]:
    """Compare values and slopes on both sides of a structure along a motion."""
    steps = step * np.arange(1.0, 9.0)
    to_value = np.linalg.inv(np.vander(steps[:3], increasing=True))[0]
    to_slope = np.linalg.pinv(np.vander(steps, 3, increasing=True))[1]
    inside, outside = (
        runner.observe([structure.at(structure.positions + sign * step * motion) for step in steps])
        for sign in (-1.0, 1.0)
    )
    for output in outside[0]:
        before, after = (
            np.array([outputs[output] for outputs in side]) for side in (inside, outside)
        )
        what = {"energy": "energy", "forces": "force"}.get(output, "outputs")
        jump = np.tensordot(to_value, after[:3] - before[:3], axes=1)
        yield runner.deviation(f"{what}_at_{name}", output, jump, structure)
        if output == "forces":
            bend = np.tensordot(to_slope, after + before, axes=1)
            yield runner.deviation(f"slope_at_{name}", output, bend, structure)


def _gauss_legendre() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(_N_NODES)
    return (nodes + 1) / 2, weights / 2


def _random_motion(structure: Structure, rng: np.random.Generator) -> np.ndarray:
    """Draw a direction for every atom, (N, 3), with a root mean square displacement of 1 Å."""
    motion = rng.standard_normal(structure.positions.shape)
    return motion * (np.sqrt(len(motion)) / np.linalg.norm(motion))


def _best(errors: Iterator[float]) -> float:
    """Return the smallest error; the rest is not computed once two sides agree.

    A value that is not a number counts as infinite.
    """
    smallest = float("inf")
    for error in errors:
        smallest = min(smallest, error)
        if smallest < _AGREED:
            break
    return smallest
