"""The structures and motions that the physics report is made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from molequi.diagnostics.model_runner import rotation_of_rows
from molequi.graphs.graph import collate
from molequi.models.probes import achiral_probes, at_cutoff, built_in_probes
from molequi.models.structure import Structure, random_rotation, structures_of

ORGANIC = (1, 6, 7, 8)


def test_rotation_of_rows_is_exact() -> None:
    from e3nn import o3

    rotation = random_rotation(np.random.default_rng(0))
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    for l in range(4):
        own = rotation_of_rows(l, rotation)
        np.testing.assert_allclose(own @ own.T, np.eye(2 * l + 1), atol=1e-13)
        theirs = o3.Irrep(l, 1).D_from_matrix(torch.as_tensor(rotation))
        np.testing.assert_allclose(own, theirs, atol=1e-5)


def test_at_cutoff_parts_exactly_there() -> None:
    for cutoff in (2.5, 5.0, 8.0):
        structure, motion = at_cutoff((1, 8), cutoff)
        inside, outside = (
            structure.at(structure.positions + s * motion).graph(cutoff) for s in (-0.01, 0.01)
        )
        assert inside.edge_index.shape[1] - outside.edge_index.shape[1] == 14


def test_probes_have_the_symmetries_they_claim() -> None:
    cluster, organic, planar, crystal = built_in_probes(ORGANIC)
    assert np.all(planar.positions[:, 2] == 0.0)
    assert crystal.is_periodic
    assert min(np.linalg.norm(crystal.cell, axis=1)) < 5.0
    for structure in (cluster, organic):
        lengths = np.linalg.norm(structure.positions[:, None] - structure.positions[None], axis=-1)
        assert lengths[~np.eye(len(lengths), dtype=bool)].min() > 0.9
    assert {z for probe in built_in_probes((29,)) for z in probe.atomic_numbers} == {29}


@pytest.mark.parametrize("elements", [ORGANIC, (29,)], ids=len)
def test_achiral_probes_have_one_improper_symmetry(elements: tuple[int, ...]) -> None:
    """Each is mapped to itself by its own matrix.

    Of the three kinds of symmetry the clusters have no other.
    """
    mirrors = [
        np.eye(3) - 2 * np.outer(n, n)
        for n in np.random.default_rng(0).standard_normal((200, 3)) / np.sqrt(3)
    ]
    probes = achiral_probes(elements)
    for structure, matrix in probes:
        assert np.linalg.det(matrix) == pytest.approx(-1.0)
        assert is_mapped_to_itself(structure, matrix)
        lengths = np.linalg.norm(structure.positions[:, None] - structure.positions[None], axis=-1)
        assert lengths[~np.eye(len(lengths), dtype=bool)].min() > 0.7
    (_, plane), (inverted, centre), (turned, axis) = probes
    assert not is_mapped_to_itself(inverted, plane)
    assert not is_mapped_to_itself(inverted, axis)
    assert not is_mapped_to_itself(turned, centre)
    assert not any(is_mapped_to_itself(turned, mirror) for mirror in [plane, *mirrors])


def is_mapped_to_itself(structure: Structure, matrix: np.ndarray) -> bool:
    gaps = np.linalg.norm(
        (structure.positions @ matrix.T)[:, None] - structure.positions[None], axis=-1
    )
    image = gaps.argmin(axis=1)
    return bool(gaps.min(axis=1).max() < 1e-12) and bool(
        np.array_equal(structure.atomic_numbers[image], structure.atomic_numbers)
    )


def test_structures_survive_the_way_through_a_graph() -> None:
    probes = built_in_probes(ORGANIC)
    back = structures_of(collate([probe.graph(4.0) for probe in probes]))
    for probe, structure in zip(probes, back, strict=True):
        np.testing.assert_array_equal(structure.positions, probe.positions)
        np.testing.assert_array_equal(structure.atomic_numbers, probe.atomic_numbers)
        np.testing.assert_array_equal(structure.cell, probe.cell)
