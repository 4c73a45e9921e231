"""What a model thinks of its own errors: that it learns it, and that nothing else notices."""

from __future__ import annotations

import dataclasses
import json
import logging
import math

import numpy as np
import pytest
import torch

from molequi.datasets.npz import save_npz
from molequi.errors import UserError
from molequi.evaluation import evaluate
from molequi.experiments import fit, train
from molequi.models.checkpoint import load_model
from molequi.models.making import make_model
from molequi.models.metadata import TrainingRecord
from molequi.nn.heads.doubt import SHARE, SHARES
from molequi.properties import PROPERTIES, declare
from molequi.training.calibration import (
    Doubted,
    Held,
    calibrate,
    conformal_quantiles,
    fit_calibration,
    judge,
)
from molequi.training.doubt import DoubtObjective, student_loss

SPREADS = ("forces_std", "energy_std")


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("n_components", [1, 3])
def test_loss_is_the_density_of_scipys_multivariate_t(n_components):
    from scipy.stats import multivariate_t

    errors, sizes = 3.0 * random(50, n_components), torch.exp(0.3 * random(50, seed=1))
    loss = student_loss(sizes.log(), errors.square().sum(dim=1), n_components)
    log_density = [
        multivariate_t.logpdf(error, shape=np.eye(n_components) * size**2, df=4.0)
        for error, size in zip(errors.numpy(), sizes.numpy(), strict=True)
    ]
    constant = loss.numpy() + np.array(log_density)
    # Errors count as a milli-unit at least.
    np.testing.assert_allclose(constant, constant.mean(), atol=1e-5)


def test_smallest_loss_is_at_the_size_that_drew_the_errors():
    """10,000 draws by NumPy: normal vectors over the root of a chi-square of the mean 1."""
    rng, size = np.random.default_rng(0), 0.05
    t = rng.normal(size=(10_000, 3)) / np.sqrt(rng.chisquare(4.0, size=(10_000, 1)) / 4.0)
    squared = torch.from_numpy(np.square(size * t).sum(axis=1))
    log_size = torch.linspace(math.log(0.02), math.log(0.1), 161, dtype=torch.float64)
    losses = torch.stack([student_loss(s.expand(10_000), squared, 3).mean() for s in log_size])
    assert math.exp(log_size[losses.argmin()]) == pytest.approx(size, rel=0.02)


@pytest.mark.parametrize(("factor", "power"), [(1.0, 1.0), (3.0, 0.5), (0.2, 1.6)])
def test_calibration_finds_the_law_that_made_the_errors(factor, power):
    raw = torch.exp(random(20_000) - 3.0)
    sizes = factor * raw**power * random(20_000, 3, seed=1).norm(dim=1)
    found = fit_calibration(Doubted(sizes, raw))
    assert found.power == pytest.approx(power, abs=0.03)
    # Radii of a normal vector of 3 components of unit variance: SciPy's chi distribution.
    from scipy.stats import chi

    spread = found.factor * raw**found.power
    np.testing.assert_allclose(
        found.quantiles.numpy(), chi.ppf(SHARES, 3) / chi.ppf(SHARE, 3), rtol=0.02
    )
    assert float((sizes < spread).double().mean()) == pytest.approx(SHARE, abs=1e-4)


def test_radii_are_those_of_split_conformal_prediction():
    """By the definition; and drawn anew 4,000 times, they hold at least what is promised."""
    ratios = random(19).abs()
    ordered = sorted(ratios.tolist())
    found = conformal_quantiles(ratios, (0.5, 0.9, 0.95)).tolist()
    assert found == [ordered[9], ordered[17], ordered[18]]
    assert conformal_quantiles(ratios[:5], (0.95,)).tolist() == [max(ratios[:5].tolist())]
    held, draws = torch.zeros(2, dtype=torch.float64), random(4000, 30, seed=3).abs()
    for draw in draws:
        held += (draw[-1] <= conformal_quantiles(draw[:-1], (0.68, 0.9))).double() / len(draws)
    # Of 29 ratios the ranks 21 and 27: 70 and 90 %, with a standard error of 0.7 %.
    np.testing.assert_allclose(held, [21 / 30, 27 / 30], atol=0.025)


def test_what_is_exact_by_symmetry_calibrates_nothing():
    """Lone atoms: their force is zero with certainty."""
    errors, spreads = random(500).abs(), torch.full((500,), 0.5, dtype=torch.float64)
    zeros = torch.zeros(200, dtype=torch.float64)
    one = fit_calibration(Doubted(errors, spreads))
    two = fit_calibration(Doubted(torch.cat([errors, zeros]), torch.cat([spreads, zeros])))
    assert (one.factor, one.power) == (two.factor, two.power)
    assert fit_calibration(Doubted(zeros, zeros)).factor == 1.0


def test_calibration_of_few_errors_is_one_factor():
    errors = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    found = fit_calibration(Doubted(errors, torch.tensor([4.0, 1.0, 2.0], dtype=torch.float64)))
    assert found.power == 1.0


