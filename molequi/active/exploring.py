"""Dynamics of a round: copies of every structure move until the end, or the doubt is too high."""

from __future__ import annotations

import collections
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms

from molequi.active.folder import read_frames
from molequi.active.geometry import unreasonable
from molequi.active.picking import Pool
from molequi.active.settings import ActiveSettings
from molequi.errors import UserError
from molequi.models.molecular import MolecularModel
from molequi.prediction.predict import predict
from molequi.simulation.calculator import Calculator
from molequi.simulation.md import run_many
from molequi.structures.structure import Structure

logger = logging.getLogger(__name__)

# What the largest doubt of labelled structures stays below in nine of ten, times this, or the doubt
# that is worth a label, times this, ends a trajectory: beyond it the model leads nowhere.
_TOO_MUCH = 3.0
_USUAL = 0.9
DOUBT = "forces_std"


class Explored(NamedTuple):
    """What dynamics gave: frames to choose from, and why a guard ended trajectories, if it did."""

    pool: Pool
    stopped: list[str]

    @property
    def told(self) -> str:
        """How many trajectories ended before their time, and why."""
        others = [reason for reason in self.stopped if "the model doubts" not in reason]
        by_doubt = len(self.stopped) - len(others)
        said = [f"{by_doubt} where the doubt was too high"] if by_doubt else []
        if others:
            said.append(f"{len(others)} that left physics ({others[0].partition(': ')[2]})")
        return " and ".join(said)


def require_doubt(model: MolecularModel) -> None:
    """Raise UserError for a model that does not know its errors."""
    if DOUBT not in model.properties:
        raise UserError(
            f"model {model.metadata.name} gives no {DOUBT}, by which frames are chosen; train with "
            "forces_std among data.targets, or an ensemble"
        )


def doubt_limit(
    model: MolecularModel, labelled: Sequence[Atoms], settings: ActiveSettings
) -> float | None:
    """Return the doubt that ends a trajectory, eV/Å; None for a model of other labels."""
    if not labelled:
        return None
    doubts = [record["max_forces_std"] for record in predict(labelled, model)]
    return _TOO_MUCH * max(settings.doubt, float(np.quantile(doubts, _USUAL)))


def explore(
    structures: Sequence[Structure],
    calculator: Calculator,
    settings: ActiveSettings,
    number: int,
    path: Path,
    limit: float | None,
) -> Explored:
    """Run the dynamics of round `number`, or the rest of them, and read what they gave.

    path: of the trajectories. limit: of the doubt, eV/Å. Frames with a geometry that no label is
    worth are left out, and the log says why.
    """
    copies = [structure for structure in structures for _ in range(settings.copies)]
    dynamics = dataclasses.replace(
        settings.dynamics,
        seed=settings.dynamics.seed + (number - 1) * len(copies),
        max_doubt=limit,
    )
    is_begun = path.is_file() and path.with_name(f"{path.name}.restart").is_file()
    results = run_many(
        copies, calculator, dynamics, output=path, restart=is_begun, overwrite=not is_begun
    )
    for result in results:
        if "error" in result:
            raise UserError(f"{result['source']}, structure {result['index']}: {result['error']}")
    frames = _sound(_read(path), copies)
    spreads = [frame.arrays[f"molequi_{DOUBT}"] for frame in frames]
    doubts = np.array([spread.max() for spread in spreads])
    means = np.array([np.sqrt(np.square(spread).mean()) for spread in spreads])
    reasons = [result["stopped"] for result in results]
    return Explored(Pool(frames, doubts, means), [reason for reason in reasons if reason])


def _read(path: Path) -> list[Atoms]:
    """Return the frames of all copies, one copy after the other."""
    frames = read_frames(path)
    return sorted(frames, key=lambda atoms: (copy_of(atoms), atoms.info["molequi_step"]))


def copy_of(frame: Atoms) -> int:
    """Return the number of the copy that a frame is of; a single one has none in its file."""
    return int(frame.info.get("molequi_index", 0))


def _sound(frames: Sequence[Atoms], copies: Sequence[Structure]) -> list[Atoms]:
    """Leave out what has no reasonable geometry, and say so."""
    reasons = [unreasonable(frame, copies[copy_of(frame)].require_atoms()) for frame in frames]
    said = collections.Counter(reason.partition("(")[0].strip() for reason in reasons if reason)
    if said:
        worst, count = said.most_common(1)[0]
        logger.warning(
            "%d of %d frames have no reasonable geometry and are not labelled (%s: %d)",
            said.total(), len(frames), worst, count,
        )  # fmt: skip
    return [frame for frame, reason in zip(frames, reasons, strict=True) if reason is None]


def place_of(frame: Atoms, number: int) -> str:
    """Name a frame of round `number`."""
    return f"round {number}, copy {copy_of(frame)}, step {frame.info['molequi_step']}"


def summary(explored: Explored, threshold: float) -> Mapping[str, Any]:
    """Return the doubts of the frames of a round as columns of its row."""
    doubts = explored.pool.doubts
    quantiles = np.quantile(doubts, (0.5, 0.9, 0.99)) if len(doubts) else [None] * 3
    return {
        "frames": len(doubts),
        "stopped": len(explored.stopped),
        **{f"doubt_{q}_eV_A": v for q, v in zip((50, 90, 99), quantiles, strict=True)},
        "doubted": float((doubts > threshold).mean()) if len(doubts) else None,
    }


def errors(picked: Sequence[Atoms], labelled: Sequence[Atoms]) -> dict[str, float | None]:
    """Compare the forces of the model of a round with labels that it has not been trained on.

    within: the share of atoms whose force is wrong by less than its spread says, 0.68 at best.
    picked: with forces and spreads of the model, and the names of the labelled ones.
    """
    names = {frame.info["name"]: frame for frame in picked}
    pairs = [(names[atoms.info["name"]], atoms) for atoms in labelled]
    if not pairs:
        return dict.fromkeys(("forces_mae_eV_A", "forces_rmse_eV_A", "within"))
    wrong = np.concatenate([frame.get_forces() - atoms.get_forces() for frame, atoms in pairs])
    spreads = np.concatenate([frame.arrays[f"molequi_{DOUBT}"] for frame, _ in pairs])
    return {
        "forces_mae_eV_A": float(np.abs(wrong).mean()),
        "forces_rmse_eV_A": float(np.sqrt(np.square(wrong).mean())),
        "within": float((np.linalg.norm(wrong, axis=1) <= spreads).mean()),
    }
