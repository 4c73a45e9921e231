"""Number and angle of digits turned by quarter turns, by lifts over C4 (Bao and Song, 2019).

The images are scikit-learn's, 8 x 8.

    python tests/benchmarks/equivarified_digits.py [--epochs 40] [--seeds 0,1,2] [--output
    digits.jsonl] [--json]

Needs scikit-learn, which holds the images: 1,297 to train, 500 to test. Every image of the test set
is turned by 0, 1, 2 or 3 quarters, all four in turn, and number and angle must both be right, one
class of 40. `pure`: every layer lifted by itself, as many weights as the ordinary network.
`stacked`: the second and third convolution see all four copies, four times their weights.
`ordinary`: the same layers with 40 outputs, trained on upright images, or on images turned at
random. A lift is trained on upright images and once more on turned ones, from the same start. With
--output finished rows are kept in a file, and a second run goes on from there.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from molequi.groups.equivarify import (
    EachCopy,
    LayerwiseLift,
    Lift,
    StackedCopies,
    joint_classes,
    turn_images,
)
from molequi.groups.finite import cyclic_group

C4 = cyclic_group(4)
N_TRAIN, BATCH, RATE = 1297, 64, 3e-3
CHANNELS = (16, 32, 32)


class Classifier(nn.Module):
    """A lift as a classifier of number and angle: (B, 1, 8, 8) -> (B, 40)."""

    def __init__(self, lift: LayerwiseLift) -> None:
        super().__init__()
        self.lift = lift

    def forward(self, images: Tensor) -> Tensor:
        return joint_classes(self.lift(images), C4)


def layers(copies: int, n_classes: int) -> list[nn.Module]:
    """Three convolutions and a linear layer; `copies`: how many the later convolutions see."""
    a, b, c = CHANNELS
    tail = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * c, n_classes))
    first = nn.Sequential(nn.Conv2d(1, a, 3, padding=1), nn.ReLU())
    return [
        first,
        nn.Conv2d(copies * a, b, 3, padding=1),
        nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)),
        nn.Conv2d(copies * b, c, 3, padding=1),
        tail,
    ]


def network(kind: str) -> nn.Module:
    """Return the network `ordinary`, `pure` or `stacked`."""
    if kind == "ordinary":
        return nn.Sequential(*layers(1, 40))
    first, second, pool, third, tail = layers(4 if kind == "stacked" else 1, 10)
    if kind == "stacked":
        middle = [StackedCopies(second, C4), EachCopy(pool), StackedCopies(third, C4)]
    else:
        middle = [EachCopy(second), EachCopy(pool), EachCopy(third)]
    return Classifier(LayerwiseLift(Lift(first, C4, turn_images), [*middle, EachCopy(tail)]))


def digits(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return images and numbers to train and to test."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = torch.as_tensor(data.images / 16.0, dtype=torch.float32)[:, None]
    order = torch.as_tensor(np.random.default_rng(seed).permutation(len(images)))
    numbers = torch.as_tensor(data.target)[order]
    return images[order][:N_TRAIN], numbers[:N_TRAIN], images[order][N_TRAIN:], numbers[N_TRAIN:]


def turned(images: Tensor, quarters: Tensor) -> Tensor:
    """Turn each image by its own number of quarters."""
    stack = torch.stack([turn_images(matrix, images) for matrix in C4.matrices])
    return stack[quarters, torch.arange(len(images))]


def train(
    model: nn.Module, images: Tensor, numbers: Tensor, epochs: int, *, turn: bool
) -> list[float]:
    """Train on images upright or turned at random; return the loss of every step.

    The order of the images is the same in both.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    order, angles, losses = torch.Generator().manual_seed(0), torch.Generator().manual_seed(1), []
    for _ in range(epochs):
        for batch in torch.randperm(len(images), generator=order).split(BATCH):
            quarters = torch.randint(4, (len(batch),), generator=angles) * int(turn)
            loss = functional.cross_entropy(
                model(turned(images[batch], quarters)), 10 * quarters + numbers[batch]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        schedule.step()
    return losses


def scores(model: nn.Module, images: Tensor, numbers: Tensor) -> dict[str, float]:
    """Return accuracies over all four turns, and the error of the shift by ten.

    A quarter turn must shift the 40 probabilities by ten."""
    with torch.no_grad():
        outputs = torch.stack([model(turn_images(matrix, images)) for matrix in C4.matrices])
    found = outputs.argmax(dim=2)
    expected = 10 * torch.arange(4)[:, None] + numbers
    probabilities = outputs.softmax(dim=2)
    shift = (probabilities[1] - torch.roll(probabilities[0], 10, dims=1)).abs().max()
    return {
        "joint": float((found == expected).float().mean()),
        "number": float((found % 10 == expected % 10).float().mean()),
        "angle": float((found // 10 == expected // 10).float().mean()),
        "shift_error": float(shift),
    }


def row(kind: str, seed: int, epochs: int, *, turn: bool) -> dict[str, object]:
    """Train one network and measure it."""
    images, numbers, test_images, test_numbers = digits(seed)
    torch.manual_seed(seed)
    model = network(kind)
    start = time.process_time()
    losses = train(model, images, numbers, epochs, turn=turn)
    seconds = time.process_time() - start
    weights = {
        f"conv{k + 1}": module.weight.numel()
        for k, module in enumerate(m for m in model.modules() if isinstance(m, nn.Conv2d))
    }
    total = sum(p.numel() for p in model.parameters())
    found = scores(model.eval(), test_images, test_numbers)
    first = {"first_losses": losses[:20], "last_loss": float(np.mean(losses[-20:]))}
    return {
        "network": kind,
        "turned": turn,
        "seed": seed,
        "epochs": epochs,
        "weights": total,
        **weights,
        **found,
        **first,
        "seconds": seconds,
    }


def main() -> None:
    """Train every network with every seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument(
        "--output", type=Path, help="a file of finished rows, one JSON document a line"
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    done = (
        [json.loads(line) for line in arguments.output.read_text().splitlines()]
        if arguments.output and arguments.output.exists()
        else []
    )
    rows = []
    for seed in map(int, arguments.seeds.split(",")):
        for kind, turn in (
            ("pure", False),
            ("pure", True),
            ("stacked", False),
            ("stacked", True),
            ("ordinary", False),
            ("ordinary", True),
        ):
            wanted = {"network": kind, "turned": turn, "seed": seed, "epochs": arguments.epochs}
            kept = [one for one in done if wanted.items() <= one.items()]
            rows.append(kept[0] if kept else row(kind, seed, arguments.epochs, turn=turn))
            if arguments.output and not kept:
                with arguments.output.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
            if not arguments.json:
                line = (
                    "{network:9s} turned={turned!s:5} seed {seed}  {weights:6d} weights  "
                    "joint {joint:.3f}  number {number:.3f}  angle {angle:.3f}"
                )
                print(
                    (line + "  shift error {shift_error:.1e}  {seconds:.0f} s").format(**rows[-1]),
                    flush=True,
                )
    if arguments.json:
        print(json.dumps(rows))
        return
    for upright, other in zip(rows[::2], rows[1::2], strict=True):
        gap = max(
            abs(a - b) for a, b in zip(upright["first_losses"], other["first_losses"], strict=True)
        )
        print(
            f"{upright['network']:9s} seed {upright['seed']}: largest difference of the loss "
            f"upright and turned in the first 20 steps {gap:.1e}"
        )


if __name__ == "__main__":
    main()
