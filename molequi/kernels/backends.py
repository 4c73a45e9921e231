"""Who computes the products of features: the back ends by the names that `kernels=` takes.

A new back end is a class derived from `Backend` in a file of its own, and its name in `BACKENDS`.
"""

from __future__ import annotations

import abc

import torch
from torch import Tensor

from molequi.kernels import contraction, convolution, cuda, dense_products, products, reference
from molequi.kernels.edges import Edges
from molequi.o3.coupling import CouplingTable
from molequi.o3.symmetric import Polynomials


class Backend(abc.ABC):
    """Computes `convolve` and, where it has forms of its own, `couple` and `contract`.

    Results are those of `kernels.reference`, which are the truth in the tests; they must be
    differentiable twice.
    """

    @abc.abstractmethod
    def serves(self, features: Tensor) -> bool:
        """Whether it computes for features of this device and type; else the reference does."""

    @abc.abstractmethod
    def convolve(
        self,
        features: Tensor,
        harmonics: Tensor,
        distances: Tensor,
        coefficients: Tensor,
        edges: Edges,
        table: CouplingTable,
        cutoff: float,
    ) -> Tensor:
        """Compute `kernels.convolve`, arguments as there."""

    def couple(
        self, first: Tensor, second: Tensor, weights: Tensor, species: Tensor, table: CouplingTable
    ) -> Tensor:
        """Compute `kernels.couple`, arguments as there."""
        return reference.couple(first, second, weights, species, table)

    def contract(
        self, features: Tensor, weights: Tensor, species: Tensor, polynomials: Polynomials
    ) -> Tensor:
        """Compute `kernels.contract`, arguments as there."""
        return reference.contract(features, weights, species, polynomials)


class ReferenceBackend(Backend):
    """Plain torch: any device and type, differentiable to any order."""

    def serves(self, features: Tensor) -> bool:
        """Serve everything."""
        return True

    def convolve(
        self,
        features: Tensor,
        harmonics: Tensor,
        distances: Tensor,
        coefficients: Tensor,
        edges: Edges,
        table: CouplingTable,
        cutoff: float,
    ) -> Tensor:
        """Compute `kernels.convolve` in plain torch."""
        tensors = features, harmonics, distances, coefficients
        return reference.convolve(*tensors, edges.index, table, cutoff, edges.kinds)


def is_transformed() -> bool:
    """Tell whether a transform of `torch.func` runs: fused kernels have no rules for those."""
    return torch._C._are_functorch_transforms_active()


class FusedBackend(Backend):
    """Fused kernels of one form, for a CPU by numba or for a GPU by Triton."""

    def __init__(self, form: str) -> None:
        self.form = form

    def serves(self, features: Tensor) -> bool:
        """Serve the device that the form is made for."""
        if is_transformed():
            return False
        return cuda.serves(features) if self.form == "triton" else features.device.type == "cpu"

    def convolve(
        self,
        features: Tensor,
        harmonics: Tensor,
        distances: Tensor,
        coefficients: Tensor,
        edges: Edges,
        table: CouplingTable,
        cutoff: float,
    ) -> Tensor:
        """Compute `kernels.convolve` in one pass over the edges; Triton's not of several kinds."""
        if self.form == "triton" and len(edges.kinds) > 0:
            return BACKENDS["reference"].convolve(
                features, harmonics, distances, coefficients, edges, table, cutoff
            )
        return convolution.convolve(
            features, harmonics, distances, coefficients, edges, table, cutoff, self.form
        )

    def couple(
        self, first: Tensor, second: Tensor, weights: Tensor, species: Tensor, table: CouplingTable
    ) -> Tensor:
        """Compute `kernels.couple`: on a CPU without tensors of paths, on a GPU in few products."""
        if first.device.type == "cpu":
            return products.couple(first, second, weights, species, table)
        return dense_products.couple(first, second, weights, species, table)

    def contract(
        self, features: Tensor, weights: Tensor, species: Tensor, polynomials: Polynomials
    ) -> Tensor:
        """Compute `kernels.contract`, on a CPU without tensors of products."""
        if features.device.type == "cpu":
            return contraction.contract(features, weights, species, polynomials)
        return reference.contract(features, weights, species, polynomials)


# A back end from elsewhere is one more entry.
BACKENDS: dict[str, Backend] = {
    "reference": ReferenceBackend(),
    "generic": FusedBackend("generic"),
    "specialized": FusedBackend("specialized"),
    "triton": FusedBackend("triton"),
}
