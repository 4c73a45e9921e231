"""Captured training against `molequi train`: loss, gradient and steps, and what a capture needs."""

import copy
import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from ase.build import molecule
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from molequi import load, train
from molequi.datasets.making import join_frames, make_frames
from molequi.datasets.npz import save_npz
from molequi.datasets.sampler import GraphBatches, TrainingBatch
from molequi.models.checkpoint import load_model
from molequi.properties import PROPERTIES
from molequi.training.config import make_config
from molequi.training.doubt import compared_rows, doubt_heads
from molequi.training.ema import EMA
from molequi.training.fixed_terms import without_fixed_terms
from molequi.training.loss import make_objective
from molequi.training.module import MolecularTraining
from molequi.training.optimizers.soap import STEPS_PER_TURN, Soap
from molequi.training.schedule import make_schedule
from molequi.training.settings import StageSettings
from molequi.training.setup import start_model
from molequi.training.total_charge import with_total_charge

RECIPES = Path(__file__).parents[2] / "data" / "recipes"
NAMES = ["H2O", "CH3OH", "CH4", "C2H4", "CO2", "C2H6", "CH3CHO", "H2CO", "C3H8", "CH3COOH"]
TARGETS = [
    "energy",
    "forces",
    "charges",
    "dipole",
    "short_range_energies",
    "forces_std",
    "energy_std",
]
# What waits for a GPU to tell a value, or copies from the CPU: no capture allows it.
REFUSED = {
    "_local_scalar_dense",
    "bincount",
    "embedding_dense_backward",
    "equal",
    "item",
    "lift_fresh",
    "masked_select",
    "nonzero",
    "repeat_interleave",
    "_unique2",
}


def recipe(name: str):
    """Import a module of data/recipes."""
    if not RECIPES.exists():
        pytest.skip("data/recipes is only in the checkout")
    sys.path.insert(0, str(RECIPES))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(RECIPES))


def settings(path: str = "frames.npz", dtype: str = "float64") -> dict:
    """A small network with all that the bundled model has."""
    return {
        "name": "graphed",
        "data": {"kind": "npz", "path": path, "targets": TARGETS, "split": {"kind": "stored"}},
        "model": {
            "n_channels": 6, "n_hidden": 8, "n_readout": 6, "n_radial": 4, "cutoff": 3.0,
            "l_max": 2, "l_hidden": 1, "correlation": 2, "held_below": 0.6,
            "charges": "equilibrated", "coulomb": "damped", "dispersion": "d3bj",
            "dispersion_functional": "wb97m", "repulsion": "zbl",
        },
        "training": {
            "epochs": 3, "batch_size": 8, "dtype": dtype, "force_loss": "norm", "huber": 0.05,
            "weights": {"energy": 12.0, "forces": 50.0, "local_charge": 20.0},
            "warmup_steps": 2, "learning_rate": 0.01,
        },
    }  # fmt: skip


def labelled_frames():
    """Twenty molecules, some charged, with labels of the right sizes; some are unknown."""
    generator = torch.Generator().manual_seed(3)

    def random(*shape: int, size: float = 1.0) -> torch.Tensor:
        return size * torch.randn(*shape, generator=generator, dtype=torch.float64)

    atoms = [molecule(name) for name in NAMES * 2]
    counts = torch.tensor([len(one) for one in atoms])
    positions = torch.cat([torch.from_numpy(one.positions) for one in atoms])
    n_atoms, n_frames = len(positions), len(atoms)
    numbers = torch.cat([torch.from_numpy(one.numbers) for one in atoms])
    per_atom = -13.6 * numbers.to(torch.float64) ** 2
    batch = torch.repeat_interleave(torch.arange(n_frames), counts)
    energy = random(n_frames).index_add(0, batch, per_atom)
    targets = {
        "energy": energy,
        "forces": random(n_atoms, 3),
        "charges": random(n_atoms, size=0.2),
        "dipole": random(n_frames, 3, size=0.5),
        "short_range_energies": random(n_atoms) + per_atom,
        "forces_std": random(n_atoms, size=0.1).abs(),
        "energy_std": random(n_frames, size=0.1).abs(),
    }
    targets["short_range_energies"][batch % 3 == 0] = torch.nan
    targets["dipole"][4] = torch.nan
    targets["forces"][7, 1] = torch.nan
    charge = torch.zeros(n_frames, dtype=torch.int64)
    charge[::5] = torch.tensor([1, -1, 1, -1])
    return make_frames(
        positions + random(n_atoms, 3, size=0.05),
        numbers,
        counts,
        electrons=(charge, torch.ones_like(charge)),
        targets=targets,
        properties={name: PROPERTIES[name] for name in targets},
    )


