"""The recipe that ties the polarizability of an older model to its origin term."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from molequi.datasets.npz import load_npz
from molequi.models.checkpoint import load_model
from molequi.training.predictions import predict_frames

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "data" / "samples" / "rosenfeld_sample.npz"
OLD = ROOT / "tests" / "models" / "files" / "format2_rosenfeld_polarizability.safetensors"


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    if not (ROOT / "data" / "recipes").exists():
        pytest.skip("data/recipes is only in the checkout")
    monkeypatch.syspath_prepend(str(ROOT / "data" / "recipes"))
    import tie_chiroptical

    assert Path(str(sys.modules["tie_chiroptical"].__file__)).parent == ROOT / "data" / "recipes"
    monkeypatch.setattr(tie_chiroptical, "_EPOCHS", 30)
    monkeypatch.setattr(tie_chiroptical, "_RATE", 3e-2)
    return tie_chiroptical


def test_rotations_stay_and_the_rest_is_learned(recipe: ModuleType) -> None:
    frames = load_npz(SAMPLE).frames
    known = [
        row
        for row in range(len(frames))
        if set(frames.subset(torch.tensor([row])).elements()) <= {1, 6, 8}
    ]
    frames = frames.subset(torch.tensor(known[:40]))
    before = load_model(OLD, dtype=torch.float64)
    before.use_kernels("reference")
    after = recipe.tied(before)
    after.use_kernels("reference")
    assert list(after.heads) == ["rosenfeld", "dipole"]
    names = ["rosenfeld", "rosenfeld_isotropic", "polarizability", "dipole"]
    old, start = (predict_frames(model, frames, names) for model in (before, after))
    for name in ("rosenfeld_isotropic", "polarizability", "dipole"):
        torch.testing.assert_close(start[name], old[name], rtol=1e-6, atol=1e-6)
    recipe.fit(after, frames)
    end = predict_frames(after, frames, names)
    for name in ("rosenfeld_isotropic", "dipole"):
        torch.testing.assert_close(end[name], start[name], rtol=1e-9, atol=1e-9)
    for name in ("rosenfeld", "polarizability"):
        errors = [(x[name] - frames.targets[name]).square().mean() for x in (start, end)]
        assert errors[1] < 0.95 * errors[0]
    assert not any(weight.requires_grad for weight in after.parameters())
