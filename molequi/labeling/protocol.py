"""A process that labels molecules: one JSON line in, one JSON line out.

The first line holds the level, the properties and the elements, and is answered by {"program":
text} or {"refused": text}; each further line is a molecule, answered by {"values": {...}} or
{"error": text}. Arrays are nested lists; numbers survive to the last bit.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import IO

import numpy as np

from molequi.errors import UserError
from molequi.labeling.backend import LabelBackend
from molequi.labeling.levels import LabelError, Level, Molecule


def serve(backend: LabelBackend) -> None:
    """Answer on standard output until standard input ends.

    What a program prints goes to standard error, where it disturbs nothing.
    """
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        converse(sys.stdin, answers, backend)


def converse(questions: IO[str], answers: IO[str], backend: LabelBackend) -> None:
    """Answer one line with one line."""
    task = json.loads(questions.readline() or "null")
    if task is None:
        return
    level, properties = Level(*task["level"]), task["properties"]
    try:
        _write(answers, {"program": backend.check(level, task["elements"])})
    except UserError as error:
        _write(answers, {"refused": str(error)})
        return
    for line in questions:
        _write(answers, _answer(backend, level, properties, json.loads(line)))


def _answer(
    backend: LabelBackend, level: Level, properties: Sequence[str], question: dict
) -> dict[str, object]:
    molecule = Molecule(
        np.array(question["numbers"]),
        np.array(question["positions"]),
        question["charge"],
        question["multiplicity"],
    )
    try:
        values = backend.compute(level, properties, molecule)
    except LabelError as error:
        return {"error": str(error)}
    except Exception as error:  # noqa: BLE001  # one molecule must not stop the others
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}
    bad = [name for name, value in values.items() if not np.isfinite(value).all()]
    if bad:
        return {"error": f"{', '.join(bad)} not finite"}
    return {"values": {name: np.asarray(values[name]).tolist() for name in properties}}


def _write(answers: IO[str], answer: dict[str, object]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