def with_pairs(frames):
    """The same molecules, and four pairs of them with interaction energies and their pieces."""
    pairs = torch.tensor([[0, 4], [5, 1], [10, 11], [15, 2]])
    positions, numbers, pieces = [], [], []
    for pair in pairs.tolist():
        for k, index in enumerate(pair):
            atoms = slice(int(frames.offsets[index]), int(frames.offsets[index + 1]))
            positions.append(frames.positions[atoms] + torch.tensor([3.0 * k, 0.0, 0.0]))
            numbers.append(frames.atomic_numbers[atoms])
            charge = float(frames.total_charge[index])
            pieces.append(torch.tensor([[float(k), charge]]).repeat(len(numbers[-1]), 1))
    targets = {"interaction_energy": torch.tensor([0.3, -0.2, 5.0, torch.nan])}
    targets["pieces"] = torch.cat(pieces)
    targets["energy"] = frames.targets["energy"][pairs].sum(dim=1) + 0.1
    charges = frames.total_charge[pairs].sum(dim=1)
    made = make_frames(
        torch.cat(positions),
        torch.cat(numbers),
        frames.n_atoms[pairs].sum(dim=1),
        electrons=(charges, torch.ones_like(charges)),
        targets=targets,
        properties={name: PROPERTIES[name] for name in targets},
    )
    order = torch.randperm(24, generator=torch.Generator().manual_seed(2))
    return join_frames([frames, made]).subset(order)


@pytest.fixture(scope="module")
def prepared():
    """Config, frames and starting point of molequi's own training."""
    config, frames = with_total_charge(make_config(settings()), labelled_frames())
    return config, frames, start_model(config, frames)


@pytest.fixture
def training(prepared):
    """The same training, captured; its model is a copy."""
    config, frames, start = prepared
    start = start._replace(model=copy.deepcopy(start.model))
    module = recipe("graphed_training")
    return module.GraphedTraining(config, frames, start, torch.device("cpu"))


def gradient_of(training, indices: torch.Tensor) -> tuple[float, torch.Tensor]:
    """Loss and gradient of the captured step on these structures."""
    training.chosen.fill_(training.data.nothing)
    training.chosen[: len(indices)] = indices
    loss = training.gradient()
    return float(loss.total), training.soap.gradients.clone()


def own_training(config, frames, start) -> MolecularTraining:
    """Molequi's own step, in one process."""
    rows = compared_rows(frames.properties[name] for name in config.data.targets)
    objective = make_objective(rows, start.scales, config.training)
    module = MolecularTraining(
        copy.deepcopy(start.model), objective, make_schedule(config.training)
    )
    module._trainer = SimpleNamespace(world_size=1, global_rank=0)
    return module


def test_loss_and_gradient_are_those_of_molequi_train(prepared, training) -> None:
    config, frames, start = prepared
    own = own_training(config, frames, start)
    places = {name: weight for name, weight in own.model.named_parameters()}
    names = {id(weight): name for name, weight in training.model.named_parameters()}
    for indices in (torch.tensor([0, 7, 4]), torch.tensor([12, 5, 19, 1])):
        batch = TrainingBatch(*frames.batch(indices, start.model.cutoff))
        loss = own.training_step(batch, 0)
        weights = [places[names[id(weight)]] for weight in training.soap.weights]
        gradients = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
        expected = torch.cat([gradient.flatten() for gradient in gradients])
        found, gradient = gradient_of(training, indices)
        assert float(expected.abs().max()) > 1e-3
        assert found == pytest.approx(loss.item(), rel=1e-12)
        torch.testing.assert_close(
            gradient, expected, rtol=0.0, atol=1e-11 * float(expected.abs().max())
        )


def test_interactions_are_those_of_molequi_train() -> None:
    data = settings()
    data["data"]["targets"] = [*TARGETS, "interaction_energy"]
    data["training"]["weights"]["interaction_energy"] = 30.0
    config, frames = with_total_charge(make_config(data), with_pairs(labelled_frames()))
    start = start_model(config, frames)
    own, module = own_training(config, frames, start), recipe("graphed_training")
    training = module.GraphedTraining(config, frames, start, torch.device("cpu"))
    plan = training.data.plan(torch.nonzero(training.data.back == 0)[:, 0], training.size)
    # All structures, and eight pieces behind four of them, in one batch with each other.
    assert int((plan < training.data.nothing).sum()) == 32
    assert all(not training.data.back[chosen[0]] for chosen in plan)
    names = {id(weight): name for name, weight in training.model.named_parameters()}
    places = dict(own.model.named_parameters())
    firsts = torch.nonzero(training.data.back == 0)[:, 0]
    for chosen in plan:
        used = chosen[chosen < training.data.nothing]
        indices = torch.searchsorted(firsts, used[training.data.back[used] == 0])
        batch = GraphBatches(frames, start.model.cutoff)[indices]
        loss = own.training_step(batch, 0)
        weights = [places[names[id(weight)]] for weight in training.soap.weights]
        gradients = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
        expected = torch.cat([gradient.flatten() for gradient in gradients])
        found, gradient = gradient_of(training, used)
        assert found == pytest.approx(loss.item(), rel=1e-11)
        limit = 1e-11 * float(expected.abs().max())
        torch.testing.assert_close(gradient, expected, rtol=0.0, atol=limit)


