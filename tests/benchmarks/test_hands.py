"""The baselines of the chirality benchmark are what they are called.

Odd, invariant, or without any law in the mirror.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hands import ridge
from hands.twin import mirrored, relabelled, without_parity

from molequi.datasets.in_memory import Frames
from molequi.datasets.making import make_frames
from molequi.models.making import make_model
from molequi.models.probes import built_in_probes
from molequi.models.structure import random_rotation
from molequi.properties import PROPERTIES

ORGANIC = (1, 6, 7, 8)


def frames_of(matrix: np.ndarray, n_copies: int = 2) -> Frames:
    """Chiral structures turned by a matrix, each shaken a little, with random tensors."""
    rng = np.random.default_rng(0)
    structures = built_in_probes(ORGANIC)[:2] * n_copies
    positions = np.concatenate(
        [
            (s.positions + 0.05 * rng.standard_normal(s.positions.shape)) @ matrix.T
            for s in structures
        ]
    )
    tensor = torch.randn(
        len(structures), 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    targets = {"rosenfeld": tensor, "rosenfeld_isotropic": torch.einsum("bii->b", tensor) / 3}
    return make_frames(
        torch.as_tensor(positions),
        torch.as_tensor(np.concatenate([s.atomic_numbers for s in structures])),
        torch.tensor([len(s.positions) for s in structures]),
        targets=targets,
        properties={name: PROPERTIES[name] for name in targets},
    )


def test_the_kernel_flips_with_one_hand_and_is_a_scalar_product() -> None:
    rotation = random_rotation(np.random.default_rng(1))
    plain, turned, image = (
        ridge.describe(frames_of(matrix), ORGANIC) for matrix in (np.eye(3), rotation, -rotation)
    )
    np.testing.assert_allclose(turned.even, plain.even, atol=1e-10)
    np.testing.assert_allclose(image.even, plain.even, atol=1e-10)
    np.testing.assert_allclose(image.odd, -plain.odd, atol=1e-10)
    assert np.abs(plain.odd).max() > 1e-2
    sets = ridge.normalize({"train": plain, "image": image})
    same, other = (
        ridge.kernels(sets["train"], sets[name], [0.5])[0] for name in ("train", "image")
    )
    np.testing.assert_allclose(other, -same, atol=1e-9)
    np.testing.assert_allclose(same, same.T, atol=1e-9)
    assert np.linalg.eigvalsh(same).min() > -1e-9 * np.trace(same)


def test_the_ridge_fits_what_it_is_given() -> None:
    frames = frames_of(np.eye(3), n_copies=6)
    values, choice = ridge.fit_predict(
        {"train": frames, "valid": frames, "again": frames, "image": mirrored(frames)}
    )
    assert choice.valid_r2 > 0.99
    np.testing.assert_allclose(values["image"], -values["again"], atol=1e-4)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_twin_turns_with_the_molecule_and_has_no_law_in_the_mirror(sign: float) -> None:
    frames = relabelled(frames_of(np.eye(3)).with_targets(["rosenfeld"]))
    assert frames.properties["rosenfeld"].irreps == "0e+1e+2e"
    with without_parity():
        model = make_model(
            ORGANIC, [frames.properties["rosenfeld"]], parity="natural", n_layers=3, n_channels=4
        ).to(torch.float64)
    rotation = random_rotation(np.random.default_rng(2))
    matrix = torch.as_tensor(sign * rotation)
    moved = dataclasses.replace(frames, positions=frames.positions @ matrix.T)
    graphs = [part.batch(torch.arange(len(part)), model.cutoff)[0] for part in (frames, moved)]
    before, after = (model.compute(graph)["rosenfeld"] for graph in graphs)
    expected = matrix @ before @ matrix.T
    error = float((after - expected).abs().max() / before.abs().max())
    flipped = float((after + expected).abs().max() / before.abs().max())
    if sign > 0:
        assert error < 1e-10
    else:
        assert min(error, flipped) > 1e-2
