"""Heads whose outputs depend on positions as well as on features."""

import functools

import numpy as np
import pytest
import torch
from ase.data import atomic_masses

from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph, collate
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.models.probes import built_in_probes
from molequi.models.structure import Structure, random_rotation
from molequi.nn.backbones.base import NodeFeatures
from molequi.nn.heads.attention import AttentionHead, read_by_attention
from molequi.nn.heads.base import FeatureSpec, Molecules
from molequi.nn.heads.pooling import PooledHead
from molequi.nn.heads.readout import TripleProducts
from molequi.nn.linear import Perceptron
from molequi.o3.irreps import Irreps
from molequi.properties import PROPERTIES, declare

ELEMENTS = (1, 6, 7, 8)
CUTOFF = 4.0


@pytest.fixture(scope="module")
def model() -> MolecularModel:
    return make_model(
        ELEMENTS, ["rosenfeld"], n_layers=3, n_channels=8, parity="full", cutoff=CUTOFF
    ).to(torch.float64)


def probes() -> list[Structure]:
    return built_in_probes(ELEMENTS)[:3]


def graph(*structures: Structure) -> AtomGraph:
    return collate([structure.graph(CUTOFF) for structure in structures])


def test_width_of_readouts_is_a_setting_of_the_network() -> None:
    network = make_model([1, 8], ["energy", "forces", "dipole", "gap"], n_readout=7)
    readouts = [part for part in network.heads.modules() if isinstance(part, Perceptron)]
    assert {readout.weights[0].shape[1] for readout in readouts} == {7}


def test_a_pooled_number_is_what_its_equation_says() -> None:
    """The sum over atoms, and the network of sums and weighted means, by NumPy."""
    row = declare("logP", irreps="0e", unit="1", head="pooled")
    head = PooledHead(row, FeatureSpec(Irreps("0e"), 4, 5, CUTOFF, n_hidden=3)).to(torch.float64)
    head.set_statistics(scale=1.7, shift=0.3)
    head.set_size(4.0)
    invariants = torch.randn(5, 5, dtype=torch.float64)
    numbers = torch.tensor([1, 6, 8, 1, 1])
    molecules = Molecules(
        torch.zeros(5, 3), torch.tensor([0, 0, 0, 1, 1]), 3, torch.zeros(2, 0), numbers,
        torch.zeros(3), torch.ones(3),
    )  # fmt: skip

    def network(perceptron: Perceptron, x: np.ndarray) -> np.ndarray:
        first, second = (table.detach().numpy() for table in perceptron.make_tables())
        biases = [bias.detach().numpy() for bias in perceptron.biases]
        return silu(x @ first + biases[0]) @ second + sum(biases[1:])

    def silu(x: np.ndarray) -> np.ndarray:
        return x / (1 + np.exp(-x))

    with torch.no_grad():
        head.pooled.biases[1].fill_(0.2)
    nothing = torch.zeros(0)
    features = NodeFeatures(torch.zeros(5, 1, 4), invariants, nothing, nothing)
    found = head(features, molecules)["logP"].detach()
    for molecule, atoms in enumerate((slice(0, 3), slice(3, 5), slice(5, 5))):
        x = invariants[atoms].numpy()
        both = network(head.pooled, x)
        hidden, weights = silu(both[:, :-1]), np.log1p(np.exp(both[:, -1:]))
        means = (hidden * weights).sum(axis=0) / max(weights.sum(), 1e-12)
        beside = network(head.network, np.concatenate([hidden.sum(axis=0) / 4, means]))
        expected = 1.7 * (network(head.readout.networks[0], x).sum() / 2 + beside[0]) + 0.3
        assert float(found[molecule]) == pytest.approx(expected, abs=1e-12)


