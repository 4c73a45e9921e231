"""Measure whether a model obeys physics.

`check_model` returns numbers beside limits, and judges nothing else.

Every value is an error divided by the scale of the output that it concerns, except where its unit
says otherwise. The scale of an output on a structure is the largest change of any of its components
when all atoms move at random by 0.2 Å: this is the size of what the model has learned there,
whatever its reference energies or mean value are. Where the number type of the output cannot
resolve that change (1e5 roundings of the value itself), 1e5 roundings are the scale.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from molequi.diagnostics import consistency, invariance, networks, parity
from molequi.diagnostics.model_runner import CheckableModel, Deviation, ModelRunner, Outputs
from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph
from molequi.models.probes import Structure, built_in_probes, structures_of

# Per test: the limit in float64, the limit in float32, what is measured. Faults of 1e-3 of the
# scale lie above every limit (the slopes' excepted: they are there for cutoffs that bend the
# force), healthy models well below.
LIMITS: dict[str, tuple[float, float, str]] = {
    "rotation": (1e-9, 1e-4, "output of rotated structure - rotated output"),
    "inversion": (1e-9, 1e-4, "output of the mirror image (x -> -x) - parity x output"),
    "achiral": (1e-9, 1e-4, "pseudoscalars of structures that are their own mirror image"),
    "hand_separation": (
        1e-9,
        1e-4,
        "error of the mirror law, per difference between the hands of a chiral structure",
    ),
    "translation": (1e-9, 1e-4, "change of the outputs when the structure moves by 50 Å"),
    "permutation": (1e-9, 1e-4, "change of the outputs when the atoms are listed in another order"),
    "batch": (1e-9, 1e-4, "outputs in a batch - outputs one by one"),
    "wrapping": (
        1e-9,
        1e-4,
        "change of the outputs when atoms move to another image of themselves",
    ),
    "supercell": (1e-9, 1e-4, "outputs of two cells side by side - those of one cell, per cell"),
    "size_consistency": (
        1e-9,
        1e-4,
        "extensive and per-atom outputs of two far fragments - those of each alone",
    ),
    "determinism": (1e-9, 1e-4, "change of the outputs in a second call"),
    "fused_kernels": (1e-9, 1e-4, "outputs with fused convolutions - those with plain torch"),
    "force_consistency": (
        1e-4,
        1e-4,
        "energy difference along a path + work of the forces, per root mean square force x length",
    ),
    "closed_loop_work": (
        1e-4,
        1e-4,
        "work of the forces around a loop, per root mean square force x length",
    ),
    "stress_consistency": (
        1e-4,
        1e-4,
        "energy difference along a deformation - work of the stress, per root mean square stress x "
        "volume x strain",
    ),
    "energy_at_cutoff": (5e-6, 2e-5, "jump of the energy where an atom leaves the cutoff"),
    "force_at_cutoff": (5e-6, 2e-5, "jump of the forces where an atom leaves the cutoff"),
    "slope_at_cutoff": (
        2e-3,
        2e-3,
        "jump of the forces' slope (per Å) where an atom leaves the cutoff",
    ),
    "outputs_at_cutoff": (5e-6, 2e-5, "jump of the other outputs where an atom leaves the cutoff"),
    "energy_at_near_cutoff": (
        5e-6,
        2e-5,
        "jump of the energy where an atom leaves the cutoff of angles and dihedrals",
    ),
    "force_at_near_cutoff": (
        5e-6,
        2e-5,
        "jump of the forces where an atom leaves the cutoff of angles and dihedrals",
    ),
    "slope_at_near_cutoff": (
        1e-2,
        1e-2,
        "jump of the forces' slope (per Å) where an atom leaves the cutoff of angles and dihedrals",
    ),
    "outputs_at_near_cutoff": (
        5e-6,
        2e-5,
        "jump of the other outputs where an atom leaves the cutoff of angles and dihedrals",
    ),
    "moved_lifts": (
        1e-9,
        1e-4,
        "features of lifts moved by an element of the group - features of the lifts",
    ),
    "finite": (0.0, 0.0, "values that are not finite"),
    "inputs_unchanged": (0.0, 0.0, "input tensors that the model has changed"),
}


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One number beside its limit.

    unit: `1` for an error relative to its scale, `count` otherwise. where: output and structure of
    the worst case.
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


def check_model(
    model: CheckableModel,
    graphs: Sequence[AtomGraph] = (),
    *,
    with_probes: bool = True,
    seed: int = 0,
) -> dict[str, Measurement]:
    """Measure a model on the built-in probes and on the structures in `graphs`, or without the probes on these alone.

    Returns one `Measurement` per test; `rotation` and `inversion` have one per output (and irrep),
    as `inversion.dipole.1o`; so have `achiral` and `hand_separation`, which belong to outputs with
    a 0o part. `features` are those of the network's last layer, where these turn. A test that does
    not apply, such as forces of a model without an energy, is absent.
    Raises UserError where `graphs` holds structures but no atoms.
    """
    charge, multiplicity = _charge_state(model)
    pieces = [
        structure
        for graph in graphs
        for structure in structures_of(graph)
        if len(structure.positions)
    ]
    if not pieces and (len(graphs) or not with_probes):
        raise UserError(
            "the structures to check have no atoms; give at least one with atoms, or none to use "
            "the built-in ones"
        )
    runner, rng = ModelRunner(model), np.random.default_rng(seed)
    structures = [
        dataclasses.replace(structure, name=f"structure {number}")
        for number, structure in enumerate(pieces)
    ]
    if with_probes:
        probes = built_in_probes(
            model.elements, total_charge=charge, spin_multiplicity=multiplicity
        )
        structures = [
            *(probe for probe in probes if probe.is_open or runner.capabilities.periodic),
            *structures,
        ]
    worst: dict[str, Deviation] = {}
    for deviation in _findings(runner, structures, rng, (charge, multiplicity)):
        # Written so that a value which is not a number is kept as the worst.
        if deviation.test not in worst or not deviation.value <= worst[deviation.test].value:
            worst[deviation.test] = deviation
    return {test: _measurement(deviation, runner.dtype) for test, deviation in worst.items()}


def _findings(
    runner: ModelRunner,
    structures: Sequence[Structure],
    rng: np.random.Generator,
    state: tuple[int, int],
) -> Iterator[Deviation]:
    base = runner.observe(structures)
    yield from _non_finite(structures, base)
    yield from _changed_inputs(runner, structures)
    yield from invariance.determinism(runner, structures, base)
    yield from invariance.rotation(runner, structures, base, rng)
    yield from invariance.inversion(runner, structures, base)
    yield from parity.achiral(runner, total_charge=state[0], spin_multiplicity=state[1])
    yield from parity.hand_separation(runner, total_charge=state[0], spin_multiplicity=state[1])
    yield from invariance.translation(runner, structures, base, rng)
    yield from invariance.wrapping(runner, structures, base, rng)
    yield from invariance.permutation(runner, structures, base, rng)
    yield from invariance.batching(runner, structures, base)
    yield from invariance.supercell(runner, structures, base)
    yield from invariance.size_consistency(runner, structures, base)
    yield from invariance.fused_kernels(runner, structures)
    if runner.has_forces:
        yield from consistency.force_consistency(runner, structures, rng)
        yield from consistency.closed_loop_work(runner, structures, rng)
        yield from consistency.stress_consistency(runner, structures, rng)
    yield from consistency.smoothness(
        runner, runner.model.cutoff, total_charge=state[0], spin_multiplicity=state[1]
    )
    yield from networks.near_cutoff(runner, total_charge=state[0], spin_multiplicity=state[1])
    yield from networks.hidden_features(runner, structures, rng)
    yield from networks.moved_lifts(runner, structures, rng)


def _measurement(deviation: Deviation, dtype: torch.dtype) -> Measurement:
    test = deviation.test.split(".")[0]
    double, single, description = LIMITS[test]
    return Measurement(
        deviation.value,
        single if dtype == torch.float32 else double,
        "count" if double == 0 else "1",
        description,
        deviation.where,
    )


def _charge_state(model: CheckableModel) -> tuple[int, int]:
    """Return the (charge, multiplicity) that the probes get.

    Neutral singlets where the model knows them.
    """
    states = model.metadata.charge_multiplicity
    return states[0] if states and (0, 1) not in states else (0, 1)


def _non_finite(structures: Sequence[Structure], base: Sequence[Outputs]) -> Iterator[Deviation]:
    total, where = 0, "no output"
    for structure, outputs in zip(structures, base, strict=True):
        for name, value in outputs.items():
            bad = int((~np.isfinite(value)).sum())
            total, where = total + bad, f"{name} of {structure.name}" if bad else where
    yield Deviation("finite", float(total), where)


def _changed_inputs(runner: ModelRunner, structures: Sequence[Structure]) -> Iterator[Deviation]:
    graph = runner.graph(structures)
    before = [field.clone() for field in graph]
    runner.compute(graph)
    fields = zip(graph._fields, graph, before, strict=True)
    changed = [
        name for name, now, then in fields if not torch.equal(now, then) or now.requires_grad
    ]
    yield Deviation("inputs_unchanged", float(len(changed)), ", ".join(changed) or "no input")
