"""Molecular dynamics: physics in closed form, exact restarts, guards."""

import csv
import signal
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.constraints import FixAtoms, FixBondLengths
from scipy.optimize import minimize_scalar

from molequi.errors import RunInterruptedError, UserError
from molequi.runtime.locks import locked
from molequi.simulation import growing, trajectory
from molequi.simulation.calculator import Calculator
from molequi.simulation.forces import JointCalculator
from molequi.simulation.md import run_md
from molequi.simulation.md_settings import MDSettings
from molequi.simulation.motion import Motion
from molequi.simulation.state import Statistics


@pytest.fixture
def water():
    atoms = molecule("H2O")
    atoms.info["charge"] = 0
    return atoms


def diatomic(distance, speed=0.0):
    """Oxygen and carbon at rest or flying apart with `speed` (Å/fs)."""
    atoms = Atoms("CO", positions=[[0, 0, 0], [distance, 0, 0]])
    atoms.set_velocities(np.array([[-1.0, 0, 0], [1.0, 0, 0]]) * speed / units.fs)
    return atoms


def momentum(atoms):
    return np.abs(atoms.get_momenta().sum(axis=0)).max()


def test_a_frame_brings_no_calculator_along(network, water, tmp_path, monkeypatch):
    """ASE copies the constraints of a frame deeply; those of noise once held all structures."""

    def refuse(*_):
        raise AssertionError("a frame copied the calculator")

    monkeypatch.setattr(JointCalculator, "__deepcopy__", refuse, raising=False)
    settings = MDSettings("nvt", steps=2, interval=1, max_stretch=None)
    assert run_md(water, network, settings, output=tmp_path / "md.xyz")["frames"] == 3


def test_diatomic_swings_with_the_period_of_its_spring(morse, tmp_path):
    """omega^2 = V''(r) / reduced mass, for a stretch small enough to be harmonic.

    The drift is nil.
    """

    def potential(r):
        return 8.0 * ((1 - np.exp(-2.3 * (r - 1.16))) ** 2 - 1) * (1 - (r / 5.0) ** 2) ** 3

    length = minimize_scalar(potential, bracket=(1.0, 1.2)).x
    spring = (potential(length + 1e-3) - 2 * potential(length) + potential(length - 1e-3)) / 1e-6
    output = tmp_path / "md.xyz"
    settings = MDSettings(temperature=None, timestep=0.1, steps=600, interval=2)
    result = run_md(diatomic(length + 0.002), morse(), settings, output=output)
    frames = ase.io.read(output, ":")
    times, stretch = np.array(
        [[atoms.info["molequi_time_fs"], atoms.get_distance(0, 1) - length] for atoms in frames]
    ).T
    # The middle of the swing: the Morse wall is a little harder than its other side.
    stretch -= (stretch.max() + stretch.min()) / 2
    before = np.flatnonzero(np.diff(np.sign(stretch)))
    crossings = times[before] - stretch[before] * np.diff(times)[before] / np.diff(stretch)[before]
    period = 2 * np.diff(crossings).mean()
    mass = np.prod(diatomic(1.0).get_masses()) / diatomic(1.0).get_masses().sum()
    expected = 2 * np.pi / np.sqrt(spring / mass) / units.fs
    assert period == pytest.approx(expected, rel=1e-3)
    assert abs(result["drift_mev_atom_ps"]) < 1e-3
    assert result["stopped"] is None


def test_nve_conserves_energy_and_momentum(morse, water, tmp_path):
    output = tmp_path / "md.xyz"
    result = run_md(
        water, morse(), MDSettings(steps=400, interval=20, timestep=0.25), output=output
    )
    frames = ase.io.read(output, ":")
    total = np.array([atoms.get_total_energy() for atoms in frames])
    assert len(frames) == result["frames"] == 21
    assert np.abs(total - total[0]).max() < 2e-3
    assert max(momentum(atoms) for atoms in frames) < 1e-6
    assert (result["steps"], result["time_ps"]) == (400, 0.1)
    assert 0 < result["temperature_mean"] < 1000


