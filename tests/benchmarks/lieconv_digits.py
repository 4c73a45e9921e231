"""Turned (and scaled) 8x8 digits, the small stand-in for RotMNIST.

LieConv in six groups, with subsampling.

Every image of scikit-learn's digits is turned by its own random angle, and with `scaled` scaled
too, by bilinear interpolation on the grid, in training and test alike. Pixels are points at -3.5
... 3.5 of the plane, none at the centre, so that log-polar coordinates exist for all of them.

A pixel lifts to SE(2) by an angle drawn at random, or, `SE(2) by frames`, by the direction in which
the ink lies as it is seen from there: that turns along with the image, and nothing is random.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.ndimage
import torch
from torch import Tensor, nn

from molequi.groups.clouds import Cloud, make_cloud, masked_mean, n_coordinates
from molequi.groups.lie import motion
from molequi.groups.lie_groups import group_named
from molequi.groups.lieconv import LieResNet, Stage
from molequi.groups.rotations import plane_rotation
from molequi.hamiltonian.lie_networks import frame_angles

# RotMNIST, error in %.
PUBLISHED = {
    "trivial": 1.58,
    "T(1)y": 1.49,
    "T(2)": 1.44,
    "SO(2)": 1.42,
    "R*xSO(2)": 1.27,
    "SE(2)": 1.24,
    "SE(2) by frames": 1.24,
}
# Share of all pairs that a neighbourhood holds, in the first layer and after points are dropped:
# the radius follows from it, group by group.
SHARES, FRACTIONS = (0.15, 0.3, 1.0), (0.5, 0.5, 1.0)
N_TRAIN, N_CHANNELS, BATCH, RATE, RESAMPLINGS = 1200, 64, 50, 3e-3, 4


class DigitNetwork(nn.Module):
    """Lift, three stages with farthest-point subsampling, global mean, ten numbers.

    images: (B, 64), a few of those to train on, whose frames say how far neighbours are.
    """

    def __init__(self, name: str, images: Tensor) -> None:
        super().__init__()
        group, _, self.lifts = name.partition(" by ")
        self.group, side = group_named(group, 2), torch.arange(8, dtype=torch.float64) - 3.5
        self.points = torch.cartesian_prod(side, side)
        stages = [Stage(*pair) for pair in zip(self._radii(images), FRACTIONS, strict=True)]
        self.network = LieResNet(1, N_CHANNELS, n_coordinates(self.group), stages)
        self.read = nn.Linear(N_CHANNELS, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images (B, 64); lifts are sampled anew, if they are sampled."""
        features, mask = self.network(self._cloud(images), images[..., None])
        return self.read(masked_mean(features, mask))

    def _radii(self, images: Tensor) -> list[float]:
        distances = self._cloud(images, torch.Generator().manual_seed(0)).distances.flatten()
        # A little more, because distances on a grid come in equal lots, and rounding must not split
        # them.
        return [1.0001 * float(torch.quantile(distances, share)) for share in SHARES]

    def _cloud(self, images: Tensor, generator: torch.Generator | None = None) -> Cloud:
        n_images = 1 if self.group.is_free else len(images)
        points, turns = self.points.expand(n_images, -1, -1), None
        if self.lifts == "frames":
            # A little ink everywhere, so that an empty image has frames too.
            angles = frame_angles(points, images.double() + 1e-6)
            turns = motion(plane_rotation(angles), torch.zeros_like(points))[:, :, None]
        lift = self.group.lift(points, 1, generator, turns)
        mask = torch.ones(n_images, len(self.points), dtype=torch.bool)
        return make_cloud(
            self.group, lift.elements[:, :, 0], lift.orbits[:, :, 0], mask, torch.float32
        )


def rows(
    runs: Path, *, scaled: bool, epochs: int, groups: str | None, seed: int
) -> list[dict[str, object]]:
    """Train every group, or read what is there; return errors in % with the spread over lifts.

    seed: of the weights, of the lifts, and of which images are trained on.
    """
    images, labels = turned_digits(scaled=scaled)
    names = list(PUBLISHED) if groups is None else groups.split(",")
    table = []
    for name in names:
        slug = "".join(letter for letter in name if letter.isalnum())
        tail = f"_{seed}" if seed else ""
        path = runs / f"digits_{slug}{'_scaled' if scaled else ''}_{epochs}{tail}.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(
                json.dumps(_run(name, images, labels, epochs, seed, path.with_suffix(".pt"))),
                encoding="utf-8",
            )
        found = json.loads(path.read_text(encoding="utf-8"))
        table.append({"group": name, **found, "paper, RotMNIST %": PUBLISHED.get(name)})
    return table


def turned_digits(*, scaled: bool) -> tuple[Tensor, Tensor]:
    """Return images (n, 64) between 0 and 1, float32, and labels (n,)."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        sys.exit("the digits come with scikit-learn: pip install scikit-learn")
    digits, rng = load_digits(), np.random.default_rng(0)
    centre, turned = np.array([3.5, 3.5]), []
    for image in digits.images:
        angle, factor = rng.uniform(0, 2 * np.pi), rng.uniform(0.7, 1.1) if scaled else 1.0
        matrix = (
            np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / factor
        )
        turned.append(
            scipy.ndimage.affine_transform(image / 16.0, matrix, centre - matrix @ centre, order=1)
        )
    return torch.tensor(np.array(turned), dtype=torch.float32).flatten(1), torch.tensor(
        digits.target
    )


def _run(
    name: str, images: Tensor, labels: Tensor, epochs: int, seed: int, state: Path
) -> dict[str, object]:
    torch.manual_seed(seed)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1 + seed))
    model = DigitNetwork(name, images[order[:4]])
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    first = 0
    if state.exists():
        kept = torch.load(state, weights_only=True)
        (
            model.load_state_dict(kept["model"]),
            optimizer.load_state_dict(kept["optimizer"]),
            schedule.load_state_dict(kept["schedule"]),
        )
        first = kept["epoch"]
    for epoch in range(first, epochs):
        torch.manual_seed(1000 * (1 + seed) + epoch)
        for batch in _batches(order[:N_TRAIN]):
            loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
        torch.save(
            {
                "epoch": epoch + 1,
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
            },
            state,
        )
        sys.stderr.write(f"{name} epoch {epoch + 1} loss {float(loss.detach()):.3f}\n")
    errors = [
        _error(model, images[order[N_TRAIN:]], labels[order[N_TRAIN:]], seed)
        for seed in range(RESAMPLINGS)
    ]
    return {
        "error %": float(np.mean(errors)),
        "± over lifts": float(np.std(errors)),
        "epochs": epochs,
    }


def _batches(order: Tensor) -> Iterator[Tensor]:
    yield from order[torch.randperm(len(order))].split(BATCH)


@torch.no_grad()
def _error(model: DigitNetwork, images: Tensor, labels: Tensor, seed: int) -> float:
    torch.manual_seed(seed)
    model.eval()
    wrong = torch.cat([model(part).argmax(1) for part in images.split(BATCH)]) != labels
    model.train()
    return 100.0 * float(wrong.double().mean())
