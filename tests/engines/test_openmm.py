"""OpenMM: the calculator's numbers, alone, in a periodic box and for a part of a system."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from ase import units
from ase.build import molecule
from waters import turned_waters

from molequi.errors import UserError
from molequi.simulation.calculator import Calculator

openmm = pytest.importorskip("openmm", reason="pip install 'molequi[openmm]'")
pytest.importorskip("openmmml", reason="pip install 'molequi[openmm]'")
from openmm import app, unit  # noqa: E402
from openmmml import MLPotential  # noqa: E402

KJ_MOL = units.kJ / units.mol
BOX = 12.0  # Å


def topology_of(atoms, n_each=None):
    """Make residues of `n_each` atoms, bonded to their first; waters are named as in OpenMM."""
    topology = app.Topology()
    chain, n_each = topology.addChain(), n_each or len(atoms)
    names = ["O", "H1", "H2"] if n_each == 3 else [f"A{k}" for k in range(n_each)]
    for first in range(0, len(atoms), n_each):
        residue = topology.addResidue("HOH", chain)
        elements = map(
            app.Element.getByAtomicNumber, atoms.numbers[first : first + n_each].tolist()
        )
        head, *others = [
            topology.addAtom(name, element, residue)
            for name, element in zip(names, elements, strict=True)
        ]
        for other in others:
            topology.addBond(head, other)
    if atoms.pbc.all():
        topology.setPeriodicBoxVectors(atoms.cell.array / 10.0 * unit.nanometer)
    return topology


def water_box():
    return turned_waters((2, 2, 1), 4.0, [BOX, BOX, BOX])


def computed(system, atoms, groups=-1):
    """Return energy, eV, and forces, eV/Å, by OpenMM's reference platform."""
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.0005), platform)
    context.setPositions(atoms.positions / 10.0)
    state = context.getState(energy=True, forces=True, groups=groups)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoules_per_mole)
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoules_per_mole / unit.nanometer)
    return energy * KJ_MOL, np.asarray(forces) * KJ_MOL / 10.0


@pytest.mark.parametrize("charge", [0, -1])
def test_a_molecule_has_the_calculators_forces(long_ranged, charge):
    atoms = molecule("CH3O" if charge else "CH3OH")
    potential = MLPotential("molequi", model=long_ranged)
    system = potential.createSystem(topology_of(atoms), charge=charge)
    energy, forces = computed(system, atoms)
    atoms.calc = Calculator(long_ranged, charge=charge)
    assert energy == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
    np.testing.assert_allclose(forces, atoms.get_forces(), atol=1e-8)


def test_a_box_of_water_has_the_calculators_forces(long_ranged):
    box = water_box()
    system = MLPotential("molequi", model=long_ranged).createSystem(topology_of(box, 3))
    assert system.usesPeriodicBoundaryConditions()
    energy, forces = computed(system, box)
    box.calc = Calculator(long_ranged)
    assert energy == pytest.approx(box.get_potential_energy(), abs=1e-8)
    np.testing.assert_allclose(forces, box.get_forces(), atol=1e-8)


def test_part_of_a_system_is_the_models_and_the_rest_the_force_fields(network):
    """One water of four in a network without long range: its own forces, and those of the others.

    E(mixed) = E(force field) - E(force field of this water alone) + E(network of this water).
    """
    box = water_box()
    box.pbc = False
    box.set_cell(None)
    topology, first = topology_of(box, 3), [0, 1, 2]
    field = app.ForceField("tip3p.xml")
    mm = field.createSystem(topology, rigidWater=False, removeCMMotion=False)
    mixed = MLPotential("molequi", model=network).createMixedSystem(topology, mm, first)
    energy, forces = computed(mixed, box)
    alone = box[first]
    mm_alone = field.createSystem(topology_of(alone, 3), rigidWater=False, removeCMMotion=False)
    (e_all, f_all), (e_one, f_one) = computed(mm, box), computed(mm_alone, alone)
    alone.calc = Calculator(network)
    expected = f_all.copy()
    expected[first] += alone.get_forces() - f_one
    assert energy == pytest.approx(e_all - e_one + alone.get_potential_energy(), abs=1e-7)
    np.testing.assert_allclose(forces, expected, atol=1e-7)


