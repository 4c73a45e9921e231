"""The assertions: each is a law that the physics report measures, and fails where it is broken."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from ase import Atoms

from molequi.diagnostics.check import MEASURES, measure, probes_for
from molequi.diagnostics.limits import Measurement
from molequi.diagnostics.model_runner import CheckableModel, ModelRunner
from molequi.errors import UserError
from molequi.models.structure import Structure
from molequi.o3.irreps import Irreps
from molequi.testing.calculators import (
    CalculatorModel,
    Subject,
    as_checkable,
    default_structures,
    structure_of,
)


@dataclasses.dataclass(frozen=True)
class Law:
    """A law as an assertion.

    name: of the assertion. statement: what the law says. measures: keys of
    `diagnostics.check.MEASURES`. degrees: which outputs of rotation and inversion belong to it,
    `scalars`, `tensors` or all.
    """

    name: str
    statement: str
    measures: tuple[str, ...]
    degrees: str = "all"

    def __call__(
        self,
        subject: Subject,
        structures: Atoms | Structure | Sequence[Atoms | Structure] = (),
        *,
        tolerance: float | None = None,
        dtype: torch.dtype | None = None,
        seed: int = 0,
    ) -> dict[str, Measurement]:
        """Measure the law and raise AssertionError where it is broken.

        subject: a model, an ASE calculator, or a function without arguments that makes one.
        structures: without any, the built-in probes for a model, two organic molecules for a
        calculator.
        tolerance: largest error relative to the scale of the output, see `diagnostics.check`. By
        default `diagnostics.limits.LIMITS`, for exact laws 1e-9 in float64 and 1e-4 in float32.
        dtype: the number type whose limits count; that of a model's weights, float32 for a
        calculator, which may iterate to self-consistency.
        Raises UserError where there is nothing to measure: a test that cannot fail says nothing.
        """
        given = _structures(structures)
        model = as_checkable(subject, given)
        mine = self._measure(model, given, dtype, seed)
        if tolerance is not None:
            mine = {test: dataclasses.replace(m, limit=tolerance) for test, m in mine.items()}
        broken = [_line(test, item) for test, item in mine.items() if not item.ok]
        if broken:
            who = model.name if isinstance(model, CalculatorModel) else type(model).__name__
            raise AssertionError("\n".join([f"{who} breaks a law: {self.statement}", *broken]))
        return mine

    def _measure(
        self,
        model: CheckableModel,
        given: Sequence[Structure],
        dtype: torch.dtype | None,
        seed: int,
    ) -> dict[str, Measurement]:
        """Measure what belongs to this law, on the structures given or the usual ones."""
        runner = ModelRunner(model)
        is_foreign = isinstance(model, CalculatorModel)
        structures = given or (default_structures() if is_foreign else probes_for(runner))
        found = measure(runner, structures, tests=self.measures, dtype=dtype, seed=seed)
        mine = {test: item for test, item in found.items() if self._holds(test, runner)}
        if not mine:
            raise UserError(
                f"{self.name} has nothing to measure: {self.statement}, but no output and no "
                "structure given is one that this concerns"
            )
        return mine

    def _holds(self, test: str, runner: ModelRunner) -> bool:
        """Whether a test belongs to this law."""
        if self.degrees == "all":
            return True
        output = test.split(".")[1]
        row = runner.rows.get(output)  # none for hidden features
        is_scalar = row is not None and set(Irreps(row.irreps).degrees) == {0}
        return is_scalar == (self.degrees == "scalars")


def _structures(
    given: Atoms | Structure | Sequence[Atoms | Structure],
) -> list[Structure]:
    several = [given] if isinstance(given, Atoms | Structure) else list(given)
    return [
        structure_of(item, f"structure {index}") if isinstance(item, Atoms) else item
        for index, item in enumerate(several)
    ]


def _line(test: str, item: Measurement) -> str:
    what = "cases" if item.unit == "count" else "of the scale"
    return (
        f"  {test}: {item.value:.1e} {what}, limit {item.limit:.0e}, worst for {item.where} "
        f"({item.description})"
    )


assert_invariant = Law(
    "assert_invariant",
    "rotations change no scalar, and mirrors change the sign of pseudoscalars alone",
    ("rotation", "inversion", "achiral", "enantiomer_separation"),
    "scalars",
)
assert_equivariant = Law(
    "assert_equivariant",
    "forces, dipoles, stress and other tensors turn with the structure, and mirrors act by parity",
    ("rotation", "inversion", "hidden_features", "moved_lifts"),
    "tensors",
)
assert_translation_invariant = Law(
    "assert_translation_invariant", "a shift of all atoms changes nothing", ("translation",)
)
assert_permutation_invariant = Law(
    "assert_permutation_invariant",
    "the order of the atoms changes nothing but the order of what is given per atom",
    ("permutation",),
)
assert_periodic_images = Law(
    "assert_periodic_images",
    "it does not matter which image of an atom is listed, nor how many cells are one",
    ("wrapping", "supercell"),
)
assert_extensive = Law(
    "assert_extensive",
    "energies of two far fragments add up, and so do those of two cells",
    ("size_consistency", "supercell"),
)
assert_conservative = Law(
    "assert_conservative",
    "forces and stress are derivatives of the energy",
    ("force_consistency", "closed_loop_work", "stress_consistency"),
)
assert_smooth = Law(
    "assert_smooth",
    "nothing jumps where an atom leaves the cutoff",
    ("smoothness", "near_cutoff"),
)
assert_deterministic = Law("assert_deterministic", "a second call gives the same", ("determinism",))
assert_batch_independent = Law(
    "assert_batch_independent",
    "outputs do not depend on what is computed beside or before them",
    ("batch", "fused_kernels"),
)
assert_finite = Law("assert_finite", "every output is a finite number", ("finite",))
assert_inputs_unchanged = Law(
    "assert_inputs_unchanged", "structures come back as they were given", ("inputs_unchanged",)
)
assert_lawful = Law("assert_lawful", "it obeys every law of the physics report", tuple(MEASURES))
