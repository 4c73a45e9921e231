"""No file runs code, imports, starts, connects or writes, and what is made to is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from crafted import MARK, make_crafted
from fuzz import HERE, seeds_in

SOUND = ("w.xyz w.extxyz w.sdf w.mol2 w.pdb w.gjf w.cif w.smi w.csv w.npz rmd17.npz w.db w.traj "
         "w.json qm9.tar suite.json suite.yaml split.json split.npz tiny.safetensors train.yaml "
         "md.xyz.restart run/last.ckpt").split()  # fmt: skip
# The limits of what is unpacked are lowered, so that small bombs do.
START = (
    "import molequi.structures.formats as formats, molequi.datasets.array_files as arrays; "
    "import audit, sys; "
    "formats._LARGEST = arrays._LARGEST = 1 << 22; audit.main(sys.argv[1:])"
)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return seeds_in(tmp_path_factory.mktemp("seeds") / "seeds")


def audited(arguments: list[str], folder: Path) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", START, *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout.splitlines()


def test_files_are_read_and_nothing_else(seeds: Path, tmp_path: Path) -> None:
    sound = [str(seeds / name) for name in SOUND]
    crafted = [str(path) for path in make_crafted(tmp_path, seeds)]
    lines = audited([*sound, "--", *sound, *crafted], tmp_path)
    assert not [line for line in lines if line.startswith("FORBIDDEN")]
    said = [line.split(": ", 1) for line in lines]
    assert [text for name, text in said if name in sound] == ["ok"] * (2 * len(sound))
    refused = {Path(name).name: text for name, text in said if name not in sound}
    assert len(refused) == len(crafted)
    harmless = {"harm.traj"}  # a key that means nothing
    for name, text in refused.items():
        assert name in harmless or text.startswith("UserError: "), (name, text)
        assert len(text) < 1000 and "\\n" not in text, (name, text)
    assert not (tmp_path / MARK).exists() and not (tmp_path / "harm").exists()


def test_the_hook_sees_what_is_forbidden(tmp_path: Path) -> None:
    """The test above can fail."""
    (tmp_path / "x.yaml").write_text("name: x")
    code = "import audit, sys, pathlib; audit.READERS['.yaml'] = lambda path: exec('import this'); "
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    run = subprocess.run(
        [sys.executable, "-c", code + "audit.main(['--', 'x.yaml'])"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "FORBIDDEN compile" in run.stdout
    assert "is forbidden here" in run.stderr
