"""Tie the polarizability of a Rosenfeld model to the origin term of its tensor, in the package.

    python data/recipes/tie_chiroptical.py MODEL rosenfeld.npz [--models data/models]

MODEL is a file of format 2, whose polarizability has a readout of its own, rosenfeld.npz a set as
`molequi data prepare rosenfeld` makes it. That readout becomes the one of the atomic
polarizabilities in the origin term. What depends on these is fitted again to the training part: the
readouts of the polarizability and of the tensor's 1o and 2o parts, and the shares c. The backbone,
the readout of the 0o part and the flow stay, so that rotations stay as they were, to rounding.
Writes the model and its card anew, with the errors on the test part.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
from pathlib import Path
from typing import NamedTuple

import torch
from bundle_chiroptical import LIMITS, MAX_BYTES, scores
from bundle_output import MODELS, write
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.datasets.npz import load_npz
from molequi.graphs.graph import AtomGraph
from molequi.models.molecular import MolecularModel
from molequi.models.zoo import load
from molequi.nn.backbones.base import NodeFeatures
from molequi.nn.heads.base import Molecules
from molequi.nn.heads.optical import RosenfeldHead
from molequi.properties import PROPERTIES
from molequi.training.label_statistics import fit_statistics
from molequi.training.loss import Objective

_EPOCHS, _BATCH, _RATE, _WARMUP = 45, 32, 3e-3, 50
_START = 0.85  # of the shares: about that of molecules in HF/6-31G
_WEIGHTS = {"rosenfeld[0o]": 0.0, "rosenfeld[1o]": 1.0, "rosenfeld[2o]": 1.0, "polarizability": 2.0}
# What the trace depends on: it stays.
_KEPT = ("flow.", "local.triples.", "local.networks.0.", "local.weights.0")


class _Batch(NamedTuple):
    graph: AtomGraph
    features: NodeFeatures
    molecules: Molecules
    targets: dict[str, Tensor]


def tied(model: MolecularModel) -> MolecularModel:
    """Return the model with one readout of atomic polarizabilities, that of its polarizability."""
    rows = [PROPERTIES[name] for name in model.outputs]
    made = MolecularModel(copy.deepcopy(model.backbone), rows, metadata=model.metadata)
    made = made.to(model.dtype).eval().requires_grad_(False)
    for name, head in made.heads.items():
        head.load_state_dict(model.heads[name].state_dict(), strict=False)
    own = model.heads["polarizability"]
    head = rosenfeld_head(made)
    head.polarizability.load_state_dict(own.readout.state_dict())
    head.set_companion_statistics("polarizability", own.scale, own.reference)
    head.log_shares.fill_(math.log(_START))
    return made


def rosenfeld_head(model: MolecularModel) -> RosenfeldHead:
    """Return the head of the tensor."""
    head = model.heads["rosenfeld"]
    if not isinstance(head, RosenfeldHead) or head.log_shares is None:
        raise TypeError("the model has no Rosenfeld tensor with a polarizability")
    return head


def fit(model: MolecularModel, frames: Frames) -> None:
    """Fit what depends on the atomic polarizabilities; the backbone's features are made once."""
    head, generator = rosenfeld_head(model), torch.Generator().manual_seed(0)
    frames = frames.subset(torch.randperm(len(frames), generator=generator))
    batches = [
        _batch(model, frames, torch.arange(start, min(start + _BATCH, len(frames))))
        for start in range(0, len(frames), _BATCH)
    ]
    rows = [PROPERTIES[name] for name in ("rosenfeld", "polarizability")]
    scales: dict[str, float] = {}
    for row in rows:
        scales |= fit_statistics(frames, row).loss_scales
    objective = Objective(rows, scales, huber=0.5)
    weights = [p for name, p in head.named_parameters() if not name.startswith(_KEPT)]
    optimizer = torch.optim.Adam([p.requires_grad_(True) for p in weights], lr=_RATE)
    n_steps = _EPOCHS * len(batches)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda k: min(1.0, (k + 1) / _WARMUP) * 0.5 * (1.0 + math.cos(math.pi * k / n_steps)),
    )
    for _ in range(_EPOCHS):
        for number in torch.randperm(len(batches), generator=generator).tolist():
            optimizer.zero_grad()
            _loss(head, objective, batches[number]).backward()
            optimizer.step()
            schedule.step()
    model.requires_grad_(False)


@torch.no_grad()
def _batch(model: MolecularModel, frames: Frames, rows: Tensor) -> _Batch:
    graph, targets = frames.batch(rows, model.cutoff)
    return _Batch(graph, model.backbone.forward_once(graph), model.molecules(graph), targets)


def _loss(head: RosenfeldHead, objective: Objective, batch: _Batch) -> Tensor:
    sums = objective.sums(head(batch.features, batch.molecules), batch.targets, batch.graph)
    return (objective.weights(_WEIGHTS) * sums / objective.counts(batch.targets)).sum()


def main() -> None:
    """Tie, fit, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", type=Path, default=MODELS)
    arguments = parser.parse_args()
    before, loaded = load(arguments.model), load_npz(arguments.data)
    parts = {name: loaded.frames.subset(rows) for name, rows in loaded.splits.items()}
    model = tied(before)
    fit(model, parts["train"])
    model.backbone.use_kernels("generic")
    card = json.loads((arguments.models / "chiroptical.json").read_text(encoding="utf-8"))
    card["data"] |= {
        "heads fitted anew to": {"structures": len(parts["train"])},
        "test": {"structures": len(parts["test"]), "constitutions": len(parts["test"])},
    }
    card["model"]["weights"] = sum(p.numel() for p in model.parameters())
    card["rotations on the test part of the whole set, which stayed"] = {
        name: value
        for name, value in card["errors on the test part"].items()
        if "[" not in name or "[0o]" in name
    }
    card["errors on the test part"] = scores(model, parts["test"])
    card["limits"] = LIMITS
    write(model, card, arguments.models, "chiroptical", MAX_BYTES)
    print(json.dumps(card["errors on the test part"], indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