def test_temperature_of_the_first_frame_is_exact(morse, water, tmp_path):
    run_md(water, morse(), MDSettings(steps=0, temperature=432.0), output=tmp_path / "md.xyz")
    frame = ase.io.read(tmp_path / "md.xyz")
    assert frame.info["molequi_temperature"] == pytest.approx(432.0)
    # Three vibrations: the molecule neither flies nor turns.
    assert 2 * frame.get_kinetic_energy() / (3 * units.kB) == pytest.approx(432.0, rel=1e-5)
    assert momentum(frame) < 1e-6
    assert np.abs(frame.get_angular_momentum()).max() < 1e-6


def test_thermostat_holds_temperature_and_centre(morse, water, tmp_path):
    centre = water.get_center_of_mass()
    output = tmp_path / "md.xyz"
    result = run_md(
        water,
        morse(),
        MDSettings("nvt", 300.0, 1.0, 800, interval=100, friction=0.1, seed=1),
        output=output,
    )
    assert result["temperature_mean"] == pytest.approx(300.0, rel=0.25)
    assert result["drift_mev_atom_ps"] is None
    last = ase.io.read(output, "-1")
    assert last.info["molequi_ensemble"] == "nvt"
    np.testing.assert_allclose(last.get_center_of_mass(), centre, atol=1e-6)
    assert last.constraints == []


@pytest.mark.parametrize("how", [{}, {"ensemble": "nvt", "thermostat": "bussi"}])
def test_velocities_of_the_input_are_kept_where_asked_and_else_told(morse, water, caplog, how):
    momenta = np.array([[0.1, 0.2, -0.3], [0.02, 0.05, -0.1], [-0.12, -0.25, 0.4]])
    water.set_momenta(momenta)
    run_md(water, morse(), MDSettings(steps=0, keep_velocities=True, **how))
    assert "left aside" not in caplog.text
    motion = Motion([water], Calculator(morse()), MDSettings(keep_velocities=True, **how))
    motion.begin()
    np.testing.assert_allclose(motion.state.momenta, momenta, atol=1e-12)
    run_md(water, morse(), MDSettings(steps=0, **how))
    assert "velocities of the input are left aside and new ones drawn at 300 K" in caplog.text
    with pytest.raises(UserError, match="no velocities to keep"):
        run_md(molecule("H2O"), morse(), MDSettings(keep_velocities=True, **how))


def test_velocities_of_zero_are_none_to_scale(morse, water, tmp_path):
    """They became NaN, for which the coordinates were blamed."""
    water.set_momenta(np.zeros((3, 3)))
    asked = {"ensemble": "nvt", "keep_velocities": True, "steps": 2}
    with pytest.raises(UserError, match="is at rest, and the thermostat bussi only scales"):
        run_md(
            water, morse(), MDSettings(thermostat="bussi", **asked), output=tmp_path / "bussi.xyz"
        )
    assert not list(tmp_path.iterdir())
    for thermostat in ("langevin", "nose-hoover"):
        run_md(water, morse(), MDSettings(thermostat=thermostat, **asked))


def degrees(atoms, morse, **how):
    return Motion([atoms], Calculator(morse()), MDSettings(**how)).n_degrees.tolist()


def test_degrees_of_freedom_are_those_that_move(morse, water):
    """Three conditions hold the angular momentum at zero, of a straight molecule too."""
    for name, expected in {"N2": 1, "CO2": 3, "H2O": 3, "NH3": 6}.items():
        assert degrees(molecule(name), morse) == [expected]
        assert degrees(molecule(name), morse, ensemble="nvt") == [3 * len(molecule(name)) - 3]
    kept = {"ensemble": "nvt", "thermostat": "bussi", "keep_velocities": True}
    water.set_momenta(np.outer([2.0, 1.0, 1.0], [0.0, 0.0, 1.0]) * [[1], [-1], [-1]])
    assert degrees(water, morse, **kept) == [3]
    water.set_momenta([[0, 0, 0], [0, 0, 1.0], [0, 0, -1.0]])
    assert degrees(water, morse, **kept) == [6]


def test_rounding_is_no_motion(morse):
    """A held bond leaves nothing that could move; what is left of its velocity is not scaled up."""
    atoms = molecule("H2")
    motion = Motion([atoms], Calculator(morse()), MDSettings(constrain=("x-h",)))
    motion.begin()
    assert np.abs(motion.state.momenta).max() == 0.0


