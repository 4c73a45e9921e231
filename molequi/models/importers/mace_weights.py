"""The weights of a MACE model as those of our backbone and head, by name, in float64."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from molequi.graphs.elements import N_ELEMENTS
from molequi.models.importers import mace_parts as parts
from molequi.models.importers.mace_settings import channels_of, n_readout_of
from molequi.models.importers.source import Source
from molequi.nn.backbones.mace import MaceBackbone
from molequi.nn.heads.layered import PairRepulsion
from molequi.nn.mace.interaction import MaceInteraction
from molequi.o3.irreps import Irrep

_SCALAR = Irrep.parse("0e")


def backbone_weights(source: Source, backbone: MaceBackbone) -> dict[str, Tensor]:
    """Return the weights of our backbone by name."""
    embedding = parts.linear(source, "node_embedding.linear")[_SCALAR]
    weights = {"embedding": embedding, **_basis(source, backbone)}
    for k, layer in enumerate(backbone.layers):
        found = _layer(source, k, layer, len(backbone.elements))
        weights |= {f"layers.{k}.{name}": value for name, value in found.items()}
    return weights


def _basis(source: Source, backbone: MaceBackbone) -> dict[str, Tensor]:
    """Return the constants of the radial functions as the original has rounded them."""
    settings, name = backbone.settings, "radial_embedding"
    weights = {f"basis.{key}": value.double() for key, value in backbone.basis.named_buffers()}
    if settings["radial_basis"] == "bessel":
        weights["basis.frequencies"] = source.tensor(name, "bessel_fn.bessel_weights")
        weights["basis.prefactor"] = source.tensor(name, "bessel_fn.prefactor")
    elif settings["radial_basis"] == "gaussian":
        weights["basis.frequencies"] = source.tensor(name, "bessel_fn.gaussian_weights")
        coefficient = source.modules["radial_embedding.bessel_fn"]["coeff"]
        weights["basis.prefactor"] = torch.tensor(coefficient, dtype=torch.float64)
    kind = {"agnesi": ("a", "q", "p"), "soft": ("alpha",)}
    names = kind.get(str(settings["distance_transform"]), ())
    if names:
        found = [source.tensor(name, "distance_transform", key) for key in names]
        weights["basis.parameters_of_transform"] = torch.stack(found)
        radii = source.tensor(name, "distance_transform.covalent_radii")
        weights["basis.radii"] = radii[list(backbone.elements)]
    return weights


def _layer(source: Source, k: int, layer: MaceInteraction, n_elements: int) -> dict[str, Tensor]:
    """Return the weights of one of our layers by name."""
    interaction, product = f"interactions.{k}", f"products.{k}"
    places, factors = parts.convolution_paths(source, f"{interaction}.conv_tp", layer.table)
    radial = parts.radial(source, f"{interaction}.conv_tp_weights")
    of_paths = radial[-1].unflatten(1, (len(places), -1)) * factors[:, None]
    radial[-1] = of_paths[:, torch.tensor(places).argsort()].flatten(1)
    contraction = layer.contraction
    products = parts.contraction(
        source,
        product,
        contraction.irreps_in,
        layer.irreps_out,
        contraction.tables_of_degrees,
        n_elements,
    )
    up = parts.irreps_linear(source, f"{interaction}.linear_up", layer.linear_up.irreps)
    down = parts.irreps_linear(source, f"{product}.linear", layer.irreps_out)
    shared = layer.self_connection.shared.irreps
    weights = {
        **{f"linear_up.{name}": value for name, value in up.items()},
        **{f"linear_down.{name}": value for name, value in down.items()},
        **{f"radial.weights.{n}": value for n, value in enumerate(radial)},
        **{f"contraction.weights.{n}": value for n, value in enumerate(products)},
        "self_connection.weight": parts.by_species(source, f"{interaction}.skip_tp", shared),
        "neighbor_count": _neighbor_count(source, interaction),
        **_path_linear(source, interaction, layer, places),
    }
    if layer.density is not None:
        weights["density.weights.0"] = parts.radial(source, f"{interaction}.density_fn")[0]
    return weights


def _neighbor_count(source: Source, name: str) -> Tensor:
    """Return what messages are divided by: a number of the module, or one of its buffers."""
    plain = source.modules[name].get("avg_num_neighbors")
    if plain is None:
        return source.tensor(name, "avg_num_neighbors").reshape(())
    return torch.tensor(plain, dtype=torch.float64)


def _path_linear(
    source: Source, name: str, layer: MaceInteraction, places: Sequence[int]
) -> dict[str, Tensor]:
    """Return the weights of the map of all paths, whose order is ours."""
    matrices, outputs = parts.linear(source, f"{name}.linear"), layer.table.output
    weights = {}
    for irrep in layer.linear_paths.irreps:
        mine = torch.tensor([place for place in places if outputs[place] == irrep])
        blocks = matrices[irrep].unflatten(0, (len(mine), -1))[mine.argsort()]
        weights[f"linear_paths.weights.{irrep}"] = (
            blocks.flatten(0, 1) * len(matrices[irrep]) ** 0.5
        )
    return weights


def energy_weights(source: Source, head: int) -> dict[str, Tensor]:
    """Return the weights of the head by name, but for the energies of atoms."""
    n_layers = int(source.tensor("num_interactions"))
    n_readout = n_readout_of(source)
    n_channels = channels_of(source.modules["products.0.linear"]["irreps_out"], "hidden features")
    linear = torch.zeros(n_layers, n_channels, dtype=torch.float64)
    first = torch.zeros(n_channels, n_readout, dtype=torch.float64)
    second = torch.zeros(n_readout, dtype=torch.float64)
    names = [
        name for name in source.modules if name.startswith("readouts.") and name.count(".") == 1
    ]
    for k, name in enumerate(names):
        # One readout reads the last layer.
        layer = n_layers - 1 if len(names) == 1 else k
        if source.modules[name]["class"] == "LinearReadoutBlock":
            linear[layer] = parts.linear(source, f"{name}.linear")[_SCALAR][:, head]
            continue
        mine = slice(head * n_readout, (head + 1) * n_readout)
        factor = parts.activation(source.modules[f"{name}.non_linearity.acts.0"], name)
        first = parts.linear(source, f"{name}.linear_1")[_SCALAR][:, mine]
        second = parts.linear(source, f"{name}.linear_2")[_SCALAR][mine, head] * factor
    scale, shift = (
        source.tensor("scale_shift", name).reshape(-1)[head]
        if "scale_shift" in source.modules
        else torch.tensor(default, dtype=torch.float64)
        for name, default in (("scale", 1.0), ("shift", 0.0))
    )
    return {
        "linear": linear.flatten(),
        "first": first,
        "second": second,
        "scale": scale.reshape(1),
        "shift": shift,
        **_repulsion(source),
    }


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
