"""Finite groups of matrices, and how they act on grids.

Cyclic and dihedral ones in the plane, point groups in space up to I_h.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Sequence

import numpy as np

from molequi.errors import UserError

_LARGEST = 1000
_DIGITS = 6
# A half-turn about x, the mirror of the plane z = 0, that of y = 0, and the inversion.
_FLIP, _HORIZONTAL = np.diag([1.0, -1.0, -1.0]), np.diag([1.0, 1.0, -1.0])
_MIRROR, _INVERSION = np.diag([1.0, -1.0, 1.0]), -np.eye(3)


@dataclasses.dataclass(frozen=True, eq=False)
class FiniteGroup:
    """A finite group of d x d matrices; element 0 is the identity.

    matrices: (|G|, d, d). table: (|G|, |G|), the element a b at [a, b]. inverse: (|G|,).
    generators: elements that make all others.
    """

    name: str
    matrices: np.ndarray
    table: np.ndarray
    inverse: np.ndarray
    generators: tuple[int, ...]

    @property
    def order(self) -> int:
        """Number of elements."""
        return len(self.matrices)


def generated_group(name: str, generators: Sequence[np.ndarray]) -> FiniteGroup:
    """Return the group that d x d matrices generate.

    Raises UserError where there are none, and where products go on for more than 1,000 elements, as
    those of a turn by an irrational angle do.
    """
    if not len(generators):
        raise UserError(
            f"{name} has no generators; give at least one matrix, the identity for the trivial "
            "group"
        )
    size = len(generators[0])
    elements, places = [np.eye(size)], {_key(np.eye(size)): 0}
    for element in elements:
        for generator in generators:
            product = generator @ element
            if _key(product) not in places:
                if len(elements) == _LARGEST:
                    raise UserError(
                        f"the generators of {name} make more than {_LARGEST} elements; give "
                        "generators of a finite group"
                    )
                places[_key(product)] = len(elements)
                elements.append(product)
    matrices = np.array(elements)
    table = np.array([[places[_key(a @ b)] for b in matrices] for a in matrices])
    inverse = np.argmin(table, axis=1)  # the identity has the smallest number
    return FiniteGroup(
        name,
        matrices,
        table,
        inverse,
        tuple(places[_key(np.asarray(matrix))] for matrix in generators),
    )


def _key(matrix: np.ndarray) -> tuple[float, ...]:
    # Adding 0.0 turns -0.0 into 0.0, which compares equal but would not print so.
    return tuple((np.round(matrix, _DIGITS) + 0.0).ravel())


def cyclic_group(n: int) -> FiniteGroup:
    """Return C_n, the turns of the plane by 2 pi / n."""
    return generated_group(f"C{n}", [_turn(n)[:2, :2]])


def dihedral_group(n: int) -> FiniteGroup:
    """Return D_n of the plane: the turns by 2 pi / n and n mirrors, 2n elements."""
    return generated_group(f"D{n}", [_turn(n)[:2, :2], np.diag([1.0, -1.0])])


@functools.lru_cache
def point_group(name: str) -> FiniteGroup:
    """Return the point group of a Schoenflies symbol.

    C1 Ci Cs, Cn Cnv Cnh, Dn Dnh Dnd, S4 S6 ..., T Td Th, O Oh, I Ih; the main axis is z. Of I and
    Ih three twofold axes are x, y and z, and (0, 1, golden ratio) is a fivefold one.

    Raises UserError for any other name.
    """
    generators = _fixed_generators().get(name) or _axial_generators(name)
    return generated_group(name, generators)


def _fixed_generators() -> dict[str, list[np.ndarray]]:
    """The groups without a number in their symbol."""
    threefold, quarter = np.eye(3)[[2, 0, 1]], _turn(4)
    golden = (1 + np.sqrt(5)) / 2
    # A turn by 72 degrees about (0, 1, golden), by the formula of Rodrigues.
    fivefold = 0.5 * np.array(
        [[golden - 1, -golden, 1], [golden, 1, golden - 1], [-1, golden - 1, golden]]
    )
    return {
        "C1": [np.eye(3)],
        "Ci": [_INVERSION],
        "Cs": [_HORIZONTAL],
        "T": [_FLIP, threefold],
        "Td": [_FLIP, threefold, np.eye(3)[[1, 0, 2]]],
        "Th": [_FLIP, threefold, _INVERSION],
        "O": [quarter, threefold],
        "Oh": [quarter, threefold, _INVERSION],
        "I": [_FLIP, threefold, fivefold],
        "Ih": [_FLIP, threefold, fivefold, _INVERSION],
    }


def _axial_generators(name: str) -> list[np.ndarray]:
    """The groups with one main axis: a turn about it, and what else the symbol names."""
    match = re.fullmatch(r"([CDS])([1-9]\d?)([vhd])?", name)
    if match is None:
        raise UserError(
            f"{name!r} is no point group known here; write C3, C2v, C4h, D3, D6h, D2d, S4, Ci, Cs, "
            "T, Td, Th, O, Oh, I or Ih"
        )
    family, n, kind = match[1], int(match[2]), match[3] or ""
    half = _turn(2 * n) @ _MIRROR @ _turn(2 * n).T
    others = {
        "C": [],
        "Cv": [_MIRROR],
        "Ch": [_HORIZONTAL],
        "D": [_FLIP],
        "Dh": [_FLIP, _HORIZONTAL],
        "Dd": [_FLIP, half],
    }
    if family == "S" and not kind and n % 2 == 0:
        return [_exact(_turn(n) @ _HORIZONTAL)]
    if family + kind not in others:
        raise UserError(
            f"{name!r} is no point group known here; S is followed by an even number, C by v or h, "
            "D by h or d, or nothing"
        )
    return [_exact(matrix) for matrix in (_turn(n), *others[family + kind])]


def _turn(n: int) -> np.ndarray:
    """Return the rotation about z by 2 pi / n, n at least 1."""
    if n < 1:
        raise UserError(f"a turn by 360/{n} degrees makes no group; n must be at least 1")
    cosine, sine = np.cos(2 * np.pi / n), np.sin(2 * np.pi / n)
    return _exact(np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]))


def _exact(matrix: np.ndarray) -> np.ndarray:
    """Replace numbers within rounding of -1, 0 and 1 by these.

    cos(pi / 2) is not 0 in floating point.
    """
    whole = np.round(matrix)
    return np.where(np.abs(matrix - whole) < 1e-12, whole, matrix) + 0.0


def subgroup_of(group: FiniteGroup, elements: Sequence[int]) -> np.ndarray:
    """Return the left cosets g H of the subgroup H with these elements.

    (|G| / |H|, |H|), H first, representatives in the first column.

    Raises UserError where the elements are none of the group's, or not closed under products.
    """
    subgroup = np.unique(np.asarray(elements, dtype=np.int64))
    outside = subgroup[(subgroup < 0) | (subgroup >= group.order)]
    if len(outside):
        raise UserError(
            f"{group.name} has no element {outside[0]}; its {group.order} elements are numbered "
            "from 0"
        )
    if len(subgroup) == 0 or not np.isin(group.table[np.ix_(subgroup, subgroup)], subgroup).all():
        raise UserError(
            f"elements {subgroup.tolist()} of {group.name} form no subgroup: a product of two of "
            "them is not among them"
        )
    cosets, seen = [], set()
    for element in range(group.order):
        if element not in seen:
            cosets.append(group.table[element, subgroup])
            seen.update(cosets[-1].tolist())
    return np.array(cosets)


@functools.lru_cache(maxsize=256)
def _grid_sources(matrix: tuple[tuple[int, ...], ...], size: int) -> np.ndarray:
    # Twice the coordinates about the centre are integers for even and odd sizes.
    dimension = len(matrix)
    places = 2 * np.indices((size,) * dimension).reshape(dimension, -1) - (size - 1)
    source = (np.array(matrix).T @ places + size - 1) // 2
    return np.ravel_multi_index(tuple(source), (size,) * dimension)


def grid_sources(matrix: np.ndarray, size: int) -> np.ndarray:
    """Return, for each pixel x of a grid, the pixel M^-1 x that M brings there: (size^d,).

    The grid has equal sides about its centre. So that turned = image.flatten()[sources] is (M f)(x)
    = f(M^-1 x). Axis 0 of the grid is the first coordinate. Raises UserError for a matrix that does
    not map the grid to itself.
    """
    whole = np.round(matrix).astype(int)
    if not np.allclose(whole, matrix) or not np.array_equal(
        whole @ whole.T, np.eye(len(whole), dtype=int)
    ):
        raise UserError(
            "only turns by quarters and mirrors along axes or diagonals map a square grid to "
            "itself; use C1, C2, C4, D1, D2 or D4"
        )
    return _grid_sources(tuple(map(tuple, whole.tolist())), size)
