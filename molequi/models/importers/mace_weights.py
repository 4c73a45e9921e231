"""The weights of a MACE model as those of our backbone, by name, in float64."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from molequi.models.importers import mace_parts as parts
from molequi.models.importers.source import Source
from molequi.nn.backbones.mace import MaceBackbone
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
