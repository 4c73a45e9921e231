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
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch

from molequi.diagnostics import consistency, invariance, networks, parity
from molequi.diagnostics.jumps import jumps
from molequi.diagnostics.limits import Measurement, measurement
from molequi.diagnostics.model_runner import CheckableModel, Deviation, ModelRunner, Outputs
from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph
from molequi.models.probes import built_in_probes
from molequi.models.structure import Structure, structures_of


class Trial(NamedTuple):
    """What a measurement works on: structures, what the model gives for them, and chance.

    total_charge, spin_multiplicity: of further structures that a measurement makes.
    """

    runner: ModelRunner
    structures: Sequence[Structure]
    base: Sequence[Outputs]
    rng: np.random.Generator
    total_charge: int
    spin_multiplicity: int

    def with_output(self, name: str) -> list[Structure]:
        """Return the structures for which the model gives an output."""
        pairs = zip(self.structures, self.base, strict=True)
        return [structure for structure, outputs in pairs if name in outputs]


Measure = Callable[[Trial], Iterator[Deviation]]


def check_model(
    model: CheckableModel,
    graphs: Sequence[AtomGraph] = (),
    *,
    with_probes: bool = True,
    seed: int = 0,
) -> dict[str, Measurement]:
    """Measure a model on the built-in probes and on the structures in `graphs`.

    Without the probes on these alone. Returns one `Measurement` per test; `rotation` and
    `inversion` have one per output (and irrep), as `inversion.dipole.1o`; so have `achiral` and
    `enantiomer_separation`, which belong to outputs with a 0o part. `features` are those of the
    network's last layer, where these turn. A test that does not apply, such as forces of a model
    without an energy, is absent.
    Raises UserError where `graphs` holds structures but no atoms.
    """
    pieces = [piece for graph in graphs for piece in structures_of(graph) if len(piece.positions)]
    if not pieces and (len(graphs) or not with_probes):
        raise UserError(
            "the structures to check have no atoms; give at least one with atoms, or none to use "
            "the built-in ones"
        )
    runner = ModelRunner(model)
    structures = [
        dataclasses.replace(structure, name=f"structure {number}")
        for number, structure in enumerate(pieces)
    ]
    if with_probes:
        structures = [*probes_for(runner), *structures]
    return measure(runner, structures, seed=seed)


def probes_for(runner: ModelRunner) -> list[Structure]:
    """Return the built-in probes that a model can take, of its elements and its charge."""
    charge, multiplicity = _charge_state(runner.model)
    probes = built_in_probes(
        runner.model.elements, total_charge=charge, spin_multiplicity=multiplicity
    )
    return [probe for probe in probes if probe.is_open or runner.capabilities.periodic]


def measure(
    runner: ModelRunner,
    structures: Sequence[Structure],
    *,
    tests: Collection[str] | None = None,
    dtype: torch.dtype | None = None,
    seed: int = 0,
) -> dict[str, Measurement]:
    """Measure some tests (keys of `MEASURES`; all by default) on some structures.

    dtype: the number type whose limits count, that of the model by default. Returns the worst case
    of each test.
    """
    base = runner.observe(structures)
    trial = Trial(
        runner, structures, base, np.random.default_rng(seed), *_charge_state(runner.model)
    )
    worst: dict[str, Deviation] = {}
    for name, deviations_of in MEASURES.items():
        if tests is not None and name not in tests:
            continue
        for deviation in deviations_of(trial):
            # Written so that a value which is not a number is kept as the worst.
            if deviation.test not in worst or not deviation.value <= worst[deviation.test].value:
                worst[deviation.test] = deviation
    limits = runner.dtype if dtype is None else dtype
    return {test: measurement(deviation, limits) for test, deviation in worst.items()}


def _charge_state(model: CheckableModel) -> tuple[int, int]:
    """Return the (charge, multiplicity) that the probes get.

    Neutral singlets where the model knows them.
    """
    states = model.metadata.charge_multiplicity
    return states[0] if states and (0, 1) not in states else (0, 1)


def _finite(trial: Trial) -> Iterator[Deviation]:
    total, where = 0, "no output"
    for structure, outputs in zip(trial.structures, trial.base, strict=True):
        for name, value in outputs.items():
            bad = int((~np.isfinite(value)).sum())
            total, where = total + bad, f"{name} of {structure.name}" if bad else where
    yield Deviation("finite", float(total), where)


def _inputs_unchanged(trial: Trial) -> Iterator[Deviation]:
    graph = trial.runner.graph(trial.structures)
    before = [field.clone() for field in graph]
    trial.runner.compute(graph)
    fields = zip(graph._fields, graph, before, strict=True)
    changed = [
        name for name, now, then in fields if not torch.equal(now, then) or now.requires_grad
    ]
    yield Deviation("inputs_unchanged", float(len(changed)), ", ".join(changed) or "no input")


def _smoothness(trial: Trial) -> Iterator[Deviation]:
    """Look at the cutoff, and where it is not known everywhere."""
    cutoff = trial.runner.model.cutoff
    if cutoff is None:
        yield from jumps(trial.runner, trial.structures)
    else:
        yield from consistency.smoothness(
            trial.runner,
            cutoff,
            total_charge=trial.total_charge,
            spin_multiplicity=trial.spin_multiplicity,
        )


# fmt: off
# What measures which tests, in the order of the report. Random numbers are drawn in this order.
MEASURES: Mapping[str, Measure] = MappingProxyType({
    "finite": _finite,
    "inputs_unchanged": _inputs_unchanged,
    "determinism": lambda t: invariance.determinism(t.runner, t.structures, t.base),
    "rotation": lambda t: invariance.rotation(t.runner, t.structures, t.base, t.rng),
    "inversion": lambda t: invariance.inversion(t.runner, t.structures, t.base),
    "achiral": lambda t: parity.achiral(
        t.runner, total_charge=t.total_charge, spin_multiplicity=t.spin_multiplicity),
    "enantiomer_separation": lambda t: parity.enantiomer_separation(
        t.runner, total_charge=t.total_charge, spin_multiplicity=t.spin_multiplicity),
    "translation": lambda t: invariance.translation(t.runner, t.structures, t.base, t.rng),
    "wrapping": lambda t: invariance.wrapping(t.runner, t.structures, t.base, t.rng),
    "permutation": lambda t: invariance.permutation(t.runner, t.structures, t.base, t.rng),
    "batch": lambda t: invariance.batching(t.runner, t.structures, t.base),
    "supercell": lambda t: invariance.supercell(t.runner, t.structures, t.base),
    "size_consistency": lambda t: invariance.size_consistency(t.runner, t.structures, t.base),
    "fused_kernels": lambda t: invariance.fused_kernels(t.runner, t.structures),
    "force_consistency": lambda t: consistency.force_consistency(
        t.runner, t.with_output("forces"), t.rng),
    "closed_loop_work": lambda t: consistency.closed_loop_work(
        t.runner, t.with_output("forces"), t.rng),
    "stress_consistency": lambda t: consistency.stress_consistency(
        t.runner, t.with_output("stress"), t.rng),
    "smoothness": _smoothness,
    "near_cutoff": lambda t: networks.near_cutoff(
        t.runner, total_charge=t.total_charge, spin_multiplicity=t.spin_multiplicity),
    "hidden_features": lambda t: networks.hidden_features(t.runner, t.structures, t.rng),
    "moved_lifts": lambda t: networks.moved_lifts(t.runner, t.structures, t.rng),
})
# fmt: on
