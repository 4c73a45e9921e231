"""Rows of the report about parity.

Pseudoscalars on achiral structures, and the distance between two enantiomers.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from molequi.diagnostics.check import check_model
from molequi.graphs.graph import AtomGraph
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.properties import declare

ORGANIC = (1, 6, 7, 8)
PSEUDOSCALAR = declare("pseudoscalar", irreps="0o", unit="1", extensive=True)
PER_ATOM = declare("sign", irreps="0o", unit="1", per_atom=True, binary=True)
ROWS = ("rosenfeld", PSEUDOSCALAR, PER_ATOM)
OUTPUTS = ("rosenfeld", "rosenfeld_isotropic", "specific_rotation", "pseudoscalar", "sign")
DTYPES = (torch.float64, torch.float32)


def make(dtype: torch.dtype) -> MolecularModel:
    return make_model(ORGANIC, ROWS, parity="full", n_layers=3, n_channels=4, seed=1).to(dtype)


def change(
    model: MolecularModel,
    edit: Callable[[AtomGraph, dict[str, torch.Tensor]], dict[str, torch.Tensor]],
) -> None:
    compute = model.compute
    model.compute = lambda graph, **options: {
        **(outputs := compute(graph, **options)),
        **edit(graph, outputs),
    }


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_pseudoscalar_has_its_rows_and_healthy_ones_pass(dtype: torch.dtype, failed) -> None:
    measurements = check_model(make(dtype))
    for test in ("achiral", "enantiomer_separation", "inversion"):
        for name in OUTPUTS:
            assert f"{test}.{name}.0o" in measurements
    assert {"inversion.rosenfeld.1o", "inversion.rosenfeld.2o"} <= set(measurements)
    assert not {"achiral.rosenfeld.1o", "achiral.rosenfeld.2o"} & set(measurements)
    assert failed(measurements) == set()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_part_that_is_the_same_for_both_enantiomers_is_found(dtype: torch.dtype, failed) -> None:
    """A thousandth of an even number in a pseudoscalar."""
    model = make(dtype)
    change(
        model,
        lambda graph, outputs: {
            "pseudoscalar": outputs["pseudoscalar"]
            + 1e-3 * torch.bincount(graph.batch, minlength=graph.n_molecules)
        },
    )
    assert {
        "inversion.pseudoscalar.0o",
        "achiral.pseudoscalar.0o",
        "enantiomer_separation.pseudoscalar.0o",
    } <= failed(check_model(model))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_law_that_holds_for_chiral_structures_alone_is_found(dtype: torch.dtype, failed) -> None:
    """A pseudoscalar made of its sign.

    It flips in the mirror, but rounding decides where it should vanish.
    """
    model = make(dtype)

    def signs(graph: AtomGraph, outputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        noise = (
            1e-3
            * graph.positions.new_zeros(graph.n_molecules)
            .index_add(0, graph.batch, graph.positions.prod(dim=1))
            .sign()
        )
        return {
            "pseudoscalar": torch.where(
                outputs["pseudoscalar"].abs() < 1e-5, noise, outputs["pseudoscalar"]
            )
        }

    change(model, signs)
    assert failed(check_model(model)) & {"achiral.pseudoscalar.0o"}


@pytest.mark.parametrize(
    "edit",
    [
        lambda value: 0.0 * value,
        lambda value: 1e-18 * torch.arange(1.0, 1.0 + value.numel()).reshape(value.shape),
    ],
)
def test_an_output_that_does_not_tell_enantiomers_apart_is_found(
    edit: Callable[[torch.Tensor], torch.Tensor], failed
) -> None:
    """Zero flips in the mirror as the law asks, and tells nothing.

    Rounding that follows the order of the atoms does neither.
    """
    model = make(torch.float64)
    change(model, lambda graph, outputs: {"sign": edit(outputs["sign"])})
    assert "enantiomer_separation.sign.0o" in failed(check_model(model))


def test_models_without_pseudoscalars_have_no_such_rows() -> None:
    names = set(check_model(make_model(ORGANIC, ["dipole"], n_channels=4)))
    assert not {name for name in names if name.startswith(("achiral", "enantiomer_separation"))}
