"""`molequi label`: exit codes, what is printed, and the programs end to end."""

from __future__ import annotations

import json
import re

import pytest
from ase.io import read

from molequi.cli import bars


def test_without_the_program_it_says_what_to_install(molequi, water, monkeypatch):
    monkeypatch.setattr("molequi.labeling.levels.is_installed", lambda _name: False)
    result = molequi("label", water)
    assert (result.code, result.out) == (2, "")
    why = "hf/6-31g is computed by pyscf, which is not installed"
    assert result.err.strip() == f'error: {why}: pip install "molequi[labels]"'


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to label"),
        (["--level", "hf"], "METHOD/BASIS"),
        (["--properties", "energy,forse"], "gives no property 'forse'"),
        (["--processes", "0"], "--processes"),
        (["--output", "labels.csv"], "no known format"),
        (["--rows", "5:9"], "no structure 5"),
        (["--exclude", "nosuch.smi"], "nosuch.smi"),
    ],
)
def test_wrong_usage_is_one_line_and_2(molequi, water, monkeypatch, tmp_path, arguments, message):
    monkeypatch.setattr("molequi.labeling.levels.is_installed", lambda _name: True)
    monkeypatch.chdir(tmp_path)
    result = molequi("label", *([water] if arguments else []), *arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert not list(tmp_path.glob("labels*"))


def test_hartree_fock_end_to_end(molequi, water, tmp_path, monkeypatch):
    pytest.importorskip("pyscf", reason="PySCF is not installed: pip install 'molequi[labels]'")
    with water.open("a") as file:
        file.write("2\n\nI 0 0 0\nH 0 0 1.6\n")
    output = tmp_path / "labels.xyz"
    monkeypatch.setattr(bars, "EVERY", 0.0)
    result = molequi("label", water, "--level", "HF/6-31G", "--output", output, "--processes", 1)
    assert result.code == 1
    progress, problem = result.err.strip().splitlines()[-2:]
    assert re.fullmatch(r"2 of 2 labels, [\d.e+]+/s, 1 failed", progress)
    assert problem == f"error: structure 1 of {water}: the basis 6-31g has no functions for I"
    assert "level: HF/6-31G, density fitting; program: PySCF" in result.out
    assert "1 labelled, 1 failed; written to" in result.out
    atoms = read(output)
    assert atoms.get_potential_energy() == pytest.approx(-2067.61, abs=0.1)
    assert set(atoms.info) >= {"polarizability", "rosenfeld", "level", "program"}
    (tmp_path / "alone.xyz").write_text("2\n\nI 0 0 0\nH 0 0 1.6\n")
    nothing = ("--level", "HF/6-31G", "--output", tmp_path / "nothing.xyz", "--processes", 1)
    assert molequi("label", tmp_path / "alone.xyz", *nothing).code == 2
    assert not (tmp_path / "nothing.xyz").exists()
    result = molequi("label", water, "--level", "hf/nosuch", "--output", output, "--overwrite")
    assert result.code == 2
    assert "no basis 'nosuch'" in result.err
    assert read(output) == atoms


def test_xtb_end_to_end(molequi, water, tmp_path):
    pytest.importorskip("tblite", reason="tblite is not installed: pip install 'molequi[labels]'")
    output, excluded = tmp_path / "labels.extxyz", tmp_path / "none.smi"
    excluded.write_text("CCC\n")
    result = molequi(
        "label", water, "--level", "gfn2-xtb", "--output", output, "--json", "--exclude", excluded
    )
    assert result.code == 0
    report = json.loads(result.out)
    assert (report["n_labelled"], report["n_excluded"], report["failures"]) == (1, 0, [])
    assert report["properties"] == ["energy", "forces", "dipole", "charges"]
    assert read(output).get_forces().shape == (3, 3)