def test_a_ramp_begins_at_its_first_point(morse, water):
    how = MDSettings("nvt", ramp=((50.0, 0.0), (300.0, 1.0)))
    motion = Motion([water], Calculator(morse()), how)
    motion.begin()
    assert motion.temperatures().tolist() == pytest.approx([50.0])


@pytest.mark.parametrize("constrain", [(), ("x-h",)])
def test_no_pressure_is_told_where_bonds_bear_it(morse, water, tmp_path, constrain):
    water.set_cell([10.0, 10.0, 10.0])
    water.pbc = True
    run_md(water, morse(), MDSettings(steps=2, constrain=constrain), output=tmp_path / "md.xyz")
    with (tmp_path / "md.xyz.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [bool(row["pressure_bar"]) for row in rows] == [not constrain] * len(rows)
    assert float(rows[0]["volume_A3"]) == pytest.approx(1000.0)


def test_held_lengths_hold_nothing_in_its_place(morse, water):
    water.set_constraint(FixBondLengths([[0, 1]]))
    motion = Motion([water], Calculator(morse()), MDSettings())
    motion.begin()
    assert motion.n_degrees.tolist() == [2]
    np.testing.assert_allclose(motion.state.momenta.sum(axis=0), 0.0, atol=1e-9)


def test_seeds_decide(morse, water, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run_md(
            water, morse(), MDSettings("nvt", steps=20, seed=seed), output=tmp_path / f"{name}.xyz"
        )
    a, b, c = ((tmp_path / f"{name}.xyz").read_bytes() for name in "abc")
    assert a == b != c


class KilledError(Exception):
    pass


@pytest.mark.parametrize("ensemble", ["nve", "nvt"])
@pytest.mark.parametrize(("tail", "seconds"), [(b"", 0.0), (b"3\nhalf a fra", 0.0), (b"", np.inf)])
def test_restart_goes_on_to_the_last_bit(
    network, water, tmp_path, monkeypatch, ensemble, tail, seconds
):
    """Killed between two frames, after a fresh or an old state was saved.

    With or without a torn frame at the end of the file.
    """
    monkeypatch.setattr(trajectory, "SECONDS_BETWEEN_SAVES", seconds)
    settings = MDSettings(ensemble, steps=45, interval=7, timestep=0.5, max_stretch=None)
    whole, torn = tmp_path / "whole.xyz", tmp_path / "torn.xyz"
    expected = run_md(water, network, settings, output=whole)

    def kill(step, steps, atoms):
        if step >= 28:
            raise KilledError

    with pytest.raises(KilledError):
        run_md(water, network, settings, output=torn, progress=kill)
    with torn.open("ab") as file:
        file.write(tail)
    result = run_md(water, network, settings, output=torn, restart=True)
    assert torn.read_bytes() == whole.read_bytes()
    assert {**result, "output": None} == {**expected, "output": None}


def test_restart_with_more_steps_equals_one_long_run(network, water, tmp_path):
    long, parts = tmp_path / "long.xyz", tmp_path / "parts.xyz"
    options = {"interval": 5, "max_stretch": None}
    expected = run_md(water, network, MDSettings(steps=40, **options), output=long)
    run_md(water, network, MDSettings(steps=17, **options), output=parts)
    result = run_md(water, network, MDSettings(steps=40, **options), output=parts, restart=True)
    assert parts.read_bytes() == long.read_bytes()
    assert result["drift_mev_atom_ps"] == expected["drift_mev_atom_ps"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_state_and_restart_goes_on_to_the_last_bit(
    network, water, tmp_path, number
):
    options = {"temperature": 50.0, "interval": 3, "max_stretch": None}
    whole = run_md(water, network, MDSettings(steps=20, **options), output=tmp_path / "whole.xyz")
    with pytest.raises(
        RunInterruptedError,
        match=f"stopped by {number.name} at step 6; it is saved in .*cut.xyz, go on with --restart",
    ) as caught:
        run_md(
            water,
            network,
            MDSettings(steps=20, **options),
            output=tmp_path / "cut.xyz",
            progress=lambda step, *_: signal.raise_signal(number) if step == 6 else None,
        )
    assert caught.value.signal_number == number
    assert len(ase.io.read(tmp_path / "cut.xyz", index=":")) == 3
    cut = run_md(
        water, network, MDSettings(steps=20, **options), output=tmp_path / "cut.xyz", restart=True
    )
    assert (tmp_path / "cut.xyz").read_bytes() == (tmp_path / "whole.xyz").read_bytes()
    assert {**cut, "output": None} == {**whole, "output": None}
    with pytest.raises(RunInterruptedError, match="nothing is kept, for there is no output"):
        run_md(
            water,
            network,
            MDSettings(steps=20, **options),
            progress=lambda *_: signal.raise_signal(number),
        )


def test_restart_of_something_else_is_refused(morse, water, tmp_path):
    output = tmp_path / "md.xyz"
    run_md(water, morse(), MDSettings(steps=10), output=output)
    with pytest.raises(UserError, match=r"was run with timestep 0\.5, now it is 0\.25"):
        run_md(water, morse(), MDSettings(steps=20, timestep=0.25), output=output, restart=True)
    with pytest.raises(UserError, match="was run with atoms OH2, now it is CH4"):
        run_md(molecule("CH4"), morse(), MDSettings(steps=20), output=output, restart=True)
    heavy, held = water.copy(), water.copy()
    heavy.set_masses([None, 2.0141, 2.0141])
    held.set_constraint(FixAtoms([0]))
    for other, said in ((heavy, "isotopes H2O, now it is D2O"), (held, r"structure \[\], now it")):
        with pytest.raises(UserError, match=f"was run with .*{said}"):
            run_md(other, morse(), MDSettings(steps=20), output=output, restart=True)
    with pytest.raises(UserError, match="was run with weights morse 1"):
        run_md(water, morse(cutoff=4.9), MDSettings(steps=20), output=output, restart=True)
    with pytest.raises(UserError, match="nothing to restart"):
        run_md(water, morse(), MDSettings(steps=20), output=tmp_path / "other.xyz", restart=True)
    with pytest.raises(UserError, match="needs --output"):
        run_md(water, morse(), MDSettings(steps=20), restart=True)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: b"not a state",
        lambda data: data.replace(b'"step": 10', b'"step": [1'),
        lambda data: data.replace(b'"bit_generator": "PCG64"', b'"bit_generator": "PCG65"'),
    ],
)
def test_a_damaged_state_is_named_and_all_is_kept(morse, water, tmp_path, damage):
    output = tmp_path / "md.xyz"
    run_md(water, morse(), MDSettings(steps=10), output=output)
    state = tmp_path / "md.xyz.restart"
    whole, before = state.read_bytes(), output.read_bytes()
    # The texts lie in the archive as UTF-32, uncompressed; a changed one is put in with its sum.
    with np.load(state) as arrays:
        parts = dict(arrays)
    text = str(parts["json"]).encode()
    if damage(text) != text and damage(text)[:1] == b"{" and damage(text)[-1:] == b"}":
        parts["json"] = np.array(damage(text).decode())
        with state.open("wb") as file:
            np.savez(file, **parts)
    else:
        state.write_bytes(damage(whole))
    with pytest.raises(UserError, match="md.xyz.restart is damaged or holds no state"):
        run_md(water, morse(), MDSettings(steps=20), output=output, restart=True)
    assert output.read_bytes() == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_a_full_disk_is_told_with_the_name(morse, water, tmp_path, monkeypatch):
    output = tmp_path / "md.xyz"
    full = Path("/dev/full").open("r+b", buffering=4096)
    monkeypatch.setattr(trajectory, "write_state", lambda *_: None)
    monkeypatch.setattr(growing.Growing, "sync", lambda _: None)
    monkeypatch.setattr(
        growing.Growing, "begin", lambda kept, *_, **__: setattr(kept, "_file", full)
    )
    with pytest.raises(OSError, match="No space left on device: .*md.xyz"):
        run_md(water, morse(), MDSettings(steps=5), output=output)


@pytest.mark.parametrize(("n_bytes", "n_lost"), [(5, 1), (1000, 2)])
def test_a_trajectory_that_is_short_goes_on_without_what_is_lost(
    morse, water, tmp_path, caplog, n_bytes, n_lost
):
    short, whole = tmp_path / "short.xyz", tmp_path / "whole.xyz"
    settings = MDSettings(steps=40, interval=10)
    run_md(water, morse(), settings, output=whole)
    run_md(water, morse(), MDSettings(steps=20, interval=10), output=short)
    with short.open("r+b") as file:
        file.truncate(short.stat().st_size - n_bytes)
    run_md(water, morse(), settings, output=short, restart=True)
    assert f"the last {n_lost} of 3 frames are lost; the run goes on from step 20" in caplog.text
    frames, expected = ase.io.read(short, ":"), ase.io.read(whole, ":")
    kept = [*expected[: 3 - n_lost], *expected[3:]]
    assert [frame.info["molequi_step"] for frame in frames] == [
        frame.info["molequi_step"] for frame in kept
    ]
    for frame, other in zip(frames, kept, strict=True):
        np.testing.assert_array_equal(frame.positions, other.positions)


def test_output_in_the_way_is_kept(morse, water, tmp_path):
    output = tmp_path / "md.xyz"
    run_md(water, morse(), MDSettings(steps=10), output=output)
    before = output.read_bytes()
    with pytest.raises(UserError, match="exists already; give --restart"):
        run_md(water, morse(), MDSettings(steps=20), output=output)
    assert output.read_bytes() == before
    run_md(water, morse(), MDSettings(steps=20), output=output, overwrite=True)
    assert len(ase.io.read(output, ":")) == 3


@pytest.mark.parametrize("how", ["restart", "overwrite"])
def test_a_trajectory_that_another_run_writes_is_refused_and_kept(morse, water, tmp_path, how):
    output = tmp_path / "md.xyz"
    run_md(water, morse(), MDSettings(steps=10), output=output)
    before = output.read_bytes()
    with locked(output), pytest.raises(UserError, match="another run is writing to .*md.xyz now"):
        run_md(water, morse(), MDSettings(steps=20), output=output, **{how: True})
    assert output.read_bytes() == before
    assert run_md(water, morse(), MDSettings(steps=20), output=output, restart=True)["steps"] == 20


def test_refused_structure_leaves_no_file(morse, tmp_path):
    with pytest.raises(UserError, match="element Cl"):
        run_md(molecule("CH3Cl"), morse(), output=tmp_path / "md.xyz")
    with pytest.raises(UserError, match="no velocities"):
        run_md(molecule("CH4"), morse(), MDSettings(temperature=None), output=tmp_path / "md.xyz")
    assert list(tmp_path.iterdir()) == []


def test_broken_bond_stops_and_frames_are_kept(morse, tmp_path):
    output = tmp_path / "md.xyz"
    result = run_md(
        diatomic(1.16, speed=0.0115),
        morse(),
        MDSettings(temperature=None, steps=500, interval=1, max_stretch=0.84),
        output=output,
    )
    assert "the bond C0-O1 stretched" in result["stopped"]
    assert result["steps"] < 100
    frames = ase.io.read(output, ":")
    assert len(frames) == result["frames"] > 3
    assert "C0-O1" in frames[-1].info["molequi_stopped"]


def test_blow_up_stops(morse, tmp_path):
    """Two atoms on top of each other's wall fly apart at tens of thousands of kelvin."""
    result = run_md(
        diatomic(0.5),
        morse(),
        MDSettings(temperature=None, steps=500, max_stretch=None),
        output=tmp_path / "md.xyz",
    )
    assert "temperature rose to" in result["stopped"]
    assert len(ase.io.read(tmp_path / "md.xyz", ":")) == result["frames"]


def test_forces_that_are_not_finite_stop(morse, water, tmp_path):
    model = morse()
    compute, calls = model.compute, []

    def failing(graph, **options):
        calls.append(1)
        outputs = compute(graph, **options)
        return (
            outputs if len(calls) < 22 else {**outputs, "forces": outputs["forces"] * float("nan")}
        )

    model.compute = failing
    result = run_md(water, model, MDSettings(steps=50, interval=5), output=tmp_path / "md.xyz")
    assert "forces are no longer finite" in result["stopped"]
    frames = ase.io.read(tmp_path / "md.xyz", ":")
    assert np.isfinite([atoms.get_forces() for atoms in frames]).all()
    assert len(frames) == 3


def test_held_atoms_stay(morse, water):
    water.set_constraint(FixAtoms([0]))
    seen = []
    run_md(
        water,
        morse(),
        MDSettings(steps=20, interval=5),
        progress=lambda step, steps, atoms: seen.append(atoms.positions[0].copy()),
    )
    np.testing.assert_array_equal(seen, np.tile(water.positions[0], (5, 1)))


def test_periodic_run_keeps_the_cell_and_bonds_through_the_wall(morse, tmp_path):
    atoms = molecule("H2O", cell=[6.0, 6.0, 6.0], pbc=True)
    atoms.wrap()
    result = run_md(
        atoms, morse(), MDSettings(steps=40, interval=10, timestep=0.25), output=tmp_path / "md.xyz"
    )
    assert result["stopped"] is None
    last = ase.io.read(tmp_path / "md.xyz", "-1")
    assert last.cell.lengths() == pytest.approx([6.0] * 3)
    assert np.isfinite(last.get_stress()).all()


def test_input_and_calculator_are_not_changed(morse, water):
    before = water.copy()
    calculator = Calculator(morse())
    run_md(water, calculator, MDSettings("nvt", steps=5))
    assert water == before
    assert not water.has("momenta")
    assert water.calc is None
    assert water.constraints == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ensemble": "nvp"}, "choose nve"),
        ({"timestep": 0.0}, "timestep is 0"),
        ({"temperature": -1.0}, "temperature is -1"),
        ({"interval": 0}, "interval 0"),
        ({"ensemble": "nvt", "temperature": None}, "needs a temperature"),
        ({"friction": float("nan")}, "friction"),
        (
            {"ensemble": "nvt", "temperature": 300.0, "friction": 100.0},
            "friction is 100 1/fs, 50 with the timestep of 0.5 fs: .* at most 2; usual are",
        ),
    ],
)
def test_settings_that_cannot_be(options, message):
    with pytest.raises(UserError, match=message):
        MDSettings(**options)


