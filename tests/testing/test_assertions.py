"""The kit: healthy calculators and models pass, and every planted fault is caught by its law."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from molequi import testing
from molequi.errors import UserError
from molequi.models.making import make_model
from molequi.models.probes import built_in_probes
from molequi.simulation.calculator import Calculator
from molequi.testing import Law, assert_lawful

LAWS = [getattr(testing, name) for name in testing.__all__ if name.startswith("assert_")]
PERIODIC_LAWS = {"assert_periodic_images"}
BENDING_LAWS = {"assert_smooth", "assert_lawful"}  # slow where many pairs bend the force
FAULT = 1e-3


def argon_cluster() -> Atoms:
    """Four atoms without symmetry, near their equilibrium."""
    return Atoms("Ar4", [[0.0, 0.0, 0.0], [3.8, 0.2, 0.0], [0.1, 3.7, 0.3], [1.8, 1.7, 2.9]])


def argon_crystal() -> Atoms:
    """A cell smaller than the cutoff, its atoms off their places."""
    crystal = bulk("Ar", a=5.3, cubic=True)
    crystal.rattle(0.2, seed=1)
    return crystal


class Argon(LennardJones):
    """Argon; the energy and its slope are continuous at 6.5 Å."""

    def __init__(self, *, smooth: bool = True) -> None:
        super().__init__(sigma=3.4, epsilon=0.0104, rc=6.5, ro=5.0, smooth=smooth)


class SpoiltArgon(Argon):
    """Argon with a fault: `spoil` edits the results of a structure."""

    def spoil(self, atoms: Atoms, results: dict) -> None:
        raise NotImplementedError

    def calculate(self, atoms=None, properties=None, system_changes=()) -> None:
        super().calculate(atoms, ["energy"], ["positions", "numbers", "cell", "pbc"])
        self.spoil(atoms, self.results)


class Shifted(SpoiltArgon):
    """The energy depends on where the structure is."""

    def spoil(self, atoms, results):
        results["energy"] += FAULT * atoms.positions[:, 0].sum()
        results["free_energy"] = results["energy"]


class Tilted(SpoiltArgon):
    """The energy feels an axis of the laboratory."""

    def spoil(self, atoms, results):
        results["free_energy"] += FAULT * np.ptp(atoms.positions[:, 2])


class Handed(SpoiltArgon):
    """The energies of mirror images differ, by the sign of a triple product."""

    def spoil(self, atoms, results):
        first, *others = atoms.positions[:4]
        results["free_energy"] += FAULT * np.linalg.det(np.array(others) - first)


class Pushed(SpoiltArgon):
    """Forces have a constant part along an axis of the laboratory."""

    def spoil(self, atoms, results):
        results["forces"] = results["forces"] + FAULT


class Scaled(SpoiltArgon):
    """Forces are larger than the slope of the energy."""

    def spoil(self, atoms, results):
        results["forces"] = (1.0 + FAULT) * results["forces"]


class ScaledEMT(EMT):
    """The same fault where everything is quick."""

    def calculate(self, *arguments) -> None:
        super().calculate(*arguments)
        self.results["forces"] = 1.01 * self.results["forces"]


class Squeezed(SpoiltArgon):
    """The stress is larger than the strain derivative of the energy."""

    def spoil(self, atoms, results):
        if atoms.pbc.all():
            results["stress"] = (1.0 + FAULT) * results["stress"]


class Ordered(SpoiltArgon):
    """The last atom in the list counts more."""

    def spoil(self, atoms, results):
        results["free_energy"] += FAULT * results["energies"][-1]


class Imaged(SpoiltArgon):
    """The energy knows which image of an atom was listed."""

    def spoil(self, atoms, results):
        if atoms.pbc.all():
            cells = np.floor(atoms.cell.scaled_positions(atoms.positions))
            results["free_energy"] += FAULT * np.abs(cells).sum()


class Crowded(SpoiltArgon):
    """The energy is no sum over far fragments."""

    def spoil(self, atoms, results):
        results["free_energy"] += FAULT * len(atoms) ** 2


class Noisy(SpoiltArgon):
    """Every call gives another energy."""

    rng = np.random.default_rng(0)

    def spoil(self, atoms, results):
        results["free_energy"] += FAULT * self.rng.standard_normal()


class Remembering(SpoiltArgon):
    """The energy depends on the structure before."""

    before = 0.0

    def spoil(self, atoms, results):
        now = results["free_energy"]
        results["free_energy"], self.before = now + FAULT * self.before, now


class Broken(SpoiltArgon):
    """One force is no number."""

    def spoil(self, atoms, results):
        results["forces"] = results["forces"].copy()
        results["forces"][-1, 2] = np.nan


class Moving(SpoiltArgon):
    """Atoms come back at other places."""

    def spoil(self, atoms, results):
        atoms.positions += FAULT


CAUGHT_BY = [
    (Shifted, "assert_translation_invariant"),
    (Tilted, "assert_invariant"),
    (Handed, "assert_invariant"),
    (Pushed, "assert_equivariant"),
    (Scaled, "assert_conservative"),
    (Squeezed, "assert_conservative"),
    (Ordered, "assert_permutation_invariant"),
    (Imaged, "assert_periodic_images"),
    (Crowded, "assert_extensive"),
    (Noisy, "assert_deterministic"),
    (Remembering, "assert_batch_independent"),
    (Broken, "assert_finite"),
    (Moving, "assert_inputs_unchanged"),
    (lambda: Argon(smooth=False), "assert_smooth"),
]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_healthy_calculators_pass(law: Law) -> None:
    if law.name not in BENDING_LAWS:
        law(Argon, [argon_cluster(), argon_crystal()])
    if law.name not in PERIODIC_LAWS:
        law(EMT())


@pytest.mark.parametrize(("faulty", "name"), CAUGHT_BY, ids=[name for _, name in CAUGHT_BY])
def test_planted_faults_are_caught(faulty: Callable, name: str) -> None:
    law = getattr(testing, name)
    with pytest.raises(AssertionError, match="breaks a law") as caught:
        law(faulty, [argon_cluster(), argon_crystal()])
    assert law.statement in str(caught.value)


def test_the_law_of_all_laws_finds_each_that_is_broken() -> None:
    with pytest.raises(AssertionError, match="ScaledEMT breaks a law") as caught:
        assert_lawful(ScaledEMT)
    assert "force_consistency" in str(caught.value)
    assert "rotation" not in str(caught.value)


def test_every_law_has_a_fault_that_breaks_it() -> None:
    assert {name for _, name in CAUGHT_BY} | {"assert_lawful"} == {law.name for law in LAWS}


def test_failures_say_law_structure_size_and_limit() -> None:
    with pytest.raises(AssertionError) as caught:
        testing.assert_conservative(Scaled(), [argon_cluster(), argon_crystal()], tolerance=2e-4)
    text = str(caught.value)
    assert "Scaled breaks a law: forces and stress are derivatives of the energy" in text
    assert re.search(
        r"force_consistency: \d\.\de-0\d of the scale, limit 2e-04, worst for forces of structure",
        text,
    )


def test_tolerance_and_number_type_set_the_limit() -> None:
    structures = [argon_cluster()]
    testing.assert_conservative(Scaled, structures, tolerance=1e-2)
    limits = [
        {item.limit for item in testing.assert_invariant(Argon, structures, dtype=dtype).values()}
        for dtype in (None, torch.float32, torch.float64)
    ]
    assert limits == [{1e-4}, {1e-4}, {1e-9}]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_models_and_our_calculator_pass(dtype: torch.dtype) -> None:
    model = make_model((1, 6, 7, 8), ["energy", "dipole"], n_channels=4, l_max=1).to(dtype)
    structure = built_in_probes(model.elements)[1]
    found = assert_lawful(model, structure)
    assert {"rotation.features", "slope_at_cutoff", "fused_kernels"} <= set(found)
    testing.assert_conservative(Calculator(model), structure)
    testing.assert_equivariant(Calculator(model), structure)
    testing.assert_periodic_images(model)  # on the built-in probes, of which one is periodic


def test_a_fault_in_a_model_is_caught() -> None:
    model = make_model((1, 6, 7, 8), ["energy"], n_channels=4, l_max=1).to(torch.float64)
    compute = model.compute

    def spoilt(graph, **options):
        outputs = compute(graph, **options)
        return {**outputs, "forces": (1.0 + FAULT) * outputs["forces"]}

    model.compute = spoilt
    with pytest.raises(AssertionError, match="MolecularModel breaks a law"):
        testing.assert_conservative(model)


def test_nothing_to_measure_is_no_success() -> None:
    with pytest.raises(UserError, match="assert_periodic_images has nothing to measure"):
        testing.assert_periodic_images(Argon, argon_cluster())


class Failing(Argon):
    """A calculator that computes nothing."""

    def calculate(self, *_arguments) -> None:
        raise RuntimeError("no licence")


class Forceless(Argon):
    """A calculator of charges alone."""

    implemented_properties = ("charges",)


def test_what_is_no_calculator_is_refused_with_one_line() -> None:
    with pytest.raises(UserError, match="neither a model nor an ASE calculator"):
        assert_lawful("EMT")
    with pytest.raises(UserError, match="needs one with an energy"):
        assert_lawful(Forceless)
    with pytest.raises(UserError, match=r"Failing has no energy of Ar4.*RuntimeError: no licence"):
        assert_lawful(Failing, argon_cluster())
