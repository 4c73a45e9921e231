"""`molequi md`, `relax` and `vibrations`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import ase.io
import numpy as np
import pytest

from molequi.cli import bars
from molequi.cli.md_progress import Pace
from molequi.cli.md_text import verdict
from molequi.simulation.md_settings import MDSettings


def test_md_prints_drift_and_writes_frames(molequi, tiny_model, water, tmp_path):
    output = tmp_path / "md.xyz"
    result = molequi(
        "md",
        water,
        "--model",
        tiny_model,
        "--steps",
        "20",
        "--interval",
        "5",
        "--temperature",
        "10",
        "--output",
        output,
    )
    assert result.code == 0, result.err
    assert "meV/atom/ps" in result.out
    frames = ase.io.read(output, index=":")
    assert len(frames) == 5
    assert np.isfinite(frames[-1].get_forces()).all()


def test_md_tells_its_pace_in_the_log_of_a_job(molequi, tiny_model, water, monkeypatch):
    """A line a minute, here a line a call, and the pace of the whole at the end."""
    monkeypatch.setattr(bars, "EVERY", 0.0)
    few = ("--steps", "6", "--interval", "3", "--temperature", "10")
    result = molequi("md", water, "--model", tiny_model, *few)
    assert result.code == 0, result.err
    start, middle, end = (line for line in result.err.splitlines() if " of 6 steps" in line)
    assert start == "nve, 0 of 6 steps"
    assert re.fullmatch(r"nve, 3 of 6 steps, \S+ ns/day, \d+:\d\d:\d\d left", middle)
    assert re.fullmatch(r"nve, 6 of 6 steps, \S+ ns/day", end)
    assert re.search(r"^ *pace +\S+ ns/day", result.out, re.MULTILINE)
    result = molequi("md", water, "--model", tiny_model, "--steps", "0", "--json")
    assert json.loads(result.out)["ns_per_day"] is None


def test_pace_is_simulated_time_over_time(monkeypatch):
    clock = iter([100.0, 100.0, 186.4])
    monkeypatch.setattr("molequi.cli.md_progress.time.monotonic", lambda: next(clock))
    pace = Pace(2.0)
    assert [pace.at(500), pace.at(500)] == [None, None]
    assert pace.at(1500) == pytest.approx(2000e-6 / (86.4 / 86400.0))  # 2 ps in 86.4 s: 2 ns a day


def test_md_json(molequi, tiny_model, water):
    result = molequi(
        "md",
        water,
        "--model",
        tiny_model,
        "--steps",
        "4",
        "--temperature",
        "10",
        "--ensemble",
        "nvt",
        "--seed",
        "3",
        "--json",
    )
    document = json.loads(result.out)
    assert {"steps", "drift_mev_atom_ps", "temperature_mean", "stopped"} <= set(document)
    assert (document["steps"], document["drift_mev_atom_ps"], document["stopped"]) == (
        4,
        None,
        None,
    )


@pytest.mark.parametrize(("time", "is_short"), [("50", True), ("1", False)])
def test_md_says_when_a_thermostat_had_no_time(molequi, tiny_model, water, time, is_short):
    how = ("--model", tiny_model, "--ensemble", "nvt", "--thermostat", "bussi", "--steps", "40")
    out = molequi("md", water, *how, "--temperature", "10", "--thermostat-time", time).out
    said = " ".join(out.split())
    assert "of the canonical ensemble" in said
    assert ("too short to judge by: the thermostat needs some 1 ps" in said) == is_short


def test_md_restart_goes_on(molequi, tiny_model, water, tmp_path):
    output = tmp_path / "md.xyz"
    common = [
        "md",
        water,
        "--model",
        tiny_model,
        "--temperature",
        "10",
        "--interval",
        "2",
        "--output",
        output,
    ]
    assert molequi(*common, "--steps", "4").code == 0
    in_the_way = molequi(*common, "--steps", "8")
    assert in_the_way.code == 2
    assert "--restart" in in_the_way.err
    assert molequi(*common, "--steps", "8", "--restart").code == 0
    assert len(ase.io.read(output, index=":")) == 5


def test_guard_stops_md_with_3_and_keeps_frames(molequi, tiny_model, water, tmp_path):
    output = tmp_path / "hot.xyz"
    result = molequi(
        "md",
        water,
        "--model",
        tiny_model,
        "--steps",
        "500",
        "--temperature",
        "4000",
        "--interval",
        "1",
        "--output",
        output,
    )
    assert result.code == 3
    assert len(result.err.splitlines()) == 1
    assert "stopped at step" in result.err
    assert len(ase.io.read(output, index=":")) >= 1


def test_relax_converges_and_says_so(molequi, tiny_model, water, tmp_path):
    output = tmp_path / "relaxed.xyz"
    result = molequi("relax", water, "--model", tiny_model, "--fmax", "0.001", "--output", output)
    assert result.code == 0, result.err
    assert "yes" in result.out
    assert np.linalg.norm(ase.io.read(output).get_forces(), axis=1).max() < 0.001


def test_relax_that_falls_short_is_3_and_keeps_what_it_has(molequi, tiny_model, water, tmp_path):
    output = tmp_path / "relaxed.xyz"
    result = molequi(
        "relax",
        water,
        "--model",
        tiny_model,
        "--fmax",
        "1e-9",
        "--steps",
        "1",
        "--output",
        output,
        "--json",
    )
    assert result.code == 3
    (record,) = json.loads(result.out)
    assert record["converged"] is False
    assert "did not converge" in result.err
    assert output.exists()


def test_relax_of_good_and_bad_is_1(molequi, tiny_model, water):
    result = molequi("relax", water, "--smiles", "CCl", "--model", tiny_model, "--fmax", "1")
    assert result.code == 1
    assert "Cl" in result.err


def test_vibrations_of_water(molequi, tiny_model, water, tmp_path):
    folder = tmp_path / "vibrations"
    document = json.loads(
        molequi("vibrations", water, "--model", tiny_model, "--output", folder, "--json").out
    )
    assert {"frequencies_cm1", "ir_km_mol", "zpe_ev"} <= set(document)
    assert len(document["frequencies_cm1"]) == 3
    assert {path.name for path in folder.iterdir()} >= {
        "frequencies.csv",
        "modes.xyz",
        "result.json",
    }
    printed = molequi("vibrations", water, "--model", tiny_model, "--no-relax")
    assert printed.code == 0
    assert "frequency cm⁻¹" in printed.out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_keeps_frames_that_can_be_read_and_continued(
    molequi, tiny_model, water, tmp_path, number, code
):
    output = tmp_path / "md.xyz"
    common = [
        "md",
        str(water),
        "--model",
        str(tiny_model),
        "--temperature",
        "10",
        "--interval",
        "1",
        "--output",
        str(output),
    ]
    command = [sys.executable, "-m", "molequi.cli", *common, "--steps", "10000000"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    deadline = time.monotonic() + 120
    while (
        not (output.exists() and output.stat().st_size > 5000)
        and process.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    process.send_signal(number)
    _, text = process.communicate(timeout=60)
    assert process.returncode == code, text
    assert text.splitlines()[-1].startswith(
        f"interrupted: dynamics stopped by {number.name} at step "
    )
    assert "Traceback" not in text
    frames = ase.io.read(output, index=":")
    last = frames[-1].info["molequi_step"]
    assert [atoms.info["molequi_step"] for atoms in frames] == list(range(last + 1))
    assert molequi(*common, "--steps", last + 3, "--restart").code == 0
    assert len(ase.io.read(output, index=":")) == last + 4


@pytest.mark.parametrize("command", ["predict", "md", "relax", "vibrations"])
def test_unknown_elements_are_refused_whatever_is_allowed(molequi, tiny_model, tmp_path, command):
    output = tmp_path / ("out" if command == "vibrations" else "out.xyz")
    result = molequi(
        command, "--smiles", "CCl", "--model", tiny_model, "--unsafe", "--output", output
    )
    assert result.code == 2
    assert result.err.splitlines()[-1].endswith(
        "element Cl (atom 1) is not in this model; it knows H C N O and can compute no others"
    )
    assert not result.out
    assert not output.exists()


@pytest.mark.parametrize(
    "command",
    [
        ["md"],
        ["relax"],
        ["vibrations"],
        ["spectrum"],
        ["scan", "--bond", "0-1", "--from", "1", "--to", "1.2", "--points", "2"],
        ["path", "{file}"],
    ],
)
def test_a_structure_that_the_model_does_not_know_is_named(molequi, tiny_model, tmp_path, command):
    file = tmp_path / "hcl.xyz"
    file.write_text("2\n\nH 0 0 0\nCl 0 0 1.27\n", encoding="utf-8")
    name, *others = [word.format(file=file) for word in command]
    output = "out.xyz" if name in {"md", "relax"} else "out"
    result = molequi(name, file, *others, "--model", tiny_model, "--output", tmp_path / output)
    assert result.code == 2
    error = result.err.splitlines()[-1]
    names = [f"structure 0 of {file}: ", f"{file}, structure 0: ", "A: "]
    assert any(f"error: {one}element Cl" in error for one in names)


def test_bad_settings_are_2(molequi, tiny_model, water):
    for arguments in (
        ["md", "--timestep", "-1"],
        ["md", "--friction", "0"],
        ["relax", "--fmax", "0"],
        ["md", "--ensemble", "nvp"],
    ):
        result = molequi(arguments[0], water, "--model", tiny_model, *arguments[1:])
        assert result.code == 2, arguments
        assert len(result.err.splitlines()) == 1


def test_relax_says_how_many_imaginary_modes_are_left(molequi, tiny_model, water):
    result = molequi("relax", water, "--model", tiny_model, "--minimum", "--json")
    (record,) = json.loads(result.out)
    assert record["n_imaginary"] == 0
    assert record["fmax"] < 1e-3
    plain = molequi("relax", water, "--model", tiny_model)
    assert "imaginary" not in plain.out
    assert "max std" not in plain.out  # this model knows no doubt


@pytest.mark.parametrize(
    ("drift", "time_ps", "said"),
    [(0.05, 0.02, "is kept"), (9.0, 0.01, "0.01 ps are too short to tell")]
    + [(0.5, 2.0, "drifts (0.5 meV"), (-285.0, 0.5, "drifts (-2.8e+02 meV")],
)
def test_a_few_femtoseconds_are_no_verdict_on_the_drift(drift, time_ps, said):
    """Of what did not drift far; an energy that runs away shows at once."""
    result = {"stopped": None, "drift_mev_atom_ps": drift, "time_ps": time_ps}
    assert said in verdict({**result, "temperature_std": None}, MDSettings())


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["relax"], "the relaxed structures are not kept; give --output FILE.xyz"),
        (["vibrations"], "structure and modes are not kept; give --output FOLDER"),
        (["scan", "--bond", "0-1", "--to", "1.0", "--points", "2"], "the geometries are not kept"),
        (["spectrum"], "the spectrum is not kept; give --output FOLDER"),
    ],
)
def test_what_no_file_keeps_is_said(molequi, tiny_model, water, tmp_path, command, said):
    """And with --output it is not, nor in JSON."""
    asked = [command[0], water, *command[1:], "--model", tiny_model]
    plain, json_ = molequi(*asked), molequi(*asked, "--json")
    assert said in plain.out + plain.err
    assert "not kept" not in json_.out + json_.err
    kept = molequi(*asked, "--output", tmp_path / ("r.xyz" if command[0] == "relax" else "r"))
    assert "written to" in kept.out + kept.err
    assert "not kept" not in kept.out + kept.err


def test_much_doubt_is_part_of_the_verdict():
    quiet = {
        "stopped": None, "drift_mev_atom_ps": 0.01, "time_ps": 5.0, "max_doubt_ev_a": 0.3,
        "temperature_std": None,
    }  # fmt: skip
    settings = MDSettings()
    assert "doubted" not in verdict(quiet, settings)
    assert "doubted" not in verdict({**quiet, "max_doubt_ev_a": None}, settings)
    loud = verdict({**quiet, "max_doubt_ev_a": 1.36}, settings)
    assert loud == "forces are doubted by up to 1.4 eV/Å; the energy is kept (0.01 meV/atom/ps)"
