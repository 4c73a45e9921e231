"""Groups against their known orders, laws and the pixels they move."""

from __future__ import annotations

import numpy as np
import pytest

from molequi.errors import UserError
from molequi.groups.finite import (
    cyclic_group,
    dihedral_group,
    generated_group,
    grid_sources,
    point_group,
    subgroup_of,
)

ORDERS = {
    "C1": 1,
    "Ci": 2,
    "Cs": 2,
    "C3": 3,
    "C2v": 4,
    "C4h": 8,
    "D3": 6,
    "D6h": 24,
    "D2d": 8,
    "D3d": 12,
    "S4": 4,
    "S6": 6,
    "T": 12,
    "Td": 24,
    "Th": 24,
    "O": 24,
    "Oh": 48,
    "C5v": 10,
    "I": 60,
    "Ih": 120,
}


@pytest.mark.parametrize("name", ORDERS)
def test_point_groups(name: str) -> None:
    group = point_group(name)
    assert group.order == ORDERS[name]
    products = np.einsum("aij,bjk->abik", group.matrices, group.matrices)
    np.testing.assert_allclose(products, group.matrices[group.table], atol=1e-9)
    np.testing.assert_allclose(
        group.matrices[group.inverse], np.swapaxes(group.matrices, 1, 2), atol=1e-9
    )
    # Proper rotations are all of a group or half of it.
    has_mirrors = name in {"Ci", "Cs"} or name[-1] in "vhd" or name[0] == "S"
    assert np.mean(np.linalg.det(group.matrices) > 0) == (0.5 if has_mirrors else 1.0)


@pytest.mark.parametrize("name", ["c4v", "K", "S5", "C3d", "Y", "Id"])
def test_unknown_point_group_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="is no point group known here"):
        point_group(name)


def test_infinite_group_is_refused() -> None:
    for make in (cyclic_group, dihedral_group):
        with pytest.raises(UserError, match="n must be at least 1"):
            make(0)
    with pytest.raises(UserError, match="has no generators"):
        generated_group("nothing", [])
    with pytest.raises(UserError, match="more than 1000 elements"):
        generated_group(
            "turns by 1 radian", [np.array([[np.cos(1), -np.sin(1)], [np.sin(1), np.cos(1)]])]
        )


def test_plane_groups_and_cosets() -> None:
    assert [cyclic_group(n).order for n in (1, 4, 7)] == [1, 4, 7]
    group = dihedral_group(4)
    turns = [g for g in range(8) if np.linalg.det(group.matrices[g]) > 0]
    cosets = subgroup_of(group, turns)
    assert cosets.shape == (2, 4)
    assert set(cosets[0]) == set(turns)
    assert sorted(cosets.ravel()) == list(range(8))
    with pytest.raises(
        UserError, match=rf"has no element {group.order}; its {group.order} elements"
    ):
        subgroup_of(group, [0, group.order])
    with pytest.raises(UserError, match="form no subgroup"):
        subgroup_of(group, [0, group.generators[0]])


def test_quarter_turn_moves_pixels_as_numpy_does() -> None:
    image = np.arange(36).reshape(6, 6)
    quarter = cyclic_group(4).matrices[1]
    # A turn from the first axis to the second is NumPy's.
    np.testing.assert_array_equal(
        image.ravel()[grid_sources(quarter, 6)].reshape(6, 6), np.rot90(image)
    )
    with pytest.raises(UserError, match="square grid"):
        grid_sources(cyclic_group(3).matrices[1], 6)


def test_icosahedral_classes_are_those_of_the_character_table() -> None:
    """I: E, 12 C5, 12 C5^2, 20 C3, 15 C2; the characters of T1 are 3, phi, 1 - phi, 0, -1."""
    golden = (1 + 5**0.5) / 2
    traces = np.trace(point_group("I").matrices, axis1=1, axis2=2)
    values, counts = np.unique(traces.round(9), return_counts=True)
    found = dict(zip(values.tolist(), counts.tolist(), strict=True))
    expected = {3.0: 1, golden: 12, 1 - golden: 12, 0.0: 20, -1.0: 15}
    assert found == {round(trace, 9): count for trace, count in expected.items()}


def test_icosahedral_group_keeps_an_icosahedron() -> None:
    golden = (1 + 5**0.5) / 2
    corners = np.array([np.roll([0, a, b * golden], k) for a in (1, -1) for b in (1, -1)
                        for k in range(3)])  # fmt: skip
    moved = np.einsum("gij,vj->gvi", point_group("Ih").matrices, corners)
    distances = np.linalg.norm(moved[:, :, None] - corners, axis=-1)
    assert distances.min(axis=2).max() < 1e-12
