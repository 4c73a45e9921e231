"""Model files: what is written comes back, and others are refused in one line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import molequi
from molequi.errors import UserError
from molequi.graphs.graph import collate
from molequi.models.checkpoint import load_model, read_description, save_model
from molequi.models.making import make_model
from molequi.models.metadata import ModelMetadata, TrainingRecord
from molequi.models.probes import built_in_probes
from molequi.properties import declare

ELEMENTS = (1, 6, 7, 8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_checkpoint_gives_back_the_same_model(tmp_path: Path, dtype: torch.dtype) -> None:
    row = declare("melting_point", irreps="0e", unit="K")
    model = make_model(
        ELEMENTS,
        ["energy", "dipole", row],
        n_channels=8,
        parity="full",
        metadata=ModelMetadata(name="x", level={"energy": "PBE"}),
    ).to(dtype)
    model.heads["energy"].set_statistics(
        scale=0.3, reference=torch.linspace(-1e5, 0.0, 119, dtype=torch.float64) / 3
    )
    save_model(model, tmp_path / "m.safetensors")
    loaded = load_model(tmp_path / "m.safetensors")
    assert loaded.metadata == model.metadata
    assert loaded.dtype == dtype
    assert loaded.properties["melting_point"].unit == "K"
    graph = collate([structure.graph(loaded.cutoff) for structure in built_in_probes(ELEMENTS)[:3]])
    expected = model.compute(graph)
    for name, value in loaded.compute(graph).items():
        assert torch.equal(value, expected[name]), name
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def test_what_is_undefined_in_the_record_of_a_training_is_none_when_read(tmp_path: Path) -> None:
    training = TrainingRecord(errors={"energy": {"r2": float("nan"), "mae": 0.1}})
    model = make_model(
        ELEMENTS, ["energy"], n_channels=4, metadata=ModelMetadata(training=training)
    )
    save_model(model, tmp_path / "m.safetensors")
    found = load_model(tmp_path / "m.safetensors").metadata.training
    assert found.errors == {"energy": {"r2": None, "mae": 0.1}}


def test_files_that_are_no_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no model file"):
        load_model(tmp_path / "absent.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(UserError, match="not a model file"):
        load_model(tmp_path / "text.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="holds no molequi model"):
        read_description(tmp_path / "other.safetensors")


def rewritten(path: Path, target: Path, change: Callable[[dict, dict], None]) -> Path:
    """Write the model file `path` again with its description and tensors changed."""
    with safe_open(path, framework="pt") as file:
        description, tensors = (
            json.loads(file.metadata()["molequi"]),
            {name: file.get_tensor(name) for name in file.keys()},
        )
    change(description, tensors)
    save_file(tensors, target, metadata={"molequi": json.dumps(description)})
    return target


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d, t: t.pop("backbone.embedding"), "it has no tensor backbone.embedding"),
        (
            lambda d, t: t.update({"backbone.embedding": torch.zeros(2, 8)}),
            r"backbone.embedding has shape \(2, 8\) instead of \(4, 8\)",
        ),
        (
            lambda d, t: t.update(extra=torch.zeros(1)),
            "its tensor extra has no place in the network",
        ),
        (
            lambda d, t: t["backbone.embedding"].view(-1)[5].fill_(torch.nan),
            "its tensor backbone.embedding holds numbers that are not finite",
        ),
        (
            lambda d, t: t.update({"backbone.embedding": t["backbone.embedding"].half()}),
            "backbone.embedding is of torch.float16 instead of torch.float32",
        ),
        (
            lambda d, t: d["backbone"].update(n_heads=3),
            "its description makes no network .*n_heads",
        ),
        (lambda d, t: d.pop("elements"), "its description makes no network .*elements"),
        (
            lambda d, t: d["properties"][0].update(colour="red"),
            "its description makes no network .*colour",
        ),
        (lambda d, t: d.update(format=9), "its model format is 9, known are 1, 2"),
    ],
)
def test_files_of_another_version_are_refused_in_one_clear_line(
    tmp_path: Path, change: Callable, words: str
) -> None:
    save_model(make_model(ELEMENTS, ["energy"], n_channels=8), tmp_path / "m.safetensors")
    assert read_description(tmp_path / "m.safetensors")["version"] == molequi.__version__

    here = molequi.__version__
    cases = {
        here: f"is damaged, or was written by an unreleased molequi {here}: .*{words}.*; copy the "
        "file again, or train",
        "9.9": f"was written by molequi 9.9, this is molequi {here}: .*{words}.*; install molequi "
        "9.9, or train",
        None: f"is damaged, or was written by an older molequi than this {here}: .*{words}.*; copy "
        "the file again, install the version that wrote it",
    }
    for version, message in cases.items():
        changed = rewritten(
            tmp_path / "m.safetensors",
            tmp_path / "changed.safetensors",
            lambda d, t, v=version: (change(d, t), d.update(version=v)),
        )
        with pytest.raises(UserError, match=message) as caught:
            load_model(changed)
        assert "\n" not in str(caught.value)
