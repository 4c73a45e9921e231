"""`molequi spectrum`, `scan` and `path`: what they print, and what they refuse."""

from __future__ import annotations

import json

import ase.io
import pytest
from ase.build import molecule


def test_vibrations_print_thermochemistry(molequi, tiny_model, water):
    result = molequi("vibrations", water, "--model", tiny_model, "--no-relax")
    assert result.code == 0, result.err
    assert "quasi-RRHO (Grimme)" in result.out
    assert "symmetry number 2" in result.out


def test_spectrum_writes_its_folder(molequi, tiny_model, water, tmp_path):
    folder = tmp_path / "ir"
    result = molequi("spectrum", water, "--model", tiny_model, "--output", folder)
    assert result.code == 0, result.err
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["result.json", "spectrum.csv", "spectrum.png", "sticks.csv"]
    again = molequi("spectrum", water, "--model", tiny_model, "--output", folder)
    assert again.code == 2
    assert "--overwrite" in again.err


def test_spectrum_of_dynamics(molequi, water, tmp_path):
    frames = tmp_path / "md.xyz"
    assert molequi("md", water, "-n", "400", "--interval", "4", "-o", frames).code == 0
    wide = ["--trajectory", "--width", "200"]
    result = molequi("spectrum", frames, *wide)
    assert result.code == 0, result.err
    assert "harmonic quantum correction" in result.out
    assert "every 2 fs" in result.out
    document = json.loads(molequi("spectrum", frames, *wide, "--json").out)
    assert document["frames"] == 101
    narrow = molequi("spectrum", frames, "--trajectory", "--width", "5")
    assert narrow.code == 2
    assert len(narrow.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--kind", "vcd"], "atomic axial tensors"),
        (["--width", "0"], "width is 0"),
        (["--trajectory", "--kind", "raman"], "normal modes"),
        (["--low", "900", "--high", "100"], "it must rise"),
    ],
)
def test_what_is_no_spectrum_is_refused(molequi, tiny_model, water, arguments, said):
    result = molequi("spectrum", water, "--model", tiny_model, *arguments)
    assert result.code == 2
    assert said in result.err
    assert len(result.err.splitlines()) == 1


def test_scan_prints_three_units(molequi, tiny_model, water, tmp_path):
    how = ["--bond", "0-1", "--from", "0.9", "--to", "1.1", "--points", "3"]
    folder = tmp_path / "scan"
    result = molequi("scan", water, *how, "--rigid", "--model", tiny_model, "--output", folder)
    assert result.code == 0, result.err
    assert "kJ/mol" in result.out
    assert "kcal/mol" in result.out
    assert len(ase.io.read(folder / "scan.xyz", ":")) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "0 coordinates given"),
        (["--bond", "0-1", "--angle", "1-0-2"], "2 coordinates given"),
        (["--bond", "0-1"], "needs its end"),
        (["--bond", "0-7", "--to", "2"], "among 0 to 2"),
        (["--angle", "1-0-2"], "a scan of an angle needs its end"),
        (["--angle", "1-0-2", "--to", "200"], "an angle lies between 1 and 179 degrees, not at"),
        (["--bond", "0-1", "--to", "-1"], "a bond lies between 0.3 and 100 Å, not at -1"),
    ],
)
def test_what_is_no_scan_is_refused(molequi, tiny_model, water, arguments, said):
    result = molequi("scan", water, "--model", tiny_model, *arguments)
    assert result.code == 2
    assert said in result.err
    assert len(result.err.splitlines()) == 1


def test_path_prints_its_barrier(molequi, tmp_path):
    first = molecule("NH3")
    last = first.copy()
    last.positions[:, 2] *= -1
    names = tmp_path / "a.xyz", tmp_path / "b.xyz", tmp_path / "c.xyz"
    for name, atoms in zip(names, (first, last, last[[1, 0, 2, 3]]), strict=True):
        ase.io.write(name, atoms)
    result = molequi("path", *names[:2], "--images", "3", "--fmax", "0.2")
    assert result.code == 0, result.err
    assert "imaginary modes of the top" in result.out
    assert "kcal/mol" in result.out
    refused = molequi("path", names[0], names[2])
    assert refused.code == 2
    assert "give --match" in refused.err


def test_a_lone_atom_has_no_spectrum_and_the_refusing_model_is_named(molequi, tmp_path):
    for name in ("HCl", "Cl"):
        atoms = molecule(name)
        atoms.info["charge"] = -1 if len(atoms) == 1 else 0
        ase.io.write(tmp_path / f"{name}.xyz", atoms)
    alone = molequi("spectrum", tmp_path / "Cl.xyz")
    assert (alone.code, "Cl, has no vibrations" in alone.err) == (2, True)
    raman = molequi("spectrum", tmp_path / "HCl.xyz", "--kind", "raman", "--no-relax")
    assert (raman.code, "polarizability by chiroptical: element Cl" in raman.err) == (2, True)


def test_forbidden_lines_are_nil_and_a_range_without_lines_is_said(molequi, tmp_path):
    ase.io.write(tmp_path / "co2.xyz", molecule("CO2"))
    found = molequi("spectrum", tmp_path / "co2.xyz", "--low", "5000", "--high", "6000")
    assert found.code == 0, found.err
    assert "no line lies from 5000 to 6000 cm⁻¹" in found.err
    assert "e-" not in found.out.split("model ")[0]  # the symmetric stretch absorbs 0.0000
    raman = molequi("spectrum", tmp_path / "co2.xyz", "--kind", "raman", "--json")
    ratios = [stick["depolarisation"] for stick in json.loads(raman.out)["sticks"]]
    assert [ratio is not None for ratio in ratios] == [False, False, True, False]


@pytest.mark.parametrize("setting", [("--interval", "-1"), ("--temperature", "0")])
def test_settings_of_a_trajectory_are_positive(molequi, water, setting):
    result = molequi("spectrum", water, "--trajectory", *setting)
    assert (result.code, "it must be positive" in result.err) == (2, True)
