"""Fingerprints and their similarity are RDKit's."""

from __future__ import annotations

import json

import numpy as np
import pytest
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator

from molequi.datasets.fingerprints import (
    N_BITS,
    KnownMolecules,
    fingerprints,
    nearest_similarity,
)
from molequi.errors import UserError

SMILES = ["CCO", "CCN", "c1ccccc1O", "CC(=O)Nc1ccc(O)cc1", "C1CC1", "OCC"]


def test_bits_and_similarities_are_those_of_rdkit() -> None:
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=N_BITS)
    expected = [generator.GetFingerprint(Chem.MolFromSmiles(text)) for text in SMILES]
    found = fingerprints([*SMILES, "C1CC"])
    for row, bits in zip(found, expected, strict=False):
        assert np.flatnonzero(row).tolist() == list(bits.GetOnBits())
    assert not found[-1].any()
    packed = np.packbits(found, axis=1)
    nearest = nearest_similarity(packed, packed[2:5])
    assert nearest[:6] == pytest.approx(
        [max(DataStructs.BulkTanimotoSimilarity(bits, expected[2:5])) for bits in expected]
    )
    assert nearest[-1] == 0.0
    assert nearest[2] == 1.0


def test_known_molecules_tell_how_unlike_another_is() -> None:
    chains = ["C" * n + end for n in range(2, 12) for end in ("O", "N", "")]
    known = KnownMolecules.of(fingerprints(chains))
    again = KnownMolecules.from_json(json.loads(json.dumps(known.to_json())))
    assert np.array_equal(again.packed, known.packed)
    assert again.limit == known.limit
    bits = [
        rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=N_BITS).GetFingerprint(
            Chem.MolFromSmiles(text)
        )
        for text in chains
    ]
    own = [
        max(DataStructs.BulkTanimotoSimilarity(one, bits[:place] + bits[place + 1 :]))
        for place, one in enumerate(bits)
    ]
    assert known.limit == pytest.approx(np.quantile(own, 0.05))
    assert known.similarity("CCCO") == 1.0
    assert known.similarity("C" * 14 + "O") > known.limit
    assert known.similarity("c1ccc2[nH]ccc2c1") < known.limit
    for data in ({}, {"bits": "~", "limit": 0}, {"bits": known.to_json()["bits"], "limit": "x"}):
        with pytest.raises(UserError, match="record of its training molecules"):
            KnownMolecules.from_json(data)
