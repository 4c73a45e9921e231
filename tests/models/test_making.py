"""New models: presets, seeds, settings that make no network, and numbers of order one."""

import pytest
import torch

from molequi.errors import UserError
from molequi.graphs.graph import collate
from molequi.models.making import PRESETS, make_model
from molequi.models.probes import built_in_probes

ELEMENTS = (1, 6, 7, 8)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("elements", [(1,), (1, 6, 7, 8), tuple(range(1, 87))], ids=len)
def test_outputs_of_a_new_model_are_of_order_one(preset: str, elements: tuple[int, ...]) -> None:
    rows = ["energy", "dipole", "gap", "polarizability"]
    model = make_model(elements, rows, preset=preset)
    structures = [structure.graph(model.cutoff) for structure in built_in_probes(elements)[:3]]
    outputs = model.compute(collate(structures))
    per_atom = outputs["energy"] / torch.tensor([graph.n_atoms for graph in structures])
    for values in (
        per_atom,
        outputs["forces"],
        outputs["dipole"],
        outputs["gap"],
        outputs["polarizability"],
    ):
        assert 1e-2 < float(values.square().mean().sqrt()) < 1e2


def test_weights_are_a_function_of_the_seed_and_leave_the_global_state_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (make_model(ELEMENTS, ["energy"], seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    pairs = zip(first.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first.backbone.embedding, other.backbone.embedding)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_build_and_count_weights(preset: str) -> None:
    model = make_model(ELEMENTS, ["energy", "dipole"], preset=preset)
    assert 10_000 < sum(p.numel() for p in model.parameters()) < 5_000_000


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"l_max": 9}, "l_max"),
        ({"parity": "odd"}, "parity"),
        ({"cutoff": -1.0}, "cutoff"),
        ({"correlation": 4}, "correlation"),
        ({"preset": "huge"}, "preset"),
    ],
)
def test_impossible_settings_are_refused_by_name(overrides: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        make_model(ELEMENTS, ["energy"], **overrides)


def test_outputs_may_have_a_larger_degree_than_features_between_layers() -> None:
    """l_hidden keeps messages of the second layer cheap; heads read what its last one gives."""
    rows = ["energy", "polarizability"]
    model = make_model(ELEMENTS, rows, l_max=2, l_hidden=1, n_channels=4)
    assert str(model.backbone.layers[0].irreps_out) == "0e+1o"
    assert str(model.backbone.irreps_out) == "0e+2e"


def test_a_model_needs_something_to_learn() -> None:
    with pytest.raises(UserError, match="energy"):
        make_model(ELEMENTS, ["forces"])


def test_a_preset_grows_to_the_degree_of_a_target() -> None:
    network = make_model(ELEMENTS, ["polarizability"], preset="light")
    assert network.backbone.l_max == 2
    assert make_model(ELEMENTS, ["dipole"], preset="light").backbone.l_max == 1
