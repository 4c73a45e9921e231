"""How well numbers are ranked, and yes told from no: what errors in a unit do not say.

Each is None where it is not defined, such as an area under a curve where all labels are yes.
"""

from __future__ import annotations

import math

import numpy as np

from molequi.properties import Property


def scores(row: Property, prediction: np.ndarray, target: np.ndarray) -> dict[str, float | None]:
    """Return the scores of a scalar property, nothing for vectors and tensors.

    spearman of a number; balanced_accuracy, roc_auc, pr_auc and mcc of a yes/no label.
    prediction: of one shape with `target`, of a yes/no label its probability; NaN targets count
    nothing.
    """
    known = ~np.isnan(target)
    prediction, target = prediction[known], target[known]
    if row.binary:
        return yes_no_scores(prediction, target > 0.5)
    return {} if row.shape else {"spearman": spearman(prediction, target)}


def yes_no_scores(probability: np.ndarray, is_yes: np.ndarray) -> dict[str, float | None]:
    """Return the scores of probabilities (N,) of labels (N,), bool; yes is told from 1/2 on.

    balanced_accuracy: mean of the fractions found of yes and of no. roc_auc, pr_auc: see the
    functions. mcc: Matthews' correlation, 0 where all is told alike (B. W. Matthews, Biochim.
    Biophys. Acta 405 (1975) 442).
    """
    names = ("balanced_accuracy", "roc_auc", "pr_auc", "mcc")
    n_yes, n_no = int(is_yes.sum()), int((~is_yes).sum())
    if not n_yes or not n_no:
        return dict.fromkeys(names)
    told = probability >= 0.5
    right_yes, right_no = int((told & is_yes).sum()), int((~told & ~is_yes).sum())
    wrong_yes, wrong_no = n_no - right_no, n_yes - right_yes
    products = (right_yes + wrong_yes, right_no + wrong_no, n_yes, n_no)
    size = math.sqrt(math.prod(products))
    mcc = (right_yes * right_no - wrong_yes * wrong_no) / size if size else 0.0
    values = (
        (right_yes / n_yes + right_no / n_no) / 2,
        roc_auc(probability, is_yes),
        average_precision(probability, is_yes),
        mcc,
    )
    return dict(zip(names, values, strict=True))


def roc_auc(score: np.ndarray, is_yes: np.ndarray) -> float:
    """Return the chance that a yes has a higher score than a no, ties counting half.

    It is the area under the receiver operating characteristic (J. A. Hanley and B. J. McNeil,
    Radiology 143 (1982) 29). Both labels must occur.
    """
    n_yes, n_no = is_yes.sum(), (~is_yes).sum()
    beaten = ranks(score)[is_yes].sum() - n_yes * (n_yes + 1) / 2
    return float(beaten / (n_yes * n_no))


def average_precision(score: np.ndarray, is_yes: np.ndarray) -> float:
    """Return the area under precision over recall, as a sum of steps.

    The precision at each distinct score, weighted with the recall gained there: nothing is
    interpolated between. A yes must occur.
    """
    levels, place = np.unique(-score, return_inverse=True)
    gained = np.bincount(place, weights=is_yes, minlength=len(levels))
    taken = np.bincount(place, minlength=len(levels)).cumsum()
    precision = gained.cumsum() / taken
    return float((precision * gained).sum() / is_yes.sum())


def spearman(prediction: np.ndarray, target: np.ndarray) -> float | None:
    """Return the correlation of the ranks (C. Spearman, Am. J. Psychol. 15 (1904) 72)."""
    if len(target) < 2 or not np.isfinite(prediction).all():
        return None
    mine, theirs = ranks(prediction), ranks(target)
    mine, theirs = mine - mine.mean(), theirs - theirs.mean()
    size = math.sqrt(float(mine @ mine) * float(theirs @ theirs))
    return float(mine @ theirs) / size if size else None


def ranks(values: np.ndarray) -> np.ndarray:
    """Return the ranks from 1, ascending; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum() - (counts - 1) / 2)[place]
