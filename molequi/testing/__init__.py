"""The laws of physics as assertions, for any model and any ASE calculator.

Every assertion has the same arguments, see `Law`:

    from ase.calculators.emt import EMT
    from molequi.testing import assert_conservative, assert_invariant

    def test_my_calculator():
        assert_invariant(EMT, structures)
        assert_conservative(EMT, structures)

The numbers are those of `molequi check`, measured by the same code.
"""

from molequi.testing.assertions import (
    Law,
    assert_batch_independent,
    assert_conservative,
    assert_deterministic,
    assert_equivariant,
    assert_extensive,
    assert_finite,
    assert_inputs_unchanged,
    assert_invariant,
    assert_lawful,
    assert_periodic_images,
    assert_permutation_invariant,
    assert_smooth,
    assert_translation_invariant,
)
from molequi.testing.calculators import CalculatorModel, as_checkable

__all__ = [
    "CalculatorModel",
    "Law",
    "as_checkable",
    "assert_batch_independent",
    "assert_conservative",
    "assert_deterministic",
    "assert_equivariant",
    "assert_extensive",
    "assert_finite",
    "assert_inputs_unchanged",
    "assert_invariant",
    "assert_lawful",
    "assert_periodic_images",
    "assert_permutation_invariant",
    "assert_smooth",
    "assert_translation_invariant",
]
