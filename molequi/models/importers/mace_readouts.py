"""The readouts of a MACE model as the weights of our heads, by name, in float64."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from molequi.graphs.elements import N_ELEMENTS
from molequi.models.importers import mace_parts as parts
from molequi.models.importers.mace_settings import channels_of, n_readout_of
from molequi.models.importers.source import Source
from molequi.nn.heads.layered import PairRepulsion
from molequi.o3.irreps import Irrep

_SCALAR, _VECTOR = Irrep.parse("0e"), Irrep.parse("1o")
_LINEAR = "LinearReadoutBlock", "LinearDipoleReadoutBlock"


def energy_weights(source: Source, head: int) -> dict[str, Tensor]:
    """Return the weights of the energy's head by name."""
    n_layers, n_channels, n_readout = _sizes(source)
    weights = _zeros(linear=(n_layers, n_channels), first=(n_channels, n_readout))
    weights |= _zeros(second=(n_readout,))
    for layer, name in _readouts(source).items():
        kind = source.modules[name]["class"]
        if kind in _LINEAR:
            weights["linear"][layer] = parts.linear(source, f"{name}.linear")[_SCALAR][:, head]
        elif kind == "NonLinearReadoutBlock":
            weights |= _network(source, name, slice(head * n_readout, (head + 1) * n_readout), head)
        else:
            weights |= _scalars_beside_vectors(source, name, n_readout)
    scale, shift = (
        source.tensor("scale_shift", name).reshape(-1)[head]
        if "scale_shift" in source.modules
        else torch.tensor(default, dtype=torch.float64)
        for name, default in (("scale", 1.0), ("shift", 0.0))
    )
    return {
        **weights,
        "linear": weights["linear"].flatten(),
        "scale": scale.reshape(1),
        "shift": shift,
        "reference": reference_energies(source, head),
        **_repulsion(source),
    }


def dipole_weights(source: Source, unit: float) -> dict[str, Tensor]:
    """Return the weights of the dipole's head by name; unit: of the original's dipoles, e·Å."""
    n_layers, n_channels, n_readout = _sizes(source)
    weights = _zeros(linear=(n_layers, n_channels), shift=(), reference=(N_ELEMENTS,))
    weights |= _zeros(gate=(n_channels, n_readout), first=(n_channels, n_readout))
    weights |= _zeros(second=(n_readout,))
    for layer, name in _readouts(source).items():
        if source.modules[name]["class"] in _LINEAR:
            weights["linear"][layer] = parts.linear(source, f"{name}.linear")[_VECTOR][:, 0]
        else:
            weights |= _gated_vectors(source, name, n_readout)
    scale = torch.tensor([unit], dtype=torch.float64)
    return {**weights, "linear": weights["linear"].flatten(), "scale": scale}


def _zeros(**sizes: tuple[int, ...]) -> dict[str, Tensor]:
    return {name: torch.zeros(size, dtype=torch.float64) for name, size in sizes.items()}


def _sizes(source: Source) -> tuple[int, int, int]:
    """Return the numbers of layers, of channels, and the width of the nonlinear readout."""
    hidden = source.modules["products.0.linear"]["irreps_out"]
    n_channels = channels_of(hidden, "the hidden features")
    return int(source.tensor("num_interactions")), n_channels, n_readout_of(source)


def _readouts(source: Source) -> dict[int, str]:
    """Return the readout of each layer, of the last one where there is one alone."""
    names = [
        name for name in source.modules if name.startswith("readouts.") and name.count(".") == 1
    ]
    n_layers = int(source.tensor("num_interactions"))
    return {n_layers - 1: names[0]} if len(names) == 1 else dict(enumerate(names))


def _network(source: Source, name: str, mine: slice, head: int) -> dict[str, Tensor]:
    """Return a network of scalars, whose hidden layer has a part for each head."""
    factor = parts.activation(source.modules.get(f"{name}.non_linearity.acts.0", {}), name)
    return {
        "first": parts.linear(source, f"{name}.linear_1")[_SCALAR][:, mine],
        "second": parts.linear(source, f"{name}.linear_2")[_SCALAR][mine, head] * factor,
    }


def _scalars_beside_vectors(source: Source, name: str, n_readout: int) -> dict[str, Tensor]:
    """Return the network of scalars of a readout of both; its hidden scalars come before gates."""
    gate = source.modules[f"{name}.equivariant_nonlin"]
    n_scalars = _count(gate["irreps_scalars"])
    if n_scalars == 0:
        return {}
    first = parts.linear(source, f"{name}.linear_1")[_SCALAR][:, :n_scalars]
    factor = parts.activation({"f": gate["act_scalar"], "cst": gate["scalar_cst"]}, name)
    second = parts.linear(source, f"{name}.linear_2")[_SCALAR][:, 0] * factor
    return {"first": _padded(first, n_readout), "second": _padded(second, n_readout)}


def _gated_vectors(source: Source, name: str, n_readout: int) -> dict[str, Tensor]:
    """Return the gated vectors of a readout.

    Without scalars in the last layer, as in AtomicDipolesMACE, gates are silu(0) and nothing is
    left of the vectors.
    """
    gate = source.modules[f"{name}.equivariant_nonlin"]
    matrices = parts.linear(source, f"{name}.linear_1")
    if _count(gate["irreps_gated"]) == 0 or not {_SCALAR, _VECTOR} <= set(matrices):
        return {}
    factor = parts.activation({"f": gate["act_gate"], "cst": gate["gate_cst"]}, name)
    second = parts.linear(source, f"{name}.linear_2")[_VECTOR][:, 0] * factor
    gates = matrices[_SCALAR][:, _count(gate["irreps_scalars"]) :]
    found = {"gate": gates, "first": matrices[_VECTOR], "second": second}
    return {key: _padded(value, n_readout) for key, value in found.items()}


def _count(blocks: Sequence[Sequence[int]]) -> int:
    return sum(count for count, *_ in blocks)


def _padded(values: Tensor, size: int) -> Tensor:
    """Return values (..., n) with zeros up to `size`."""
    return functional.pad(values, (0, size - values.shape[-1]))


def _repulsion(source: Source) -> dict[str, Tensor]:
    """Return the constants of the repulsion of nuclei; its power is zero where there is none."""
    own = PairRepulsion()
    weights = {f"repulsion.{key}": value for key, value in own.named_buffers()}
    if "pair_repulsion_fn" not in source.modules:
        return weights
    names = {"power": "p", "shares": "c", "length": "a_prefactor", "exponent": "a_exp"}
    found = {key: source.tensor("pair_repulsion_fn", name) for key, name in names.items()}
    found["power"] = found["power"].long()
    found["radii"] = source.tensor("pair_repulsion_fn.covalent_radii")[:N_ELEMENTS]
    return {f"repulsion.{key}": value for key, value in found.items()}


def reference_energies(source: Source, head: int) -> Tensor:
    """Return the energies of isolated atoms by atomic number, eV."""
    table = torch.zeros(N_ELEMENTS, dtype=torch.float64)
    rows = torch.atleast_2d(source.tensor("atomic_energies_fn.atomic_energies"))
    table[source.tensor("atomic_numbers").long()] = rows[head]
    return table
