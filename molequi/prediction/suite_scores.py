"""Errors of a model on suites of reference energies, in kcal/mol.

Reactions: mean absolute, root mean square, mean signed and largest error. Conformers: for each
molecule Spearman's rank correlation, and the mean absolute difference of energies that are centred
in the molecule; then medians over the molecules.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from molequi.prediction.energies import EnergySource, Refusal
from molequi.prediction.suites import KCAL_MOL, Conformers, ConformerSuite, ReactionSuite, Suite


def evaluate_suite(suite: Suite, source: EnergySource) -> dict[str, Any]:
    """Return the errors on a suite, what they are made of by name, and what was refused.

    kind, unit, source, licence, count; then for reactions mae, rmse, mean_signed_error, max (None
    where nothing was computed) and `reactions`: {index, name, reference, model, error}; for
    conformers spearman_median, spearman_mean, centred_mae_median, centred_mae_mean and
    `molecules`: {index, name, spearman, centred_mae, reference, model}, energies centred.
    `refused`: {index, name, reason}.
    """
    if isinstance(suite, ReactionSuite):
        found = _evaluate_reactions(suite, source)
    else:
        found = _evaluate_conformers(suite, source)
    kind = "reactions" if isinstance(suite, ReactionSuite) else "conformers"
    _, origin, licence = suite.origin
    return {"kind": kind, "unit": "kcal/mol", "source": origin, "licence": licence, **found}


def _evaluate_reactions(suite: ReactionSuite, source: EnergySource) -> dict[str, Any]:
    energies = dict(zip(suite.used, source.energies(suite.structures), strict=True))
    rows, refused = [], []
    for index, (name, terms, reference) in enumerate(suite.reactions):
        total, reasons = 0.0, []
        for coefficient, system in terms:
            energy = energies[system]
            if isinstance(energy, Refusal):
                reasons.append(_reason(system, name, energy))
            else:
                total += coefficient * energy / KCAL_MOL
        if reasons:
            refused.append({"index": index, "name": name, "reason": reasons[0]})
        else:
            values = {"reference": reference, "model": total, "error": total - reference}
            rows.append({"index": index, "name": name, **values})
    errors = np.array([row["error"] for row in rows])
    return {**_errors(errors), "reactions": rows, "refused": refused}


def _reason(system: str, reaction: str, refusal: Refusal) -> str:
    return refusal.reason if system == reaction else f"{system}: {refusal.reason}"


def _errors(errors: np.ndarray) -> dict[str, float | int | None]:
    if not len(errors):
        return {"count": 0, "mae": None, "rmse": None, "mean_signed_error": None, "max": None}
    return {
        "count": len(errors),
        "mae": float(np.abs(errors).mean()),
        "rmse": float(np.sqrt(np.square(errors).mean())),
        "mean_signed_error": float(errors.mean()),
        "max": float(np.abs(errors).max()),
    }


def _evaluate_conformers(suite: ConformerSuite, source: EnergySource) -> dict[str, Any]:
    computed = iter(source.energies(suite.structures))
    rows, refused = [], []
    for index, molecule in enumerate(suite.molecules):
        energies = [next(computed) for _ in molecule.structures]
        reasons = [energy.reason for energy in energies if isinstance(energy, Refusal)]
        if reasons:
            refused.append({"index": index, "name": molecule.name, "reason": reasons[0]})
        else:
            rows.append({"index": index, "name": molecule.name, **_compare(molecule, energies)})
    return {
        "count": len(rows),
        **_summary("spearman", [row["spearman"] for row in rows]),
        **_summary("centred_mae", [row["centred_mae"] for row in rows]),
        "molecules": rows,
        "refused": refused,
    }


def _compare(molecule: Conformers, energies: Sequence[float | Refusal]) -> dict[str, Any]:
    model = np.array(energies, dtype=np.float64) / KCAL_MOL
    model, reference = (values - values.mean() for values in (model, molecule.kcal_mol))
    return {
        "spearman": spearman(reference, model),
        "centred_mae": float(np.abs(model - reference).mean()),
        "reference": reference,
        "model": model,
    }


def spearman(first: np.ndarray, second: np.ndarray) -> float | None:
    """Return Spearman's rank correlation, equal values sharing their mean rank: (K,) each.

    None where all values on one side are equal, which gives no order.
    """
    a, b = (ranks - ranks.mean() for ranks in (rankdata(first), rankdata(second)))
    scale = np.sqrt(np.square(a).sum() * np.square(b).sum())
    return float((a * b).sum() / scale) if scale > 0 else None


def _summary(name: str, values: Sequence[float | None]) -> dict[str, float | None]:
    known = [value for value in values if value is not None]
    if not known:
        return {f"{name}_median": None, f"{name}_mean": None}
    return {f"{name}_median": float(np.median(known)), f"{name}_mean": float(np.mean(known))}
