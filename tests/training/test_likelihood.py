"""A committee of heads: its loss is the density of SciPy's normal distribution, and it learns."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from molequi.datasets.npz import save_npz
from molequi.errors import UserError
from molequi.evaluation import evaluate
from molequi.experiments import fit
from molequi.models.checkpoint import load_model, save_model
from molequi.models.ensemble import Ensemble, read_by_committee
from molequi.models.making import make_model
from molequi.nn.response import members_of
from molequi.properties import PROPERTIES
from molequi.training.fine_tuning import adopt
from molequi.training.likelihood import FORCES_FROM, Likelihood, normal_loss


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


@pytest.fixture(scope="module")
def committee():
    rows = read_by_committee([PROPERTIES["energy"], PROPERTIES["forces"]], 3)
    return make_model([1, 6, 8], rows, n_layers=1, n_channels=4, l_max=1, cutoff=4.0)


@pytest.mark.parametrize("n_components", [1, 3])
def test_loss_is_the_density_of_scipys_normal_distribution(n_components):
    errors, sizes = 3.0 * random(50, n_components), torch.exp(0.3 * random(50, seed=1))
    loss = normal_loss(errors.square().sum(dim=1), sizes.square(), n_components)
    log_density = [
        multivariate_normal.logpdf(error, cov=np.eye(n_components) * (size**2 + 1e-6))
        for error, size in zip(errors.numpy(), sizes.numpy(), strict=True)
    ]
    constant = loss.numpy() + np.array(log_density)
    # Deviations count as a milli-unit at least, errors too.
    np.testing.assert_allclose(constant, constant.mean(), atol=1e-5)


def test_terms_count_what_is_known_and_take_the_variance_of_the_members(committee):
    likelihood = Likelihood(committee)
    assert likelihood.names == ("energy", "forces")
    targets = {"energy": random(2), "forces": random(5, 3, seed=1)}
    targets["forces"][1, 2] = torch.nan
    assert likelihood.counts(targets).tolist() == [2.0, 4.0]
    apart = random(3, 5, 3, seed=2)
    outputs = {"energy": random(2, seed=3), "forces": random(5, 3, seed=4).requires_grad_(True)}
    assert likelihood.sums(outputs, targets).tolist() == [0.0, 0.0]
    apart = (apart - apart.mean(dim=0)).requires_grad_(True)
    sums = likelihood.sums({**outputs, members_of("forces"): apart}, targets)
    rows = [0, 2, 3, 4]
    variance = torch.from_numpy(np.var(apart.detach().numpy(), axis=0, ddof=1).mean(axis=1))[rows]
    squared = (outputs["forces"].detach() - targets["forces"]).square().sum(dim=1)[rows]
    expected = normal_loss(squared, variance, 3).sum()
    torch.testing.assert_close(sums[1] / 0.001, expected)
    sums.sum().backward()
    assert outputs["forces"].grad is None, "the mean learns from its own loss alone"
    assert not apart.grad[:, 1].any(), "of an error that is not known"


def test_forces_of_members_are_gradients_of_their_energies(committee, toy_frames):
    """By finite differences; and the spreads are NumPy's standard deviations of them."""
    model = make_model(
        [1, 6, 8],
        [committee.properties[name] for name in committee.outputs],
        n_layers=2,
        n_channels=4,
        l_max=1,
        cutoff=4.0,
    ).to(torch.float64)
    graph = toy_frames(3, seed=2).batch(torch.arange(3), model.cutoff).graph
    graph = graph._replace(positions=graph.positions.to(torch.float64))
    step, ends = 1e-4, []
    for sign in (1.0, -1.0):
        moved = graph.positions.clone()
        moved[2, 1] += sign * step
        ends.append(model(graph._replace(positions=moved))[members_of("energy")][:, 0])
    apart = model.train().compute(graph)[members_of("forces")].detach()
    difference = -(ends[0] - ends[1]).detach() / (2 * step)
    torch.testing.assert_close(apart[:, 2, 1], difference, atol=1e-6, rtol=1e-6)
    outputs = model.eval().compute(graph)
    assert not any("[" in name for name in outputs)
    spread = np.sqrt(np.var(apart.numpy(), axis=0, ddof=1).sum(axis=1))
    np.testing.assert_allclose(outputs["forces_std"].numpy(), spread, rtol=1e-12)
    # The written-out pass, whose gradient is taken three times, and twice in a row.
    frozen = model.freeze(kernels="generic")
    for _ in range(2):
        again = frozen.compute(graph)
    for name, value in outputs.items():
        torch.testing.assert_close(again[name], value, rtol=1e-9, atol=1e-9)


