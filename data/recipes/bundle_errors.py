"""What the card of a bundled model says of its errors: held-out frames by group, doubt, suites."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from ase.data import atomic_numbers
from teacher_assemble import Arrays, rows_with
from teacher_geometries import SAMPLERS
from teacher_shards import CATEGORIES

from molequi.datasets.in_memory import Frames
from molequi.models.molecular import MolecularModel
from molequi.prediction.energies import ModelEnergies
from molequi.prediction.suite_places import bundled_suites, read_suites
from molequi.prediction.suite_scores import evaluate_suite
from molequi.prediction.suites import KCAL_MOL
from molequi.properties import DEBYE
from molequi.training.evaluation import Evaluation

COMPARED = ("energy", "forces", "charges", "dipole")
ENERGY, FORCE = "energy MAE (kcal/mol)", "force MAE (meV/Å)"
FEWEST, N_WORST = 20, 3  # frames of a group that is called one of the worst; how many are named
Table = dict[str, dict[str, object]]


class Errors(NamedTuple):
    """Sizes of errors of frames (B,) and atoms (A,).

    energy: eV; dipole: length of the difference, D; forces: mean of the components, eV/Å;
    charges: e.
    """

    energy: np.ndarray
    dipole: np.ndarray
    forces: np.ndarray
    charges: np.ndarray


def sizes_of_errors(evaluation: Evaluation) -> Errors:
    """Return the sizes of the errors of `COMPARED`."""
    off = {
        name: (evaluation.predictions[name] - evaluation.frames.targets[name]).numpy()
        for name in COMPARED
    }
    return Errors(
        np.abs(off["energy"]),
        np.linalg.norm(off["dipole"], axis=1) / DEBYE,
        np.abs(off["forces"]).mean(axis=1),
        np.abs(off["charges"]),
    )


def columns(frames: Frames) -> Arrays:
    """Return what `rows_with` groups by; `source` is 'category sampler SMILES'."""
    words = [line.split(" ", 2) for line in frames.source]
    return {
        "n_atoms": frames.n_atoms.numpy(),
        "z": frames.atomic_numbers.numpy(),
        "charge": frames.total_charge.numpy().astype(np.int64),
        "category": np.array([CATEGORIES.index(category) for category, _, _ in words]),
        "sampler": np.array([SAMPLERS.index(sampler) for _, sampler, _ in words]),
    }


def row(errors: Errors, n_atoms: np.ndarray, chosen: np.ndarray, atoms: np.ndarray) -> dict:
    """Return the mean errors of the frames `chosen` (B,) and the atoms `atoms` (A,)."""
    energy = errors.energy[chosen]
    return {
        "frames": int(chosen.sum()),
        ENERGY: _mean(energy / KCAL_MOL, 2),
        "energy MAE (meV/atom)": _mean(1e3 * energy / n_atoms[chosen], 2),
        FORCE: _mean(1e3 * errors.forces[atoms], 1),
        "charge MAE (e)": _mean(errors.charges[atoms], 4),
        "dipole error (D)": _mean(errors.dipole[chosen], 3),
    }


def _mean(values: np.ndarray, digits: int) -> float | None:
    known = values[np.isfinite(values)]
    return round(float(known.mean()), digits) if known.size else None


def tables(evaluation: Evaluation, counts: Mapping[str, Mapping]) -> dict[str, Table]:
    """Return mean errors of all frames, and by element, size, charge, category and sampler.

    counts: `statistics` of the recipe, for the number of frames in training. Energies and dipoles
    of an element are of the frames that hold it, forces and charges of its atoms.
    """
    errors, frames = sizes_of_errors(evaluation), columns(evaluation.frames)
    n_atoms, everything = frames["n_atoms"], np.ones(len(frames["n_atoms"]), dtype=bool)
    found = {"all": {"all": row(errors, n_atoms, everything, everything.repeat(n_atoms))}}
    for title, group in rows_with(frames).items():
        found[title] = {}
        for name, chosen in group.items():
            known = counts[title].get(name)
            trained = {"training frames": known["train"] if known else 0}
            if not chosen.any():
                continue
            atoms = chosen.repeat(n_atoms)
            if title == "element":
                atoms = frames["z"] == atomic_numbers[name]
            found[title][name] = trained | row(errors, n_atoms, chosen, atoms)
    return found


def worst(found: Mapping[str, Table], evaluation: Evaluation) -> list[str]:
    """Say in which groups forces are worst, and which frames have the worst energies."""
    lines = []
    for title, group in found.items():
        many = {name: errors for name, errors in group.items() if errors["frames"] >= FEWEST}
        order = sorted(many, key=lambda name: -many[name][FORCE])
        if len(order) > N_WORST:
            names = ", ".join(f"{name} {many[name][FORCE]:.0f}" for name in order[:N_WORST])
            lines.append(f"largest {FORCE} by {title}, of {FEWEST} frames or more: {names}")
    off = sizes_of_errors(evaluation).energy / KCAL_MOL
    for frame in np.argsort(-off)[:N_WORST]:
        charge = int(evaluation.frames.total_charge[frame])
        source = evaluation.frames.source[frame]
        lines.append(f"energy off by {off[frame]:.1f} kcal/mol, charge {charge:+d}: {source}")
    return lines


def doubt(evaluation: Evaluation) -> Table:
    """Return how far the model's doubt can be trusted: coverage and rank correlation."""
    return {
        name: {
            "errors": judged["count"],
            **{f"within the {share} % radius (%)": _percent(held) for share, held in
               judged["coverage"].items()},
            "rank correlation with the error": _rounded(judged["rank_correlation"]),
        }
        for name, judged in evaluation.result.items()
        if "coverage" in judged
    }  # fmt: skip


def _percent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 1)


def suite_errors(model: MolecularModel, folder: Path | None) -> dict[str, Table]:
    """Return the errors on reference energies: of the suites in a folder, or of the bundled ones.

    Reactions and conformers apart: their errors are of different kinds.
    """
    source, found = ModelEnergies(model), {"reactions": {}, "conformers": {}}
    for suite in read_suites(bundled_suites() if folder is None else [folder]):
        result = evaluate_suite(suite, source)
        name = suite.origin.name
        if result["kind"] == "reactions":
            found["reactions"][name] = _reaction_row(result)
        else:
            found["conformers"][name] = _conformer_row(result)
    return found


def _reaction_row(result: Mapping) -> dict[str, object]:
    worst_case = max(result["reactions"], key=lambda case: abs(case["error"]), default=None)
    return {
        "reactions": result["count"],
        "refused": len(result["refused"]),
        "MAE (kcal/mol)": _rounded(result["mae"]),
        "RMSE": _rounded(result["rmse"]),
        "mean signed": _rounded(result["mean_signed_error"]),
        "worst": worst_case and f"{worst_case['name']} {worst_case['error']:+.1f}",
    }


def _conformer_row(result: Mapping) -> dict[str, object]:
    worst_case = max(result["molecules"], key=lambda case: case["centred_mae"], default=None)
    return {
        "molecules": result["count"],
        "refused": len(result["refused"]),
        "median Spearman": _rounded(result["spearman_median"]),
        "median centred MAE (kcal/mol)": _rounded(result["centred_mae_median"]),
        "worst": worst_case and f"{worst_case['name']} {worst_case['centred_mae']:.2f}",
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(value, 3)


def part(frames: Frames, rows: torch.Tensor, names: Sequence[str] = COMPARED) -> Frames:
    """Return some frames with the targets that are compared."""
    return frames.subset(rows).with_targets(list(names))
