"""Derivatives of a model: forces, stress, the Hessian, and those of dipoles and other outputs.

All by autograd, so they are exact and conservative.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from molequi.graphs.graph import AtomGraph
from molequi.properties import PROPERTIES

Outputs = dict[str, Tensor]


def with_forces(
    network: Callable[[AtomGraph], Outputs],
    graph: AtomGraph,
    *,
    stress: bool = False,
    create_graph: bool = False,
) -> Outputs:
    """Run `network` and add forces (N, 3) = -dE/dx, eV/Å.

    With `stress` also the stress (B, 3, 3) = dE/dstrain / V, eV/Å³, NaN where the cell is not fully
    periodic. Without `create_graph` every output is detached; with it all stay connected to the
    positions and cell of the graph, where these ask for gradients.
    """
    with torch.inference_mode(mode=False), torch.enable_grad():
        graph = graph.out_of_inference()
        positions = _variable(graph.positions, connected=create_graph)
        strained, inputs = graph._replace(positions=positions), [positions]
        if stress:
            strain = torch.zeros_like(graph.cell).requires_grad_(True)
            symmetric = 0.5 * (strain + strain.transpose(1, 2))
            moved = positions + torch.einsum("ni,nij->nj", positions, symmetric[graph.batch])
            strained = graph._replace(positions=moved, cell=graph.cell + graph.cell @ symmetric)
            inputs.append(strain)
        outputs = network(strained)
        gradients = torch.autograd.grad(
            outputs["energy"].sum(),
            inputs,
            create_graph=create_graph,
            allow_unused=True,
            materialize_grads=True,
        )
    result = outputs if create_graph else {name: value.detach() for name, value in outputs.items()}
    result = {**result, "forces": -gradients[0]}
    if stress:
        result["stress"] = _stress(gradients[1], graph)
    return result


def _stress(slope: Tensor, graph: AtomGraph) -> Tensor:
    """Return dE/dstrain (B, 3, 3), eV, over the volume; NaN where the cell has none."""
    volume = torch.linalg.det(graph.cell).abs()
    full = PROPERTIES["stress"].is_defined(graph.pbc) & (volume > 0)
    values = slope / torch.where(full, volume, torch.ones_like(volume))[:, None, None]
    return torch.where(full[:, None, None], values, torch.full_like(values, torch.nan))


def _variable(positions: Tensor, *, connected: bool) -> Tensor:
    """Return positions to differentiate by: the caller's own, or new ones that end there."""
    if connected and positions.requires_grad:
        return positions
    return positions.detach().requires_grad_(True)


def output_derivative(
    network: Callable[[AtomGraph], Outputs], graph: AtomGraph, name: str
) -> Tensor:
    """Return d P / d x of one structure, for an output P of the molecule: (*shape of P, N, 3).

    In the output's unit over Å: of the dipole in e.
    """
    with torch.inference_mode(mode=False), torch.enable_grad():
        graph = graph.out_of_inference()
        positions = _variable(graph.positions, connected=False)
        value = network(graph._replace(positions=positions))[name][0]
        rows = [
            torch.autograd.grad(component, positions, retain_graph=True)[0]
            for component in value.reshape(-1)
        ]
    return torch.stack(rows).reshape(*value.shape, *positions.shape)


def hessian(network: Callable[[AtomGraph], Outputs], graph: AtomGraph) -> Tensor:
    """Return d2E/dx2 of one structure: (3N, 3N), eV/Å², float64, symmetrised.

    Rows ordered atom by atom, x y z.

    Raises ValueError for a graph of several molecules, whose Hessians would be mixed up.
    """
    if graph.n_molecules != 1:
        raise ValueError(f"a Hessian is of one structure, got a graph of {graph.n_molecules}")
    with torch.inference_mode(mode=False), torch.enable_grad():
        graph = graph.out_of_inference()
        positions = _variable(graph.positions, connected=False)
        energy = network(graph._replace(positions=positions))["energy"].sum()
        gradient = torch.autograd.grad(
            energy, positions, create_graph=True, allow_unused=True, materialize_grads=True
        )[0].reshape(-1)
        if not gradient.requires_grad:
            return torch.zeros(
                len(gradient), len(gradient), dtype=gradient.dtype, device=gradient.device
            )
        rows = [
            torch.autograd.grad(component, positions, retain_graph=True)[0].reshape(-1)
            for component in gradient
        ]
    matrix = torch.stack(rows) if rows else gradient.new_zeros(0, 0)
    return 0.5 * (matrix + matrix.T).detach()
