"""Thermostats and barostats: against ASE's own, closed forms, and the Maxwell-Boltzmann law."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lj import LennardJones
from ase.md.bussi import Bussi
from ase.md.nose_hoover_chain import MTKNPT, IsotropicMTKNPT, NoseHooverChainNVT
from scipy.stats import chi2, kstest

from molequi.simulation import trajectory
from molequi.simulation.barostats import PressureMover
from molequi.simulation.chains import Chains
from molequi.simulation.constraints import held_in
from molequi.simulation.forces import JointCalculator
from molequi.simulation.integrators import make_mover
from molequi.simulation.joined import Joined
from molequi.simulation.md import run_md
from molequi.simulation.md_settings import MDSettings
from molequi.simulation.timestep import advice, fastest_vibrations, objection

FS = units.fs


class Springs(Calculator):
    """Every atom on a spring of its own to where it began, eV/Å².

    coupling: eV/Å⁴ between the displacements of each three atoms, so that they share their energy:
    the chains of Nosé and Hoover, which draw no random numbers, rely on that.
    """

    implemented_properties = ("energy", "forces", "free_energy")

    def __init__(self, home, spring, coupling=0.0):
        super().__init__()
        self.home, self.spring, self.coupling = home.copy(), spring, coupling

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        away = self.atoms.positions - self.home
        energy = 0.5 * float((self.spring * away**2).sum())
        forces = -self.spring * away
        if self.coupling:
            threes = away.reshape(-1, 3, 3)
            apart = threes[:, :, None] - threes[:, None]
            squares = (apart**2).sum(axis=-1)
            energy += 0.25 * self.coupling * float((squares**2).sum())
            pull = (squares[..., None] * apart).sum(axis=2).reshape(-1, 3)
            forces = forces - 2.0 * self.coupling * pull
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}


def oscillators(n=8, seed=0):
    rng = np.random.default_rng(seed)
    atoms = Atoms(f"O{n}", positions=rng.normal(scale=9.0, size=(n, 3)))
    atoms.calc = Springs(atoms.positions, rng.uniform(4.0, 30.0, size=(n, 1)))
    atoms.set_momenta(rng.normal(size=(n, 3)) * np.sqrt(atoms.get_masses()[:, None] * 0.026))
    return atoms


def generator(seed=3):
    return np.random.Generator(np.random.PCG64(seed))


def test_chains_that_count_all_degrees_are_those_of_ase():
    ours, theirs = oscillators(), oscillators()
    joined = Joined([ours])
    settings = MDSettings("nvt", thermostat="nose-hoover", timestep=1.0, thermostat_time=30.0)
    mover = make_mover(ours, settings, joined, np.array([24]), [generator()])
    other = NoseHooverChainNVT(theirs, 1.0 * FS, temperature_K=300.0, tdamp=30.0 * FS)
    began = ours.get_total_energy() + mover.reservoirs()[0]
    for _ in range(200):
        mover.step()
        other.step()
    np.testing.assert_allclose(ours.positions, theirs.positions, atol=1e-9)
    kept = ours.get_total_energy() + mover.reservoirs()[0]
    assert kept == pytest.approx(other.get_conserved_energy(), abs=1e-9)
    assert kept == pytest.approx(began, abs=2e-2)
    assert abs(mover.reservoirs()[0]) > 1e-3


def test_bussi_is_that_of_ase_to_the_last_bit():
    ours, theirs = oscillators(), oscillators()
    settings = MDSettings("nvt", thermostat="bussi", timestep=1.0, thermostat_time=30.0)
    mover = make_mover(ours, settings, Joined([ours]), np.array([24]), [generator()])
    other = Bussi(theirs, 1.0 * FS, temperature_K=300.0, taut=30.0 * FS, rng=generator())
    for _ in range(50):
        mover.step()
        other.step()
    np.testing.assert_allclose(ours.positions, theirs.positions, atol=1e-12)
    assert mover.reservoirs()[0] == pytest.approx(-other.transferred_energy, abs=1e-12)


@pytest.mark.parametrize("kind", [IsotropicMTKNPT, MTKNPT])
def test_barostats_are_those_of_ase_and_go_on_to_the_last_bit(kind):
    """The attributes of ASE that are saved are all there are."""

    def cell():
        atoms = bulk("Ar", "fcc", a=5.4, cubic=True) * (2, 1, 1)
        atoms.rattle(0.1, seed=1)
        atoms.set_momenta(generator().normal(scale=0.5, size=atoms.positions.shape))
        atoms.calc = LennardJones(sigma=3.4, epsilon=0.0104, rc=6.0, smooth=True)
        return atoms

    def made(atoms):
        joined = Joined([atoms])
        chains = Chains(np.array([24]), joined.owner, joined.masses, 80.0, 100 * FS)
        return PressureMover(
            atoms, 4 * FS, 80.0, 0.01, (100 * FS, 400 * FS), chains,
            is_isotropic=kind is IsotropicMTKNPT,
        )  # fmt: skip

    ours, theirs, third = cell(), cell(), cell()
    mover = made(ours)
    other = kind(
        theirs, 4 * FS, temperature_K=80.0, pressure_au=0.01, tdamp=100 * FS, pdamp=400 * FS
    )
    for _ in range(10):
        mover.step()
        other.step()
    np.testing.assert_allclose(ours.positions, theirs.positions, atol=1e-10)
    np.testing.assert_allclose(ours.cell.array, theirs.cell.array, atol=1e-10)
    assert not np.allclose(ours.cell.array, third.cell.array, atol=1e-3)
    again = made(third)
    third.set_positions(ours.positions)
    third.set_momenta(ours.get_momenta())
    again.restore(mover.saved())
    for _ in range(5):
        mover.step()
        again.step()
    np.testing.assert_array_equal(third.positions, ours.positions)
    np.testing.assert_array_equal(third.cell.array, ours.cell.array)
    assert again.reservoirs()[0] == mover.reservoirs()[0]


@pytest.mark.parametrize("thermostat", ["langevin", "bussi", "nose-hoover"])
def test_kinetic_energies_follow_maxwell_and_boltzmann(thermostat):
    """2K/kT of 64 independent sets of 3 atoms is chi-squared with 9 degrees of freedom.

    Kolmogorov-Smirnov over 6 x 64 = 384 values, far apart in time, at p > 1e-3. Power, by 2,000
    draws: a temperature wrong by 15 %, or 8 or 10 degrees of freedom for 9, fails in more than 60 %
    of them, wrong by 25 % in more than 99 %; a right one passes in 99.9 %.
    """
    sets = [oscillators(3, seed) for seed in range(64)]
    homes = np.concatenate([atoms.positions for atoms in sets])
    springs = np.concatenate([atoms.calc.spring for atoms in sets])
    joined = Joined(sets)
    one = joined.one()
    one.calc = Springs(homes, springs, coupling=300.0)
    settings = MDSettings(
        "nvt", thermostat=thermostat, timestep=1.0, friction=0.05, thermostat_time=20.0
    )
    each = [generator(seed) for seed in range(64)]
    mover = make_mover(one, settings, joined, joined.counts * 3, each)
    values = []
    for step in range(1, 1401):
        mover.step()
        if step > 200 and step % 200 == 0:
            values.append(2 * joined.kinetic(one.get_momenta()) / (units.kB * 300.0))
    assert kstest(np.concatenate(values), chi2(9).cdf).pvalue > 1e-3


def test_the_statistical_test_has_the_power_that_it_states():
    rng = np.random.default_rng(0)

    def fails(draw, n=300):
        return np.mean([kstest(draw(), chi2(9).cdf).pvalue <= 1e-3 for _ in range(n)])

    assert fails(lambda: 1.15 * rng.chisquare(9, 384)) > 0.6
    assert fails(lambda: 1.25 * rng.chisquare(9, 384)) > 0.99
    assert fails(lambda: rng.chisquare(10, 384)) > 0.6
    assert fails(lambda: rng.chisquare(9, 384)) < 0.02


def test_the_fastest_vibration_is_that_of_the_hessian(network, morse):
    from molequi.simulation.calculator import Calculator as Model

    for model, tolerance in ((network, 0.03), (morse(), 0.03)):
        calculator = Model(model)
        structures = [molecule(name) for name in ("H2O", "CH3OH", "CO2", "H2")]
        joined = Joined(structures)
        found = fastest_vibrations(JointCalculator(calculator, joined), joined, held_in(joined, ()))
        for omega, atoms in zip(found, structures, strict=True):
            weight = 1 / np.sqrt(np.repeat(atoms.get_masses(), 3))
            hessian = calculator.get_hessian(atoms) * np.outer(weight, weight)
            largest = np.sqrt(max(np.linalg.eigvalsh(hessian).max(), 0.0))
            assert omega == pytest.approx(largest, rel=tolerance, abs=1e-3)


def test_timesteps_are_judged_by_the_period():
    omega = 2 * np.pi / (9.0 * FS)
    assert advice(omega, 0.5) is None
    assert "period of 9.0 fs, 6.0 steps of 1.5 fs" in advice(omega, 1.5)
    assert "3706 cm⁻¹" in advice(omega, 1.5)
    assert objection(omega, 2.8) is None
    assert "above 2.9 fs the integration blows up" in objection(omega, 2.9)


@pytest.mark.parametrize("cell", ["isotropic", "full"])
def test_npt_goes_on_to_the_last_bit_and_keeps_what_it_should(morse, tmp_path, monkeypatch, cell):
    monkeypatch.setattr(trajectory, "SECONDS_BETWEEN_SAVES", 0.0)
    atoms = bulk("O", "fcc", a=3.45, cubic=True)
    settings = MDSettings(
        "npt", 100.0, 2.0, 30, interval=5, cell=cell, barostat_time=200.0, max_stretch=None
    )
    whole, torn = tmp_path / "whole.xyz", tmp_path / "torn.xyz"
    expected = run_md(atoms, morse(), settings, output=whole)

    def kill(step, *_):
        if step == 20:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        run_md(atoms, morse(), settings, output=torn, progress=kill)
    found = run_md(atoms, morse(), settings, output=torn, restart=True)
    assert torn.read_bytes() == whole.read_bytes()
    assert found["temperature_mean"] == expected["temperature_mean"]
    assert expected["stopped"] is None
    volumes = np.genfromtxt(f"{whole}.csv", delimiter=",", names=True)["volume_A3"]
    assert np.ptp(volumes) > 0.01