@pytest.fixture(scope="module")
def config(tmp_path_factory, toy_frames, toy_config, toy_splits):
    path = tmp_path_factory.mktemp("data") / "toy.npz"
    save_npz(toy_frames(120), path, splits=toy_splits(40, 60, 20))
    return toy_config(
        ensemble=3,
        members="heads",
        data={"path": str(path), "split": {"kind": "stored"}},
        training={"epochs": 5},
    )


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    return fit(config, tmp_path_factory.mktemp("runs") / "heads")


def test_run_of_heads_is_one_model_that_knows_its_errors(run):
    model = load_model(run / "model.safetensors")
    assert not isinstance(model, Ensemble)
    assert model.properties["energy"].members == 3
    result = json.loads((run / "result.json").read_text())
    for name in ("energy_std", "forces_std"):
        record = model.metadata.training.calibration[name]
        assert (record["part"], record["structures"]) == ("valid", 60)
    for share, held in result["forces_std"]["coverage"].items():
        assert held == pytest.approx(float(share) / 100, abs=0.2), share
    found = evaluate(run, split="test")
    assert found["forces_std"]["coverage"] == pytest.approx(result["forces_std"]["coverage"])


def test_kept_model_has_seen_the_likelihood_of_forces(run):
    """An epoch is the best of those behind it, until the forces of the members count."""
    lines = (run / "metrics.csv").read_text().splitlines()
    best = [row.split(",")[lines[0].split(",").index("is_best")] for row in lines[1:]]
    first = round(FORCES_FROM * len(best))
    assert best[: first + 1] == ["1"] * (first + 1)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"members": "heads"}, "members=heads belongs to an ensemble; set ensemble=4"),
        ({"members": "layers"}, "members"),
        (
            {"members": "heads", "ensemble": 2, "init": "organic", "freeze": "model"},
            "set freeze=backbone",
        ),
    ],
)
def test_what_makes_no_committee_is_refused(toy_config, sections, message):
    with pytest.raises(UserError, match=message):
        toy_config(**sections)


def test_committee_needs_an_energy():
    with pytest.raises(UserError, match="members=heads is for an energy; dipole have none"):
        read_by_committee([PROPERTIES["dipole"]], 3)


def test_committee_begins_from_a_trained_energy(toy_config, toy_frames, tmp_path):
    """Its readouts lie near the trained one, and apart from each other."""
    rows = [PROPERTIES["energy"], PROPERTIES["forces"]]
    source = make_model([1, 6, 8], rows, n_layers=1, n_channels=4, l_max=1)
    save_model(source, tmp_path / "one.safetensors")
    config = toy_config(init=str(tmp_path / "one.safetensors"), ensemble=3, members="heads")
    config = config.model_copy(update={"model": type(config.model)()})
    frames = toy_frames(12)
    adopted = adopt(config, config.init, frames, read_by_committee(rows, 3))
    assert "energy" in adopted.kept
    graph = frames.batch(torch.arange(12), source.cutoff).graph
    old, new = source.compute(graph), adopted.model.compute(graph)
    apart = (new["forces"] - old["forces"]).norm() / old["forces"].norm()
    assert 0.0 < float(apart) < 0.3
    assert bool((new["forces_std"] > 0).all())


def test_spread_that_the_likelihood_wants_is_that_of_the_errors():
    """Of 4,000 errors: the loss is least where the members lie apart as far as errors are long."""
    errors = 0.05 * random(4000, 3)
    squared, sizes = errors.square().sum(dim=1), torch.linspace(0.04, 0.06, 201)
    losses = [normal_loss(squared, size.square().expand(4000), 3).mean() for size in sizes]
    best = float(sizes[torch.stack(losses).argmin()])
    assert best == pytest.approx(float(errors.square().mean().sqrt()), abs=2e-4)


def test_ensemble_begins_from_the_members_of_another(toy_config, toy_frames, tmp_path):
    members = [
        make_model([1, 6, 8], ["energy", "forces"], seed=seed, n_layers=1, n_channels=4, l_max=1)
        for seed in range(2)
    ]
    save_model(Ensemble(members), tmp_path / "two.safetensors")
    rows = [PROPERTIES["energy"], PROPERTIES["forces"]]
    for seed in (4, 5):
        config = toy_config(init=str(tmp_path / "two.safetensors"), training={"seed": seed})
        config = config.model_copy(update={"model": type(config.model)()})
        adopted = adopt(config, config.init, toy_frames(3), rows)
        for name, weight in members[seed % 2].state_dict().items():
            assert torch.equal(weight, adopted.model.state_dict()[name]), name
