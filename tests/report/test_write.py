"""Pages: what they say of a run, of structures, of a trajectory, of vibrations, of a model."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import shutil
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from matplotlib.figure import Figure

from molequi.errors import UserError
from molequi.models.checkpoint import read_description
from molequi.properties import declare
from molequi.report import write_report
from molequi.report.predicted import Predictions
from molequi.report.runs import pictures
from molequi.report.tables import Digits
from molequi.report.trajectory import read_film
from molequi.report.vibrations import broadened
from molequi.simulation.md import run_md
from molequi.simulation.md_settings import MDSettings
from molequi.simulation.scan import run_scan
from molequi.simulation.scan_points import ScanSettings
from molequi.simulation.vibrations import vibrations
from molequi.structures.inputs import read_inputs


def scenes(page: Path) -> list[dict]:
    """Return what the viewers of a page are given."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r'<script type="application/json" id="[^"]+">(.*?)</script>', text)
    return [json.loads(one) for one in found]


def said(page: Path) -> str:
    """Return the words of a page, without its tags and scripts."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"<(script|style)\b.*?</\1>", "", text, flags=re.DOTALL)
    return re.sub(r"<[^>]+>", " ", text)


def test_a_run_has_its_page_with_its_errors(run_folder: Path) -> None:
    page = run_folder / "report.html"
    text = said(page)
    result = json.loads((run_folder / "result.json").read_text())
    for name, row in result.items():
        assert name.replace("_", " ") in text
        assert f"{row['mae']:.4g}" in text
        assert f"{row['baseline_mae']:.4g}" in text
    for heading in ("Learning curves", "Forces by element", "Where it is most wrong"):
        assert heading in text
    assert str(run_folder.parent) not in text


def test_errors_by_element_are_those_of_the_predictions(run_folder: Path) -> None:
    """Against numbers counted here, from the arrays of the file."""
    path = run_folder / "test_predictions.npz"
    found = Predictions(path, read_description(run_folder / "model.safetensors"))
    (forces,) = (one for one in found.compared if one.row.name == "forces")
    with np.load(path) as arrays:
        apart = np.abs(arrays["forces_predicted"] - arrays["forces"])
        numbers = arrays["atomic_numbers"]
        energies = arrays["energy_predicted"] - arrays["energy"]
        n_atoms = arrays["n_atoms"]
    for element in (1, 6, 8):
        mine = forces.errors[found.numbers == element].mean()
        assert mine == pytest.approx(apart[numbers == element].mean(), rel=1e-12)
    (energy,) = (one for one in found.compared if one.row.name == "energy")
    assert energy.errors == pytest.approx(1000 * np.abs(energies) / n_atoms, rel=1e-9)
    assert energy.labels - energy.predictions == pytest.approx(-energies, abs=1e-9)
    assert np.abs(energy.labels).max() < 10  # what the composition tells is taken off


def test_where_it_is_most_wrong_it_says_probabilities_and_all_digits_that_tell(
    tmp_path: Path,
) -> None:
    rows = [declare("toxic", unit="1", binary=True), declare("rate", unit="1")]
    np.savez(
        tmp_path / "found.npz", n_atoms=[1], atomic_numbers=[1], positions=np.zeros((1, 3)),
        toxic=[0.0], toxic_predicted=[2.0], rate=[1.234e-6], rate_predicted=[-1234.56789],
    )  # fmt: skip
    description = {
        "metadata": {"training": {"baseline": {}}},
        "properties": [dataclasses.asdict(row) for row in rows],
    }
    page = tmp_path / "page.html"
    page.write_text(str(Predictions(tmp_path / "found.npz", description).worst("scene")))
    notes = [["toxic", "0.8808, label 0"], ["rate", "−1234.5679, label 1.23·10⁻⁶"]]
    assert scenes(page)[0]["frames"][0]["notes"] == notes


def test_headings_keep_the_capitals_of_names(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "found.npz", n_atoms=[1, 2], atomic_numbers=[1, 6, 8], logP=[0.0, 1.0],
        logP_predicted=[0.5, 2.0],
    )  # fmt: skip
    description = {
        "metadata": {"training": {"baseline": {}}},
        "properties": [dataclasses.asdict(declare("logP", unit="1"))],
    }
    found = Predictions(tmp_path / "found.npz", description)
    assert "<h4>LogP by element</h4>" in str(found.by_element()[0])
    Figure(figsize=(1, 1)).savefig(tmp_path / "error_of_logP.png")
    assert "<h4>Error of logP</h4>" in str(pictures(tmp_path))


def test_structures_are_in_the_viewer_and_in_the_table(structures: Path, tmp_path: Path) -> None:
    page = write_report(structures, tmp_path / "page.html")
    (scene,) = scenes(page)
    atoms = ase.io.read(structures, index=":")
    for frame, one in zip(scene["frames"], atoms, strict=True):
        assert frame["symbols"] == one.get_chemical_symbols()
        apart = np.array(frame["positions"]) - one.positions
        assert np.ptp(apart, axis=0) == pytest.approx(0, abs=2e-3)
        assert np.array(frame["arrows"]["forces"]) == pytest.approx(one.get_forces(), abs=5e-3)
        assert frame["dipole"] == pytest.approx([0, 0, 0.2], abs=1e-3)
    text = said(page)
    assert f"{0.2 * 4.80320:.4g}" in text  # D
    assert "ammonia &amp; co" in text
    assert "30" in text  # meV


def test_a_trajectory_is_measured(trajectory: Path, tmp_path: Path) -> None:
    """Total energies by ASE, frame by frame."""
    frames = ase.io.read(trajectory, index=":")
    film = read_film(read_inputs(trajectory))
    total = film.values["potential"] + film.values["kinetic"]
    assert total == pytest.approx([frame.get_total_energy() for frame in frames], abs=1e-9)
    assert film.values["time_fs"] == pytest.approx(0.5 * np.arange(12))
    page = write_report(trajectory, tmp_path / "page.html")
    slope = np.polyfit(5e-4 * np.arange(12), 1000 * total / 9, 1)[0]
    assert f"{slope:.4g} meV/atom/ps".replace("-", "−") in said(page)
    assert len(scenes(page)[0]["frames"]) == 12


def test_only_energies_of_an_nve_run_drift(trajectory: Path, tmp_path: Path) -> None:
    """A thermostat changes the energy; of a file that names no ensemble one says no more."""
    text = said(write_report(trajectory, tmp_path / "nve.html"))
    assert re.search(r"ensemble\s+nve", text)
    assert "drift of the total energy" in text
    held = tmp_path / "held.xyz"
    run_md(molecule("H2O"), "organic", MDSettings("nvt", steps=5, interval=1), output=held)
    text = said(write_report(held))
    assert re.search(r"ensemble\s+nvt", text)
    assert re.search(r"model\s+organic, ωB97M", text)
    assert "meV/atom/ps" not in text
    frames = ase.io.read(held, index=":")
    for frame in frames:
        del frame.info["molequi_ensemble"]
    ase.io.write(tmp_path / "silent.xyz", frames, format="extxyz")
    text = said(write_report(tmp_path / "silent.xyz"))
    assert "change of the total energy" in text
    assert "drift of the total energy" not in text


def test_a_trajectory_of_ase_is_as_hot_as_its_momenta(trajectory: Path, tmp_path: Path) -> None:
    frames = ase.io.read(trajectory, index=":")
    for frame in frames:
        frame.info.clear()
    ase.io.write(tmp_path / "own.traj", frames)
    film = read_film(read_inputs(tmp_path / "own.traj"))
    assert film.values["temperature"] == pytest.approx([one.get_temperature() for one in frames])


def test_a_frame_without_energy_leaves_the_others_their_charts(
    trajectory: Path, tmp_path: Path
) -> None:
    """Wherever it stands; the slope is that of the others."""
    frames = ase.io.read(trajectory, index=":")
    frames[0].calc.results["energy"] = np.nan
    ase.io.write(tmp_path / "gap.xyz", frames, format="extxyz")
    page = write_report(tmp_path / "gap.xyz")
    total = np.array([frame.get_total_energy() for frame in frames[1:]])
    slope = np.polyfit(5e-4 * np.arange(1, 12), 1000 * total / 9, 1)[0]
    assert f"{slope:.4g} meV/atom/ps".replace("-", "−") in said(page)
    charts = page.read_text(encoding="utf-8").split("<figure>")
    for heading in ("Total energy", "Potential and kinetic energy"):
        (chart,) = (one for one in charts if f"<h4>{heading}</h4>" in one)
        assert chart.count('class="line tone0"') == 1
    assert "nan eV" not in page.read_text(encoding="utf-8")
    first, second = scenes(page)[0]["frames"][:2]
    assert (first["notes"], second["notes"][0][0]) == ([], "energy")
    assert Digits.of(np.nan, 4) == "–"


def test_frames_of_other_atoms_are_left_out_and_counted(tmp_path: Path) -> None:
    """Between their energies nothing happened."""
    frames = [molecule("H2O") for _ in range(6)] + [molecule("CH4")]
    for atoms in frames:
        atoms.calc = SinglePointCalculator(atoms, energy=-10.0 * len(atoms))
    ase.io.write(tmp_path / "two.traj", frames)
    assert read_film(read_inputs(tmp_path / "two.traj")).values["potential"].tolist() == [-30] * 6
    page = write_report(tmp_path / "two.traj")
    assert "1 frame of other atoms left out." in said(page)
    assert len(scenes(page)[0]["frames"]) == 6


def test_whole_numbers_of_a_file_are_numbers(tmp_path: Path) -> None:
    """As a writer leaves them that drops the point."""
    frame = (
        "2\nProperties=species:S:1:pos:R:3 energy={} molequi_time_fs={} molequi_temperature={} "
        'molequi_energy_std=1 pbc="F F F"\nH 0 0 0\nH 0 0 0.7\n'
    )
    text = "".join(frame.format(-30 + k % 2, 10 * k, 300 + k) for k in range(6))
    (tmp_path / "whole.xyz").write_text(text)
    film = read_film(read_inputs(tmp_path / "whole.xyz", as_is=True))
    assert film.values["potential"].tolist() == [-30, -29, -30, -29, -30, -29]
    assert film.values["time_fs"].tolist() == [0, 10, 20, 30, 40, 50]
    assert film.values["temperature"].tolist() == [300, 301, 302, 303, 304, 305]
    (tmp_path / "one.xyz").write_text(frame.format(-30, 0, 300))
    text = said(write_report(tmp_path / "one.xyz"))
    assert re.search(r"energy ±\s+\(meV\).* 1000\b", text, re.DOTALL)


def test_the_length_of_a_dipole_alone_is_no_dipole(tmp_path: Path) -> None:
    frame = (
        '3\nProperties=species:S:1:pos:R:3 energy=-5 dipole=1.85 {}pbc="F F F"\nO 0 0 0\n'
        "H 0 0 1\nH 0 1 0\n"
    )
    (tmp_path / "one.xyz").write_text(frame.format(""))
    page = write_report(tmp_path / "one.xyz")
    assert "dipole" not in said(page)
    assert "dipole" not in scenes(page)[0]["frames"][0]
    moving = "".join(frame.format(f"molequi_time_fs={k} ") for k in range(3))
    (tmp_path / "film.xyz").write_text(moving)
    page = write_report(tmp_path / "film.xyz")
    assert "Dipole moment" not in said(page)
    assert not any("dipole" in one for one in scenes(page)[0]["frames"])


@pytest.mark.parametrize(
    ("heading", "atom", "message"),
    [
        ('energy="1 2 3"', "", r"structure 0 of .*odd.xyz: energy is \[1 2 3\]; .* one number"),
        ("energy=low", "", "energy is low; it must be one number"),
        ("energy=-5", " low", "molequi_forces_std is .*; it must be 3 numbers"),
    ],
)
@pytest.mark.parametrize("n_frames", [1, 2])
def test_results_that_are_no_numbers_are_named(
    heading: str, atom: str, message: str, n_frames: int, tmp_path: Path
) -> None:
    """Of structures, and of a trajectory."""
    columns = "species:S:1:pos:R:3" + (":molequi_forces_std:S:1" if atom else "")
    atoms = "".join(f"{place}{atom}\n" for place in ("O 0 0 0", "H 0 0 1", "H 0 1 0"))
    frames = (
        f'3\nProperties={columns} {heading} molequi_time_fs={k}.0 pbc="F F F"\n{atoms}'
        for k in range(n_frames)
    )
    (tmp_path / "odd.xyz").write_text("".join(frames))
    with pytest.raises(UserError, match=message):
        write_report(tmp_path / "odd.xyz")
    assert not (tmp_path / "odd.xyz.html").exists()


def test_names_and_models_of_a_file_may_be_numbers(tmp_path: Path) -> None:
    heading = 'Properties=species:S:1:pos:R:3 name="1 2" molequi_model="3 4" pbc="F F F"'
    (tmp_path / "odd.xyz").write_text(f"2\n{heading}\nH 0 0 0\nH 0 0 0.7\n")
    assert "1 structure, computed by [3 4]." in said(write_report(tmp_path / "odd.xyz"))


def test_a_long_trajectory_leaves_some_frames_out(trajectory: Path) -> None:
    frames = list(read_inputs(trajectory))
    film = read_film(frames[0] for _ in range(1000))
    assert 75 <= len(film.snapshots) <= 150
    assert len(film.values["potential"]) == 1000


def test_vibrations_have_their_modes(vibrations_folder: Path, tmp_path: Path) -> None:
    page = write_report(vibrations_folder, tmp_path / "page.html")
    (scene,) = scenes(page)
    result = json.loads((vibrations_folder / "result.json").read_text())
    assert len(scene["modes"]) == len(result["frequencies_cm1"]) == 3
    for mode in scene["modes"]:
        assert np.linalg.norm(mode["move"], axis=1).max() == pytest.approx(1, abs=2e-3)
    for frequency in result["frequencies_cm1"]:
        assert f"{frequency:.1f}".replace("-", "−") in said(page)


def test_a_spectrum_is_drawn_from_its_files(tmp_path: Path) -> None:
    (tmp_path / "spectrum.csv").write_text("wavenumber [cm^-1],Raman [Å⁴/amu]\n1,2\n2,5\n3,1\n")
    (tmp_path / "sticks.csv").write_text("mode,wavenumber [cm^-1],strength [Å⁴/amu]\n0,2,7\n")
    (tmp_path / "result.json").write_text('{"kind": "raman", "unit": "Å⁴/amu", "formula": "H2"}')
    text = said(write_report(tmp_path))
    for words in ("Raman spectrum", "wavenumber (cm⁻¹)", "Raman (Å⁴/amu)", "strength (Å⁴/amu)"):
        assert words in text
    (tmp_path / "spectrum.csv").write_text("wavenumber [cm^-1],Raman [Å⁴/amu]\n1,x\n")
    with pytest.raises(UserError, match="damaged"):
        write_report(tmp_path, tmp_path / "again.html")


def test_a_lone_atom_has_its_thermochemistry_and_no_modes(tmp_path: Path) -> None:
    folder = tmp_path / "chloride"
    vibrations(Atoms("Cl", info={"charge": -1}), "organic", output=folder)
    page = write_report(folder, tmp_path / "page.html")
    assert "A lone atom has no vibrations" in said(page)
    assert "quasi-harmonic" in said(page)
    assert not scenes(page)


def test_scans_and_paths_show_their_energies_and_geometries(tmp_path: Path) -> None:
    water = molecule("H2O")
    scan = tmp_path / "scan"
    settings = ScanSettings("angle", "1-0-2", 100.0, 110.0, points=3, rigid=True)
    found = run_scan(water, "organic", settings, output=scan)
    page = write_report(scan, tmp_path / "scan.html")
    assert len(scenes(page)[0]["frames"]) == 3
    for words in ("angle 1-0-2 (°)", "Rigid.", f"{found['range_kj_mol']:.2f} kJ/mol"):
        assert words in said(page)
    path = tmp_path / "path"
    path.mkdir()
    shutil.copy(scan / "scan.xyz", path / "path.xyz")
    heights = {f"{name}_{unit}": 12.5 for name in ("barrier", "reverse_barrier", "reaction")
               for unit in ("ev", "kj_mol", "kcal_mol")}  # fmt: skip
    images = [{"place": 0.1 * k, "relative_ev": 0.2 * k} for k in range(3)]
    saddle = {"imaginary_cm1": [-895.1], "is_first_order": True}
    result = {"formula": "H2O", "n_atoms": 3, "model": "organic", "images": images, **heights,
              "saddle": saddle, "converged": False}  # fmt: skip
    (path / "result.json").write_text(json.dumps(result))
    text = said(write_report(path, tmp_path / "path.html"))
    for words in ("12.50 kJ/mol", "895i", "did not come to rest", "place along the path (Å)"):
        assert words in text
    (path / "result.json").write_text(json.dumps({**result, "saddle": None}))
    text = said(write_report(path, tmp_path / "slope.html"))
    for words in ("there is no barrier on this path", "B above A", "place along the path (Å)"):
        assert words in text
    assert "barrier backwards" not in text
    (path / "result.json").write_text(json.dumps({"formula": "H2O"}))
    with pytest.raises(UserError, match="damaged or holds no path"):
        write_report(path, tmp_path / "broken.html")


def test_thermochemistry_stands_where_a_folder_has_it(
    vibrations_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(vibrations_folder, tmp_path / "copy")
    result = json.loads((folder / "result.json").read_text())
    functions = {
        "internal_energy_ev": -1.5, "enthalpy_ev": -1.25, "entropy_j_mol_k": 188.8,
        "gibbs_energy_ev": -2.125,
    }  # fmt: skip
    gas = {"temperature": 298.15, "pressure_bar": 1.0, "quasi_harmonic": functions}
    (folder / "result.json").write_text(json.dumps({**result, "thermochemistry": gas}))
    text = said(write_report(folder))
    assert "−2.1250" in text
    assert "At 298.15 K and 1 bar" in text


def test_of_structures_that_were_run_together_the_first_is_shown(tmp_path: Path) -> None:
    frames = []
    for number in range(10):
        atoms = molecule("H2O" if number % 2 else "CH4")
        atoms.info |= {"molequi_index": number % 2, "molequi_time_fs": float(number // 2)}
        frames.append(atoms)
    ase.io.write(tmp_path / "both.xyz", frames, format="extxyz")
    page = write_report(tmp_path / "both.xyz")
    (scene,) = scenes(page)
    assert [len(frame["symbols"]) for frame in scene["frames"]] == [5] * 5
    assert "structure 0 of those run together" in said(page)


def test_bands_keep_their_areas_and_widths() -> None:
    x = np.arange(-20_000.0, 24_000.0, 0.5)
    y = broadened(np.array([1500.0, 3000.0]), np.array([10.0, 40.0]), x, 20.0)
    assert np.trapezoid(y, x) == pytest.approx(50.0, rel=2e-3)
    near = (x > 2000) & (x < 4000)
    above = x[near][y[near] > y[near].max() / 2]
    assert np.ptp(above) == pytest.approx(20.0, abs=1.1)
    assert x[near][y[near].argmax()] == 3000.0


def test_the_card_of_a_bundled_model(tmp_path: Path) -> None:
    text = said(write_report("organic", tmp_path / "page.html"))
    assert "force MAE (meV/Å)" in text
    assert "ωB97M-D3(BJ)/def2-TZVPP" in text


def test_a_model_file(run_folder: Path, tmp_path: Path) -> None:
    text = said(write_report(run_folder / "model.safetensors", tmp_path / "page.html"))
    assert "H C O" in text
    assert "baseline MAE" in text


def test_an_unfinished_run_shows_how_far_it_is(run_folder: Path, tmp_path: Path) -> None:
    for name in ("config.yaml", "metrics.csv", "split.json"):
        (tmp_path / name).write_bytes((run_folder / name).read_bytes())
    page = write_report(tmp_path)
    assert page == tmp_path / "report.html"
    assert "has not ended" in said(page)


def test_only_the_page_s_own_scripts_may_run(structures: Path, tmp_path: Path) -> None:
    """The policy names the hash of every script that stands there, and nothing of the rest."""
    text = write_report(structures, tmp_path / "page.html").read_text(encoding="utf-8")
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy.startswith("default-src &#x27;none&#x27;; script-src &#x27;sha256-")
    assert len(re.findall(r"<script>", text)) == policy.count("sha256-") == 2
    assert "<img" not in text.partition("<body>")[2].partition("<script>")[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "nothing to report on"),
        ({"result.json": "{"}, "damaged"),
        ({"modes.xyz": "", "result.json": "{}", "structure.xyz": ""}, "vibrations"),
    ],
)
def test_other_folders_are_refused(tmp_path: Path, content: dict, message: str) -> None:
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_files_without_a_readable_structure_are_refused(tmp_path: Path) -> None:
    (tmp_path / "noise.xyz").write_bytes(bytes(range(256)))
    with pytest.raises(UserError, match="nothing to report on in .*noise.xyz: "):
        write_report(tmp_path / "noise.xyz")
    assert not (tmp_path / "noise.xyz.html").exists()
    # A table beside a result: the result has a page.
    (tmp_path / "spectrum.csv").write_text("wavenumber [cm^-1],Raman [Å⁴/amu]\n1,2\n2,5\n3,1\n")
    (tmp_path / "sticks.csv").write_text("mode,wavenumber [cm^-1],strength [Å⁴/amu]\n0,2,7\n")
    (tmp_path / "result.json").write_text('{"kind": "raman", "unit": "Å⁴/amu", "formula": "H2"}')
    with pytest.raises(UserError, match="give the folder .*, which holds the result"):
        write_report(tmp_path / "spectrum.csv")


def test_structures_may_be_piped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    piped = io.TextIOWrapper(io.BytesIO(b"3\n\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n"))
    monkeypatch.setattr("sys.stdin", piped)
    text = said(write_report("-", tmp_path / "page.html"))
    assert "Structures: standard input" in text
    assert "1 structure." in text


def test_active_learning_shows_its_rounds_and_its_last_training(
    tmp_path: Path, run_folder: Path
) -> None:
    (tmp_path / "active.json").write_text("{}")
    (tmp_path / "rounds.csv").write_text("round,frames,forces_mae_eV_A\n1,14,2.17\n2,9,\n")
    shutil.copytree(run_folder, tmp_path / "round-02" / "training")
    text = said(write_report(tmp_path))
    for words in ("Active learning", "2 rounds; doubts", "forces mae eV A", "2.17"):
        assert words in text
    assert "Training of round-02" in text
    assert "Errors on structures held back" in text


def test_an_evaluation_on_suites_says_its_errors_and_worst_cases(tmp_path: Path) -> None:
    reaction = {"index": 0, "name": "HF dimer", "reference": 4.5, "model": 4.0, "error": -0.5}
    rows = [reaction, {**reaction, "name": "water dimer", "model": 7.5, "error": 3.0}]
    measures = {"mae": 1.75, "rmse": 2.151, "mean_signed_error": 1.25, "max": 3.0}
    refused = [{"name": "iron dimer", "reason": "Fe is not known"}]
    molecule = {"name": "butane", "model": [0.0, 0.1], "spearman": 0.81, "centred_mae": 0.37}
    medians = {f"{name}_{kind}": 0.5 for name in ("spearman", "centred_mae")
               for kind in ("median", "mean")}  # fmt: skip
    common = {"unit": "kcal/mol", "refused": refused}
    found = {
        "dimers": {"kind": "reactions", **common, "count": 2, **measures, "reactions": rows},
        "alkanes": {"kind": "conformers", **common, "count": 1, **medians, "molecules": [molecule]},
    }
    (tmp_path / "result.json").write_text(json.dumps(found))
    text = said(write_report(tmp_path))
    assert text.index("dimers") < text.index("water dimer") < text.index("HF dimer")
    for words in ("2.151", "mean signed", "Refused: iron dimer: Fe is not known", "butane", "0.81"):
        assert words in text
    assert "Components of vectors" not in text  # no table of errors beside labels


def test_an_evaluation_of_physics_says_what_is_beyond_its_limit(tmp_path: Path) -> None:
    row = {"value": 0.004, "limit": 0.01, "ok": True, "unit": "eV", "where": "H-H at 0.43 Å"}
    found = {
        "dimer_holes": {**row, "where": "H-O at 0.5 Å"},
        "dimer_jumps": {**row, "value": 0.25, "ok": False},
        "bond_lengths": {**row, "value": None, "ok": False, "where": "no chlorine today"},
    }
    (tmp_path / "result.json").write_text(json.dumps({"physics": found}))
    text = said(write_report(tmp_path))
    for words in ("dimer jumps", "0.25", "0.01", "H-O at 0.5 Å", "Beyond its limit: change of the "
                  "energy that no force explains; H-H at 0.43 Å."):  # fmt: skip
        assert words in text
    assert text.count("Beyond") == 2
    assert text.count("BEYOND") == 2


def test_an_evaluation_of_dynamics_has_its_values(tmp_path: Path) -> None:
    found = {"state_mse": {"value": 0.125, "unit": "1"}, "time": {"value": 7.5, "unit": "s"}}
    (tmp_path / "result.json").write_text(json.dumps(found))
    text = said(write_report(tmp_path))
    assert re.search(r"state mse\s+0\.125\b", text)
    assert re.search(r"time\s+7\.5\s+s\b", text)


def test_names_that_lead_nowhere_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="organic"):
        write_report("organik", tmp_path / "page.html")
    with pytest.raises(UserError, match="must end in"):
        write_report("organic", tmp_path / "page.pdf")
    (tmp_path / "page.html").write_text("mine")
    with pytest.raises(UserError, match="overwrite"):
        write_report("organic", tmp_path / "page.html")


def test_debye_is_the_unit_that_ase_knows() -> None:
    assert 1 / units.Debye == pytest.approx(4.80320, abs=1e-5)
