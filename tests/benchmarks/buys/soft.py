"""Part c: a network on raw coordinates made more or less symmetric, beside one that is.

Error, violation, cost, learning curve.

Penalty: |f(Rx) - R f(x)|^2 joins the loss, R random. Group averaging: f(x) = 1/|G| sum R f(R^-1 x)
over the 24 rotations of a cube, exact for these alone. Frame averaging: the same sum over the four
right-handed frames of principal axes (Puny and others, Frame Averaging for Invariant and
Equivariant Network Design, ICLR 2022), exact for every rotation, though not continuous where two
moments of inertia are equal.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import torch
from buys.learn import (
    DIRECT,
    CoordinateNetwork,
    Molecule,
    Row,
    Rows,
    Settings,
    batches,
    ethanol,
    fit,
    mean_error,
    molecular_model,
    n_weights,
    predict,
    rotations,
    train_model,
    turned,
)
from torch import Tensor, nn

SIZES, BATCH, PENALTY = (25, 75, 225), 32, 1.0


def cube() -> Tensor:
    """Return the 24 proper rotations of a cube: (24, 3, 3)."""
    matrices = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = torch.diag(torch.tensor(signs, dtype=torch.float64))[list(order)]
            if torch.linalg.det(matrix) > 0:
                matrices.append(matrix)
    return torch.stack(matrices)


def principal_frames(positions: Tensor) -> Tensor:
    """Return the right-handed frames of principal axes, in columns: (S, 4, 3, 3)."""
    centred = positions - positions.mean(dim=1, keepdim=True)
    axes = torch.linalg.eigh(centred.mT @ centred)[1]
    signs = torch.tensor(
        [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=positions.dtype
    )
    first, second = (axes[:, None, :, k] * signs[None, :, k, None] for k in (0, 1))
    return torch.stack([first, second, torch.linalg.cross(first, second, dim=2)], dim=3)


class Averaged(nn.Module):
    """f(x) = mean over frames R of R net(R^-1 x).

    `frames`: from positions (S, N, 3) to (S, K, 3, 3).
    """

    def __init__(self, network: nn.Module, frames: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.frames = network, frames

    def forward(self, positions: Tensor) -> Tensor:
        """Return the vectors (S, N, 3)."""
        frames = self.frames(positions)
        centred = positions - positions.mean(dim=1, keepdim=True)
        local = centred[:, None] @ frames
        values = self.network(local.flatten(0, 1)).reshape(local.shape)
        return (values @ frames.mT).mean(dim=1)


def group_frames(positions: Tensor) -> Tensor:
    """Return the rotations of a cube for each sample: (S, 24, 3, 3)."""
    return cube().expand(len(positions), -1, -1, -1)


def network_of(kind: str, train: Molecule) -> nn.Module:
    """Make the network of a variant."""
    # Inputs are scaled by what the network will see: frames as they lie, or in all orientations.
    seen = train if kind == "plain" else train.turned(rotations(13, len(train.positions)))
    network = CoordinateNetwork(seen.positions, train.forces)
    averages = {"group": group_frames, "frames": principal_frames}
    return Averaged(network, averages[kind]) if kind in averages else network


def train_soft(kind: str, model: nn.Module, train: Molecule, steps: int) -> float:
    """Train a variant; return the processor seconds."""
    order, matrices = batches(len(train.positions), BATCH, steps), rotations(3, 4096)
    size = train.forces.std()

    def loss(step: int) -> Tensor:
        frames, turn = (
            train.subset(order[step]),
            matrices[(BATCH * step + torch.arange(len(order[step]))) % len(matrices)],
        )
        if kind == "augmented":
            frames = frames.turned(turn)
        found = model(frames.positions)
        error = ((found - frames.forces) / size).square().mean()
        if kind == "penalty":
            error = (
                error
                + PENALTY
                * ((model(turned(frames.positions, turn)) - turned(found, turn)) / size)
                .square()
                .mean()
            )
        return error

    return fit(model.parameters(), loss, steps, 3e-3)


def soft_row(kind: str, train: Molecule, test: Molecule, steps: int) -> Row:
    """Train a variant and measure it on frames as they are and turned."""
    if kind == "exact":
        model = molecular_model(train, [DIRECT], n_channels=16, l_max=1)
        seconds = train_model(model, train, steps, direct=True)
        model = model.to(torch.float64)
        answer = lambda frames: predict(model, frames, direct=True)[0]  # noqa: E731
    else:
        model = network_of(kind, train)
        seconds = train_soft(kind, model, train, 10 * steps)
        answer = lambda frames: model(frames.positions).detach()  # noqa: E731
    return {
        "frames": len(train.positions),
        **measured(answer, test),
        "weights": n_weights(model),
        "seconds": seconds,
    }


def measured(answer: Callable[[Molecule], Tensor], test: Molecule) -> Row:
    """Errors of the forces as the frames lie and turned at random.

    Violations |f(Rx) - R f(x)| / |f(x)|, R random or of the cube; time.
    """
    start = time.process_time()
    found = answer(test)
    seconds = time.process_time() - start
    turn, quarter = (
        rotations(9, len(test.positions)),
        cube()[torch.arange(len(test.positions)) % 23 + 1],
    )
    row = {"error_as_given_mev_a": 1e3 * mean_error(found, test.forces)}
    row["error_turned_mev_a"] = 1e3 * mean_error(
        answer(test.turned(turn)), test.turned(turn).forces
    )
    for name, matrices in (("violation_percent", turn), ("violation_cube_percent", quarter)):
        difference = answer(test.turned(matrices)) - turned(found, matrices)
        row[name] = 100.0 * (difference.norm(dim=-1).mean() / found.norm(dim=-1).mean()).item()
    return row | {"ms_per_prediction": 1e3 * seconds / len(test.positions)}


VARIANTS = {
    "coordinates": "plain",
    "turned in training": "augmented",
    "penalty": "penalty",
    "averaged over the cube's rotations": "group",
    "averaged over frames": "frames",
    "E(3) features": "exact",
}


def run(rows: Rows, settings: Settings) -> dict[str, list[Row]]:
    """Return the table `soft`, one row for each variant and number of frames."""
    frames, test = ethanol(settings.ethanol)
    table = []
    for name, kind in VARIANTS.items():
        for size in sorted({*SIZES, len(frames.positions)}):
            train = frames.subset(slice(size))
            table.append(
                rows.get(
                    f"soft, {size} frames",
                    name,
                    lambda k=kind, t=train: soft_row(k, t, test, settings.steps),
                )
            )
    return {"soft": table}
