"""What comments of the bundled configs, and blocks of pages that no test runs, tell one to type.

Every such command is run at small size, on files of the names that it gives.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from ase import units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from molequi.cli.main import run
from molequi.datasets.base import Request
from molequi.datasets.npz import load_npz, save_npz
from molequi.datasets.registry import get_dataset
from molequi.experiments import load_experiment
from molequi.hamiltonian.config import DynamicsConfig
from molequi.properties import PROPERTIES
from molequi.runtime import resources
from molequi.training.config import Config

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "data" / "samples"
NAMES = resources.config_names()
# What the reader is to fill in.
STAND_INS = {
    "FILE": "frames.extxyz",
    "FILE.csv": "table.csv",
    "FILE.xyz": "ethanol.xyz",
    "COLUMN": "structure",
    "TRAJECTORY.xyz": "trajectory.xyz",
}
# Scripts with tests of their own.
ELSEWHERE = {"data/recipes/bundle.py": "tests/data/test_bundle.py"}
_SETTING = r"[a-z_]+(?:\.\w+)+="
_GROUP = re.compile(rf"(?<![\w.]){_SETTING}\S+(?: {_SETTING}\S+)*")
_CHOICES = re.compile(rf"({_SETTING})(\S+(?:, \S+)*) (?:or|to) (\S+)")
_UNRUN = re.compile(r"<!-- not run: [^>]+ -->\n```sh\n(.*?)```", re.DOTALL)
N_STRUCTURES = 24


def comment_of(name: str) -> list[str]:
    """The comment at the head of a config, line by line."""
    lines = resources.config_path(name).read_text(encoding="utf-8").splitlines()
    return [line[1:].rstrip() for line in lines if line.startswith("#")]


def settings_in(line: str) -> list[list[str]]:
    """The settings that a line of prose names: side by side together, alternatives one by one."""
    choices = _CHOICES.search(line)
    if choices:
        key, first, last = choices.groups()
        return [[key + _bare(value)] for value in (*first.split(", "), last)]
    return [[_bare(word) for word in group.split()] for group in _GROUP.findall(line)]


def _bare(word: str) -> str:
    word = word.rstrip(".,;")
    return word if "(" in word else word.rstrip(")")


def commands_of(name: str) -> list[list[str]]:
    """What the comment of a config tells one to type: commands, and settings added to the first."""
    lines = comment_of(name)
    commands = [shlex.split(line) for line in lines if line.startswith("   ")]
    first = next(words for words in commands if words[:2] == ["molequi", "train"])
    prose = [line for line in lines if not line.startswith("   ")]
    return commands + [[*first, *found] for line in prose for found in settings_in(line)]


def commands_of_pages() -> list[list[str]]:
    """The trainings in blocks of pages that tests/test_docs.py does not run."""
    pages = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
    blocks = [block for page in pages for block in _UNRUN.findall(page.read_text(encoding="utf-8"))]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines = [re.sub(r"--output \S+", "", line) for line in lines]
    return [shlex.split(line, comments=True) for line in lines if "molequi train " in line]


TYPED = [*(words for name in NAMES for words in commands_of(name)), *commands_of_pages()]
COMMANDS = sorted({shlex.join(words) for words in TYPED})


def is_of_dynamics(command: str) -> bool:
    words = shlex.split(command)
    return words[:2] == ["molequi", "train"] and isinstance(
        load_experiment(words[2]), DynamicsConfig
    )


def small(config: Config) -> list[str]:
    """The settings that make a training of a second of any bundled one of molecules."""
    n_layers = 3 if config.model.parity == "full" else 1  # fewer reach no handed output
    settings = ["model.n_channels=8", f"model.n_layers={n_layers}", "model.preset=small"]
    settings += ["training.epochs=1", "training.batch_size=8", "training.kernels=reference"]
    settings += ["training.warmup_steps=0", "training.device=cpu", "training.max_minutes=1"]
    settings += ["data.split.train=16", "data.split.valid=4", "data.split.test=4"]
    if config.data.split.kind != "official":
        settings += ["data.split.kind=random", f"data.limit={N_STRUCTURES}"]
    return settings + (["data.path=qm9.npz"] if config.data.path is None else [])


def small_dynamics(kind: str) -> list[str]:
    """The same for one of dynamics."""
    sizes = {
        "springs": ["data.train=4", "data.valid=2", "data.test=2", "data.rollouts=2"],
        "molecule": ["data.train=0.02", "data.test=0.02"],
    }
    return [*sizes[kind], "model.width=8", "training.epochs=1", "training.batch_size=2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small file of every name that the commands give."""
    folder = tmp_path_factory.mktemp("typed")
    write_frames(folder / "frames.extxyz")
    write_rmd17(folder / "rmd17_ethanol.npz")
    write_table(folder / "table.csv")
    for source, target in {
        "qm9_sample": "qm9",
        "rosenfeld_sample": "rosenfeld",
        "qm9_chirality_sample": "qm9_rs",
    }.items():
        loaded = load_npz(SAMPLES / f"{source}.npz")
        save_npz(loaded.frames.subset(torch.arange(N_STRUCTURES)), folder / f"{target}.npz")
    shutil.copy(SAMPLES / "ethanol.xyz", folder)
    write_trajectory(folder / "trajectory.xyz")
    handedness = (PROPERTIES["handedness"],)
    alanine = get_dataset("alanine").load(Request(str(SAMPLES / "alanine.npz"), handedness))
    save_npz(alanine.frames.subset(torch.arange(N_STRUCTURES)), folder / "alanine.npz")
    write_teacher(folder / "teacher.npz")
    return folder


