"""Everyday jobs, as a chemist types them to the installed command, each in an empty folder.

A row of `JOBS` is a command line, the exit code, and what must stand in what it prints.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

WATER = r"printf '3\nwater\nO 0 0 0.1178\nH 0 0.7555 -0.4712\nH 0 -0.7555 -0.4712\n' > w.xyz; "
BARE = r"printf '3\n\nC -1.19 -0.38 0\nC 0 0.55 0\nO 1.19 -0.22 0\n' > bare.xyz; "
TABLE = r"printf 'name,smiles\nethanol,CCO\nmethanol,CO\n' > a.csv; "
BROKEN = r"printf 'name,smiles\nethanol,CCO\nbroken,C(\n' > b.csv; "
LABELS = (
    """python -c "print('smiles,logP'); [print('C' * n + 'O,', n / 2) for n in range(1, 41)]" """
    "> F.csv; "
)
WORKBOOK = (
    'python -c "import openpyxl as o; b = o.Workbook(); '
    "[b.active.append(r) for r in (['smiles', 'id'], ['CCO', 7])]; b.save('a.xlsx')\"; "
)
RECORD = (
    'python -c "from rdkit import Chem; from rdkit.Chem import AllChem as A; '
    "m = Chem.AddHs(Chem.MolFromSmiles('CO')); A.EmbedMolecule(m, randomSeed=1); "
    "m.SetProp('_Name', 'wood spirit'); Chem.SDWriter('a.sdf').write(m)\"; "
)


class Job(NamedTuple):
    """A command line of a shell, the texts that its output has, and the exit code."""

    command: str
    shown: tuple[str, ...]
    code: int = 0


JOBS = {
    # Finding one's way
    "version": Job("molequi --version", ("0.1",)),
    "models at hand": Job("molequi models", ("organic", "chiroptical")),
    "a setting by name": Job("molequi config keys", ("training.learning_rate",)),
    "a command misspelt": Job("molequi predct w.xyz", ("predct",), 2),
    "a setting misspelt": Job(
        "molequi train property training.lr=0.1", ("training.learning_rate",), 2
    ),
    # Energies of what one has
    "a SMILES": Job("molequi predict --smiles CCO", ("C2H6O", "energy eV", "MMFF94")),
    "an InChI": Job("molequi predict --smiles 'InChI=1S/CH4O/c1-2/h2H,1H3'", ("CH4O",)),
    "an XYZ": Job(WATER + "molequi predict w.xyz", ("H2O", "max|F| eV/Å")),
    "an XYZ with a name": Job(
        WATER + "molequi predict w.xyz -o o.csv; cat o.csv", (",name,", ",water,")
    ),
    "a compressed XYZ": Job(WATER + "gzip w.xyz; molequi predict w.xyz.gz", ("H2O",)),
    "an SDF with a name": Job(
        RECORD + "molequi predict a.sdf -o out.csv; cat out.csv", ("wood spirit", "1 of 1")
    ),
    "a table": Job(
        TABLE + "molequi predict a.csv -o out.csv; cat out.csv",
        ("2 of 2 structures written", "name,smiles,", "energy_predicted [eV]", "\nmethanol,CO,"),
    ),
    "a workbook": Job(WORKBOOK + "molequi predict a.xlsx -o o.csv; cat o.csv", ("\nCCO,7,",)),
    "a table by a pipe": Job(
        r"printf 'id;smiles\n7;CCO\n' | molequi predict - -o o.csv; cat o.csv", ("\n7,CCO,",)
    ),
    "JSON for a script": Job(
        "molequi predict --smiles O --json | "
        "python -c 'import json, sys; print(json.load(sys.stdin)[0][\"formula\"])'",
        ("H2O",),
    ),
    "three conformers": Job(
        "molequi predict --smiles CCCO --conformers 3 --json", ('"conformer": 2',)
    ),
    "features": Job(
        "molequi embed --smiles O -o f.npz", ("features of 1 structure,", "written to f.npz")
    ),
    # What is said of it
    "a stereocentre left open": Job(
        "molequi predict --smiles 'CC(O)N'", ("left open, and chosen: C2 ",)
    ),
    "an ion": Job(
        r"printf '2\ncharge: -1\nO 0 0 0\nH 0 0 0.96\n' | molequi predict - --unsafe",
        ("total charge: the words of the comment line",),
    ),
    "an open shell": Job("molequi predict --smiles O=O", ("O2 is a triplet",)),
    "coordinates in bohr": Job(
        r"printf '3\n\nO 0 0 0.22\nH 0 1.43 -0.89\nH 0 -1.43 -0.89\n' | molequi predict -",
        ("typical of bohr",),
    ),
    "no hydrogens": Job(
        BARE + "molequi predict bare.xyz", ("2 carbons with open valences", "--add-hydrogens"), 2
    ),
    "hydrogens added": Job(
        BARE + "molequi predict bare.xyz --add-hydrogens",
        ("C2H6O", "6 hydrogens added", "distances tell: CCO"),
    ),
    "no hydrogens wanted": Job(BARE + "molequi predict bare.xyz --as-is", ("C2O",)),
    # What goes wrong
    "one line broken": Job(
        BROKEN + "molequi predict b.csv", ("SMILES 'C(' cannot be read", "C2H6O"), 1
    ),
    "a file that is not there": Job("molequi predict nothing.xyz", ("no file nothing.xyz",), 2),
    "an element not known": Job("molequi predict --smiles '[Fe]'", ("Fe",), 2),
    "an output that is there": Job(
        "echo x > o.csv; molequi predict --smiles O -o o.csv", ("o.csv", "--overwrite"), 2
    ),
    "an output of no format": Job(
        "molequi predict --smiles O -o o.foo", ("no known format; use .xyz",), 2
    ),
    # Moving the atoms
    "relaxed": Job(
        WATER + "molequi relax w.xyz -o r.xyz; head -1 r.xyz", ("1 of 1 structure written", "3")
    ),
    "vibrations": Job("molequi vibrations --smiles O", ("cm", "zero-point")),
    "dynamics": Job(
        WATER + "molequi md w.xyz --steps 20 -o t.xyz; grep -c Properties t.xyz",
        ("3 frames", "\n3\n"),
    ),
    # One's own labels
    "what is in a file": Job(LABELS + "molequi data inspect F.csv", ("logP",)),
    "a model beside labels": Job(
        WATER + "molequi predict w.xyz -o l.xyz; molequi evaluate organic l.xyz", ("energy", "MAE")
    ),
    "a property model": Job(
        LABELS + "molequi train property data.path=F.csv data.targets=logP training.epochs=1 "
        "--output run; head -1 run/test_predictions.csv",
        ("logP", "ridge MAE", "logP_predicted"),
    ),
    "a property on top of a bundled model": Job(
        LABELS + "molequi train property init=organic data.path=F.csv data.targets=logP --dry-run",
        ("logP", "cutoff"),
    ),
    "a suite, interrupted": Job(
        "molequi evaluate organic s66 -o out & "
        "for i in $(seq 600); do [ -s out.journal ] && break; sleep 0.1; done; kill -TERM %1; "
        "wait %1; echo code $?; molequi evaluate organic s66 -o out",
        ("stopped by SIGTERM", "code 75", "everything is in out"),
    ),
    "physics of a model": Job("molequi check organic", ("rotation",)),
}
# These take long, or go ways of the command line that the others go too.
LONG = {
    "a SMILES", "an InChI", "a compressed XYZ", "a workbook", "a table by a pipe",
    "JSON for a script", "three conformers", "an ion", "no hydrogens wanted",
    "a file that is not there", "an element not known", "an output that is there",
    "an output of no format", "a property model", "physics of a model",
    "an XYZ with a name", "an open shell", "a property on top of a bundled model",
    "a suite, interrupted",
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.long] if name in LONG else []) for name in JOBS],
)
def test_job(name: str, tmp_path: Path, quick_path: str) -> None:
    job = JOBS[name]
    if "openpyxl" in job.command:
        pytest.importorskip("openpyxl")
    environment = {
        **os.environ,
        "PATH": quick_path,
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
    }
    done = subprocess.run(
        ["bash", "-c", job.command],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    printed = done.stdout + done.stderr
    assert done.returncode == job.code, printed
    assert "Traceback" not in printed, printed
    missing = [text for text in job.shown if text not in printed]
    assert not missing, f"{missing} not in:\n{printed}"
