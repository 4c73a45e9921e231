"""Spectra: bands hold the strength of their lines, dynamics and normal modes say the same."""

import csv
import json

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

from molequi.errors import UserError
from molequi.models.making import make_model
from molequi.simulation.autocorrelation import CORRECTIONS, Record, infrared_of_record, nyquist
from molequi.simulation.bands import Bands
from molequi.simulation.calculator import Calculator
from molequi.simulation.dipole_record import trajectory_spectrum
from molequi.simulation.harmonic import harmonic
from molequi.simulation.intensities import infrared, infrared_intensities
from molequi.simulation.normal_modes import normal_modes
from molequi.simulation.spectrum import SpectrumSettings, spectrum
from molequi.structures.atoms import origin_of_ions

CM_PER_FS = units._c * 1e-13


@pytest.mark.parametrize("shape", ["lorentzian", "gaussian"])
def test_a_band_has_the_area_of_its_line_and_the_width_asked_for(shape):
    bands = Bands(width=8.0, shape=shape, low=0.0, high=4000.0, step=0.5)
    curve = bands.broadened(np.array([2000.0]), np.array([30.0]))
    assert np.trapezoid(curve.values, curve.wavenumbers) == pytest.approx(30.0, rel=2e-3)
    wide = curve.wavenumbers[curve.values >= curve.values.max() / 2]
    assert np.ptp(wide) == pytest.approx(8.0, abs=0.5)


def oscillations(atoms, calculator, n_frames, interval, temperature):
    """Every mode of a molecule with the energy kT, at phases of its own: frames of a trajectory."""
    found = harmonic(atoms, calculator, relax_first=True, fmax=1e-6)
    still, modes = found.atoms, found.modes
    omegas = 2 * np.pi * CM_PER_FS * modes.frequencies  # 1/fs
    kT = units.kB * temperature * units.fs**2
    times = interval * np.arange(n_frames)
    phases = np.array([0.3, 1.1, 2.0])[: len(omegas)]
    amplitudes = np.sqrt(2 * kT) / omegas * np.cos(np.outer(times, omegas) + phases)
    directions = modes.weighted / np.sqrt(still.get_masses())[:, None]
    moved = still.positions + np.einsum("tk,kni->tni", amplitudes, directions)
    return found, moved


def test_dynamics_and_normal_modes_give_the_same_intensities(morse):
    """Small harmonic vibrations: the band areas are the double harmonic intensities."""
    model, temperature = morse(), 5.0
    calculator = Calculator(model)
    found, moved = oscillations(molecule("H2O"), calculator, 6000, 2.0, temperature)
    dipoles = []
    for positions in moved:
        frame = found.atoms.copy()
        frame.positions = positions
        charges = np.array([-0.6, 0.3, 0.3])
        dipoles.append(charges @ positions)
    record = Record(np.array(dipoles), 2.0, temperature)
    bands = Bands(width=10.0, shape="gaussian", high=7000.0)
    curve = infrared_of_record(record, bands)
    for place, strength in zip(
        found.modes.frequencies, infrared(found.atoms, calculator, found.modes), strict=True
    ):
        near = np.abs(curve.wavenumbers - place) < 40.0
        area = np.trapezoid(curve.values[near], curve.wavenumbers[near])
        assert area == pytest.approx(strength, rel=0.02, abs=0.02)
        top = curve.wavenumbers[near][np.argmax(curve.values[near])]
        assert top == pytest.approx(place, abs=1.0)


@pytest.mark.parametrize("name", CORRECTIONS)
def test_corrections_are_the_factors_of_the_papers(name):
    """Ramirez et al. 2004, table I: Q of x = hbar omega / kT, on the classical line shape."""
    x = np.array([0.01, 1.0, 4.0])
    factors = {
        "none": np.ones(3),
        "standard": 2 / (1 + np.exp(-x)),
        "harmonic": x / (1 - np.exp(-x)),
        "schofield": np.exp(x / 2),
    }
    expected = factors[name] * (1 - np.exp(-x)) / x
    np.testing.assert_allclose(CORRECTIONS[name](x), expected, rtol=1e-12)


def written(path, n_frames=400, *, time=True, dipole=True, momenta=True):
    random = np.random.default_rng(1)
    frames = []
    for k in range(n_frames):
        frame = molecule("H2O")
        frame.positions[1, 1] += 0.05 * np.cos(2 * np.pi * CM_PER_FS * 2000.0 * 2.0 * k)
        if momenta:
            frame.set_momenta(random.normal(size=(3, 3)))
        if time:
            frame.info["molequi_time_fs"] = 2.0 * k
        results = {"energy": 0.0, "forces": np.zeros((3, 3))}
        if dipole:
            results["dipole"] = np.array([-0.6, 0.3, 0.3]) @ frame.positions
        frame.calc = SinglePointCalculator(frame, **results)
        frames.append(frame)
    ase.io.write(path, frames, format="extxyz")
    return path


