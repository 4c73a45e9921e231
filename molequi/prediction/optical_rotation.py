"""What stands beside an optical rotation.

Its sign where it has one, how exactly it is mirrored, and the CIP labels of the geometry.

A pseudoscalar of an achiral geometry is zero only to rounding, and the sign of rounding says
nothing. So the mirror image is computed too: a value v with v' on the mirror image has a sign only
where |v| is above |v + v'| and above 1e-5 of its spread in training.

A geometry may have a hand that its substance has not: where its mirror image is a conformer, both
are there. And a SMILES may leave open which hand it means. Neither has a sign; a note says why.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from ase import Atoms
from rdkit import Chem

from molequi.graphs.graph import AtomGraph
from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.nn.heads.optical import ROTATION_PER_BOHR4
from molequi.prediction.records import Values, split_outputs
from molequi.properties import part_names
from molequi.structures.cip import label_molecule
from molequi.structures.molecules import is_from_smiles, is_made
from molequi.structures.open_stereo import chosen_for_good
from molequi.structures.perception import GeometryLabels, labels_from_geometry

ROTATION = "specific_rotation"
# What a record holds beside the values.
MARKS = ("rotation_sign", "rotation_note", "mirror_error")
_LEVELS = ("rosenfeld", "rosenfeld_isotropic", ROTATION)
_ROUNDING = 1e-5


def gives_rotation(model: FrozenModel) -> bool:
    """Whether the model gives an optical rotation."""
    return ROTATION in model.properties


def mirrored_values(model: FrozenModel, graph: AtomGraph) -> list[Values]:
    """Compute the mirror images of a batch; see `records.split_outputs`.

    The plane is oblique: x -> -x would change signs alone, so that rounding would be mirrored too
    and the error be zero by accident.
    """
    normal = torch.tensor(
        [1.0, 2.0, 3.0], dtype=graph.positions.dtype, device=graph.positions.device
    ) / math.sqrt(14.0)
    plane = torch.eye(3, dtype=normal.dtype, device=normal.device) - 2.0 * torch.outer(
        normal, normal
    )
    image = graph._replace(positions=graph.positions @ plane, cell=graph.cell @ plane)
    with torch.no_grad():
        return split_outputs(model, image, model.compute(image, forces=False))


def rotation_notes(
    model: FrozenModel, atoms: Atoms, values: Values, image: Values, *, charge: int
) -> dict[str, Any]:
    """Return what a record holds beside a specific rotation.

    rotation_sign: `+`, `-` or None. rotation_note: why the substance has no sign although the
    geometry has one, or None. mirror_error: deg/[dm (g/cm³)]. cip: atom (0-based) -> R, S, r or s,
    read off the geometry, not predicted; cip_note: why there are none.
    """
    labels = labels_from_geometry(atoms, charge=charge)
    cip: dict[str, Any] = {
        "cip": {str(number): label for number, label in labels.centres.items()}
        if labels.labels is not None
        else None
    }
    if labels.labels is None:
        cip["cip_note"] = labels.status
    if ROTATION not in values:
        return {**dict.fromkeys(MARKS), **cip}
    rotation = float(values[ROTATION])
    error = abs(rotation + float(image[ROTATION]))
    sign = sign_of(rotation, error, smallest_rotation(model, atoms))
    note = None if sign is None else _why_no_sign(atoms, labels)
    return {
        "rotation_sign": sign if note is None else None,
        "rotation_note": note,
        "mirror_error": error,
        **cip,
    }


def _why_no_sign(atoms: Atoms, labels: GeometryLabels) -> str | None:
    """Say why a substance has no sign of which a geometry has one; None where it has."""
    if labels.is_conformer_of_image:
        return "none, for the mirror image is a conformer too: the two rotate in opposite senses"
    if labels.is_conformer_of_image is None and labels.labels is not None:
        return "none, for too many atoms are alike to tell whether the mirror image is a conformer"
    chosen = chosen_for_good(atoms, labels.held_nitrogens)
    if chosen:
        return f"none, for the input leaves configurations open (here {chosen})"
    if labels.labels is None:
        return None
    is_marked = labels.labels.kind == "chiral" or _is_marked_chiral(atoms)
    if is_made(atoms) and (labels.has_allene or not is_marked):
        return (
            "none, for no SMILES keeps the hand of an allene, an axis, a spiro centre or a cage, "
            "nor does a flat drawing: either was made"
        )
    return None


def _is_marked_chiral(atoms: Atoms) -> bool:
    """Whether the marks of a SMILES make it chiral: those of nitrogen do, which no geometry has."""
    molecule = Chem.MolFromSmiles(str(atoms.info["smiles"])) if is_from_smiles(atoms) else None
    return molecule is not None and label_molecule(molecule).kind == "chiral"


def sign_of(value: float, error: float, smallest: float) -> str | None:
    """Return `+` or `-`; None within the mirror error, or below the smallest that counts."""
    if not math.isfinite(value) or abs(value) <= max(error, smallest):
        return None
    return "+" if value > 0 else "-"


def smallest_rotation(model: MolecularModel | FrozenModel, atoms: Atoms) -> float:
    """Return the specific rotation of a molecule at 1e-5 of the spread in training."""
    factor = 1.0 if _learned(model) == ROTATION else rotation_factor(atoms)
    return _ROUNDING * factor * training_spread(model)


def rotation_factor(atoms: Atoms) -> float:
    """Return the specific rotation for each bohr⁴ of rosenfeld_isotropic.

    A structure without atoms has none.
    """
    return ROTATION_PER_BOHR4 / float(atoms.get_masses().sum()) if len(atoms) else 0.0


def training_spread(model: MolecularModel | FrozenModel) -> float:
    """Return the spread of the odd scalar in the training set.

    In the unit of what was trained; of rosenfeld_isotropic for the tensor too. Models keep it as
    `metadata.training.spread`; one without has the scale of its head, which is of that order.
    """
    name = _learned(model)
    part = part_names(model.properties[name])[0]
    spread = model.metadata.training.spread.get(part, model.output_scale(name)[0])
    # In the orthonormal basis of a tensor's parts the identity has length sqrt(3).
    return spread / math.sqrt(3.0) if part != name else spread


def _learned(model: MolecularModel | FrozenModel) -> str:
    """Name the property of which the rotation is a part or a consequence."""
    return next(name for name in _LEVELS if name in model.outputs)


def rotation_level(model: MolecularModel | FrozenModel, conformers: str = "this conformer") -> str:
    """Say in one line what the rotations of a model stand for.

    Its own level of theory, the geometry, and that it is no experiment.
    """
    level = model.metadata.level_of(*_LEVELS) or ""
    # The trace does not depend on the origin, so that the rotation has none.
    level = ", ".join(part for part in level.split(", ") if part and not part.startswith("origin"))
    text = f"{level or 'level not stated'}, {conformers}"
    return text if "experiment" in level else f"{text}; not experiment"