def test_filling_changes_nothing(training) -> None:
    indices, size = torch.tensor([3, 9, 2]), training.size
    results = []
    for more in (0, 1, 40):
        training.size = size._replace(
            atoms=size.atoms + more, edges=size.edges + 3 * more, pairs=size.pairs + 5 * more
        )
        results.append(gradient_of(training, indices))
    training.size = size
    for loss, gradient in results[1:]:
        assert loss == pytest.approx(results[0][0], rel=1e-13)
        torch.testing.assert_close(gradient, results[0][1], rtol=0.0, atol=1e-12)


def test_batches_hold_the_structures_and_their_labels(prepared, training) -> None:
    _, frames, start = prepared
    learned, indices = without_fixed_terms(frames, start.model), torch.tensor([6, 0])
    chosen = torch.full((training.size.molecules,), training.data.nothing)
    chosen[:2] = indices
    made = training.data.assemble(chosen, training.size)
    graph, targets = learned.batch(indices, start.model.cutoff)
    n_atoms, n_edges = graph.n_atoms, graph.edge_index.shape[1]
    assert torch.equal(made.graph.edge_index[:, :n_edges], graph.edge_index)
    assert int(made.edges.receiver_ptr[-1]) == int(made.edges.sender_ptr[-1]) == n_edges
    assert torch.equal(made.edges.receiver_ptr[: n_atoms + 1], graph.receiver_ptr)
    assert torch.equal(made.edges.sender_order[:n_edges], graph.sender_order)
    assert torch.equal(made.graph.total_charge[:2], graph.total_charge)
    for name, values in targets.items():
        some = made.targets[name][: len(values)]
        torch.testing.assert_close(some, values, rtol=0.0, atol=0.0, equal_nan=True)
        assert bool(made.targets[name][len(values) :].isnan().all())


def test_a_plan_has_every_structure_once_and_room_for_each_batch(training) -> None:
    order = torch.randperm(training.data.nothing, generator=torch.Generator().manual_seed(1))
    plan, size = training.data.plan(order, training.size), training.size
    assert plan[plan < training.data.nothing].tolist() == order.tolist()
    for chosen in plan:
        atoms, edges, pairs = training.data.counts[chosen[chosen < len(order)]].sum(0).tolist()
        assert atoms + 2 <= size.atoms
        assert edges <= size.edges
        assert pairs <= size.pairs


class Watch(TorchDispatchMode):
    """Collects the operations that a capture refuses: waits, and copies from the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name, kwargs = func.overloadpacket.__name__, kwargs or {}
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        # Numbers may lie on the CPU: kernels take them as arguments.
        if any(x.device.type == "cpu" and x.ndim for x in given):
            self.refused.add(f"{name} of the CPU")
        if name in REFUSED:
            self.refused.add(name)
        return func(*args, **kwargs)


def test_the_watch_sees_what_a_capture_refuses() -> None:
    with Watch() as watch:
        bool(torch.ones(2).any())
        torch.tensor([1.0, 2.0])
        torch.ones(2).nonzero()
        torch.ones(2, device="meta") + torch.ones(2).to("meta")
        torch.ones(2, device="meta").new_tensor([1.0, 2.0])
    copies = {"_to_copy of the CPU"}
    assert {"_local_scalar_dense", "lift_fresh", "nonzero"} | copies <= watch.refused


def test_a_step_asks_no_tensor_for_a_value(prepared, monkeypatch) -> None:
    """And copies none from the CPU; on a device without memory, which refuses values too.

    Where the look-up by species and the products are those of a GPU.
    """
    kernels = importlib.import_module("molequi.kernels.species_rows")
    dense, products = (
        importlib.import_module(f"molequi.{name}")
        for name in ("kernels.dense_products", "nn.product")
    )
    for module in ("nn.interaction", "nn.backbones.spherical"):
        place = importlib.import_module(f"molequi.{module}")
        monkeypatch.setattr(place, "rows_of_species", kernels.product_with_choice)
    monkeypatch.setattr(dense, "rows_of_species", kernels.product_with_choice)

    def couple(*arguments, kernels: str):
        assert kernels == "reference"
        return dense.couple(*arguments)

    monkeypatch.setattr(products, "couple", couple)
    config, frames, start = prepared
    start = start._replace(model=copy.deepcopy(start.model))
    module = recipe("graphed_training")
    training = module.GraphedTraining(config, frames, start, torch.device("meta"))
    training.start(training.chosen, 0.0)
    with Watch() as watch:
        training.step()
        training.soap.turn()
    assert not watch.refused


class Maps(nn.Module):
    """Two matrices of one size, one of another, and a bias."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.maps = nn.ModuleList(
            nn.Linear(*sizes, dtype=torch.float64) for sizes in ((5, 5), (5, 5), (5, 3))
        )
        for weight in self.parameters():
            weight.data = torch.randn(weight.shape, generator=generator, dtype=torch.float64)


