"""Statistics of the training set against known laws."""

from __future__ import annotations

import math

import pytest
import torch
from labelled import frames_of

from molequi.errors import UserError
from molequi.properties import PROPERTIES, declare
from molequi.training.label_statistics import fit_statistics
from molequi.training.parts import split_parts


def test_given_references_must_be_complete(toy_frames):
    frames = toy_frames(6)
    statistics = fit_statistics(
        frames, PROPERTIES["energy"], given={1: -13.0, 6: -1030.0, 8: -2040.0}
    )
    assert float(statistics.reference.values[8]) == -2040.0
    with pytest.raises(UserError, match=r"\[6\]"):
        fit_statistics(frames, PROPERTIES["energy"], given={1: -13.0, 8: -2040.0})


def test_missing_labels_are_left_out_and_no_label_is_an_error(toy_frames):
    frames = toy_frames(9)
    frames.targets["energy"][3] = math.nan
    assert fit_statistics(frames, PROPERTIES["energy"]).count == 8
    frames.targets["energy"][:] = math.nan
    with pytest.raises(UserError, match="'energy' has no label"):
        fit_statistics(frames, PROPERTIES["energy"])


def test_shifts_and_scales_follow_the_kind_of_property():
    rows = {
        "gap": PROPERTIES["gap"], "volume": declare("volume", unit="Å³", extensive=True),
        "toxic": declare("toxic", unit="1", binary=True),
        "dipole": PROPERTIES["dipole"], "charges": PROPERTIES["charges"],
        "polarizability": PROPERTIES["polarizability"],
    }  # fmt: skip
    molecules = [(1, 8), (1, 1, 8), (6, 1, 1), (6, 8, 1, 1)]
    volume = torch.tensor(
        [sum({1: 2.0, 6: 5.0, 8: 4.0}[z] for z in molecule) for molecule in molecules],
        dtype=torch.float64,
    )
    eye = torch.eye(3, dtype=torch.float64)
    targets = {
        "gap": torch.tensor([1.0, 3.0, math.nan, 5.0]), "volume": volume,
        "toxic": torch.tensor([1.0, 0.0, 1.0, 1.0]),
        "dipole": torch.full((4, 3), 2.0), "charges": torch.tensor([0.5, -0.5] * 6),
        "polarizability": torch.stack([eye * n for n in (2, 3, 3, 4)]),
    }  # fmt: skip
    frames = frames_of(molecules, targets, rows)
    found = {name: fit_statistics(frames, row) for name, row in rows.items()}
    assert found["gap"].shift == 3.0
    assert found["gap"].loss_scales["gap"] == pytest.approx((8 / 3) ** 0.5)
    assert float(found["volume"].reference.values[6]) == pytest.approx(5.0)
    assert found["volume"].shift == 0.0
    assert found["toxic"].shift == pytest.approx(math.log(3.0))
    assert found["toxic"].loss_scales["toxic"] == found["toxic"].scale.item() == 1.0
    assert found["dipole"].shift == 0.0
    assert found["dipole"].loss_scales["dipole"] == 2.0
    assert found["charges"].shift == pytest.approx(0.0)
    assert found["polarizability"].scale.shape == (2,)
    # One for each atom, three times in the trace: nothing is left, and no part is scaled by zero.
    contributions = found["polarizability"].reference.values[[1, 6, 8]]
    assert contributions.tolist() == pytest.approx([3**0.5] * 3)
    assert found["polarizability"].scale.tolist() == [1.0, 1.0]


def test_the_scalar_part_of_a_tensor_has_references_and_the_rest_none():
    row = PROPERTIES["polarizability"]
    generator = torch.Generator().manual_seed(0)
    molecules = [[6] * a + [1] * b for a in range(1, 5) for b in range(2, 9)]
    eye, n = torch.eye(3, dtype=torch.float64), len(molecules)
    noise = 0.3 * torch.randn(n, 3, 3, generator=generator, dtype=torch.float64)
    noise = (noise + noise.mT) / 2
    atoms = torch.tensor([[m.count(6), m.count(1)] for m in molecules], dtype=torch.float64)
    values = (atoms @ torch.tensor([1.5, 0.4], dtype=torch.float64))[:, None, None] * eye + noise
    found = fit_statistics(frames_of(molecules, {row.name: values}, {row.name: row}), row)
    isotropic = found.reference.values[[6, 1]] / 3**0.5
    assert isotropic.tolist() == pytest.approx([1.5, 0.4], abs=0.1)
    parts = split_parts(row, noise)
    for (name, part), scale in zip(parts.items(), found.scale, strict=True):
        counts = atoms.sum(dim=1, keepdim=True)
        assert float(scale) == pytest.approx(float((part**2 / counts).mean().sqrt()), rel=0.15)
        assert found.loss_scales[name] == pytest.approx(
            float(part.square().mean().sqrt()), rel=0.15
        )


