"""What pseudoscalar (0o) outputs must do beside changing sign in the mirror.

Vanish where a structure is its own mirror image, and differ between enantiomers. The other parts of
a tensor need not vanish on an achiral structure: a vector may lie in a mirror plane.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from molequi.diagnostics.model_runner import Deviation, ModelRunner, ratio
from molequi.models.probes import achiral_probes, built_in_probes
from molequi.models.structure import Structure
from molequi.o3.irreps import Irrep, Irreps

_PSEUDOSCALAR = Irrep.parse("0o")


def achiral(
    runner: ModelRunner, *, total_charge: int = 0, spin_multiplicity: int = 1
) -> Iterator[Deviation]:
    """Measure pseudoscalars of structures with a mirror plane, an inversion centre or an S4 axis.

    Zero, or opposite on atoms that change places.
    """
    if not _pseudoscalars(runner):
        return
    probes = achiral_probes(
        runner.model.elements, total_charge=total_charge, spin_multiplicity=spin_multiplicity
    )
    for structure, matrix in probes:
        image = _images(structure, matrix)
        (outputs,) = runner.observe([structure])
        for name, part in _pseudoscalars(runner):
            value = runner.parts(name, outputs[name])[part][2]
            error = value + value[image] if runner.rows[name].per_atom else value
            scale = runner.scales(structure)[name][part]
            yield Deviation(
                f"achiral.{name}.0o",
                ratio(float(np.abs(error).max(initial=0.0)), scale),
                f"{name} of {structure.name}",
            )


def enantiomer_separation(
    runner: ModelRunner, *, total_charge: int = 0, spin_multiplicity: int = 1
) -> Iterator[Deviation]:
    """Relate the error of the mirror law to the difference between two enantiomers.

    The smaller ratio of two chiral structures counts. The image lists its atoms backwards, so that
    a pseudoscalar of nothing but rounding does not pass: its sign would follow the mirror, too.
    """
    if not _pseudoscalars(runner):
        return
    chiral = built_in_probes(
        runner.model.elements, total_charge=total_charge, spin_multiplicity=spin_multiplicity
    )[:2]
    backwards = [
        structure.mapped(-np.eye(3)).permuted(np.arange(len(structure.positions))[::-1])
        for structure in chiral
    ]
    pairs = list(zip(chiral, runner.observe(chiral), runner.observe(backwards), strict=True))
    for name, part in _pseudoscalars(runner):
        ratios = []
        for structure, first, second in pairs:
            value, other = (
                runner.parts(name, outputs[name])[part][2] for outputs in (first, second)
            )
            other = other[::-1] if runner.rows[name].per_atom else other
            error, difference = (
                float(np.abs(value + sign * other).max(initial=0.0)) for sign in (1.0, -1.0)
            )
            ratios.append(
                (error / difference if difference > 0.0 else float("inf"), structure.name)
            )
        best, where = min(ratios)
        yield Deviation(f"enantiomer_separation.{name}.0o", best, f"{name} of {where}")


def _pseudoscalars(runner: ModelRunner) -> list[tuple[str, int]]:
    """Name the outputs with a 0o part, and the place of that part."""
    rows = {name: Irreps(row.irreps) for name, row in runner.model.properties.items()}
    return [
        (name, irreps.index(_PSEUDOSCALAR))
        for name, irreps in rows.items()
        if _PSEUDOSCALAR in irreps
    ]


def _images(structure: Structure, matrix: np.ndarray) -> np.ndarray:
    """Return the atom that each atom is moved to: (N,)."""
    moved = structure.positions @ matrix.T
    return np.linalg.norm(moved[:, None] - structure.positions[None], axis=2).argmin(axis=1)
