"""All equivariant linear maps between two representations, as a null space.

A rho_in(g) = rho_out(g) A for every generator g and A drho_in(X) = drho_out(X) A for every
generator X of the Lie algebra are linear equations for the entries of A; what solves all of them is
the space of intertwiners (L. H. Lim and B. J. Nelson, What is an equivariant neural network?, 2022;
for the sparse case compare M. Finzi, M. Welling and A. G. Wilson, A practical method for
constructing equivariant multilayer perceptrons, ICML 2021). Equations of permutations, with or
without signs, are solved first, exactly, by the orbits of the entries.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from molequi.groups.null_spaces import dense_null_space, sparse_null_space
from molequi.groups.relations import refuse_other_brackets
from molequi.groups.representations import (
    Representation,
    identity,
    is_monomial,
    same_group,
    trivial,
)

# Equations of generators with entries up to 1 that hold nothing above this are satisfied by all
# maps: what is left is rounding.
_ROUNDING = 1e-13
# Unknowns up to which the null space is found by a dense singular value decomposition.
LARGEST_DENSE = 1500


@dataclasses.dataclass(frozen=True, eq=False)
class Intertwiners:
    """A basis of the maps R^n_in -> R^n_out that commute with the group.

    basis: (n_out * n_in, dim), sparse, orthonormal columns; a column is a map, row after row.
    """

    n_out: int
    n_in: int
    basis: sparse.csc_array

    @property
    def dim(self) -> int:
        """Number of independent maps."""
        return self.basis.shape[1]

    def maps(self) -> np.ndarray:
        """Return the maps as dense matrices: (dim, n_out, n_in)."""
        return self.basis.toarray().T.reshape(self.dim, self.n_out, self.n_in)


def intertwiners(rho_in: Representation, rho_out: Representation) -> Intertwiners:
    """Return a basis of all A with A rho_in(g) = rho_out(g) A; of direct sums block by block.

    Raises UserError for representations of different groups, also where it is their infinitesimal
    generators that tell, and where the numerical rank is not beyond doubt: generators that are
    wrong in the sixth digit give small singular values that are not zero.
    """
    same_group(rho_in, rho_out)
    refuse_other_brackets(rho_in, rho_out)
    found: dict[tuple[int, int], sparse.csc_array] = {}
    rows, columns, values, dim, top = [], [], [], 0, 0
    for out in rho_out.blocks:
        left = 0
        for part in rho_in.blocks:
            pair = id(part), id(out)
            if pair not in found:
                found[pair] = _basis_of_pair(part, out)
            entries = found[pair].tocoo()
            place = entries.row.astype(np.int64)
            rows.append((place // part.dim + top) * rho_in.dim + place % part.dim + left)
            columns.append(entries.col.astype(np.int64) + dim)
            values.append(entries.data)
            dim += entries.shape[1]
            left += part.dim
        top += out.dim
    shape = rho_out.dim * rho_in.dim, dim
    joined = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return Intertwiners(rho_out.dim, rho_in.dim, sparse.csc_array(joined, shape=shape))


def invariants(rho: Representation) -> np.ndarray:
    """Return an orthonormal basis of the vectors that the group leaves alone: (dim, n)."""
    return intertwiners(trivial(rho.group), rho).maps()[:, :, 0]


def _basis_of_pair(rho_in: Representation, rho_out: Representation) -> sparse.csc_array:
    pairs = list(zip(rho_in.finite, rho_out.finite, strict=True))
    easy = [pair for pair in pairs if is_monomial(pair[0]) and is_monomial(pair[1])]
    orbits = _orbit_basis(easy, rho_out.dim * rho_in.dim)
    rest = [pair for pair in pairs if not any(pair is one for one in easy)] + list(
        zip(rho_in.algebra, rho_out.algebra, strict=True)
    )
    equations = [_equations(*pair) @ orbits for pair in rest]
    equations = [matrix for matrix in equations if matrix.nnz and abs(matrix).max() > _ROUNDING]
    if not equations or orbits.shape[1] == 0:
        return sparse.csc_array(orbits)
    stacked = sparse.csr_array(sparse.vstack(equations))
    null = (
        dense_null_space(stacked.toarray())
        if stacked.shape[1] <= LARGEST_DENSE
        else sparse_null_space(stacked)
    )
    null = np.where(np.abs(null) < 1e-14, 0.0, null)
    return sparse.csc_array(orbits @ sparse.csc_array(null))


def _equations(of_in: sparse.csr_array, of_out: sparse.csr_array) -> sparse.csr_array:
    """Return E with E vec(A) = vec(rho_out A - A rho_in), rows of A one after the other.

    In units of the largest entry of both matrices.
    """
    n_out, n_in = of_out.shape[0], of_in.shape[0]
    left, right = (
        sparse.kron(of_out, identity(n_in), format="csr"),
        sparse.kron(identity(n_out), of_in.T, format="csr"),
    )
    size = max(abs(matrix).max() if matrix.nnz else 0.0 for matrix in (of_in, of_out))
    return sparse.csr_array((left - right) / (size or 1.0))


def _orbit_basis(
    pairs: list[tuple[sparse.csr_array, sparse.csr_array]], size: int
) -> sparse.csc_array:
    """Solve A = rho_out A rho_in^T for signed permutations: (size, number of orbits).

    Entry k and its image hold the same number up to a sign. In the graph of all (entry, sign) an
    orbit is a pair of components, or one component that holds an entry with both signs, which is
    therefore zero.
    """
    if not pairs:
        return sparse.csc_array(identity(size))
    starts, ends = [], []
    for of_in, of_out in pairs:
        moved = sparse.kron(of_out, of_in, format="coo")
        flips = (moved.data < 0).astype(np.int64)
        for sign in (0, 1):
            starts.append(moved.col.astype(np.int64) + sign * size)
            ends.append(moved.row.astype(np.int64) + (sign ^ flips) * size)
    start, end = np.concatenate(starts), np.concatenate(ends)
    graph = sparse.coo_matrix(
        (np.ones(len(start), dtype=np.int8), (start, end)), shape=(2 * size, 2 * size)
    )
    label = connected_components(graph, directed=False)[1]
    plus, minus = label[:size], label[size:]
    kept = np.flatnonzero(plus != minus)
    # An orbit has two components, one for each sign of its number: the smaller label names it and
    # is the positive one.
    names = np.minimum(plus, minus)[kept]
    _, orbit, counts = np.unique(names, return_inverse=True, return_counts=True)
    values = np.where(plus[kept] == names, 1.0, -1.0) / np.sqrt(counts[orbit])
    return sparse.csc_array((values, (kept, orbit)), shape=(size, len(counts)))