def test_far_charges_in_a_mixed_box_are_the_models(long_ranged):
    """OpenMM-ML takes the force field's Coulomb energy off, because the model has its own."""
    box = water_box()
    topology = topology_of(box, 3)
    field = app.ForceField("tip3p.xml")
    cut = field.createSystem(
        topology, nonbondedMethod=app.CutoffPeriodic, nonbondedCutoff=0.5, rigidWater=False
    )
    potential = MLPotential("molequi", model=long_ranged)
    with pytest.raises(ValueError, match="long-range"):
        potential.createMixedSystem(topology, cut, [0, 1, 2])
    whole = field.createSystem(
        topology, nonbondedMethod=app.PME, nonbondedCutoff=0.5, rigidWater=False
    )
    mixed = potential.createMixedSystem(topology, whole, range(len(box)), forceGroup=1)
    energy, forces = computed(mixed, box, groups={1})
    box.calc = Calculator(long_ranged)
    assert energy == pytest.approx(box.get_potential_energy(), abs=1e-8)
    np.testing.assert_allclose(forces, box.get_forces(), atol=1e-8)


def test_a_system_is_written_and_read(network):
    atoms = molecule("CH3OH")
    system = MLPotential("molequi", model=network).createSystem(topology_of(atoms))
    text = openmm.XmlSerializer.serialize(system)
    read = openmm.XmlSerializer.deserialize(text)
    assert computed(read, atoms)[0] == computed(system, atoms)[0]


def test_what_the_model_does_not_know_is_refused(network):
    potential = MLPotential("molequi", model=network)
    topology = topology_of(molecule("CH3OH"))
    topology.addAtom("M", None, next(topology.residues()))
    with pytest.raises(UserError, match="no element"):
        potential.createSystem(topology)
    radical = molecule("OH")
    system = potential.createSystem(topology_of(radical), multiplicity=1)
    with pytest.raises(openmm.OpenMMException, match="multiplicity 1 does not go with"):
        computed(system, radical)


def test_options_that_would_change_nothing_are_refused(network):
    potential = MLPotential("molequi", model=network)
    topology = topology_of(molecule("CH3OH"))
    with pytest.raises(UserError, match="no option spin_multiplicity, total_charge; .* multiplic"):
        potential.createSystem(topology, total_charge=-2, spin_multiplicity=3)
    box = water_box()
    mm = app.ForceField("tip3p.xml").createSystem(topology_of(box, 3), rigidWater=False)
    with pytest.raises(UserError, match="no option chrage"):
        potential.createMixedSystem(topology_of(box, 3), mm, [0, 1, 2], chrage=1)
    potential.createMixedSystem(topology_of(box, 3), mm, [0, 1, 2], mlLongRange=None)


def test_a_periodic_system_needs_no_box_in_the_topology(long_ranged):
    """It was computed as an open one, without a word."""
    box = water_box()
    whole = topology_of(box, 3)
    boxless = topology_of(box, 3)
    boxless.setPeriodicBoxVectors(None)
    mm = app.ForceField("tip3p.xml").createSystem(
        whole, nonbondedMethod=app.PME, nonbondedCutoff=0.5, rigidWater=False
    )
    mixed = MLPotential("molequi", model=long_ranged).createMixedSystem(
        boxless, mm, range(len(box)), forceGroup=1
    )
    box.calc = Calculator(long_ranged)
    energy, forces = computed(mixed, box, groups={1})
    assert energy == pytest.approx(box.get_potential_energy(), abs=1e-8)
    np.testing.assert_allclose(forces, box.get_forces(), atol=1e-8)


def test_contexts_of_one_system_compute_in_threads(network):
    """They wrote their positions into the same structure, and got each other's forces."""
    start, rng = molecule("CH3OH"), np.random.default_rng(0)
    system = MLPotential("molequi", model=network).createSystem(topology_of(start))
    places = [start.copy() for _ in range(4)]
    for atoms in places:
        atoms.rattle(0.05, rng=rng)
    expected = [computed(system, atoms)[1] for atoms in places]

    def worst(number: int) -> float:
        found = [computed(system, places[number])[1] for _ in range(10)]
        return max(np.abs(forces - expected[number]).max() for forces in found)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(len(places)) as pool:
            assert max(pool.map(worst, range(len(places)))) < 1e-8
    finally:
        sys.setswitchinterval(interval)
