"""The weights of e3nn's and MACE's modules in our conventions, module by module.

e3nn divides each map by the root of its inputs and multiplies activations to unit second moment, as
ours do, so that factors are near one; whatever they are is read from the module. A feature of n
channels of l is n times (2 l + 1) there and (2 l + 1) times n here, which changes no weight. Its
edges point from sender to receiver, ours back: harmonics of odd l change sign. All in float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from molequi.errors import UserError
from molequi.models.importers.source import Source
from molequi.nn.linear import unit_gain
from molequi.o3.clebsch_gordan import wigner_3j
from molequi.o3.coupling import CouplingTable
from molequi.o3.irreps import Irrep, Irreps
from molequi.o3.symmetric import polynomials, symmetrized

# What a basis may leave unexplained of another one that float32 has rounded.
_ROUNDING = 1e-6


def irreps_of(blocks: Sequence[Sequence[int]]) -> Irreps:
    """Return the irreps of e3nn's blocks (channels, l, parity), without the channels."""
    return Irreps((l, p) for _, l, p in blocks)


def activation(module: Mapping[str, Any], where: str) -> float:
    """Return the factor of a normalised SiLU. Raises UserError for another activation."""
    if module.get("f") != "silu":
        raise UserError(
            f"the activation {module.get('f')} of {where} is not supported; SiLU (`silu`) is"
        )
    return float(module["cst"])


def linear(source: Source, name: str) -> dict[Irrep, Tensor]:
    """Return, by output irrep, the matrix (channels in, channels out) of a `Linear` of e3nn.

    Channels of several blocks of one irrep stand one block after the other.
    """
    module, flat = source.modules[name], source.tensor(name, "weight")
    if module["bias_numel"]:
        raise UserError(f"{name} has a bias, which is not supported")
    parts: dict[Irrep, list[tuple[int, Tensor]]] = {}
    start, outputs = 0, irreps_of(module["irreps_out"])
    for path in module["instructions"]:
        rows, columns = path["path_shape"]
        weight = flat[start : start + rows * columns].reshape(rows, columns)
        start += rows * columns
        parts.setdefault(outputs[path["i_out"]], []).append(
            (path["i_in"], weight * path["path_weight"])
        )
    return {
        irrep: torch.cat([weight for _, weight in sorted(found, key=lambda pair: pair[0])])
        for irrep, found in parts.items()
    }


def irreps_linear(source: Source, name: str, irreps: Irreps) -> dict[str, Tensor]:
    """Return the weights of our `IrrepsLinear` for these irreps, zero for those it has not."""
    matrices = linear(source, name)
    nothing = torch.zeros_like(next(iter(matrices.values())))
    found = {irrep: matrices.get(irrep, nothing) for irrep in irreps}
    return {f"weights.{irrep}": matrix * len(matrix) ** 0.5 for irrep, matrix in found.items()}


def radial(source: Source, name: str) -> list[Tensor]:
    """Return the weights of our `Perceptron` without biases of an e3nn `FullyConnectedNet`."""
    weights, gain = [], 1.0
    for k in range(len(source.modules[name]["hs"]) - 1):
        layer = source.modules[f"{name}.layer{k}"]
        weights.append(
            source.tensor(name, f"layer{k}", "weight")
            * (gain * (layer["var_out"] / layer["var_in"]) ** 0.5)
        )
        if k < len(source.modules[name]["hs"]) - 2:
            # One module serves all layers, and is named once.
            factor = activation(source.modules[f"{name}.layer0.act"], name)
            gain = factor / unit_gain(functional.silu)
    return weights


def convolution_paths(source: Source, name: str, table: CouplingTable) -> tuple[list[int], Tensor]:
    """Return the place in `table` of each path of a convolution, and its factor (paths,).

    name: of a `TensorProduct`, whose paths stand in the order of its outputs.
    """
    module, places, factors = source.modules[name], [], []
    ours = {
        (table.first[path.first], table.second[path.second], table.output[path.output]): p
        for p, path in enumerate(table.paths)
    }
    sides = [irreps_of(module[side]) for side in ("irreps_in1", "irreps_in2", "irreps_out")]
    for path in sorted(module["instructions"], key=lambda path: path["i_out"]):
        key = sides[0][path["i_in1"]], sides[1][path["i_in2"]], sides[2][path["i_out"]]
        places.append(ours[key])
        size = path["path_weight"] * key[2].dim ** -0.5
        factors.append(size * (-1) ** key[1].l * _sign(source, *(irrep.l for irrep in key)))
    return places, torch.tensor(factors, dtype=torch.float64)


