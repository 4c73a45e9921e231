"""Angles and dihedrals against ASE's own, and their numbers against counting."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from ase import Atoms

from molequi.graphs.graph import edge_vectors
from molequi.graphs.neighbors import build_graph
from molequi.models.probes import built_in_probes
from molequi.nn.backbones.angles import find_angles, find_dihedrals

MOLECULE = built_in_probes((1, 6, 7, 8))[1]


def tuples_of(positions: np.ndarray, cutoff: float, **cell):
    graph = build_graph(positions, np.ones(len(positions), dtype=int), cutoff, **cell)
    vectors = edge_vectors(graph)
    units = vectors / vectors.norm(dim=1, keepdim=True)
    found = (
        find_angles(units, graph.edge_index[1], graph.n_atoms),
        *find_dihedrals(units, graph.edge_index, graph.shifts, graph.n_atoms),
    )
    return graph, found


def test_values_are_those_of_ase():
    atoms = Atoms("H" * len(MOLECULE.positions), MOLECULE.positions)
    graph, (angles, proper, _) = tuples_of(MOLECULE.positions, 1.7)
    sender, receiver = graph.edge_index.tolist()
    for (first, second), cosine in zip(
        angles.edges.tolist(), angles.cosines[:, 0].tolist(), strict=True
    ):
        assert cosine == pytest.approx(
            math.cos(math.radians(atoms.get_angle(sender[first], receiver[first], sender[second])))
        )
    assert len(proper.edges) > 10
    for (a, c, b), cosines, sine in zip(
        proper.edges.tolist(), proper.cosines.tolist(), proper.sine.tolist(), strict=True
    ):
        k, i, j, l = sender[a], receiver[c], sender[c], sender[b]
        first, last, dihedral = (
            math.radians(x)
            for x in (
                atoms.get_angle(k, i, j),
                atoms.get_angle(i, j, l),
                atoms.get_dihedral(k, i, j, l),
            )
        )
        weight = math.sin(first) * math.sin(last)
        assert cosines == pytest.approx(
            [math.cos(first), math.cos(last), weight * math.cos(dihedral)], abs=1e-12
        )
        assert sine == pytest.approx(weight * math.sin(dihedral), abs=1e-12)


def test_improper_dihedrals_are_angles_seen_along_the_axis():
    graph, (_, _, improper) = tuples_of(MOLECULE.positions, 1.7)
    vectors = edge_vectors(graph).numpy()
    for edges, cosines, sine in zip(
        improper.edges.tolist(), improper.cosines.tolist(), improper.sine.tolist(), strict=True
    ):
        first, axis, last = (vectors[edge] / np.linalg.norm(vectors[edge]) for edge in edges)
        weight = np.linalg.norm(np.cross(first, axis)) * np.linalg.norm(np.cross(last, axis))
        angle = signed_angle(first, axis, last)
        assert cosines == pytest.approx(
            [first @ axis, last @ axis, weight * math.cos(angle)], abs=1e-12
        )
        assert sine == pytest.approx(weight * math.sin(angle), abs=1e-12)


def signed_angle(first: np.ndarray, axis: np.ndarray, last: np.ndarray) -> float:
    axis = axis / np.linalg.norm(axis)
    p, q = (v - (v @ axis) * axis for v in (first, last))
    return math.atan2(axis @ np.cross(p, q), p @ q)


def test_numbers_are_those_of_counting():
    _, (angles, proper, improper) = tuples_of(MOLECULE.positions, 1.7)
    near = np.linalg.norm(MOLECULE.positions[:, None] - MOLECULE.positions[None], axis=2) < 1.7
    np.fill_diagonal(near, False)
    bonds = list(zip(*np.nonzero(near), strict=True))
    of = {i: set(np.nonzero(near[i])[0].tolist()) for i in range(len(near))}
    assert len(angles.edges) == sum(len(n) * (len(n) - 1) for n in of.values())
    assert len(proper.edges) == sum(len(of[i] - {j}) * len(of[j] - {i}) for i, j in bonds)
    assert len(improper.edges) == sum(
        len(list(itertools.permutations(of[i] - {j}, 2))) for i, j in bonds
    )
    assert len({tuple(edges) for edges in proper.edges.tolist()}) == len(proper.edges)


def test_periodic_images_are_different_neighbours():
    """One atom in a cubic cell has six neighbours at the lattice constant: 30 angles.

    Only the exact way back makes no dihedral.
    """
    _, (angles, proper, improper) = tuples_of(
        np.zeros((1, 3)), 1.1, cell=np.eye(3), pbc=np.ones(3, dtype=bool)
    )
    assert len(angles.edges) == 6 * 5
    assert len(proper.edges) == 6 * 5 * 5
    assert len(improper.edges) == 6 * 5 * 4


def test_a_mirror_changes_the_sign_of_the_sine_alone():
    mirror = np.diag([1.0, 1.0, -1.0])
    (_, before), (_, after) = (
        tuples_of(MOLECULE.positions, 1.7),
        tuples_of(MOLECULE.positions @ mirror, 1.7),
    )
    for kind in (1, 2):
        torch.testing.assert_close(after[kind].sine, -before[kind].sine)
        torch.testing.assert_close(after[kind].cosines, before[kind].cosines)
        assert before[kind].sine.abs().max() > 0.1
