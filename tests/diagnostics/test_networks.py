"""Rows of the report that only some networks have.

Healthy ones pass, planted faults are found by the row that is theirs.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import molequi.nn.backbones.invariant
from molequi.diagnostics.check import check_model
from molequi.diagnostics.limits import Measurement
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.models.probes import built_in_probes
from molequi.nn.radial import envelope

ORGANIC = (1, 6, 7, 8)
DTYPES = [torch.float64, torch.float32]
NEAR = {
    "energy_at_near_cutoff",
    "force_at_near_cutoff",
    "slope_at_near_cutoff",
    "outputs_at_near_cutoff",
}
CUTOFF, NEAR_CUTOFF = 5.0, 2.4


def invariants(model_with_biases, parity: str, dtype: torch.dtype) -> MolecularModel:
    properties = ("energy", "handedness") if parity == "full" else ("energy",)
    return model_with_biases(
        1,
        dtype,
        properties=properties,
        architecture="invariants",
        parity=parity,
        near_cutoff=NEAR_CUTOFF,
        l_max=None,
    )


def few(model: MolecularModel) -> dict[str, Measurement]:
    """The report on one structure, beside those that a test makes itself."""
    return check_model(model, [built_in_probes(ORGANIC)[1].graph(model.cutoff)], with_probes=False)


def spoil_envelope(monkeypatch: pytest.MonkeyPatch, spoil: Callable) -> None:
    """Add something to the envelope of the nearer cutoff alone."""

    def changed(r: torch.Tensor, cutoff: float) -> torch.Tensor:
        return envelope(r, cutoff) + (spoil(r, cutoff) if cutoff == NEAR_CUTOFF else 0.0)

    monkeypatch.setattr(molequi.nn.backbones.invariant, "envelope", changed)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("parity", ["natural", "full"])
def test_invariants_pass_with_rows_of_their_own(
    parity: str, dtype: torch.dtype, failed, model_with_biases
) -> None:
    measurements = check_model(invariants(model_with_biases, parity, dtype))
    assert failed(measurements) == set(), {
        name: measurements[name] for name in failed(measurements)
    }
    assert NEAR | {"rotation.features", "inversion.features.0e"} <= set(measurements)
    assert {
        "inversion.features.0o",
        "achiral.handedness.0o",
        "enantiomer_separation.handedness.0o",
    } <= set(measurements) or parity == "natural"


def test_hard_near_cutoff_is_found(
    monkeypatch: pytest.MonkeyPatch, failed, model_with_biases
) -> None:
    model = invariants(model_with_biases, "natural", torch.float32)
    spoil_envelope(monkeypatch, lambda r, cutoff: 1e-3 * (r < cutoff).to(r))
    found = failed(few(model))
    assert found >= {"energy_at_near_cutoff", "force_at_near_cutoff", "outputs_at_near_cutoff"}
    assert not found & {"energy_at_cutoff", "force_at_cutoff", "outputs_at_cutoff"}


def test_kink_at_the_near_cutoff_is_found(
    monkeypatch: pytest.MonkeyPatch, failed, model_with_biases
) -> None:
    model = invariants(model_with_biases, "natural", torch.float32)
    spoil_envelope(monkeypatch, lambda r, cutoff: 0.5 * (1.0 - r / cutoff).clamp(min=0.0).square())
    assert failed(few(model)) == {"slope_at_near_cutoff"}


def test_features_that_do_not_turn_are_found(failed, model_with_biases) -> None:
    """In rows that no output is made of, so that nothing else can find them."""
    model = model_with_biases(0, torch.float32, properties=("energy",))

    def spoil(_module, inputs, features):
        x = inputs[0].positions[:, :1, None].to(features.equivariant.dtype)
        return features._replace(equivariant=features.equivariant + 1e-3 * x)

    model.backbone.register_forward_hook(spoil)
    assert failed(few(model)) == {"rotation.features", "inversion.features.0e"}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("group", ["T(3)", "SO(3)", "SE(3)"])
def test_lieconv_does_not_notice_moved_lifts(group: str, dtype: torch.dtype) -> None:
    measurements = few(
        make_model(ORGANIC, ["homo"], architecture="lieconv", group=group, n_channels=8).to(dtype)
    )
    assert measurements["moved_lifts"].ok
    assert "rotation.features" not in measurements


def test_lieconv_without_motions_has_no_such_row() -> None:
    assert "moved_lifts" not in few(
        make_model(ORGANIC, ["homo"], architecture="lieconv", group="trivial", n_channels=8)
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_network_that_sees_its_lifts_is_found(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relative coordinates of a pair get a thousandth of the first lift itself."""
    model = make_model(
        ORGANIC,
        ["homo"],
        architecture="lieconv",
        group="SE(3)",
        n_lifts=2,
        lifts="fixed",
        n_channels=8,
    ).to(dtype)
    group = type(model.backbone.group)
    relative = group.relative
    monkeypatch.setattr(
        group,
        "relative",
        lambda self, first, second: relative(self, first, second) + 1e-3 * self.log(first),
    )
    found = few(model)["moved_lifts"]
    assert found.value > found.limit