@pytest.mark.parametrize(
    ("count", "said"), [(4, "radii of 90, 95 %"), (18, "radii of 95 %"), (19, None)]
)
def test_a_calibration_on_few_errors_says_so(caplog, count, said):
    model = make_model([1, 8], ["energy", "energy_std"], n_channels=4)
    metadata = dataclasses.replace(model.metadata, training=TrainingRecord("x", None, 5))
    model.metadata = metadata
    errors = Doubted(random(count).abs(), torch.ones(count, dtype=torch.float64))
    with caplog.at_level(logging.WARNING):
        calibrate(model, {"energy_std": errors}, Held("valid", count))
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == (said is not None)
    if said:
        assert f"{count} held-out errors, too few for {said}" in told[0]
        assert "with 19 or more (data.split.valid)" in told[0]


def test_spreads_that_tell_nothing_become_alike():
    errors, spreads = random(5000).abs(), torch.exp(random(5000, seed=1))
    assert fit_calibration(Doubted(errors, spreads)).power == pytest.approx(0.0, abs=0.03)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, toy_frames, toy_config, toy_splits):
    """The same run without and with spreads, of which the labels have one for some structures."""
    folder = tmp_path_factory.mktemp("doubt")
    frames = toy_frames(160).with_unlabelled([PROPERTIES["forces_std"]])
    frames.targets["forces_std"][: frames.offsets[60]] = 0.07
    save_npz(frames, folder / "toy.npz", splits=toy_splits(100, 40, 20))
    found = {}
    for name, spreads in (("without", ()), ("with", SPREADS)):
        config = toy_config(
            data={
                "path": str(folder / "toy.npz"),
                "targets": ["energy", "forces", *spreads],
                "split": {"kind": "stored"},
            },
            training={"epochs": 4, "gradient_clip": 0.05},
        )
        found[name] = fit(config, folder / name)
    return found


@pytest.fixture(scope="module", autouse=True)
def figures(runs, undrawn):
    """Draw the figures of the run that the tests share, and no others."""


def test_spreads_that_are_all_alike_have_no_rank_correlation():
    model = make_model((1, 8), ["energy", "energy_std"], n_channels=4, l_max=1, n_layers=1)
    errors, alike = torch.tensor([0.1, 0.3, 0.2]), torch.full((3,), 0.2)
    assert judge(model, "energy_std", Doubted(errors, alike))["rank_correlation"] is None
    assert judge(model, "energy_std", Doubted(alike, errors))["rank_correlation"] is None
    assert judge(model, "energy_std", Doubted(errors, errors))["rank_correlation"] == 1.0


def test_network_does_not_notice_the_doubt(runs, toy_frames):
    """Clipped at every step, by a norm that leaves the gradient of the doubt out."""
    one, two = (load_model(run / "model.safetensors") for run in runs.values())
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, two.state_dict()[name]), name
    graph = toy_frames(9, seed=5).batch(torch.arange(9), one.cutoff).graph
    outputs = [model.freeze().compute(graph) for model in (one, two)]
    for name in ("energy", "forces"):
        assert torch.equal(outputs[0][name], outputs[1][name])
    assert set(outputs[1]) - set(outputs[0]) == set(SPREADS)


def test_spreads_have_no_gradient_in_the_network(runs, toy_frames):
    model = load_model(runs["with"] / "model.safetensors").requires_grad_(True)
    graph = toy_frames(3).batch(torch.arange(3), model.cutoff).graph
    positions = graph.positions.clone().requires_grad_(True)
    outputs = model(graph._replace(positions=positions))
    (outputs["forces_std"].sum() + outputs["energy_std"].sum()).backward()
    assert positions.grad is None
    learned = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert learned
    assert {name.split(".")[1] for name in learned} == set(SPREADS)


def test_run_says_how_well_it_knows_its_errors(runs):
    result = json.loads((runs["with"] / "result.json").read_text(encoding="utf-8"))
    for name, of in (("forces_std", "forces"), ("energy_std", "energy")):
        row = result[name]
        assert (row["spread_of"], row["unit"]) == (of, PROPERTIES[name].unit)
        assert list(row["coverage"]) == ["50", "68", "90", "95"]
        assert 0.0 < row["mean_spread"] < 20 * result[of]["rmse"]
    # Many forces of one law: what held for validation holds for the test.
    for share, held in result["forces_std"]["coverage"].items():
        assert held == pytest.approx(float(share) / 100, abs=0.12), share
    assert (runs["with"] / "plots" / "reliability_forces_std.png").stat().st_size > 5000
    log = (runs["with"] / "log.txt").read_text(encoding="utf-8")
    assert "forces_std: calibrated on" in log
    assert "within the radius of 50 % lie" in log
    assert "forces_std" not in json.loads((runs["without"] / "result.json").read_text())


