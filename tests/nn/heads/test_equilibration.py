"""Charges of a model: exact sums, whole charges of far pieces, the price of what nobody claims."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from molequi.graphs.graph import AtomGraph, collate
from molequi.graphs.neighbors import build_graph
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.models.physics import Physics
from molequi.models.probes import built_in_probes
from molequi.models.structure import Structure
from molequi.nn.heads.equilibration import PLATEAU, snap
from molequi.structures.molecules import atoms_from_smiles

CUTOFF = 5.0
EQUILIBRATED, CHARGED = Physics("equilibrated"), Physics("equilibrated", "damped")
# Charges of atoms by element and number of neighbours within 1.35 Å, e: their sums over ammonium,
# acetate and water are 1.03, -0.94 and 0.02.
LOCAL = {
    (7, 4): -0.61,
    (1, 1): 0.41,
    (6, 3): -1.18,
    (6, 2): 0.55,
    (8, 1): -0.77,
    (8, 2): -0.80,
}
COLLECTING = {(7, 4), (6, 2), (8, 2)}


class ByNeighbours(nn.Module):
    """A network that was taught `LOCAL`; chi and eta as given."""

    def __init__(self, graph: AtomGraph, chi: float = 0.0, eta: float = 0.0) -> None:
        super().__init__()
        distances = torch.cdist(graph.positions, graph.positions)
        counts = ((distances < 1.35) & (distances > 0)).sum(dim=1)
        kinds = list(zip(graph.atomic_numbers.tolist(), counts.tolist(), strict=True))
        rows = [
            [LOCAL[kind], 5.0 if kind in COLLECTING else -15.0, 0.5, chi, eta] for kind in kinds
        ]
        self.table = torch.tensor(rows, dtype=torch.float64)

    def forward(self, features: Tensor) -> Tensor:
        return self.table


def pieces(*smiles: str, charge: int, distance: float = 30.0) -> AtomGraph:
    atoms = [atoms_from_smiles(text, 0) for text in smiles]
    positions = [one.positions + np.array([k * distance, 0, 0]) for k, one in enumerate(atoms)]
    numbers = np.concatenate([one.numbers for one in atoms])
    return build_graph(np.concatenate(positions), numbers, CUTOFF, total_charge=charge)


def taught(graph: AtomGraph, physics: Physics = CHARGED, **price: float) -> MolecularModel:
    model = make_model((1, 6, 7, 8), ["energy", "dipole"], cutoff=CUTOFF, physics=physics).double()
    model.equilibration.network = ByNeighbours(graph, **price)
    model.equilibration.scale.fill_(1.0)
    return model


def results(*smiles: str, charge: int, **price: float) -> dict[str, Tensor]:
    graph = pieces(*smiles, charge=charge)
    return taught(graph, **price).compute(graph)


def random_model(dtype: torch.dtype, physics: Physics = EQUILIBRATED) -> MolecularModel:
    """Its charges are not whole, and what is missing has a price."""
    model = make_model((1, 6, 7, 8), ["energy", "dipole"], cutoff=CUTOFF, physics=physics)
    with torch.no_grad():
        last = model.equilibration.network.weights[-1]
        last.copy_(2.0 * torch.randn(last.shape, generator=torch.Generator().manual_seed(1)))
    return model.to(dtype)


def ions(dtype: torch.dtype = torch.float64) -> tuple[AtomGraph, Tensor]:
    charges = (0, 1, -2, 0, 3)
    structures = built_in_probes((1, 6, 7, 8))
    structures = [*structures, structures[0]]
    pairs = zip(structures, charges, strict=True)
    graph = collate(
        [Structure(*list(vars(s).values())[:5], total_charge=q).graph(CUTOFF) for s, q in pairs]
    )
    return graph, torch.tensor(charges, dtype=torch.float64)


def summed(values: Tensor, graph: AtomGraph) -> Tensor:
    return values.new_zeros(graph.n_molecules).index_add(0, graph.batch, values)


def test_snap_is_whole_near_whole_numbers_and_smooth_between() -> None:
    x = torch.linspace(-2.5, 2.5, 1001, dtype=torch.float64, requires_grad=True)
    value = snap(x)
    (slope,) = torch.autograd.grad(value.sum(), x)
    on_plateau = (x - x.round()).abs() < PLATEAU - 1e-9
    assert torch.equal(value[on_plateau], x.detach()[on_plateau].round())
    assert torch.equal(slope[on_plateau], torch.zeros_like(slope[on_plateau]))
    torch.testing.assert_close(snap(-x), -value)
    torch.testing.assert_close(snap(x + 1.0), value + 1.0)
    assert bool((value.diff() >= 0).all())
    # Steepest in the middle, by the polynomial: 15 / 8 over the width of the step.
    assert float(slope.max()) == pytest.approx(15 / 8 / (1 - 2 * PLATEAU))
    assert torch.autograd.gradcheck(snap, x.detach()[::37].requires_grad_(True))
    # Two derivatives are continuous at the edge.
    edge = torch.tensor([PLATEAU + 1e-6], dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(snap(edge).sum(), edge, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), edge)
    assert first.item() < 1e-9
    assert second.item() < 1e-2


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_charges_add_up_exactly_whatever_the_network(dtype: torch.dtype) -> None:
    graph, expected = ions()
    model = random_model(dtype)
    for outputs in (model.compute(graph), model.freeze().compute(graph)):
        assert outputs["charges"].dtype == torch.float64
        assert float((outputs["charges"] - outputs["charges"].mean()).abs().max()) > 0.1
        assert float((summed(outputs["charges"], graph) - expected).abs().max()) < 1e-13


def test_one_network_serves_all_heads() -> None:
    graph, _ = ions()
    model = make_model((1, 6, 7, 8), ["charges", "dipole", "energy"], physics=EQUILIBRATED).double()
    names = {name.split(".")[0] for name in model.state_dict()}
    assert "equilibration" in names
    assert not any("flow" in name for name in model.state_dict())
    outputs, multipoles = model.compute(graph), model.multipoles(graph)
    torch.testing.assert_close(multipoles.charges, outputs["charges"])
    moments = multipoles.charges[:, None] * model.molecules(graph).positions + multipoles.dipoles
    dipole = torch.stack([summed(moments[:, k], graph) for k in range(3)], dim=1)
    is_open = ~graph.pbc.any(dim=1)
    torch.testing.assert_close(dipole[is_open], outputs["dipole"][is_open])


def test_far_ions_carry_whole_charges() -> None:
    outputs = results("[NH4+]", "O", "CC(=O)[O-]", charge=0)
    ammonium, water, acetate = outputs["charges"].split([5, 3, 7])
    assert float(ammonium.sum()) == pytest.approx(1.0, abs=1e-12)
    assert float(water.sum()) == pytest.approx(0.0, abs=1e-12)
    assert float(acetate.sum()) == pytest.approx(-1.0, abs=1e-12)
    assert float(outputs["local_charge"]) == 0.0
    for part, smiles, charge in (
        (ammonium, "[NH4+]", 1),
        (water, "O", 0),
        (acetate, "CC(=O)[O-]", -1),
    ):
        torch.testing.assert_close(part, results(smiles, charge=charge)["charges"])


@pytest.mark.parametrize("distance", [12.0, 30.0])
def test_energies_of_far_ions_add_up_beside_their_coulomb_term(distance: float) -> None:
    """The term is summed here, pair by pair, without damping: that ends at 4.6 Å."""
    graph = pieces("[NH4+]", "CC(=O)[O-]", charge=0, distance=distance)
    joined = taught(graph, chi=4.0).compute(graph)
    alone = [
        results(smiles, charge=q, chi=4.0)["energy"]
        for smiles, q in (("[NH4+]", 1), ("CC(=O)[O-]", -1))
    ]
    distances = torch.cdist(graph.positions[:5], graph.positions[5:])
    charges = joined["charges"]
    term = float(14.3996454784 * (charges[:5, None] * charges[None, 5:] / distances).sum())
    assert term == pytest.approx(-14.4 / distance, rel=0.2)
    assert float(joined["energy"]) == pytest.approx(float(sum(alone)) + term, abs=1e-7)


def test_what_nobody_claims_is_spread_at_a_price() -> None:
    """Water with a charge that its atoms do not carry: psi is Q over three equal weights."""
    graph = pieces("O", charge=2)
    outputs = taught(graph, EQUILIBRATED, chi=4.0, eta=10.0).compute(graph)
    neutral = taught(graph, EQUILIBRATED, chi=4.0, eta=10.0).compute(pieces("O", charge=0))
    torch.testing.assert_close(
        outputs["charges"] - neutral["charges"], torch.full((3,), 2 / 3, dtype=torch.float64)
    )
    price = 3 * (4.0 * 2 / 3 + 0.5 * 10.0 * (2 / 3) ** 2)
    assert float(outputs["energy"] - neutral["energy"]) == pytest.approx(price, abs=1e-9)
    assert float(outputs["local_charge"]) == 0.0


def test_the_neutral_limit_is_exact() -> None:
    """Where atoms claim no charge and there is none, the price is nothing, to the last bit."""
    graph = pieces("O", charge=0)
    free, priced = taught(graph), taught(graph, chi=4.0, eta=10.0)
    for name, value in free.compute(graph).items():
        assert torch.equal(priced.compute(graph)[name], value), name


def test_a_charge_costs_the_same_claimed_or_spread() -> None:
    """But for what the spreading itself costs, eta."""
    claimed, spread = pieces("[NH4+]", charge=1), pieces("CCO", charge=1)
    for graph in (claimed, spread):
        prices = [taught(graph, EQUILIBRATED, chi=chi).compute(graph) for chi in (0.0, 4.0)]
        torch.testing.assert_close(prices[0]["charges"], prices[1]["charges"])
        assert float(prices[1]["energy"] - prices[0]["energy"]) == pytest.approx(4.0, abs=1e-9)


def test_the_energy_knows_the_total_charge() -> None:
    """Of one geometry, by the price alone: a new network has none."""
    ion, neutral = (pieces("CCO", charge=charge) for charge in (1, 0))
    model = random_model(torch.float64)
    assert abs((model(ion)["energy"] - model(neutral)["energy"]).item()) > 1e-3
    fresh = make_model((1, 6, 8), ["energy"], cutoff=CUTOFF, physics=EQUILIBRATED).double()
    assert torch.equal(fresh(ion)["energy"], fresh(neutral)["energy"])


def test_charges_learn_where_snapping_has_no_slope() -> None:
    """In training, what atoms claim has a slope although it is exactly zero; else it has none."""
    graph = pieces("CCO", charge=1)
    model = make_model((1, 6, 8), ["energy", "charges"], cutoff=CUTOFF, physics=EQUILIBRATED)
    model.equilibration.scale.fill_(0.02)
    weights = list(model.requires_grad_(True).equilibration.network.weights)
    claimed = model.train()(graph)["local_charge"].sum()
    assert claimed.item() == 0.0
    slopes = torch.autograd.grad(claimed, weights)
    assert all(float(slope.abs().max()) > 1e-5 for slope in slopes)
    assert not model.eval()(graph)["local_charge"].requires_grad


def test_a_lone_atom_has_the_total_charge() -> None:
    graph = build_graph(np.zeros((1, 3)), np.array([7]), CUTOFF, total_charge=-1)
    outputs = random_model(torch.float64, CHARGED).compute(graph)
    assert outputs["charges"].tolist() == pytest.approx([-1.0], abs=1e-15)
    assert math.isfinite(float(outputs["energy"]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_compiled_charges_are_those_of_plain_torch(dtype: torch.dtype) -> None:
    """Values, and gradients by features and envelope, of ions and a crystal."""
    graph, _ = ions()
    model = random_model(dtype, CHARGED)
    features, molecules = model.backbone(graph), model.molecules(graph)
    inputs = [
        part.detach().requires_grad_(True) for part in (features.invariant, features.envelope)
    ]
    features = features._replace(invariant=inputs[0], envelope=inputs[1])
    generator = torch.Generator().manual_seed(4)
    pulls = torch.randn(2, len(graph.batch), generator=generator, dtype=torch.float64)
    found = []
    for kernels in ("reference", "generic"):
        model.equilibration.use_kernels(kernels)
        charges = model.equilibration.forward_once(features, molecules, graph.receiver_ptr)
        pulled = (torch.stack(charges[:2]) * pulls).sum()
        found.append((*charges, *torch.autograd.grad(pulled, inputs)))
    assert float(found[0][1].detach().abs().max()) > 1e-2
    tolerance = 1e-12 if dtype == torch.float64 else 2e-5
    for plain, compiled in zip(*found, strict=True):
        size = float(plain.detach().abs().max())
        torch.testing.assert_close(compiled, plain, rtol=0.0, atol=tolerance * max(size, 1.0))
