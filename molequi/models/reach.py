"""Whether a network can give what is asked of it: parts of outputs that symmetry keeps at zero."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph
from molequi.models.molecular import MolecularModel
from molequi.models.probes import built_in_probes
from molequi.o3.cartesian import from_cartesian
from molequi.o3.irreps import Irreps


def check_reach(model: MolecularModel) -> None:
    """Refuse outputs of which a part stays zero on a fixed, dense, chiral cluster.

    Raises UserError naming the property and the irreps that it does not reach.
    """
    cluster = built_in_probes(model.elements)[0].mapped(min(1.0, model.cutoff / 3.0) * np.eye(3))
    for name, irreps in unreached(model, cluster.graph(model.cutoff)).items():
        raise UserError(
            f"{name} ({model.properties[name].irreps}) cannot be reached by this network: its "
            f"{irreps} part stays zero. "
            f"Hidden irreps end in {model.backbone.irreps_out}; use parity=full, "
            "n_layers=3 or correlation=2"
        )


def unreached(model: MolecularModel, graph: AtomGraph) -> dict[str, Irreps]:
    """Return, by property, the irreps that stay zero everywhere on `graph`.

    That is below 1e-10 of the feature scale; what is reached is left out. A float64 copy runs. A
    part is compared in units of its own scale, but not below what rounding leaves in it of a part
    10⁴ times as large.
    """
    probe = copy.deepcopy(model).to(torch.float64)
    with torch.no_grad():
        outputs = probe(graph)
    features = float(probe.embed(graph).abs().max()) if graph.n_atoms else 0.0
    missing = {}
    for name, row in model.properties.items():
        if name not in outputs or row.is_invariant:
            continue
        irreps = Irreps(row.irreps)
        scales = model.output_scale(name) if name in model.heads else (1.0,) * len(irreps)
        limits = [1e-10 * features * max(scale, 1e-4 * max(scales)) for scale in scales]
        sizes = _sizes(outputs[name], irreps)
        zero = Irreps(
            irrep for irrep, size, limit in zip(irreps, sizes, limits, strict=True) if size <= limit
        )
        if zero:
            missing[name] = zero
    return missing


def _sizes(values: Tensor, irreps: Irreps) -> list[float]:
    """Return the largest component of each irrep in Cartesian values; 0 where there are none."""
    rows = from_cartesian(values.nan_to_num(), irreps.degrees)
    return [float(rows[..., part].abs().max()) if rows.numel() else 0.0 for part in irreps.slices()]
