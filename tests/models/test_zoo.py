"""How a model is named."""

import pytest
import torch

from molequi.errors import UserError
from molequi.models import zoo
from molequi.models.checkpoint import save_model
from molequi.models.making import make_model
from molequi.models.physics import Physics


@pytest.fixture
def bundled(tmp_path, monkeypatch, network):
    folder = tmp_path / "installed"
    (folder / "models").mkdir(parents=True)
    save_model(network, folder / "models" / "tiny.safetensors")
    (folder / "models" / "tiny.json").write_text('{"name": "tiny", "data": "none"}')
    monkeypatch.setattr(zoo, "folder", lambda package: folder)
    return folder


def test_path_first_then_run_directory_then_name(bundled, network, tmp_path, monkeypatch):
    file = tmp_path / "own.safetensors"
    save_model(network, file)
    run = tmp_path / "run"
    run.mkdir()
    save_model(network, run / "model.safetensors")
    assert zoo.resolve_model(file) == file
    assert zoo.resolve_model(str(run)) == run / "model.safetensors"
    assert zoo.resolve_model("tiny") == bundled / "models" / "tiny.safetensors"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    save_model(network, tmp_path / "tiny" / "model.safetensors")
    assert (
        zoo.resolve_model("tiny").resolve() == (tmp_path / "tiny" / "model.safetensors").resolve()
    )


def test_unknown_name_lists_the_bundled_ones(bundled):
    with pytest.raises(
        UserError, match=r"no model 'tinny'.*bundled models are tiny; did you mean 'tiny'\?"
    ):
        zoo.resolve_model("tinny")
    with pytest.raises(UserError, match="bundled models are tiny"):
        zoo.card("organic2")


def test_folder_without_a_model_says_what_it_lacks(bundled, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds no model\.safetensors"):
        zoo.resolve_model(tmp_path / "empty")


def test_cards_and_loading(bundled):
    assert zoo.list_models() == ("tiny",)
    assert zoo.card("tiny")["data"] == "none"
    assert zoo.card("tiny")["charges of atoms"].startswith("none: the model learned none")
    model = zoo.load("tiny", device="auto", dtype="float32")
    assert model.dtype == torch.float32
    assert not model.training


def test_the_card_says_what_stands_beside_the_network(bundled):
    assert "physics" not in zoo.card("tiny")
    model = make_model([1, 8], ["energy"], n_channels=4, physics=Physics("equilibrated", "damped"))
    save_model(model, bundled / "models" / "tiny.safetensors")
    assert zoo.card("tiny")["physics"] == "equilibrated charges, their damped Coulomb energy"


def test_device_and_dtype_that_are_not_there(bundled, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="finds no GPU"):
        zoo.load("tiny", device="cuda")
    with pytest.raises(UserError, match="float32 or float64"):
        zoo.load("tiny", dtype="float16")


@pytest.mark.parametrize("bad", [None, 3])
def test_what_is_no_name_and_no_path_is_named(bad, network):
    for given in (bad, network):
        with pytest.raises(UserError, match=f"the model is of type {type(given).__name__}; give"):
            zoo.load(given)