def test_triple_products_are_signed_volumes_of_three_different_vectors() -> None:
    products = TripleProducts(3, 1).to(torch.float64)
    vectors = torch.randn(5, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        products.maps.copy_(3**0.5 * torch.eye(3))
        torch.testing.assert_close(products(vectors)[:, 0, 0], torch.linalg.det(vectors) * 6**-0.5)
        assert torch.equal(products(-vectors), -products(vectors))
        products.maps[:, 1] = products.maps[:, 0]
        assert products(vectors).abs().max() < 1e-15


def test_the_hand_of_ranked_neighbours_is_read_off_by_triple_products() -> None:
    """Maps to 1, p and p^2 of neighbours with ranks p.

    The sign of the volume does not depend on the values of the ranks but on their order.
    """
    generator = torch.Generator().manual_seed(1)
    products = TripleProducts(3, 1).to(torch.float64)
    directions = torch.randn(50, 3, 3, generator=generator, dtype=torch.float64)
    ranks = torch.rand(50, 3, generator=generator, dtype=torch.float64).sort(dim=1).values
    powers = ranks[:, :, None] ** torch.arange(3)
    with torch.no_grad():
        products.maps.copy_(torch.eye(3))
        found = products(torch.einsum("nkx,nkc->nxc", directions, powers))
    assert torch.equal(found[:, 0, 0].sign(), torch.linalg.det(directions).sign())


def test_the_isotropic_part_is_a_third_of_the_trace(model: MolecularModel) -> None:
    outputs = model.compute(graph(*probes()))
    torch.testing.assert_close(
        outputs["rosenfeld_isotropic"], torch.einsum("bii->b", outputs["rosenfeld"]) / 3
    )
    assert outputs["rosenfeld_isotropic"][:2].abs().min() > 1e-4


def test_one_head_serves_the_tensor_and_its_trace() -> None:
    for names in (["rosenfeld_isotropic", "rosenfeld"], ["rosenfeld", "rosenfeld_isotropic"]):
        network = make_model(ELEMENTS, names, n_layers=3, n_channels=4, parity="full")
        assert list(network.heads) == ["rosenfeld"]
    assert list(
        make_model(ELEMENTS, ["rosenfeld_isotropic"], n_layers=3, n_channels=4, parity="full").heads
    ) == ["rosenfeld_isotropic"]


@pytest.mark.parametrize("distance", [20.0, 400.0])
def test_traces_of_far_fragments_add_up(model: MolecularModel, distance: float) -> None:
    first, second, _ = probes()
    alone = model.compute(graph(first, second))
    joined = model.compute(graph(first.beside(second, distance)))
    torch.testing.assert_close(
        joined["rosenfeld_isotropic"],
        alone["rosenfeld_isotropic"].sum(dim=0, keepdim=True),
        rtol=1e-10,
        atol=0.0,
    )
    # The tensor itself refers to the common centre of mass.
    assert (joined["rosenfeld"] - alone["rosenfeld"].sum(dim=0)).abs().max() > 1e-2


def test_a_shift_of_the_origin_adds_a_tensor_linear_in_the_shift(model: MolecularModel) -> None:
    """beta_ab gains -1/2 eps_bcd R_c alpha_ad.

    A far atom, which moves the centre of mass by R, leaves the magnetic index along R alone.
    """
    molecule = probes()[1]
    masses = atomic_masses[molecule.atomic_numbers]
    centre = masses @ molecule.positions / masses.sum()
    before, moved = model.compute(graph(molecule))["rosenfeld"][0], []
    for distance in (-50.0, 50.0):
        positions = np.concatenate([molecule.positions, [centre + [distance, 0.0, 0.0]]])
        moved.append(
            model.compute(
                graph(Structure("with an atom", positions, np.append(molecule.atomic_numbers, 8)))
            )["rosenfeld"][0]
        )
    change = (moved[1] - moved[0]) / 2
    size = float(change.abs().max())
    assert size > 1e-2
    assert change[:, 0].abs().max() < 1e-12 * size
    torch.testing.assert_close((moved[0] + moved[1]) / 2, before, atol=1e-12 * size, rtol=0.0)


def test_flows_sum_to_zero_over_every_piece(model: MolecularModel) -> None:
    first, second, _ = probes()
    joined = graph(first.beside(second, 30.0))
    for dtype, limit in ((torch.float64, 1e-14), (torch.float32, 1e-14)):
        network = model.to(dtype)
        with torch.no_grad():
            vectors = network.heads["rosenfeld"].flow(
                network.backbone(joined), network.molecules(joined)
            )
        assert vectors.abs().max() > 1e-4
        for piece in vectors.split([len(first.positions), len(second.positions)]):
            assert piece.sum(dim=0).abs().max() < limit
    model.to(torch.float64)


def test_every_pooling_adds_the_mean_of_a_tensor() -> None:
    """The trace / sqrt(3) of a tensor is its 0e part; attention left it out."""
    row = declare("ten", irreps="0e+2e", unit="1", extensive=False)
    graph = collate([probe.graph(CUTOFF) for probe in probes()])
    for rows in ([row], read_by_attention([row])):
        network = make_model(ELEMENTS, rows, n_channels=8, cutoff=CUTOFF).double()
        before = network(graph)["ten"]
        network.heads["ten"].set_statistics(1.0, shift=50.0 * 3.0**0.5)
        moved = network(graph)["ten"] - before
        expected = 50.0 * torch.eye(3, dtype=torch.float64).expand_as(moved)
        torch.testing.assert_close(moved, expected, atol=1e-10, rtol=0)


def test_attention_is_a_mean_that_no_motion_and_no_copy_changes() -> None:
    rows = read_by_attention([PROPERTIES["gap"], declare("axis", irreps="1o", unit="1")])
    network = make_model(ELEMENTS, rows, n_channels=8, cutoff=CUTOFF).double()
    assert isinstance(network.heads["gap"], AttentionHead)
    probe = probes()[0]
    turn = -random_rotation(np.random.default_rng(0))
    alone, turned, twice = (
        network(structure.graph(CUTOFF))
        for structure in (probe, probe.mapped(turn), probe.beside(probe, 60.0))
    )
    close = functools.partial(torch.testing.assert_close, atol=1e-12, rtol=0)
    close(turned["gap"], alone["gap"])
    close(turned["axis"], alone["axis"] @ torch.as_tensor(turn).T)
    for name in ("gap", "axis"):
        close(twice[name], alone[name])
    with pytest.raises(UserError, match="energy are none: leave it out"):
        read_by_attention([PROPERTIES["energy"]])
