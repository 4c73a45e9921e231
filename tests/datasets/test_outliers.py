"""Labels that lie hundreds of spreads from all others."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from ase.build import molecule

from molequi.datasets.conversion import frames_from_atoms
from molequi.datasets.outliers import constants, outliers
from molequi.properties import PROPERTIES, declare

NAMES = ["H2O", "CH4", "CH3OH", "C2H6", "CO2", "CH3CH2OH"] * 5
ATOMS = {1: -13.6, 6: -1029.0, 8: -2042.0}


def frames_with(**targets: torch.Tensor):
    structures = [molecule(name) for name in NAMES]
    return frames_from_atoms(
        structures,
        targets=targets,
        properties={name: PROPERTIES[name] for name in targets},
        source=[f"a.xyz:{i}" for i in range(len(NAMES))],
    )


def energies(rng: np.random.Generator) -> torch.Tensor:
    totals = [sum(ATOMS[z] for z in molecule(name).numbers) for name in NAMES]
    return torch.from_numpy(np.array(totals) + 0.2 * rng.standard_normal(len(NAMES)))


def test_energies_are_compared_per_composition() -> None:
    rng = np.random.default_rng(0)
    totals = energies(rng)
    assert outliers(frames_with(energy=totals)) == []
    totals[7] += 200.0  # a thousand spreads, less than water and ethanol lie apart
    (line,) = outliers(frames_with(energy=totals))
    assert line.startswith("energy: 1 labels lie far outside the others")
    assert "a.xyz:7" in line
    totals[3] = torch.nan
    assert len(outliers(frames_with(energy=totals))) == 1


@pytest.mark.parametrize("name", ["gap", "dipole", "forces"])
def test_other_labels(name: str) -> None:
    rng = np.random.default_rng(0)
    row = PROPERTIES[name]
    frames = frames_with(energy=energies(rng))
    n = int(frames.offsets[-1]) if row.per_atom else len(frames)
    values = torch.from_numpy(rng.standard_normal((n, *row.shape)))
    assert outliers(frames_with(**{name: values})) == []
    place = int(frames.offsets[11]) + 1 if row.per_atom else 11
    values[place] *= 5000.0
    (line,) = outliers(frames_with(**{name: values}))
    assert "a.xyz:11" in line
    assert line.startswith(f"{name}: 1 labels")


@pytest.mark.parametrize("name", ["energy", "forces"])
def test_large_sets_are_looked_at_in_pieces(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row, rng = PROPERTIES[name], np.random.default_rng(1)
    frames = frames_with(energy=energies(rng))
    n = int(frames.offsets[-1])
    values = torch.from_numpy(rng.standard_normal((n, 3))) if row.per_atom else energies(rng)
    place = int(frames.offsets[22]) if row.per_atom else 22
    values[place] *= 5000.0
    whole = outliers(frames_with(**{name: values}))
    monkeypatch.setattr("molequi.datasets.outliers._AT_ONCE", 7)
    assert outliers(frames_with(**{name: values})) == whole
    assert "a.xyz:22" in whole[0]


def test_too_few_or_equal_labels_say_nothing() -> None:
    values = torch.zeros(len(NAMES), dtype=torch.float64)
    values[0] = 1e6
    assert outliers(frames_with(gap=values)) == []


def test_mistakes_among_equal_labels() -> None:
    values = torch.full((len(NAMES),), 0.5, dtype=torch.float64)
    values[4] = 1e12
    (line,) = outliers(frames_with(gap=values))
    assert "gap: 1 labels lie far outside the others, most of which are 0.5 eV: a.xyz:4 (1" in line
    values[:13] = torch.linspace(0.6, 1.8, 13)
    values[4] = 1e5
    (line,) = outliers(frames_with(gap=values))
    assert "whose spread is 1.2 eV: a.xyz:4 (83333 spreads)" in line
    values = torch.from_numpy(np.random.default_rng(0).standard_normal((len(NAMES), 3)))
    values[:20] = 0.0  # dipoles of what has a centre
    values[25] *= 1e6
    assert "a.xyz:25" in outliers(frames_with(dipole=values))[0]


@pytest.mark.parametrize("n_others", [1, 2, 5, 12, 14])
@pytest.mark.parametrize("kind", ["labels", "classes", "counts", "clipped", "clipped below"])
def test_equal_labels_among_others_are_no_mistakes(kind: str, n_others: int) -> None:
    """Yes and no, counts, and an assay that ends at a limit."""
    rng = np.random.default_rng(n_others)
    values = np.full(
        len(NAMES), {"classes": 1.0, "clipped": 10.0, "clipped below": 1e-3}.get(kind, 0)
    )
    others = {
        "labels": np.ones(n_others),
        "classes": np.full(n_others, 2.0),
        "counts": 1.0 + rng.negative_binomial(1, 0.02, n_others),
        "clipped": 10.0 ** rng.uniform(-6, 1, n_others),
        "clipped below": 10.0 ** rng.uniform(-3, 2.5, n_others),
    }[kind]
    values[:n_others] = others
    assert outliers(frames_with(gap=torch.from_numpy(values))) == []


def test_labels_that_are_all_alike() -> None:
    gaps = torch.full((len(NAMES),), 5.0, dtype=torch.float64)
    (line,) = constants(frames_with(gap=gaps))
    assert line.startswith(f"gap: all {len(NAMES)} labels are 5: nothing can be learned")
    gaps[3] = torch.nan
    assert "all 29 labels" in constants(frames_with(gap=gaps))[0]
    gaps[4] = 5.1
    assert constants(frames_with(gap=gaps)) == []
    frames = frames_with(gap=0.0 * gaps)
    assert constants(frames) == []  # said where the file is read
    toxic = declare("toxic", unit="1", binary=True)
    never = dataclasses.replace(
        frames, targets={"toxic": torch.zeros(len(NAMES))}, properties={"toxic": toxic}
    )
    assert "toxic: all 30 labels are 0" in constants(never)[0]