def test_statistics_are_a_straight_line_fit():
    rng = np.random.default_rng(0)
    time, energy = (
        np.arange(50) * 0.5,
        -4000.0 + 1e-5 * np.arange(50) + rng.normal(scale=1e-4, size=50),
    )
    statistics = Statistics()
    for t, e in zip(time, energy, strict=True):
        statistics.add(t, e, 300.0 + t)
    assert statistics.slope == pytest.approx(
        np.polyfit(time, energy - energy.mean(), 1)[0], rel=1e-6
    )
    assert statistics.temperature_mean == pytest.approx(300.0 + time.mean())
    assert Statistics().slope is None


def test_model_without_an_energy_cannot_move_atoms(morse, water):
    with pytest.raises(UserError, match="morse gives dipole, charges, but no energy"):
        run_md(water, morse(outputs=("dipole", "charges")))


def test_unsafe_is_marked(morse, water, tmp_path):
    water.info["charge"] = 2
    result = run_md(
        water,
        Calculator(morse(), unsafe=True),
        MDSettings(steps=5, interval=5),
        output=tmp_path / "md.xyz",
    )
    assert "charge" in result["unsafe"]
    assert "charge" in ase.io.read(tmp_path / "md.xyz").info["molequi_unsafe"]


def test_smiles_and_files_are_taken_too(morse, tmp_path):
    path = tmp_path / "in.xyz"
    ase.io.write(path, [molecule("H2O"), molecule("CH4")])
    assert run_md(path, morse(), MDSettings(steps=2))["formula"] == "H2O"


def test_the_largest_doubt_is_that_of_the_log(tmp_path):
    output = tmp_path / "md.xyz"
    result = run_md(molecule("H2O"), "organic", MDSettings(steps=6, interval=1), output=output)
    with (tmp_path / "md.xyz.csv").open(encoding="utf-8") as file:
        doubts = [float(row["max_doubt_eV_A"]) for row in csv.DictReader(file)]
    assert len(doubts) == 7
    assert result["max_doubt_ev_a"] == max(doubts)
