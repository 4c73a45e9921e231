"""The tests of the physics report: what each measures, and how large it may be."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch

from molequi.diagnostics.model_runner import Deviation


class Limit(NamedTuple):
    """How large a measurement may be in float64 and in float32, and what is measured."""

    double: float
    single: float
    description: str

    def of(self, dtype: torch.dtype) -> float:
        """Return the limit for a number type; half precisions have that of float32."""
        return self.double if dtype == torch.float64 else self.single


def _exact(description: str) -> Limit:
    """A law that holds to rounding."""
    return Limit(1e-9, 1e-4, description)


def _integrated(description: str) -> Limit:
    """A law that is measured by numeric integration."""
    return Limit(1e-4, 1e-4, description)


def _jump(description: str) -> Limit:
    """A value on one side minus that on the other, both extrapolated."""
    return Limit(5e-6, 2e-5, f"jump of the {description}")


def _count(description: str) -> Limit:
    """A number of cases, of which there must be none."""
    return Limit(0.0, 0.0, description)


_LEAVES = "where an atom leaves the cutoff"
_LEAVES_NEAR = "where an atom leaves the cutoff of angles and dihedrals"
_PARTS = "where two copies of a structure part, or a cell grows"

# Faults of 1e-3 of the scale lie above every limit (the slopes' excepted: they are there for
# cutoffs that bend the force), healthy models well below.
LIMITS: Mapping[str, Limit] = MappingProxyType(
    {
        "rotation": _exact("output of rotated structure - rotated output"),
        "inversion": _exact("output of the mirror image (x -> -x) - parity x output"),
        "achiral": _exact("pseudoscalars of structures that are their own mirror image"),
        "enantiomer_separation": _exact(
            "error of the mirror law, per difference between two enantiomers"
        ),
        "translation": _exact("change of the outputs when the structure moves by 50 Å"),
        "permutation": _exact("change of the outputs when the atoms are listed in another order"),
        "batch": _exact("outputs in a batch - outputs one by one"),
        "wrapping": _exact("change of the outputs when atoms move to another image of themselves"),
        "supercell": _exact("outputs of two cells side by side - those of one cell, per cell"),
        "size_consistency": _exact(
            "extensive and per-atom outputs of two far fragments - those of each alone"
        ),
        "determinism": _exact("change of the outputs in a second call"),
        "fused_kernels": _exact("outputs with fused convolutions - those with plain torch"),
        "force_consistency": _integrated(
            "energy difference along a path + work of the forces, per root mean square force x "
            "length"
        ),
        "closed_loop_work": _integrated(
            "work of the forces around a loop, per root mean square force x length"
        ),
        "stress_consistency": _integrated(
            "energy difference along a deformation - work of the stress, per root mean square "
            "stress x volume x strain"
        ),
        "energy_at_cutoff": _jump(f"energy {_LEAVES}"),
        "force_at_cutoff": _jump(f"forces {_LEAVES}"),
        "slope_at_cutoff": Limit(2e-3, 2e-3, f"jump of the forces' slope (per Å) {_LEAVES}"),
        "outputs_at_cutoff": _jump(f"other outputs {_LEAVES}"),
        "energy_at_near_cutoff": _jump(f"energy {_LEAVES_NEAR}"),
        "force_at_near_cutoff": _jump(f"forces {_LEAVES_NEAR}"),
        "slope_at_near_cutoff": Limit(
            1e-2, 1e-2, f"jump of the forces' slope (per Å) {_LEAVES_NEAR}"
        ),
        "outputs_at_near_cutoff": _jump(f"other outputs {_LEAVES_NEAR}"),
        "energy_along_separation": _jump(f"energy {_PARTS}"),
        "force_along_separation": _jump(f"forces {_PARTS}"),
        "outputs_along_separation": _jump(f"other outputs {_PARTS}"),
        "moved_lifts": _exact(
            "features of lifts moved by an element of the group - features of the lifts"
        ),
        "finite": _count("values that are not finite"),
        "inputs_unchanged": _count("input tensors that the model has changed"),
    }
)


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One number beside its limit.

    unit: `1` for an error relative to its scale, `count`, or what `bounds.BOUNDS` says. where:
    output and structure of the worst case.
    """

    value: float
    limit: float
    unit: str
    description: str
    where: str

    @property
    def ok(self) -> bool:
        """Whether the value is within the limit; a value that is not a number is not."""
        return self.value <= self.limit


def measurement(deviation: Deviation, dtype: torch.dtype) -> Measurement:
    """Put a deviation beside the limit of its test."""
    limit = LIMITS[deviation.test.split(".")[0]]
    unit = "count" if limit.double == 0 else "1"
    return Measurement(deviation.value, limit.of(dtype), unit, limit.description, deviation.where)
