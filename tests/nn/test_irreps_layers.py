"""Layers that keep the symmetry, each beside its twin that breaks it and is found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from molequi.diagnostics.check import check_model
from molequi.diagnostics.layers import check_grid_layer, check_irreps_layer
from molequi.errors import UserError
from molequi.models.checkpoint import load_model, save_model
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.models.probes import built_in_probes
from molequi.models.structure import random_rotation
from molequi.nn.irreps_layers import IrrepsDropout, IrrepsNorm, IrrepsPool, LowPassStride, mean_pool
from molequi.o3.irreps import Irreps

IRREPS = Irreps.full(2)
C = 5
BATCH = torch.tensor([0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 2])


def weighted_norm() -> IrrepsNorm:
    torch.manual_seed(0)
    norm = IrrepsNorm(IRREPS, C).double()
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return norm


def layer_norm(features: Tensor) -> Tensor:
    """Each row by its own mean and spread over the channels: the twin of `IrrepsNorm`."""
    return functional.layer_norm(features, (C,))


def max_pool(features: Tensor, batch: Tensor, n_molecules: int) -> Tensor:
    """The largest value of each row: the twin of `IrrepsPool`."""
    start = features.new_full((n_molecules, *features.shape[1:]), -torch.inf)
    return start.scatter_reduce(0, batch[:, None, None].expand_as(features), features, "amax")


def naive_dropout(features: Tensor) -> Tensor:
    """Every component on its own: the twin of `IrrepsDropout`."""
    return functional.dropout(features, 0.5)


LAYERS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "dropout": (IrrepsDropout(IRREPS, 0.5), naive_dropout),
    "normalisation": (weighted_norm(), layer_norm),
    "pooling": (lambda x: IrrepsPool(IRREPS)(x, BATCH, 3), lambda x: max_pool(x, BATCH, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer_passes_and_its_twin_fails(name: str) -> None:
    layer, twin = LAYERS[name]
    assert all(one.ok for one in check_irreps_layer(layer, IRREPS, C).values())
    found = check_irreps_layer(twin, IRREPS, C)
    assert found["rotation"].value > 0.05
    # Dropping components and rescaling them commutes with a change of sign; the largest value does
    # not.
    assert not found["inversion"].ok or name != "pooling"


def test_mean_is_linear_and_keeps_everything() -> None:
    assert all(
        one.ok for one in check_irreps_layer(lambda x: mean_pool(x, BATCH, 3), IRREPS, C).values()
    )
    values = torch.arange(12.0)
    torch.testing.assert_close(mean_pool(values, BATCH, 4), torch.tensor([2.0, 5.5, 9.0, 0.0]))


def hooked(layer: Callable[[Tensor, Tensor, int], Tensor]) -> MolecularModel:
    """A model whose last features go through a layer; random numbers are the same in every call."""
    model = make_model((1, 6, 7, 8), ("energy", "dipole"), n_channels=C, l_max=1).double()

    def change(_module, inputs, features):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            return features._replace(
                equivariant=layer(features.equivariant, inputs[0].batch, inputs[0].n_molecules)
            )

    model.backbone.register_forward_hook(change)
    return model


NATURAL = Irreps("0e+1o")
HOOKED = {
    "dropout": (
        lambda x, _batch, _n: IrrepsDropout(NATURAL, 0.5)(x),
        lambda x, _batch, _n: naive_dropout(x),
    ),
    "normalisation": (
        lambda x, _batch, _n: IrrepsNorm(NATURAL, C).to(x)(x),
        lambda x, _batch, _n: layer_norm(x),
    ),
    "pooling": (
        lambda x, batch, n: x + IrrepsPool(NATURAL)(x, batch, n)[batch],
        lambda x, batch, n: x + max_pool(x, batch, n)[batch],
    ),
}


@pytest.mark.parametrize("name", HOOKED)
def test_check_of_a_model_finds_the_twin(name: str) -> None:
    layer, twin = HOOKED[name]
    probes = [probe.graph(5.0) for probe in built_in_probes((1, 6, 7, 8))[:1]]

    def failed(one: Callable[[Tensor, Tensor, int], Tensor]) -> set[str]:
        return {
            test
            for test, found in check_model(hooked(one), probes, with_probes=False).items()
            if not found.ok
        }

    mine = {test for test in failed(layer) if test.startswith(("rotation", "inversion"))}
    assert mine == set()
    assert "rotation.dipole" in failed(twin)


def test_dropout_keeps_the_mean_and_whole_irreps() -> None:
    torch.manual_seed(0)
    layer, features = IrrepsDropout(IRREPS, 0.25), torch.ones(4000, 18, C)
    out = layer(features)
    assert set(out.unique().tolist()) == {0.0, float(torch.tensor(1.0) / 0.75)}
    assert torch.equal(out[:, 2:5], out[:, 2:3].expand(-1, 3, -1))
    assert out.mean() == pytest.approx(1.0, abs=0.01)
    assert torch.equal(layer.eval()(features), features)
    with pytest.raises(UserError, match=r"must lie in \[0, 1\)"):
        IrrepsDropout(IRREPS, 1.0)


def test_norm_gives_unit_power_and_centres_scalars_alone() -> None:
    features = torch.as_tensor(np.random.default_rng(0).standard_normal((7, 18, C))) * 3 + 1
    out = IrrepsNorm(IRREPS, C, epsilon=1e-12).double()(features)
    torch.testing.assert_close(
        out[:, 0].mean(dim=1), torch.zeros(7, dtype=torch.float64), atol=1e-12, rtol=0
    )
    for rows in (slice(0, 1), slice(1, 2), slice(2, 5), slice(13, 18)):
        torch.testing.assert_close(
            out[:, rows].square().mean(dim=(1, 2)),
            torch.ones(7, dtype=torch.float64),
            atol=1e-9,
            rtol=0,
        )
    assert out[:, 1].mean(dim=1).abs().max() > 0.1  # 0o: a mean would be a pseudoscalar, it stays
    assert torch.isfinite(IrrepsNorm(IRREPS, C)(torch.zeros(2, 18, C))).all()


def test_pool_ignores_the_order_of_atoms_and_finds_the_longest() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(12, 18, C, generator=generator, dtype=torch.float64)
    order = torch.randperm(5, generator=generator)
    pool = IrrepsPool(IRREPS)
    torch.testing.assert_close(
        pool(features[:5][order], BATCH[:5], 1), pool(features, BATCH, 3)[:1]
    )
    sharp = IrrepsPool(IRREPS, 1e4)(features[:5], BATCH[:5], 1)[0, 2:5, 0]
    longest = features[:5, 2:5, 0].norm(dim=1).argmax()
    torch.testing.assert_close(sharp, features[longest, 2:5, 0])
    # Empty molecules are zeros, vectors of length zero have a derivative.
    zeros = torch.zeros(3, 18, C, dtype=torch.float64, requires_grad=True)
    out = pool(zeros, torch.tensor([0, 0, 0]), 2)
    out.square().sum().backward()
    assert not out[1].any()
    assert torch.isfinite(zeros.grad).all()


def test_pool_is_smooth() -> None:
    features = torch.randn(
        4, 4, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True
    )
    assert torch.autograd.gradcheck(
        lambda x: IrrepsPool(NATURAL)(x, torch.tensor([0, 0, 1, 1]), 2), features
    )


def noise(n: int = 16) -> Tensor:
    return torch.as_tensor(np.random.default_rng(0).standard_normal((2, 3, n, n)))


@pytest.mark.parametrize("n_taps", [2, 4, 6])
def test_low_pass_before_striding_keeps_the_square(n_taps: int) -> None:
    layer = LowPassStride(n_taps, periodic=True).double()
    assert layer(noise()).shape == (2, 3, 8, 8)
    found = check_grid_layer(layer, noise(), stride=2)
    assert all(found[name].ok for name in ("quarter_turn", "mirror", "shift"))
    found = check_grid_layer(LowPassStride(n_taps).double(), noise(), stride=2)
    assert all(found[name].ok for name in ("quarter_turn", "mirror"))


def test_striding_alone_breaks_it_and_aliases() -> None:
    naive = check_grid_layer(lambda x: x[:, :, ::2, ::2], noise(), stride=2)
    assert not naive["quarter_turn"].ok
    assert not naive["mirror"].ok
    assert naive["shift"].ok  # a multiple of the stride is harmless
    assert naive["fine_shift"].value > 1.0
    pooled = check_grid_layer(lambda x: functional.max_pool2d(x, 2), noise(32), stride=2)
    assert pooled["quarter_turn"].ok
    assert not pooled["fine_shift"].ok
    assert check_grid_layer(LowPassStride(periodic=True).double(), noise(32), stride=2)[
        "fine_shift"
    ].ok


def test_filter_is_nearly_isotropic() -> None:
    """Its response at one wave number hardly depends on the direction.

    That of a mean of 2 x 2 pixels and a corner's pixel do more.
    """

    def spread_of_response(weights: Tensor, wave_number: float) -> float:
        n = weights.shape[-1]
        x = torch.arange(n, dtype=torch.float64) - (n - 1) / 2
        angles = torch.linspace(0, torch.pi / 4, 7, dtype=torch.float64)
        phases = [
            torch.cos(wave_number * (a.cos() * x[:, None] + a.sin() * x[None, :])) for a in angles
        ]
        responses = torch.stack([(weights * phase).sum() for phase in phases])
        return float(responses.max() - responses.min())

    binomial = LowPassStride(4).double().filter[0, 0]
    torch.testing.assert_close(binomial.sum(), torch.tensor(1.0, dtype=torch.float64))
    assert spread_of_response(binomial, 1.5) < 0.03
    assert spread_of_response(torch.full((4, 4), 1 / 16, dtype=torch.float64), 1.5) > 0.1


def test_wrong_grids_are_refused() -> None:
    with pytest.raises(UserError, match="even number"):
        LowPassStride(3)
    with pytest.raises(UserError, match="no symmetric half"):
        LowPassStride(4)(torch.zeros(1, 1, 7, 8))


def test_model_with_dropout_and_normalisation_keeps_every_law(tmp_path) -> None:
    """Also as it is frozen and as it is read from its file; in training each draw turns as well."""
    settings = {"n_channels": 8, "cutoff": 4.0, "normalization": "irreps", "dropout": 0.3}
    model = make_model([1, 6, 8], ["energy", "dipole"], **settings).double()
    probes = [probe.graph(4.0) for probe in built_in_probes((1, 6, 8))[:2]]
    found = check_model(model, probes, with_probes=False)
    assert [name for name, one in found.items() if not one.ok] == []
    save_model(model, tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    here, frozen, read = (
        one.compute(probes[0]) for one in (model, model.freeze(kernels="generic"), again)
    )
    for name in ("energy", "forces", "dipole"):
        torch.testing.assert_close(frozen[name], here[name], atol=1e-10, rtol=0)
        torch.testing.assert_close(read[name], here[name], atol=1e-12, rtol=0)
    turn = -random_rotation(np.random.default_rng(0))
    dipoles = []
    for probe in (built_in_probes((1, 6, 8))[0], built_in_probes((1, 6, 8))[0].mapped(turn)):
        torch.manual_seed(0)
        dipoles.append(model.train()(probe.graph(4.0))["dipole"])
    torch.testing.assert_close(dipoles[1], dipoles[0] @ torch.as_tensor(turn).T)
    assert not torch.allclose(dipoles[0], here["dipole"])


def test_irreps_may_be_text() -> None:
    features = torch.randn(3, Irreps("0e+1o").dim, 4)
    batch = torch.zeros(3, dtype=torch.int64)
    assert IrrepsDropout("0e+1o")(features).shape == features.shape
    assert IrrepsNorm("0e+1o", 4)(features).shape == features.shape
    assert IrrepsPool("0e+1o")(features, batch, 1).shape == (1, 4, 4)
    with pytest.raises(ValueError, match="'1x' is not an irrep"):
        IrrepsNorm("0e+1x", 4)
