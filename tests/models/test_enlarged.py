"""More elements: what a model gives for the old ones stays, of every architecture."""

from __future__ import annotations

import pytest
import torch

from molequi.graphs.graph import collate
from molequi.graphs.neighbors import build_graph
from molequi.models.checkpoint import load_model, save_model
from molequi.models.enlarged import relative, with_elements
from molequi.models.making import make_model
from molequi.models.physics import Physics
from molequi.nn.backbones.registry import BACKBONES

SIZES = {
    "spherical": {"correlation": 3, "n_channels": 4, "l_max": 1},
    "matrices": {"architecture": "spherical", "self_connection": "matrices", "n_channels": 4},
    "held": {"architecture": "spherical", "held_below": 0.5, "n_channels": 4},
    "invariants": {"n_channels": 4},
    "coordinates": {"n_channels": 4, "average": "C2v"},
    "lieconv": {"n_channels": 4},
    "mace": {"n_channels": 4, "distance_transform": "agnesi", "radial_splines": False},
}
# H, C and O among the elements before, with a ninth and a sixteenth between and behind.
KNOWN, ADDED = (1, 6, 8), (7, 16)


def graph_of(numbers: list[int], cutoff: float):
    positions = 1.2 * torch.randn(
        len(numbers), 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64
    )
    positions += 1.3 * torch.arange(len(numbers), dtype=torch.float64)[:, None]
    return build_graph(positions.numpy(), torch.tensor(numbers).numpy(), cutoff)


def test_every_architecture_is_here() -> None:
    here = {settings.get("architecture", name) for name, settings in SIZES.items()}
    assert here == set(BACKBONES)


@pytest.mark.parametrize("name", SIZES)
def test_old_molecules_keep_their_values(name: str) -> None:
    settings = {"architecture": name, **SIZES[name]}
    model = make_model(KNOWN, ["energy"], seed=1, **settings).double()
    model.heads["energy"].reference[[1, 6, 8]] = torch.tensor([1.0, 2.0, 3.0]).double()
    grown = with_elements(model, ADDED)
    assert grown.elements == (1, 6, 7, 8, 16)
    graph = collate([graph_of([6, 8, 1, 1], model.cutoff), graph_of([8, 1, 1], model.cutoff)])
    old, new = (one.compute(graph) for one in (model, grown))
    assert old.keys() == new.keys()
    for key, values in old.items():
        assert torch.allclose(values, new[key], rtol=1e-9, atol=1e-9), key
    # N begins as C does, its nearest in no common group; S as O. Their references are open.
    twins = graph_of([6, 8, 1, 1], model.cutoff), graph_of([7, 16, 1, 1], model.cutoff)
    like, own = (grown.compute(one)["energies"] for one in twins)
    difference = like - own - torch.tensor([2.0, 3.0, 0.0, 0.0]).double()
    if name in {"spherical", "matrices", "invariants", "coordinates"}:
        assert float(difference.abs().max()) < 1e-9  # the others know radii or masses of elements
    else:
        assert torch.isfinite(own).all()


def test_radii_of_new_elements_are_their_own() -> None:
    model = make_model(KNOWN, ["energy"], architecture="mace", **SIZES["mace"])
    radii = with_elements(model, ADDED).backbone.basis.radii
    fresh = make_model((*KNOWN, *ADDED), ["energy"], architecture="mace", **SIZES["mace"])
    assert torch.equal(radii, fresh.backbone.basis.radii)


def test_the_file_of_a_grown_model_is_read_again(tmp_path) -> None:
    physics = Physics(charges="equilibrated", coulomb="damped")
    model = make_model(KNOWN, ["energy", "dipole"], n_channels=4, physics=physics)
    grown = with_elements(model, ADDED)
    save_model(grown, tmp_path / "m.safetensors")
    graph = graph_of([16, 7, 1, 1], grown.cutoff)
    energy = load_model(tmp_path / "m.safetensors").compute(graph)["energy"]
    assert float((energy - grown.compute(graph)["energy"]).abs()) < 1e-5


@pytest.mark.parametrize(
    ("number", "expected"),
    [(17, 9), (35, 9), (16, 8), (15, 7), (14, 6), (3, 1), (11, 1), (10, 9), (5, 6), (26, 9)],
)
def test_relatives(number: int, expected: int) -> None:
    assert relative(number, (1, 6, 7, 8, 9)) == expected


def test_relatives_among_metals_and_ions() -> None:
    known = (1, 2, 12, 13, 17, 22, 30, 35)
    pairs = {10: 2, 20: 12, 31: 13, 53: 35, 40: 22, 72: 22, 48: 30, 80: 30, 17: 17}
    assert {number: relative(number, known) for number in pairs} == pairs
