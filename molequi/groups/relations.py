"""Whether matrices that are said to represent a group obey its relations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

from molequi.errors import UserError
from molequi.groups.finite import FiniteGroup
from molequi.groups.representations import Representation, represent

_TOLERANCE = 1e-8


def represent_group(
    group: FiniteGroup, matrices: Sequence[np.ndarray], *, name: str = ""
) -> Representation:
    """Make a representation of a finite group from the matrices of its generators, in their order.

    Raises UserError where they break a relation of the group, so that they represent another one,
    or none.
    """
    if len(matrices) != len(group.generators):
        raise UserError(
            f"{group.name} has {len(group.generators)} generators; there are {len(matrices)} "
            "matrices: give one for each generator"
        )
    found = represent(group.name, matrices, name=name)
    of_generator = [matrix.toarray() for matrix in found.finite]
    of_element = {0: np.eye(found.dim)}
    # Breadth first, so that each element is reached by a shortest word of generators.
    reached = [0]
    for element in reached:
        for number, generator in enumerate(group.generators):
            product, place = (
                of_generator[number] @ of_element[element],
                int(group.table[generator, element]),
            )
            if place not in of_element:
                of_element[place] = product
                reached.append(place)
            elif (gap := np.abs(product - of_element[place]).max()) > _TOLERANCE:
                raise UserError(
                    f"the matrices of {name or 'the generators'} do not represent {group.name}: "
                    f"generator {number} times element {element} should be element {place}, and "
                    f"differs from it by {gap:.1e}"
                )
    return found


def refuse_other_brackets(first: Representation, second: Representation) -> None:
    """Refuse infinitesimal generators whose commutators are other sums of them in each of the two.

    Representations of one Lie algebra have [X_i, X_j] = sum_k c_ijk X_k with the same numbers c.
    Where the generators are no basis of the algebra their commutators are no such sums, and nothing
    is asked of them.
    Raises UserError that names a pair.
    """
    for i in range(first.group.n_algebra):
        for j in range(i):
            one, other = _bracket(first, i, j), _bracket(second, i, j)
            both = _Bracket(
                one.gram + other.gram, one.along + other.along, one.square + other.square
            )
            if both.is_no_sum and not (one.is_no_sum or other.is_no_sum):
                names = [part.name or f"{part.dim} dimensions" for part in (first, second)]
                raise UserError(
                    f"{names[0]} and {names[1]} do not represent {first.group.name} by the same "
                    f"generators: the commutator of infinitesimal generators {j} and {i} is "
                    "another sum of them in each; give all in one order, sign and scale"
                )


class _Bracket(NamedTuple):
    """Inner products of the generators X with each other and with a commutator, and its square."""

    gram: np.ndarray
    along: np.ndarray
    square: float

    @property
    def is_no_sum(self) -> bool:
        """Whether the commutator is no linear combination of the generators."""
        inside = self.along @ np.linalg.pinv(self.gram, rcond=1e-10, hermitian=True) @ self.along
        return bool(self.square - inside > _TOLERANCE * self.square)


def _bracket(part: Representation, i: int, j: int) -> _Bracket:
    flat = sparse.vstack([matrix.reshape(1, -1) for matrix in part.algebra], format="csr")
    one, other = part.algebra[j], part.algebra[i]
    commutator = (one @ other - other @ one).reshape(1, -1)
    return _Bracket(
        (flat @ flat.T).toarray(),
        (flat @ commutator.T).toarray()[:, 0],
        float(commutator.multiply(commutator).sum()),
    )
