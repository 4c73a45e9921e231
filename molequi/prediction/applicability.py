"""How much a molecule is like those that a model was trained on."""

from __future__ import annotations

import functools
from typing import Any

from ase import Atoms

from molequi.datasets.fingerprints import KnownMolecules
from molequi.models.freeze import FrozenModel

SIMILARITY, UNLIKE = "training_similarity", "unlike_training"


def likeness(model: FrozenModel, atoms: Atoms) -> dict[str, Any]:
    """Return the Tanimoto similarity to the nearest training molecule, and whether that is little.

    Little is what a twentieth of the training molecules have among each other. Empty where the
    model keeps no molecules, or the structure came without bonds.
    """
    kept = model.metadata.training.molecules
    smiles = atoms.info.get("smiles", atoms.info.get("constitution"))
    if not kept or not isinstance(smiles, str):
        return {}
    known = _known(kept["bits"], kept["limit"])
    similarity = known.similarity(smiles)
    return {SIMILARITY: similarity, UNLIKE: similarity < known.limit}


@functools.lru_cache(maxsize=4)
def _known(bits: str, limit: float) -> KnownMolecules:
    return KnownMolecules.from_json({"bits": bits, "limit": limit})