def test_a_trajectory_file_tells_times_dipoles_and_temperature(tmp_path):
    path = written(tmp_path / "md.xyz", 500)
    folder = tmp_path / "spectrum"
    result = trajectory_spectrum(path, bands=Bands(width=40.0, shape="gaussian"), output=folder)
    assert (result["frames"], result["interval_fs"]) == (500, 2.0)
    # The molecule turns: its centre alone does not count.
    frames = ase.io.read(path, ":")
    whole = [
        np.square(atoms.get_momenta().sum(0)).sum() / atoms.get_masses().sum() for atoms in frames
    ]
    kinetic = np.mean([atoms.get_kinetic_energy() for atoms in frames]) - np.mean(whole) / 2
    assert result["temperature"] == pytest.approx(2 * kinetic / (6 * units.kB))
    top = result["wavenumbers"][np.argmax(result["values"])]
    assert top == pytest.approx(2000.0, abs=2.0)
    assert "harmonic quantum correction" in result["method"]
    assert (folder / "spectrum.png").stat().st_size > 10_000
    assert not (folder / "sticks.csv").exists()


@pytest.mark.parametrize(
    ("name", "held", "drift", "n_degrees"),
    [
        ("H2O", [], 0.0, 3),
        ("H2O", [], 0.05, 3),
        ("N2", [], 0.0, 1),
        ("CO2", [], 0.05, 3),
        ("H2O", [0, 1], 0.0, 3),
    ],
)
def test_temperature_of_momenta_counts_what_moves_beside_the_whole(
    tmp_path, name, held, drift, n_degrees
):
    """A molecule that swells and shrinks as it flies, in a direction that files round."""
    still = molecule(name)
    still.rotate(50.0, (1, 2, 3))
    still.set_constraint(FixAtoms(held))
    arms = still.positions - still.get_center_of_mass()
    frames, kinetic = [], []
    for k in range(420):
        frame = still.copy()
        frame.set_momenta(0.01 * np.cos(0.3 * k) * frame.get_masses()[:, None] * arms)
        kinetic.append(frame.get_kinetic_energy())
        frame.set_momenta(frame.get_momenta() + drift * frame.get_masses()[:, None])
        frame.calc = SinglePointCalculator(frame, dipole=[0.1 * np.cos(0.3 * k), 0.0, 0.0])
        frames.append(frame)
    ase.io.write(tmp_path / "md.xyz", frames)
    bands = Bands(width=40.0, shape="gaussian")
    result = trajectory_spectrum(tmp_path / "md.xyz", bands=bands, interval=2.0)
    expected = 2 * np.mean(kinetic) / (n_degrees * units.kB)
    assert result["temperature"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("how", "arguments", "said"),
    [
        ({"time": False}, {}, "--interval"),
        ({"momenta": False}, {}, "--temperature"),
        ({}, {"correction": "wigner"}, "'wigner' is unknown"),
        ({"n_frames": 5}, {}, "5 frames"),
        ({"n_frames": 100}, {}, "bands of 40 cm⁻¹ need"),
        ({"time": False}, {"interval": 5.0}, "tell wavenumbers up to 3336 cm⁻¹ alone"),
        ({}, {"temperature": 0.0}, "temperature is 0"),
        ({}, {"interval": 1.0}, "the frames are 2 fs apart .* and 1 fs were given"),
        ({"time": False}, {"interval": 4.0}, "keep frames every 3.9 fs or less"),
    ],
)
def test_what_a_trajectory_lacks_is_said(tmp_path, how, arguments, said):
    path = written(tmp_path / "md.xyz", **{"n_frames": 400, **how})
    with pytest.raises(UserError, match=said):
        trajectory_spectrum(path, bands=Bands(width=40.0, shape="gaussian"), **arguments)


def test_frames_of_other_molecules_are_no_trajectory(tmp_path):
    frames = [molecule("H2O")] * 20 + [molecule("NH3")]
    ase.io.write(tmp_path / "mixed.xyz", frames)
    with pytest.raises(UserError, match="frame 20 is H3N"):
        trajectory_spectrum(tmp_path / "mixed.xyz")


def test_dipoles_that_a_file_lacks_come_from_the_model(tmp_path, network):
    path = written(tmp_path / "md.xyz", 420, dipole=False)
    result = trajectory_spectrum(path, network, Bands(width=40.0, shape="gaussian"))
    assert result["model"] == "random"
    assert np.isfinite(result["values"]).all()


def test_nyquist():
    assert nyquist(5.0) == pytest.approx(3335.64, abs=0.01)