def _sign(source: Source, *degrees: int) -> float:
    """Return the factor from our coupling of these degrees to e3nn's, whose sign is a convention.

    The component order of e3nn 0.4.4 is ours.
    """
    theirs = np.array(source.couplings[" ".join(map(str, degrees))])
    ours = wigner_3j(*degrees)
    sign = float(np.sum(theirs * ours))
    if np.abs(theirs - sign * ours).max() > _ROUNDING:
        raise UserError(f"the couplings of l = {degrees} of this version of e3nn are not known")
    return sign


def by_species(source: Source, name: str, irreps: Irreps) -> Tensor:
    """Return the weight of our `SpeciesLinear` of a tensor product with the one-hot elements.

    It is zero for irreps that the product has not.
    """
    module, flat = source.modules[name], source.tensor(name, "weight")
    found, start, outputs = {}, 0, irreps_of(module["irreps_out"])
    for path in module["instructions"]:
        rows, species, columns = path["path_shape"]
        size, irrep = rows * species * columns, outputs[path["i_out"]]
        # A product with a scalar: the coupling is the unit matrix times this.
        unit = _sign(source, irrep.l, 0, irrep.l) * irrep.dim**-0.5 * path["path_weight"]
        weight = flat[start : start + size].reshape(rows, species, columns)
        found[irrep] = weight * (unit * rows**0.5)
        start += size
    nothing = torch.zeros_like(next(iter(found.values())))
    stacked = torch.stack([found.get(irrep, nothing) for irrep in irreps], dim=2)
    return stacked.transpose(0, 1).flatten(0, 1).flatten(1)


def contraction(
    source: Source,
    name: str,
    messages: Irreps,
    output: Irreps,
    tables: Sequence[CouplingTable],
    n_elements: int,
) -> list[Tensor]:
    """Return the weights of our `SymmetricContraction`, one (species, paths, C) per degree.

    Their basis is expressed in ours, which spans all equivariant polynomials: paths that are
    combinations of others, of which MACE has many, are added up. They are zero for irreps of the
    output that MACE does not make.
    """
    name = f"{name}.symmetric_contractions"
    theirs = irreps_of(source.modules[name]["irreps_in"])
    components = [c for irrep in messages for c in range(theirs.dim)[theirs.slice_of(irrep)]]
    correlation, weights = source.modules[f"{name}.contractions.0"]["correlation"], []
    for degree in range(1, correlation + 1):
        bases = dict(zip(output, polynomials(messages, output, degree), strict=True))
        joined = _of_degree(source, name, bases, degree, components)
        if degree > 1:
            # Our tables list paths by their factors, and weigh them by their number.
            table = tables[degree - 2]
            order = np.argsort([path.output for path in table.paths], kind="stable")
            counts = torch.tensor(table.path_counts(), dtype=torch.float64)
            joined = joined[:, np.argsort(order)] * counts.sqrt()[:, None]
        # A product that does not look at the elements has one set of weights for all.
        weights.append(joined.expand(n_elements, -1, -1).clone())
    return weights


def _of_degree(
    source: Source,
    name: str,
    bases: Mapping[Irrep, np.ndarray],
    degree: int,
    components: list[int],
) -> Tensor:
    """Return (species, our paths, C) of the products of one degree into all irreps of `bases`."""
    found = {
        irrep: _in_our_basis(
            source, f"{name}.contractions.{place}", bases[irrep], degree, components
        )
        for place, irrep in enumerate(irreps_of(source.modules[name]["irreps_out"]))
        if irrep in bases
    }
    like = next(iter(found.values()))
    return torch.cat(
        [
            found.get(irrep, like.new_zeros(len(like), basis.shape[2], like.shape[2]))
            for irrep, basis in bases.items()
        ],
        dim=1,
    )


def _in_our_basis(
    source: Source, name: str, basis: np.ndarray, degree: int, components: list[int]
) -> Tensor:
    """Return (species, our paths, C) of the products of one degree into one irrep."""
    correlation = source.modules[name]["correlation"]
    which = "weights_max" if degree == correlation else f"weights.{correlation - degree - 1}"
    tensor, weight = source.tensor(name, f"U_matrix_{degree}").numpy(), source.tensor(name, which)
    for axis in range(-degree - 1, -1):
        tensor = tensor.take(components, axis=axis)
    # Scalars have no axis of their components.
    tensor = tensor.reshape(-1, *tensor.shape[-degree - 1 :])
    theirs = symmetrized(np.moveaxis(tensor, -1, 0), degree).reshape(tensor.shape[-1], -1)
    ours = basis.reshape(basis.shape[0] * basis.shape[1], -1 if basis.size else 0)
    change = np.linalg.lstsq(ours, theirs.T, rcond=None)[0]
    left = np.abs(ours @ change - theirs.T).max(initial=0.0)
    if left > _ROUNDING * max(1.0, np.abs(theirs).max(initial=0.0)):
        raise UserError(f"the coupling coefficients U_matrix_{degree} of {name} are not known")
    return torch.einsum("jk,skc->sjc", torch.from_numpy(change), weight)