def test_steps_are_those_of_soap_before_and_after_turns() -> None:
    own, flat = Maps(), Maps()
    soap = Soap(own, learning_rate=0.02, weight_decay=0.1)
    average = EMA(own, 0.9)
    mine = recipe("graphed_soap").FlatSoap(flat, clip=3.0, ema=0.9, weight_decay=0.1)
    mine.rate.fill_(0.02)
    names = {id(weight): name for name, weight in flat.named_parameters()}
    generator = torch.Generator().manual_seed(5)
    for step in range(2 * STEPS_PER_TURN + 5):
        gradients = {
            name: torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            for name, weight in own.named_parameters()
        }
        for name, weight in own.named_parameters():
            weight.grad = gradients[name].clone()
        torch.nn.utils.clip_grad_norm_(own.parameters(), 3.0)
        soap.step()
        average.update()
        mine.take([gradients[names[id(weight)]] for weight in mine.weights])
        mine.step() if step else mine.start()
        if step and step % STEPS_PER_TURN == 0:
            mine.turn()
        for (name, weight), other in zip(own.named_parameters(), flat.parameters(), strict=True):
            torch.testing.assert_close(other, weight, rtol=0.0, atol=1e-8, msg=f"{name} {step}")
        with mine.averaged():
            for name, weight in flat.named_parameters():
                torch.testing.assert_close(weight, average.values[name], rtol=0.0, atol=1e-8)


def test_gradients_of_doubt_are_clipped_by_themselves_and_bad_ones_move_nothing() -> None:
    flat = Maps()
    mine = recipe("graphed_soap").FlatSoap(flat, apart=flat.maps[2].parameters(), clip=1.0)
    part = torch.cat(
        [torch.full((w.numel(),), w is flat.maps[2].weight or w is flat.maps[2].bias)
         for w in mine.weights]
    )  # fmt: skip
    mine.gradients.copy_(torch.where(part, 5.0, 0.001))
    mine.start()
    assert float(mine.gradients[part].norm()) == pytest.approx(1.0, rel=1e-5)
    assert mine.gradients[~part].tolist() == pytest.approx([0.001] * int((~part).sum()))
    mine.gradients[0] = torch.inf
    mine.step()
    assert int(mine.not_finite) == 1
    assert bool(mine.values.isfinite().all())


def test_orthonormal_columns_are_those_of_qr() -> None:
    module = recipe("graphed_soap")
    matrices = torch.randn(4, 6, 6, generator=torch.Generator().manual_seed(2))
    matrices[3] = 0.0
    found, expected = module.by_cholesky(matrices), torch.linalg.qr(matrices).Q
    overlap = (found.mT @ expected).abs()
    torch.testing.assert_close(overlap, torch.eye(6).expand(4, 6, 6), atol=1e-5, rtol=0.0)


def write_files(folder: Path) -> None:
    """Write the structures and a config in float32."""
    parts = torch.arange(20).split([14, 4, 2])
    splits = dict(zip(("train", "valid", "test"), parts, strict=True))
    save_npz(labelled_frames(), folder / "frames.npz", splits=splits)
    text = yaml.safe_dump(settings("frames.npz", "float32"))
    (folder / "graphed.yaml").write_text(text, encoding="utf-8")