def test_water_has_three_infrared_bands_in_the_right_order(tmp_path):
    """NIST: bend 1595, symmetric 3657, asymmetric stretch 3756 cm^-1; 63.9, 2.9, 41.7 km/mol.

    Harmonic frequencies lie above by up to 5 %.
    """
    folder = tmp_path / "ir"
    result = spectrum(molecule("H2O"), output=folder)
    (bend, symmetric, asymmetric) = result["sticks"]
    for row, place in ((bend, 1595), (symmetric, 3657), (asymmetric, 3756)):
        assert row["wavenumber_cm1"] == pytest.approx(place, rel=0.08)
    assert bend["strength"] > asymmetric["strength"] > symmetric["strength"]
    with (folder / "sticks.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["strength [km/mol]"]) for row in rows] == [
        row["strength"] for row in result["sticks"]
    ]
    with (folder / "spectrum.csv").open(encoding="utf-8") as file:
        curve = [tuple(map(float, row.values())) for row in csv.DictReader(file)]
    total = sum(values[1] for values in curve)
    assert total == pytest.approx(sum(row["strength"] for row in result["sticks"]), rel=0.03)
    # 1 km/mol is 43.43 L/(mol cm²): A = ln 10 times the integral of the molar absorption.
    assert curve[1600][2] == pytest.approx(curve[1600][1] * 1e3 / np.log(10) / 10)
    assert json.loads((folder / "result.json").read_text())["unit"] == "km/mol"


@pytest.mark.parametrize("name", ["HCN", "H2CO", "CH3OH"])
def test_lines_of_the_bundled_model_are_those_of_finite_differences(name):
    """To 1 cm^-1, and to 1 % of the strongest line: central differences of forces and dipoles."""
    calculator = Calculator("organic", dtype="float64")
    found = harmonic(molecule(name), calculator, relax_first=True, fmax=1e-4)
    rows, slopes, step = [], [], 1e-4
    for number in range(len(found.atoms)):
        for axis in range(3):
            sides = []
            for sign in (1, -1):
                moved = found.atoms.copy()
                moved.calc = calculator
                moved.positions[number, axis] += sign * step
                sides.append((moved.get_forces().ravel(), moved.get_dipole_moment()))
            rows.append((sides[1][0] - sides[0][0]) / (2 * step))
            slopes.append((sides[0][1] - sides[1][1]) / (2 * step))
    masses = found.atoms.get_masses()
    modes = normal_modes((np.array(rows) + np.array(rows).T) / 2, masses, found.atoms.positions)
    np.testing.assert_allclose(found.modes.frequencies, modes.frequencies, atol=1.0)
    expected = infrared_intensities(modes, np.array(slopes).T.reshape(3, -1, 3), masses)
    ours = infrared(found.atoms, calculator, found.modes)
    np.testing.assert_allclose(np.sort(ours), np.sort(expected), atol=0.01 * expected.max())


def test_raman_takes_the_polarizability_of_another_model(morse, caplog):
    result = spectrum(molecule("H2O"), morse(), SpectrumSettings("raman"))
    assert result["optics"] == "chiroptical"
    assert result["optics_limit"] in caplog.messages
    assert "relaxed molecules alone" in result["optics_limit"]
    ratios = [row["depolarisation"] for row in result["sticks"]]
    assert max(ratios) == pytest.approx(0.75, abs=1e-3)  # the asymmetric stretch
    assert min(ratios) < 0.3


def test_conformers_make_a_mean(tmp_path):
    """H2O2 has one conformer and its image: the mean is either one's spectrum."""
    read = spectrum(
        Atoms("OOHH", [[0, 0, 0], [0, 0, 1.45], [0.94, 0, -0.15], [0.2, 0.9, 1.6]]),
        settings=SpectrumSettings(conformers=2, gibbs=True),
    )
    assert sum(one["weight"] for one in read["conformers"]) == pytest.approx(1.0)
    assert len(read["conformers"]) == 2
    assert read["conformers"][0]["gibbs_energy"] is not None
    alone = [row["strength"] for row in read["sticks"] if row["conformer"] == 0]
    other = [row["strength"] for row in read["sticks"] if row["conformer"] == 1]
    assert alone == pytest.approx(other)
    assert len(alone) == 6


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kind": "vcd"}, "atomic axial tensors"),
        ({"kind": "uv"}, "'uv' is unknown"),
        ({"temperature": -1.0}, "temperature is -1"),
        ({"conformers": 0}, "conformers is 0"),
        ({"conformers": 3, "relax_first": False}, "conformers are relaxed"),
        ({"scale": 96.0}, "scale is 96"),
    ],
)
def test_impossible_settings_are_refused(settings, said):
    with pytest.raises(UserError, match=said):
        SpectrumSettings(**settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"width": 0.0}, "width is 0"),
        ({"shape": "voigt"}, "'voigt' is unknown"),
        ({"low": 500.0, "high": 100.0}, "it must rise"),
        ({"step": 1e-6}, "larger"),
    ],
)
def test_impossible_bands_are_refused(settings, said):
    with pytest.raises(UserError, match=said):
        Bands(**settings)


