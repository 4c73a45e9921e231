"""What a model gives to ASE, and the reasons where it gives nothing."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ase import Atoms

from molequi.errors import NotComputableError, UserError
from molequi.graphs.graph import AtomGraph
from molequi.models.freeze import FrozenModel
from molequi.models.outputs import unfounded
from molequi.prediction.records import ASE_NAMES

logger = logging.getLogger(__name__)

_SLAB_STRESS = (
    "for a slab switch pbc on along all axes, with vacuum above the cutoff, and hold the axis of "
    "the vacuum, for c by FrechetCellFilter(atoms, mask=[1, 1, 0, 0, 0, 1])"
)


def refuse_without_forces(model: FrozenModel) -> None:
    """Refuse a model whose energy has no continuous derivative: it cannot move atoms."""
    obstacle = model.capabilities.no_forces_reason
    if "energy" in model.outputs and obstacle is not None:
        raise UserError(
            f"model {model.metadata.name} has no continuous forces: {obstacle}; `molequi "
            "predict` gives its energies"
        )


def ase_properties(model: FrozenModel) -> list[str]:
    """Name what the model gives of what ASE has names for."""
    beside_energy = {"free_energy", "energies"} if "energy" in model.properties else set()
    given = {*model.properties, *beside_energy} - unfounded(model.outputs)
    return [name for name in ASE_NAMES if name in given]


def spread_names(model: FrozenModel) -> list[str]:
    """Name what the model says of its own errors, of which ASE knows nothing."""
    return [name for name, row in model.properties.items() if row.spread_of]


def why_unsafe(model: FrozenModel, graph: AtomGraph, *, unsafe: bool) -> str | None:
    """Return what the model was not made for, None where all is well.

    Without `unsafe` that is an error.
    """
    try:
        model.check_input(graph)
    except UserError as error:
        if not unsafe or isinstance(error, NotComputableError):
            raise
        logger.warning("outside the model: %s", error)
        return str(error)
    return None


def why_not(
    model: FrozenModel, name: str, offered: Sequence[str], atoms: Atoms | None
) -> str | None:
    """Return why a model has no property of that name, here or at all; None where it has.

    offered: `ase_properties` and `spread_names` of the model. atoms: a structure, where one is
    known.
    """
    if name not in offered:
        is_latent = name in model.properties and name in unfounded(model.outputs)
        why = ": none were among its labels, and those inside it are no charges of atoms"
        return f"this model has no {name}{why * is_latent}; it gives {', '.join(offered)}"
    if atoms is None:
        return None
    target = model.properties.get(name)
    if target is None or target.is_defined(atoms.pbc):
        return None
    reason = f"{target.condition}; this structure has pbc {atoms.pbc.tolist()}"
    return f"{reason}; {_SLAB_STRESS}" if name == "stress" and atoms.pbc.any() else reason