def test_a_run_writes_a_model_that_predicts(tmp_path, monkeypatch) -> None:
    module = recipe("graphed_training")
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path)
    arguments = ["graphed_training", "graphed.yaml", "training.epochs=2", "--output"]
    monkeypatch.setattr(sys, "argv", [*arguments, "out.safetensors", "--device", "cpu"])
    module.main()
    model = load_model(tmp_path / "out.safetensors")
    assert model.physics == make_config(settings()).model.physics()
    assert all(head.is_calibrated for head in doubt_heads(model).values())
    frames = labelled_frames()
    graph, _ = frames.batch(torch.arange(3), model.cutoff)
    assert bool(model.freeze().compute(graph)["forces"].isfinite().all())
    config, frames = with_total_charge(
        make_config({**settings(dtype="float32"), "init": "out.safetensors"}), frames
    )
    again = start_model(config, frames).model.state_dict()
    name = "backbone.embedding"
    assert torch.equal(again[name], model.state_dict()[name])


def test_the_mean_of_a_run_and_its_beginning(tmp_path, monkeypatch, capsys) -> None:
    module = recipe("mean_weights")
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path)
    for name, words in (("a", ["training.epochs=1"]), ("b", ["training.epochs=2", "init=a"])):
        train("graphed.yaml", words, output=name)
    first, second = (load(name).state_dict() for name in "ab")
    for share in (0.25, 1.0):
        arguments = ["b", "frames.npz", "a", "--share", str(share)]
        monkeypatch.setattr(sys, "argv", ["mean_weights", *arguments])
        module.main()
        model, weight = load("b"), "backbone.embedding"
        expected = (1 - share) * first[weight] + share * second[weight]
        torch.testing.assert_close(model.state_dict()[weight], expected)
        assert all(head.is_calibrated for head in doubt_heads(model).values())
    # The whole share of the run is what the run ended with, kept beside it, calibration and all.
    assert load("b/trained.safetensors").state_dict().keys() == second.keys()
    torch.testing.assert_close(model.state_dict(), second)
    monkeypatch.setattr(sys, "argv", ["mean_weights", "b", "frames.npz", "organic"])
    with pytest.raises(SystemExit):
        module.main()
    assert "different networks" in capsys.readouterr().err


def test_a_second_stage_has_its_weights_and_warms_up(prepared, tmp_path, monkeypatch) -> None:
    config, frames, start = prepared
    stage = StageSettings(start=0.5, weights={"energy": 40.0, "local_charge": 20.0})
    updated = config.training.model_copy(update={"second_stage": stage, "epochs": 4})
    config = config.model_copy(update={"training": updated})
    module = recipe("graphed_training")
    start = start._replace(model=copy.deepcopy(start.model))
    training = module.GraphedTraining(config, frames, start, torch.device("cpu"))
    seen = []
    monkeypatch.setattr(training, "gradient", gradient := Recording(training, seen))
    position = module.train(training, config, tmp_path / "out.safetensors")
    assert gradient.training is training
    objective = training.objective.objective
    before, after = (objective.weights(w) for w in (config.training.weights, stage.weights))
    n_before = position.stage_step
    assert 0 < n_before < position.step == len(seen)
    for k, (weights, rate) in enumerate(seen):
        torch.testing.assert_close(weights, before if k < n_before else after)
        if k == n_before:
            assert rate < seen[k - 1][1]


class Recording:
    """The gradient of a training, and the weights and the rate that a step had."""

    def __init__(self, training, seen: list) -> None:
        self.training, self.seen, self.gradient = training, seen, training.gradient

    def __call__(self):
        self.seen.append((self.training.objective.weights.clone(), float(self.training.soap.rate)))
        return self.gradient()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ("training.optimizer=adamw", "optimizer=soap"),
        ("model.charges=flows training.weights={}", "equilibrated"),
    ],
)
def test_what_cannot_be_captured_is_refused(
    tmp_path, monkeypatch, capsys, overrides, words
) -> None:
    module = recipe("graphed_training")
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path)
    arguments = ["graphed_training", "graphed.yaml", *overrides.split()]
    options = ["--output", "out.safetensors", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", [*arguments, *options])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()


def test_captured_steps_are_the_steps(prepared) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU that torch can use")
    config, frames, start = prepared
    module, values = recipe("graphed_training"), []
    for is_captured in (False, True):
        own = start._replace(model=copy.deepcopy(start.model))
        training = module.GraphedTraining(config, frames, own, torch.device("cuda"))
        plan = training.data.plan(torch.arange(len(frames)), training.size)
        training.start(plan[0], 0.01)
        step = training.captured() if is_captured else training.step
        for chosen in plan:
            training.chosen.copy_(chosen)
            step()
        training.soap.turn()
        step()
        values.append(training.soap.values.cpu())
    torch.testing.assert_close(values[1], values[0], rtol=0.0, atol=1e-8)
