"""A run of `train spring` in `evaluate` and `check`, and what else it is not for."""

import json

import pytest

from molequi.experiments import train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("springs") / "run"
    sizes = [f"data.{part}=4" for part in ("train", "valid", "test", "rollouts")]
    model = ["model.kind=hlieconv", "model.group=T(2)", "model.width=8", "model.n_layers=1"]
    return train("spring", [*sizes, *model, "training.epochs=1"], folder)


def test_evaluate_follows_the_test_trajectories_again(molequi, run, tmp_path):
    expected = json.loads((run / "result.json").read_text(encoding="utf-8"))
    output = tmp_path / "again"
    result = molequi("evaluate", run / "model.safetensors", "--json", "--output", output)
    assert json.loads(result.out) == expected
    assert {path.name for path in output.iterdir()} == {"result.json", "rollout.png"}
    assert "valid mse" in molequi("evaluate", run, "--split", "valid").out


def test_check_says_which_laws_are_kept(molequi, run):
    result = molequi("check", run)
    assert result.code == 1
    assert "FAILED rotation" in result.out
    assert "3 of 8 tests failed" in result.out  # rotation, inversion, angular momentum
    assert "a law that the model was not made for fails" in result.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("evaluate", "{run}", "--dtype", "float32"), "on the CPU in float64"),
        (("check", "{run}", "--dispersion", "d3bj"), "it belongs to a model of molecules"),
        (("evaluate", "{run}", "--split", "all"), "dynamics have train, valid and test"),
        (("predict", "--smiles", "C", "--model", "{run}"), "no model of molecules"),
    ],
)
def test_what_dynamics_are_not_for_is_said(molequi, run, words, message):
    result = molequi(*(word.format(run=run) for word in words))
    assert result.code == 2
    assert message in result.err
