"""Matrices that are said to represent a group, and do or do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from molequi.errors import UserError
from molequi.groups.finite import dihedral_group, point_group
from molequi.groups.intertwiners import intertwiners
from molequi.groups.named_representations import (
    lorentz_vector,
    matrix_representation,
    o3_irrep,
    regular_representation,
)
from molequi.groups.relations import represent_group
from molequi.groups.representations import multiple, represent, trivial
from molequi.o3.wigner import wigner_matrices

D3 = dihedral_group(3)
TURN, MIRROR = (D3.matrices[g] for g in D3.generators)


def test_irreps_of_a_finite_group_are_taken_and_obey_schur() -> None:
    signs = represent_group(D3, [np.eye(1), -np.eye(1)], name="A2")
    plane = represent_group(D3, [TURN, MIRROR], name="E")
    for one, other, expected in ((signs, signs, 1), (plane, plane, 1), (signs, plane, 0)):
        assert intertwiners(one, other).dim == expected
    regular = regular_representation(D3)
    assert [intertwiners(part, regular).dim for part in (signs, plane)] == [1, 2]


@pytest.mark.parametrize(
    "matrices",
    [
        [-np.eye(1), np.eye(1)],  # the cube of the turn is not -1
        [TURN, TURN],  # the square of the mirror is 1
        [np.kron(TURN, np.eye(1)), np.diag([2.0, 0.5])],
        [TURN @ np.array([[1.0, 1e-6], [0.0, 1.0]]), MIRROR],
    ],
)
def test_broken_relations_of_a_finite_group_are_refused(matrices: list[np.ndarray]) -> None:
    with pytest.raises(UserError, match="do not represent D3: generator . times element"):
        represent_group(D3, matrices, name="mine")


def test_a_matrix_for_each_generator_is_asked_for() -> None:
    with pytest.raises(UserError, match="D3 has 2 generators; there are 1"):
        represent_group(D3, [TURN])


def test_generators_of_rotations_in_two_orders_are_refused() -> None:
    """Before, there were silently no maps."""
    vector = o3_irrep(1, -1)
    x, y, z = vector.algebra
    swapped = represent("O(3)", vector.finite, [y, x, z], name="swapped")
    halved = represent("O(3)", vector.finite, [m * 0.5 for m in vector.algebra], name="halved")
    for other in (swapped, halved):
        with pytest.raises(UserError, match="do not represent O.3. by the same generators"):
            intertwiners(vector, other)
    cycled = represent("O(3)", vector.finite, [y, z, x], name="cycled")
    assert intertwiners(vector, cycled).dim == 1  # a turn about (1, 1, 1): the same brackets


def test_same_brackets_are_taken() -> None:
    vector = lorentz_vector()
    assert intertwiners(multiple(2, vector), trivial(vector.group)).dim == 0
    one, two = o3_irrep(1, -1), o3_irrep(2, 1)
    # Two of the three make the algebra too, and are no basis of it.
    first, second = (represent("SO(3)", [], list(rho.algebra[:2])) for rho in (one, two))
    assert intertwiners(first, second).dim == 0
    assert intertwiners(second, second).dim == 1


@pytest.mark.parametrize(("l", "counts"), [(1, [1]), (2, [1]), (3, [1, 1]), (4, [1, 1]), (6, None)])
def test_icosahedral_splitting_of_degrees(l: int, counts: list[int] | None) -> None:
    """Degrees up to 2 stay whole under I, 3 and 4 split in two; l = 6 holds an invariant."""
    group = point_group("I")
    matrices = [
        wigner_matrices(torch.as_tensor(group.matrices[g]), l)[l].numpy() for g in group.generators
    ]
    rho = represent_group(group, matrices)
    scalar = trivial(matrix_representation(group).group)
    assert intertwiners(rho, scalar).dim == (counts is None)
    if counts is not None:
        assert intertwiners(rho, rho).dim == len(counts)