def test_evaluate_gives_what_the_run_gave(runs):
    found = evaluate(runs["with"], split="test")
    expected = json.loads((runs["with"] / "result.json").read_text(encoding="utf-8"))
    for name in SPREADS:
        coverage = found[name].pop("coverage")
        assert coverage == pytest.approx(expected[name].pop("coverage"))
        assert found[name] == pytest.approx(expected[name])
    assert "forces_std" not in evaluate(runs["without"], split="test")


def test_spread_of_the_labels_counts_in_predictions_alone(runs, toy_frames):
    model = load_model(runs["with"] / "model.safetensors")
    assert bool(model.heads["forces_std"].has_labels)
    assert not bool(model.heads["energy_std"].has_labels)
    graph = toy_frames(20, seed=7).batch(torch.arange(20), model.cutoff).graph
    with_labels = model(graph)["forces_std"]
    model.heads["forces_std"].has_labels.zero_()
    labels = (with_labels.square() - model(graph)["forces_std"].square()).sqrt()
    # All labels had 0.07; a few steps do not learn it exactly.
    assert 0.02 < float(labels.median()) < 0.3


def test_objective_leaves_out_what_is_not_known():
    objective = DoubtObjective([PROPERTIES["forces_std"]])
    forces, spread = random(4, 3), torch.tensor([0.1, torch.nan, torch.nan, 0.3])
    targets = {"forces": forces.clone(), "forces_std": spread.double()}
    targets["forces"][1, 2] = torch.nan
    assert objective.counts(targets).tolist() == [3.0, 2.0]
    logs = random(4, 2, seed=2).requires_grad_(True)
    outputs = {"forces": random(4, 3, seed=3), "forces_std[log]": logs}
    sums = objective.sums(outputs, targets)
    known = (outputs["forces"] - forces).square().sum(dim=1)[[0, 2, 3]]
    expected = student_loss(logs[[0, 2, 3], 0], known, 3).sum()
    torch.testing.assert_close(sums[0], expected)
    (gradient,) = torch.autograd.grad(sums.sum(), logs)
    assert gradient[1].tolist() == [0.0, 0.0]
    assert DoubtObjective([]).sums(outputs, targets).shape == (0,)


def test_any_property_of_ones_own_has_a_spread(tmp_path, toy_frames, toy_config, toy_splits):
    """Of a vector: the error is its length. No label has a spread here, and none is asked for."""
    frames = toy_frames(90)
    frames.targets["moment"] = 3.0 * frames.targets.pop("dipole")
    row = {"irreps": "1o", "unit": "D", "extensive": True}
    frames.properties.pop("dipole")
    frames.properties["moment"] = declare("moment", **row)
    save_npz(frames, tmp_path / "toy.npz", splits=toy_splits(60, 20, 10))
    config = toy_config(
        data={
            "path": str(tmp_path / "toy.npz"),
            "targets": ["moment", "moment_std"],
            "split": {"kind": "stored"},
        },
        properties={"moment": row, "moment_std": {"unit": "D", "spread_of": "moment"}},
        training={"weights": {}, "epochs": 3},
    )
    run = fit(config, tmp_path / "run")
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))["moment_std"]
    assert (result["spread_of"], result["unit"], result["count"]) == ("moment", "D", 10)
    assert 0.0 < result["mean_spread"] < 10.0
    assert evaluate(run, split="test")["moment_std"]["count"] == 10


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"spread_of": "forces"}, "set per_atom=true for size"),
        ({"spread_of": "energy", "irreps": "1o"}, "is a size: its irreps must be 0e"),
    ],
)
def test_spreads_without_a_meaning_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        make_model((1, 6, 8), ["energy", "forces", declare("size", unit="eV", **fields)])


def test_spread_needs_what_it_is_the_spread_of(toy_config):
    with pytest.raises(UserError, match="forces_std learns from the errors of forces; add forces"):
        toy_config(data={"targets": ["energy", "forces_std"]})


def test_one_name_more_gives_the_spread_of_any_file(tmp_path, toy_frames):
    """Extended XYZ without any spread, and the command line's own form of the setting."""
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    frames = toy_frames(40)
    structures = []
    for k in range(len(frames)):
        atoms = slice(int(frames.offsets[k]), int(frames.offsets[k + 1]))
        one = Atoms(frames.atomic_numbers[atoms].numpy(), frames.positions[atoms].numpy())
        one.calc = SinglePointCalculator(
            one,
            energy=float(frames.targets["energy"][k]),
            forces=frames.targets["forces"][atoms].numpy(),
        )
        structures.append(one)
    write(tmp_path / "toy.xyz", structures)
    run = train(
        "extxyz",
        [
            f"data.path={tmp_path / 'toy.xyz'}",
            "data.targets=[energy,forces,forces_std]",
            *("training.epochs=1", "model.n_layers=1", "model.n_channels=4", "model.l_max=1"),
        ],
        tmp_path / "run",
    )
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert result["forces_std"]["count"] > 0