def write_frames(path: Path) -> None:
    frames = read(SAMPLES / "ethanol.extxyz.gz", f":{N_STRUCTURES}")
    for atoms in frames:
        dipole = atoms.get_positions()[2] - atoms.get_center_of_mass()
        results = dict(atoms.calc.results, dipole=dipole)
        atoms.info["my_energy"] = results["energy"]
        atoms.calc = SinglePointCalculator(atoms, **results)
    write(path, frames)


def write_trajectory(path: Path) -> None:
    """Atoms that swing about their places: 50 fs, with the momenta of that motion."""
    atoms, rate = read(SAMPLES / "ethanol.xyz"), 2.0 * np.pi / (20.0 * units.fs)
    swings = np.random.default_rng(0).normal(0.0, 0.02, atoms.positions.shape)
    frames = [atoms.copy() for _ in range(101)]
    for number, frame in enumerate(frames):
        phase = rate * number * 0.5 * units.fs
        frame.positions += swings * np.sin(phase)
        frame.set_velocities(swings * rate * np.cos(phase))
    write(path, frames)


def write_rmd17(path: Path) -> None:
    frames = read(SAMPLES / "ethanol.extxyz.gz", f":{N_STRUCTURES + 1}")
    rows = np.arange(N_STRUCTURES + 1)
    parts = {f"train_{k:02d}": rows[:20] for k in range(1, 6)}
    parts |= {f"test_{k:02d}": rows[20:] for k in range(1, 6)}
    np.savez(
        path,
        z=frames[0].numbers,
        R=np.array([atoms.positions for atoms in frames]),
        E=np.array([atoms.get_potential_energy() for atoms in frames]),
        F=np.array([atoms.get_forces() for atoms in frames]),
        **parts,
    )


def write_table(path: Path) -> None:
    smiles = ["C" * n + end for n in range(1, 9) for end in ("", "O", "N")]
    rows = [f"{text},{len(text)}.5,{'NO'[k % 2]}" for k, text in enumerate(smiles)]
    rows = [row.replace(",N", ",no").replace(",O", ",yes") for row in rows]
    path.write_text("\n".join(["structure,logS,toxic", *rows]), encoding="utf-8")


def write_teacher(path: Path) -> None:
    """Random labels of every target of the config `organic`, of molecules of the sample of QM9."""
    frames = load_npz(SAMPLES / "qm9_sample.npz").frames.subset(torch.arange(N_STRUCTURES))
    config = load_experiment("organic")
    assert isinstance(config, Config)
    generator = torch.Generator().manual_seed(0)
    rows = {row.name: row for row in config.targets()}
    targets = {
        name: torch.rand(
            (len(frames.atomic_numbers) if row.per_atom else len(frames), *row.shape),
            generator=generator,
            dtype=torch.float64,
        )
        for name, row in rows.items()
    }
    save_npz(dataclasses.replace(frames, targets=targets, properties=rows), path)


@pytest.mark.parametrize("command", COMMANDS)
def test_what_one_is_told_to_type_works(
    command: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    words = [filled_in(word) for word in shlex.split(command)]
    if words[0] == "python":
        assert (ROOT / ELSEWHERE[words[1]]).is_file()
    elif words[1] == "train":
        config = load_experiment(words[2], words[3:])  # as it stands, at its full size
        if isinstance(config, Config):
            # Other settings of a network or a loss are set up to their first step.
            more = [
                word for word in words[3:] if not word.startswith(("data.path", "data.targets"))
            ]
            arguments = [*words[1:], *small(config), "--output", str(tmp_path / "run")]
            assert run(arguments + ["--dry-run"] * bool(more)) == 0
    else:
        assert words[1:3] == ["data", "prepare"]
        assert run([*words[1:], "--root", "."]) == 0


@pytest.mark.long
@pytest.mark.parametrize("command", [text for text in COMMANDS if is_of_dynamics(text)])
def test_dynamics_that_one_is_told_to_train_do(
    command: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Making a trajectory takes half a minute; tests/hamiltonian trains every model in small."""
    monkeypatch.chdir(folder)
    words = [filled_in(word) for word in shlex.split(command)]
    sizes = small_dynamics(load_experiment(words[2], words[3:]).data.kind)
    assert run([*words[1:], *sizes, "--output", str(tmp_path / "run")]) == 0


def filled_in(word: str) -> str:
    name, is_setting, value = word.rpartition("=")
    return name + is_setting + STAND_INS.get(value, value)


def test_settings_in_prose_are_found() -> None:
    assert settings_in("Others: model.group=trivial, SO(3) or SE(3).") == [
        ["model.group=trivial"],
        ["model.group=SO(3)"],
        ["model.group=SE(3)"],
    ]
    assert settings_in("(data.smiles=X names it), or a.b=1 c.d=2.") == [
        ["data.smiles=X"],
        ["a.b=1", "c.d=2"],
    ]
    assert settings_in("nothing = here, energy=1") == []
    assert len(commands_of("rmd17")) == 4


def test_targets_of_an_edited_copy_need_no_other_change(tmp_path: Path) -> None:
    """One level of theory stands for whatever targets are asked for."""
    text = yaml.safe_load(resources.config_path("qm9").read_text(encoding="utf-8"))
    text["data"]["targets"] = ["homo", "cv"]
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(text), encoding="utf-8")
    config = load_experiment(path)
    assert isinstance(config, Config)
    assert config.level == dict.fromkeys(["homo", "cv"], "B3LYP/6-31G(2df,p)")
