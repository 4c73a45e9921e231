"""`molequi align` as typed."""

from __future__ import annotations

import json
import os

import ase.io
import numpy as np
import pytest

SAMPLES = os.path.join(os.path.dirname(__file__), "..", "..", "data", "samples")


@pytest.fixture
def turned(tmp_path):
    atoms = ase.io.read(f"{SAMPLES}/ethanol.xyz")
    atoms.rotate(50, (1, 2, 3))
    path = tmp_path / "turned.xyz"
    ase.io.write(path, atoms)
    return path


def test_align_prints_and_writes(molequi, tiny_model, turned, tmp_path):
    output = tmp_path / "laid.xyz"
    result = molequi(
        "align",
        f"{SAMPLES}/ethanol.xyz",
        turned,
        "--model",
        tiny_model,
        "--output",
        output,
        "--poses",
        2,
    )
    assert result.code == 0, result.err
    assert "score of A's mirror image" in result.out
    assert "model tiny" in result.out
    assert str(output) in result.err
    laid, target = ase.io.read(output, index=":")
    np.testing.assert_allclose(laid.positions, target.positions, atol=1e-5)


def test_align_gives_one_document(molequi, turned):
    result = molequi("align", f"{SAMPLES}/ethanol.xyz", turned, "--json", "--poses", 1)
    assert result.code == 0, result.err
    record = json.loads(result.out)
    assert record["score"] == pytest.approx(1.0, abs=1e-6)
    assert np.shape(record["rotation"]) == np.shape(record["top"][0]["rotation"]) == (3, 3)
    assert record["a"]["formula"] == "C2H6O"
    assert record["model"] == "organic"


def test_the_same_command_gives_the_same_numbers(molequi, turned):
    first, second = (
        molequi("align", f"{SAMPLES}/aspirin.xyz", turned, "--json").out for _ in range(2)
    )
    assert first == second


def test_bad_input_is_one_line(molequi, turned, tmp_path):
    missing = molequi("align", tmp_path / "no.xyz", turned)
    assert missing.code == 2
    assert missing.err.count("\n") == 1
    assert "no.xyz" in missing.err
    existing = molequi("align", turned, turned, "--output", turned)
    assert existing.code == 2
    assert "--overwrite" in existing.err
    assert molequi("align", turned).code == 2
    twice = molequi("align", "-", "-")
    assert (twice.code, twice.err.count("\n")) == (2, 1)
    assert "both standard input" in twice.err