def test_a_tensor_that_is_no_sum_has_one_shift_of_its_scalar_part():
    row = declare("screening", irreps="0e+2e", unit="1")
    eye = torch.eye(3, dtype=torch.float64)
    values = torch.stack([eye * size for size in (1.0, 2.0, 6.0)])
    values[1] = math.nan
    found = fit_statistics(frames_of([[1, 1]] * 3, {row.name: values}, {row.name: row}), row)
    assert found.reference is None
    assert found.shift == pytest.approx(3.5 * 3**0.5)
    assert found.scale[0] == pytest.approx(2.5 * 3**0.5)


def test_isolated_atoms_are_references_and_no_spread_of_molecules():
    molecules = [[8, 1, 1]] * 6 + [[6, 1, 1, 1, 1]] * 6
    atoms = {1: -13.6, 6: -1029.0, 8: -2042.0}
    noise = 0.3 * torch.randn(12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    totals = torch.tensor([sum(atoms[z] for z in m) - 3.5 * len(m) for m in molecules]) + noise
    row = {"energy": PROPERTIES["energy"]}
    both = frames_of(
        [*molecules, *([z] for z in atoms)],
        {"energy": torch.cat([totals, torch.tensor(list(atoms.values()), dtype=torch.float64)])},
        row,
    )
    found = fit_statistics(both, PROPERTIES["energy"])
    assert [float(found.reference.values[z]) for z in atoms] == pytest.approx(list(atoms.values()))
    assert found.shift == pytest.approx(-3.5, abs=0.1)
    assert found.count == 15
    beyond = noise / torch.tensor([len(m) for m in molecules])
    assert found.loss_scales["energy"] == pytest.approx(float(beyond.std()), rel=0.1)
    alone = frames_of([[z] for z in atoms], {"energy": both.targets["energy"][12:]}, row)
    assert math.isfinite(fit_statistics(alone, PROPERTIES["energy"]).loss_scales["energy"])


@pytest.mark.parametrize("given", [None, {1: -12.0, 6: -1024.0, 7: -1481.0, 8: -2037.0}])
def test_what_an_exact_fit_leaves_is_no_scale(given):
    """It is rounding of the totals: 1e-14 eV, by which the loss was divided."""
    molecules = [[8, 1, 1], [6] + [1] * 4, [6, 8] + [1] * 4, [7, 1, 1, 1]]
    atoms = {1: -13.6, 6: -1030.0, 7: -1485.0, 8: -2042.0}
    totals = torch.tensor([sum(atoms[z] for z in m) for m in molecules], dtype=torch.float64)
    rows = {"energy": PROPERTIES["energy"], "volume": declare("volume", unit="Å³", extensive=True)}
    binding = torch.tensor([1.83, 0.07, 4.06, 2.61], dtype=torch.float64)
    if given is not None:  # the same for each atom is beyond the references: the shift takes it out
        per_atom = [sum(given[z] - 1.7 for z in m) for m in molecules]
        totals, binding = torch.tensor(per_atom, dtype=torch.float64), torch.zeros(4)
    frames = frames_of(molecules, {name: totals + binding for name in rows}, rows)
    for name, row in rows.items():
        found = fit_statistics(frames, row, given=given)
        assert found.loss_scales == {name: 1.0}
        assert found.scale.tolist() == [1.0]


def test_labels_that_are_all_alike_but_for_rounding_have_no_scale():
    gap = torch.full((3,), 0.1, dtype=torch.float64)
    row = {"gap": PROPERTIES["gap"]}
    found = fit_statistics(frames_of([[1, 1]] * 3, {"gap": gap}, row), row["gap"])
    assert found.loss_scales == {"gap": 1.0}
    assert found.scale.tolist() == [1.0]


def test_small_differences_of_large_totals_are_a_scale():
    """Of a hundred atoms of gold, say, of 500 keV each."""
    noise = torch.randn(8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    totals, row = -5.35e7 + 0.02 * noise, {"energy": PROPERTIES["energy"]}
    found = fit_statistics(frames_of([[79] * 100] * 8, {"energy": totals}, row), row["energy"])
    spread = 0.02 * float(noise.std(correction=0))
    assert found.loss_scales["energy"] == pytest.approx(spread / 100, rel=1e-3)
    assert float(found.scale) == pytest.approx(spread / 10, rel=1e-3)
