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


def members_of(name: str) -> str:
    """Name the output that holds how far the members of a committee lie from their mean."""
    return f"{name}[members]"


def with_forces(
    network: Callable[[AtomGraph], Outputs],
    graph: AtomGraph,
    *,
    stress: bool = False,
    create_graph: bool = False,
    members: bool = True,
) -> Outputs:
    """Run `network` and add forces (N, 3) = -dE/dx, eV/Å.

    Of a committee, whose energies lie energy[members] (K, B) from their mean, with `members` also
    forces[members] (K, N, 3), by one gradient each.

    With `stress` also the stress (B, 3, 3) = dE/dstrain / V, eV/Å³, NaN where the cell is not fully
    periodic. Without `create_graph` every output is detached; with it all stay connected to the
    positions and cell of the graph, where these ask for gradients.
    """
    with torch.inference_mode(mode=False), torch.enable_grad():
        graph = graph.out_of_inference()
        positions = _variable(graph.positions, connected=create_graph)
        strained, inputs = graph._replace(positions=positions), [positions]
        if stress:
            strained, strain = _strained(strained)
            inputs.append(strain)
        outputs = network(strained)
        apart = outputs.get(members_of("energy")) if members else None
        gradients = torch.autograd.grad(
            outputs["energy"].sum(),
            inputs,
            retain_graph=create_graph or apart is not None,
            create_graph=create_graph,
            materialize_grads=True,
        )
        if apart is not None:
            forces = _forces_apart(apart, positions, create_graph=create_graph)
            outputs = {**outputs, members_of("forces"): forces}
    result = outputs if create_graph else {name: value.detach() for name, value in outputs.items()}
    result = {**result, "forces": -gradients[0]}
    if stress:
        result["stress"] = _stress(gradients[1], graph)
    return result


def _strained(graph: AtomGraph) -> tuple[AtomGraph, Tensor]:
    """Return a graph under a strain of zero, and that strain (B, 3, 3), to differentiate by."""
    strain = torch.zeros_like(graph.cell).requires_grad_(True)
    symmetric = 0.5 * (strain + strain.transpose(1, 2))
    moved = graph.positions + torch.einsum("ni,nij->nj", graph.positions, symmetric[graph.batch])
    return graph._replace(positions=moved, cell=graph.cell + graph.cell @ symmetric), strain


def _forces_apart(apart: Tensor, positions: Tensor, *, create_graph: bool) -> Tensor:
    """Return how far the forces of members lie from their mean: (K, N, 3).

    apart: of the energies, (K, B). They add up to zero, so that the last one needs no gradient.
    """
    last = len(apart) - 2
    found = [
        -torch.autograd.grad(
            energies.sum(),
            positions,
            retain_graph=create_graph or number < last,
            create_graph=create_graph,
        )[0]
        for number, energies in enumerate(apart[:-1])
    ]
    return torch.stack([*found, -torch.stack(found).sum(dim=0)])


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