def test_a_model_without_a_dipole_has_no_infrared(morse):
    with pytest.raises(UserError, match="model morse gives none"):
        spectrum(molecule("H2O"), morse(outputs=("energy",)))
    with pytest.raises(UserError, match="periodic structures have none"):
        spectrum(molecule("H2O", cell=[8.0] * 3, pbc=True), morse())


def test_only_the_bundled_optics_are_called_rough(morse, caplog):
    optics = make_model([1, 8], ["polarizability"], n_channels=4)
    result = spectrum(molecule("H2O"), morse(), SpectrumSettings("raman"), optics=optics)
    assert "optics_limit" not in result and not caplog.messages


def test_optics_without_polarizability_are_refused(morse):
    optics = make_model([1, 8], ["energy"], n_channels=4)
    with pytest.raises(UserError, match="no polarizability"):
        spectrum(molecule("H2O"), morse(), SpectrumSettings("raman"), optics=optics)


def test_isotopes_that_conformers_would_lose_are_refused():
    heavy = molecule("CH3OH")
    heavy.set_masses([2.0141 if number == 1 else None for number in heavy.numbers])
    with pytest.raises(UserError, match="CD4O names isotopes, which its conformers lose"):
        spectrum(heavy, "organic", SpectrumSettings(conformers=2))


def test_frames_of_several_structures_at_once_are_no_trajectory(tmp_path):
    path = written(tmp_path / "md.xyz", 40)
    frames = ase.io.read(path, ":")
    for number, frame in enumerate(frames):
        frame.info["molequi_index"] = number % 2
    ase.io.write(path, frames, format="extxyz")
    with pytest.raises(UserError, match="the frames are of 2 structures that moved at once"):
        trajectory_spectrum(path)


def test_the_charge_of_frames_that_state_none(tmp_path, network, caplog):
    """NH4+: with no charge it would be a radical, which no model here knows."""
    frames = []
    for k in range(420):
        frame = Atoms("NH4", molecule("CH4").positions * (1.0 + 0.01 * np.cos(0.3 * k)))
        frame.set_momenta(np.ones((5, 3)))
        frames.append(frame)
    ase.io.write(tmp_path / "md.xyz", frames)
    how = {"bands": Bands(width=40.0, shape="gaussian"), "interval": 2.0, "temperature": 300.0}
    with pytest.raises(UserError, match="odd number of electrons|multiplicity"):
        trajectory_spectrum(tmp_path / "md.xyz", "organic", **how)
    result = trajectory_spectrum(tmp_path / "md.xyz", "organic", charge=1, **how)
    assert (result["total_charge"], result["charge_source"]) == (1, "the option charge")
    path = written(tmp_path / "own.xyz", 420)
    result = trajectory_spectrum(path, network, Bands(width=40.0, shape="gaussian"))
    assert result["charge_source"].startswith("assumed")
    assert "the model has nothing to do" in caplog.text


@pytest.mark.parametrize("source", ["md", "label", "model", "unknown"])
def test_dipoles_of_isotopes_of_an_ion_are_brought_to_their_own_centre(tmp_path, network, source):
    """OD-: the centre of standard masses moves in its vibration, and charge with it."""
    calculator, frames, dipoles = Calculator(network, unsafe=True), [], []
    keys = {"md": "molequi_dipole_origin", "label": "dipole_origin"}
    for k in range(420):
        positions = [[0, 0, 0], [0.97 + 0.05 * np.cos(0.3 * k), 0, 0]]
        frame = Atoms("OH", positions, masses=[15.999, 2.0141], info={"charge": -1})
        dipole = calculator.get_property("dipole", frame)
        away = Atoms("OH", positions).get_center_of_mass() - frame.get_center_of_mass()
        dipoles.append(dipole - (source != "unknown") * away)
        if source != "model":
            frame.calc = SinglePointCalculator(frame, dipole=dipole)
        if source in keys:
            frame.info[keys[source]] = origin_of_ions(frame)
        frames.append(frame)
    ase.io.write(tmp_path / "md.xyz", frames)
    bands = Bands(width=40.0, shape="gaussian")
    result = trajectory_spectrum(
        tmp_path / "md.xyz", network if source == "model" else None, bands,
        interval=2.0, temperature=300.0, unsafe=True,
    )  # fmt: skip
    expected = infrared_of_record(Record(np.array(dipoles), 2.0, 300.0), bands).values
    np.testing.assert_allclose(result["values"], expected, atol=1e-4 * expected.max())
