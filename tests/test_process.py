"""Installation and the process: what importing, loading and computing leave as it was."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from molequi.models.checkpoint import load_model, save_model
from molequi.models.making import make_model
from molequi.version import __version__


def in_new_process(code: str, environment: dict[str, str] | None = None) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_predictions_do_not_import_e3nn(tmp_path: Path) -> None:
    """So a checkpoint gives the same energies whatever version of e3nn is installed."""
    save_model(
        make_model((1, 8), ["energy", "dipole"], n_channels=4, l_max=1), tmp_path / "m.safetensors"
    )
    code = (
        "import sys, molequi; from ase.build import molecule; atoms = molecule('H2O'); "
        f"atoms.calc = molequi.Calculator({str(tmp_path / 'm.safetensors')!r}); "
        "atoms.get_forces(); atoms.get_dipole_moment(); print('e3nn' in sys.modules)"
    )
    assert in_new_process(code) == "False"


def test_importing_changes_nothing_of_the_process() -> None:
    """RDKit sets RDBASE when first imported: it comes before the first look, and from nothing."""
    code = (
        "import os, torch, rdkit.Chem, ase.calculators.calculator as c; "
        "state = lambda: (dict(os.environ), torch.get_default_dtype(), torch.get_num_threads(), "
        "torch.is_grad_enabled(), "
        "torch.get_rng_state().tolist(), sorted(vars(c.Calculator)), list(c.all_properties)); "
        "before = state(); "
        "import molequi.simulation.calculator, molequi.prediction.predict, molequi.simulation.md, "
        "molequi.experiments; "
        "import molequi.diagnostics.check; "
        "after = state(); print([a == b for a, b in zip(before, after)])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "RDBASE"}
    assert in_new_process(code, environment) == str([True] * 7)


def test_models_open_without_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model file is read with every way into pickle barred, and holds none of its marks."""
    model = make_model((1, 8), ["energy"], n_channels=4, l_max=1)
    path = tmp_path / "m.safetensors"
    save_model(model, path)

    def barred(*_arguments: object, **_options: object) -> None:
        raise AssertionError("pickle was used")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(f"pickle.{name}", barred)
    monkeypatch.setattr(torch, "load", barred)
    loaded = load_model(path)
    assert all(
        torch.equal(value, model.state_dict()[name]) for name, value in loaded.state_dict().items()
    )
    length = int.from_bytes(path.read_bytes()[:8], "little")
    texts = json.loads(path.read_bytes()[8 : 8 + length])["__metadata__"]
    assert set(texts) == {"molequi", "checksum"}


def test_networks_run_without_compilation() -> None:
    """A first energy costs what every energy costs: nothing is compiled unless asked for."""
    code = (
        "import sys; from ase.build import molecule; from molequi.models.making import "
        "make_model; "
        "from molequi.simulation.calculator import Calculator; "
        "atoms = molecule('H2O'); atoms.calc = Calculator(make_model((1, 8), ['energy'], "
        "n_channels=4)); atoms.get_forces(); "
        "print([name for name in ('numba', 'torch._dynamo', 'triton') if name in sys.modules])"
    )
    assert in_new_process(code) == "[]"


def project(checkout: Path) -> dict:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no TOML reader")
    return tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_dependencies_have_no_upper_pins_but_that_of_e3nn(checkout: Path) -> None:
    """Nothing that is installed already has to be downgraded."""
    settings = project(checkout)
    extras = [line for lines in settings["optional-dependencies"].values() for line in lines]
    pinned = [
        line
        for line in (*settings["dependencies"], *extras)
        if re.search(r"<|==|~=|!=", line.partition(";")[0])
    ]
    assert pinned == ["e3nn>=0.5,<0.7"]
    assert settings["requires-python"] == ">=3.10"


def test_constraints_pin_every_dependency(checkout: Path) -> None:
    """Each pin is exact and lies within the range that the package states."""
    from packaging.requirements import Requirement
    from packaging.version import Version

    lines = [
        line.split("#")[0].split(";")[0].strip()
        for line in (checkout / "constraints.txt").read_text(encoding="utf-8").splitlines()
    ]
    pins: dict[str, list[Version]] = {}
    for line in filter(None, lines):
        name, _, version = line.partition("==")
        assert version, f"{line!r} is not an exact pin"
        pins.setdefault(name.lower().replace("_", "-"), []).append(Version(version))
    for line in project(checkout)["dependencies"]:
        requirement = Requirement(line)
        versions = pins.get(requirement.name.lower().replace("_", "-"), [])
        assert versions, f"{requirement.name} is not in constraints.txt"
        assert all(version in requirement.specifier for version in versions), line


@pytest.mark.parametrize("module", ["molequi", "molequi.cli", "molequi.cli.main"])
def test_python_m_is_the_command_and_runs_nothing_of_the_current_folder(
    module: str, tmp_path: Path
) -> None:
    if module == "molequi":
        (tmp_path / "typer.py").write_text("open('executed', 'w')\n")
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"molequi {__version__}\n"), done.stderr
    assert not (tmp_path / "executed").exists()


FORKED = """
import os, sys, time, torch
from ase.build import molecule
from molequi.models.making import make_model
from molequi.structures.atoms import graph_from_atoms
torch.set_num_threads(2)
model = make_model((1, 6, 8), ["energy"], n_channels=64, l_max=2).eval()
graph = graph_from_atoms(molecule("C6H6"), model.cutoff)
energy = model.compute(graph)["energy"]
child = os.fork()
if not child:
    same = torch.allclose(model.compute(graph)["energy"], energy)
    os._exit(0 if same and torch.get_num_threads() == 1 else 3)
for _ in range(600):
    done, status = os.waitpid(child, os.WNOHANG)
    if done:
        break
    time.sleep(0.1)
else:
    os.kill(child, 9), os.waitpid(child, 0), sys.exit("the child hangs")
assert status == 0, status
assert torch.get_num_threads() == 2
"""


def test_a_forked_child_computes_where_its_parent_has_computed() -> None:
    """OpenMP's threads do not come along: the child waited for them for ever."""
    in_new_process(FORKED)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has no safe path")
def test_processes_of_a_command_run_nothing_of_the_current_folder(tmp_path: Path) -> None:
    """A spawned Python looks in the current folder first: a training on two devices ran it."""
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    (here / "pickle.py").write_text("open('executed', 'w')\n")
    (elsewhere / "command.py").write_text(
        "import multiprocessing, sys\n"
        "from molequi.cli.main import main\n"
        "if __name__ == '__main__':\n"
        "    sys.argv = ['molequi', '--version']\n"
        "    try:\n"
        "        main()\n"
        "    finally:\n"
        "        child = multiprocessing.get_context('spawn').Process(target=print)\n"
        "        child.start(), child.join()\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    command = [sys.executable, str(elsewhere / "command.py")]
    subprocess.run(command, cwd=here, env=environment, check=True, capture_output=True)
    assert not (here / "executed").exists()
