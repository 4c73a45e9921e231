"""Part a: networks on distances, angles and dihedrals beside features that turn."""

from __future__ import annotations

import time

import torch
from buys.learn import (
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
    train_model,
)
from torch import Tensor
from torch.nn import functional

from molequi.datasets.chirality.alanine import load_alanine
from molequi.datasets.in_memory import Frames
from molequi.models.making import make_model
from molequi.properties import declare
from molequi.runtime.resources import data_path

HAND_STEPS = 200
# Name, irreps of the label, settings. An even number (0e) is all that unsigned numbers can give.
HANDS = (
    (
        "unsigned distances, angles, dihedrals",
        "0e",
        {"architecture": "invariants", "parity": "natural", "near_cutoff": 2.0},
    ),
    (
        "signed distances, angles, dihedrals",
        "0o",
        {"architecture": "invariants", "parity": "full", "near_cutoff": 2.0},
    ),
    ("E(3) features, 0e output", "0e", {"architecture": "spherical", "l_max": 1, "n_layers": 3}),
    (
        "E(3) features, 0o output",
        "0o",
        {"architecture": "spherical", "l_max": 1, "n_layers": 3, "parity": "full"},
    ),
)
FORCES = (
    ("distances alone (E(3) network, l = 0)", {"architecture": "spherical", "l_max": 0}),
    # No edge is as short, so that there is no angle.
    ("distances alone", {"architecture": "invariants", "near_cutoff": 0.5}),
    ("unsigned distances, angles, dihedrals", {"architecture": "invariants"}),
    ("signed distances, angles, dihedrals", {"architecture": "invariants", "parity": "full"}),
    ("E(3) features, l <= 1", {"architecture": "spherical", "l_max": 1}),
    ("E(3) features, l <= 2", {"architecture": "spherical", "l_max": 2}),
)


def is_left(frames: Frames) -> Tensor:
    """Return 1 for L, 0 for D: the alpha carbon of L-alanine is S, whose label is 0."""
    labels = frames.targets["handedness"].reshape(len(frames), -1).nan_to_num().sum(dim=1)
    return 1.0 - labels


def hand_row(irreps: str, settings: dict[str, object], steps: int) -> Row:
    """Train on bundled frames of alanine and their reflections, test on both hands of others."""
    loaded = load_alanine(data_path("samples/alanine.npz"))
    train, test = (loaded.frames.subset(loaded.splits[part]) for part in ("train", "test"))
    label = declare("is_left", irreps=irreps, unit="1", binary=True, extensive=True)
    model = make_model(train.elements(), [label], cutoff=4.0, n_channels=8, **settings)
    model.backbone.calibrate(train.batch(torch.arange(16), model.cutoff)[0])
    wanted, order = is_left(train), batches(len(train), 16, steps)

    def loss(step: int) -> Tensor:
        logits = model(train.batch(order[step], model.cutoff)[0])["is_left"]
        return functional.binary_cross_entropy_with_logits(logits, wanted[order[step]])

    seconds = fit(model.parameters(), loss, steps)
    logits = model.compute(test.batch(torch.arange(len(test)), model.cutoff)[0])["is_left"].detach()
    hits = ((logits > 0).to(torch.float64) == is_left(test)).to(torch.float64)
    return {
        "output": irreps,
        "accuracy_percent": 100 * hits.mean().item(),
        "tested": len(test),
        "weights": n_weights(model),
        "seconds": seconds,
    }


def force_row(settings: dict[str, object], train: Molecule, test: Molecule, steps: int) -> Row:
    """Train on energies and forces of rMD17 ethanol; errors of frames that were not trained on."""
    model = molecular_model(train, ["energy"], n_channels=16, **settings)
    seconds = train_model(model, train, steps)
    start = time.process_time()
    forces, energies = predict(model, test)
    call = (time.process_time() - start) / len(test.positions)
    return {
        "force_mae_mev_a": 1e3 * (forces - test.forces).abs().mean().item(),
        "force_error_norm_mev_a": 1e3 * mean_error(forces, test.forces),
        "energy_mae_mev": 1e3 * (energies - test.energies).abs().mean().item(),
        "frames": len(train.positions),
        "weights": n_weights(model),
        "seconds": seconds,
        "ms_per_prediction": 1e3 * call,
    }


def run(rows: Rows, settings: Settings) -> dict[str, list[Row]]:
    """Return the tables `hands` and `ethanol`."""
    steps, kept, few = settings.steps, rows.settings, min(settings.steps, HAND_STEPS)
    rows.settings = {"steps": few, "data": "alanine"}
    hands = [
        rows.get("hands", name, lambda i=irreps, s=model: hand_row(i, s, few))
        for name, irreps, model in HANDS
    ]
    rows.settings = kept
    train, test = ethanol(settings.ethanol)
    return {
        "hands": hands,
        "ethanol": [
            rows.get("ethanol", name, lambda s=model: force_row(s, train, test, steps))
            for name, model in FORCES
        ],
    }
