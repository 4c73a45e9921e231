"""Fingerprints of molecules: which neighbourhoods of atoms they have, in a row of bits."""

from __future__ import annotations

import base64
import dataclasses
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdFingerprintGenerator

from molequi.runtime.gate import reading

N_BITS = 2048
_RADIUS = 2
_COUNTS = np.array([number.bit_count() for number in range(256)], dtype=np.uint8)
# As many are kept of a training set, and so many of them compared with all: seconds and megabytes.
_MOST, _SAMPLE = 20_000, 500
_SHARE = 0.05


def fingerprints(smiles: Sequence[str]) -> np.ndarray:
    """Return the Morgan fingerprints of radius 2 of SMILES: (B, 2048), uint8 of 0 and 1.

    D. Rogers and M. Hahn, J. Chem. Inf. Model. 50 (2010) 742. What cannot be read has no bit.
    """
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=_RADIUS, fpSize=N_BITS)
    bits = np.zeros((len(smiles), N_BITS), dtype=np.uint8)
    with rdBase.BlockLogs():
        for row, text in zip(bits, smiles, strict=True):
            molecule = Chem.MolFromSmiles(text)
            if molecule is not None:
                row[:] = generator.GetFingerprintAsNumPy(molecule)
    return bits


def nearest_similarity(
    queries: np.ndarray, known: np.ndarray, *, is_among_them: bool = False
) -> np.ndarray:
    """Return the Tanimoto similarity of each fingerprint (Q, .) to the nearest known one: (Q,).

    The bits that two have in common over those that either has; 0 for a molecule without bits.
    Both are packed (`numpy.packbits` of rows).
    is_among_them: the queries are the first of the known, and each is compared with the others.
    """
    sizes = _COUNTS[known].sum(axis=1, dtype=np.int64)
    nearest = np.zeros(len(queries))
    for index, query in enumerate(queries):
        common = _COUNTS[known & query].sum(axis=1, dtype=np.int64)
        either = sizes + _COUNTS[query].sum(dtype=np.int64) - common
        similar = common / np.maximum(either, 1)
        if is_among_them:
            similar[index] = 0.0
        nearest[index] = similar.max(initial=0.0)
    return nearest


@dataclasses.dataclass(frozen=True)
class KnownMolecules:
    """What a model has seen, for `similarity` to tell how unlike it another molecule is.

    packed: fingerprints of the training set, (K, bits / 8). limit: below it a molecule is less
    similar to the nearest of them than all but a twentieth of them are to their own nearest.
    """

    packed: np.ndarray
    limit: float

    @classmethod
    def of(cls, bits: np.ndarray) -> KnownMolecules:
        """Describe a training set of fingerprints (B, bits), a very large one by a part of it."""
        packed = np.packbits(bits[np.random.default_rng(0).permutation(len(bits))[:_MOST]], axis=1)
        own = nearest_similarity(packed[:_SAMPLE], packed, is_among_them=True)
        return cls(packed, float(np.quantile(own, _SHARE)) if len(own) else 0.0)

    def similarity(self, smiles: str) -> float:
        """Return the Tanimoto similarity of a molecule to the nearest of the training set."""
        query = np.packbits(fingerprints([smiles]), axis=1)
        return float(nearest_similarity(query, self.packed)[0])

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data, from which `from_json` makes the same."""
        text = base64.b85encode(zlib.compress(self.packed.tobytes(), 9)).decode("ascii")
        return {"bits": text, "limit": self.limit}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> KnownMolecules:
        """Read what `to_json` gave. Raises UserError for what is no such data."""
        with reading("the model's record of its training molecules", "fingerprints"):
            unpacked = zlib.decompressobj().decompress(
                base64.b85decode(data["bits"]), _MOST * N_BITS // 8
            )
            packed = np.frombuffer(unpacked, dtype=np.uint8).reshape(-1, N_BITS // 8)
            return cls(packed, float(data["limit"]))
