"""What is damaged for each format, and which commands then read it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from containers import of_file
from mutations import NUMBERS, WORDS, mutated
from seeds import IDENTITY, SMALL

Command = tuple[str, ...] | Callable[[], Any]


class Door(NamedTuple):
    """A format: the commands that read each of its files, and what stands beside them."""

    commands: Mapping[str, Sequence[Command]]
    beside: tuple[str, ...] = ("tiny.safetensors", "water.xyz")


MODEL = ("--model", "tiny.safetensors")


def _reading(name: str) -> list[Command]:
    return [
        ("predict", name, *MODEL, "--json"),
        ("predict", name, *MODEL, "--json"),
        ("predict", name, *MODEL),
        ("predict", name, *MODEL, "--output", "out.csv", "--overwrite"),
        ("data", "inspect", name),
        ("data", "inspect", name, "--json"),
    ]


def _preparing(config: str, *overrides: str) -> Callable[[], None]:
    """What `molequi train` does before it trains."""

    def prepare() -> None:
        from molequi.experiments import prepare as run

        run(f"{config}.yaml", overrides, "new-run")

    return prepare


def _journal() -> None:
    """What `molequi label --resume` does when everything is computed."""
    from molequi.labeling.journal import Journal
    from molequi.labeling.levels import parse_level
    from molequi.labeling.run import _finish, _molecule, _sift, name_of
    from molequi.structures.inputs import read_inputs

    sifted = _sift(list(read_inputs("water.xyz")), None)
    with Journal(Path("labels.xyz.journal"), dict(IDENTITY)) as journal:
        names = [name_of(_molecule(structure)) for structure in sifted.wanted]
        if not all(name in journal.answers for name in names):
            return
    _finish(Path("labels.xyz"), journal, sifted, parse_level("gfn2-xtb"))


def _card() -> None:
    """`molequi models NAME` where the card of a bundled model is the damaged file."""
    from unittest import mock

    from molequi.cli.library import models
    from molequi.models import zoo

    shutil.move("card.json", "tiny.json")
    with mock.patch.object(zoo, "_models", Path.cwd):
        models("tiny", json=False)
        models(None, json=False)


_RESUMING = ("train", "run/config.yaml", "--output", "run", "--resume")
_GOING_ON = ("md", "water.xyz", *MODEL, "--steps", "4", "--interval", "1", "--output", "md.xyz",
             "--restart", "--json")  # fmt: skip
_DOORS: Mapping[str, Door] = {
    **{
        kind: Door({name: _reading(name)})
        for kind, name in (
            *(("xyz", "w.xyz"), ("mol2", "w.mol2"), ("pdb", "w.pdb"), ("gaussian", "w.gjf")),
            *(("cif", "w.cif"), ("sdf", "w.sdf")),
        )
    },
    "extxyz": Door(
        {"w.extxyz": [*_reading("w.extxyz"), _preparing("train", "data.path=w.extxyz")]}
    ),
    "smiles": Door({"w.smi": _reading("w.smi")[:3]}),
    "csv": Door({"w.csv": [("data", "inspect", "w.csv"), _preparing("table", "data.path=w.csv")]}),
    "yaml": Door(
        {name: [("config", "show", name)] for name in ("train.yaml", "table.yaml", "spring.yaml")}
    ),
    "npz": Door(
        {
            "w.npz": [("data", "inspect", "w.npz"), _preparing("train", "data.kind=npz",
                      "data.path=w.npz", "data.split.kind=stored")],
            "rmd17.npz": [("data", "inspect", "rmd17.npz"), _preparing("train", "data.kind=rmd17",
                          "data.path=rmd17.npz")],
        }
    ),
    "split": Door(
        {name: [_preparing("train", "data.split.kind=file", f"data.split.path={name}")]
         for name in ("split.json", "split.npz")}
    ),
    "safetensors": Door(
        {"tiny.safetensors": [("predict", "water.xyz", *MODEL, "--json")]}
    ),
    "ase": Door({name: _reading(name) for name in ("w.db", "w.traj", "w.json")}),
    "tar": Door({"qm9.tar": [("data", "inspect", "qm9.tar")]}),
    "suite": Door(
        {"suite.json": [("evaluate", "tiny.safetensors", "suite.json", "--json")],
         "suite.yaml": [("evaluate", "tiny.safetensors", "suite.yaml")]}
    ),
    "restart": Door({"md.xyz.restart": [_GOING_ON], "md.xyz": [_GOING_ON]}),
    "journal": Door({"labels.xyz.journal": [_journal]}),
    "run": Door(
        {f"run/{name}": [_RESUMING, _RESUMING, ("evaluate", "run", "--split", "test", "--json")]
         for name in ("last.ckpt", "split.json", "config.yaml", "model.safetensors")}
    ),
    "card": Door({"card.json": [_card]}),
    "predictions": Door(
        {f"{name}.journal": [("predict", "w.xyz", *MODEL, "--output", name)]
         for name in ("out.csv", "out.json", "out.xyz")},
        ("tiny.safetensors", "w.xyz"),
    ),
}  # fmt: skip
FORMATS = (*_DOORS, "line")


def set_up(kind: str, number: int, seeds: Path, folder: Path) -> Command:
    """Fill an empty folder with the files of a case, one of them damaged; return the command.

    The same number gives the same case.
    """
    random = Random(f"{kind}:{number}")
    if kind == "line":
        for name in ("tiny.safetensors", "water.xyz", "train.yaml"):
            shutil.copy(seeds / name, folder)
        return _line(random)
    door = _DOORS[kind]
    for name in (*door.beside, *door.commands, "train.yaml", "table.yaml"):
        _copy(seeds, name, folder)
    target = random.choice(list(door.commands))
    change = of_file(Path(target)) if random.random() < 0.6 else mutated
    data = (folder / target).read_bytes()
    (folder / target).write_bytes(change(data, random))
    return random.choice(door.commands[target])


def _copy(seeds: Path, name: str, folder: Path) -> None:
    if name.startswith("run/"):
        shutil.copytree(seeds / "run", folder / "run", dirs_exist_ok=True)
    elif not (folder / name).exists():
        shutil.copy(seeds / name, folder / name)


_LINES: tuple[tuple[str, ...], ...] = (
    ("predict", "water.xyz", *MODEL, "--charge", "0"),
    ("predict", "--smiles", "CCO", *MODEL, "--seed", "1"),
    ("predict", "--smiles", "CCO", *MODEL, "--conformers", "2"),
    ("md", "water.xyz", *MODEL, "--steps", "2", "--timestep", "0.5", "--temperature", "300"),
    ("relax", "water.xyz", *MODEL, "--fmax", "0.5", "--steps", "2"),
    ("label", "water.xyz", "--level", "hf/sto-3g", "--rows", "0:1", "--output", "no/l.xyz"),
    (
        "config",
        "show",
        "train.yaml",
        "data.split.seed=1",
        "training.epochs=3",
        "data.targets=energy",
    ),
    ("config", "show", "extxyz", "training.learning_rate=0.1", "model.cutoff=5", *SMALL),
    ("config", "show", "property", "properties.x.unit=eV", "data.targets=x", "level.x=hf"),
    ("config", "show", "spring", "data.train=10", "model.kind=hogn", "training.device=cpu"),
    ("data", "inspect", "water.xyz"),
    ("models", "organic"),
)


def _line(random: Random) -> tuple[str, ...]:
    """Damage one or two words of a command line."""
    words = list(random.choice(_LINES))
    for _ in range(random.choice((1, 1, 2))):
        place = random.randrange(1, len(words))
        key, separator, value = words[place].partition("=")
        hostile = random.choice((*NUMBERS, *WORDS, ".inf", "[[[[", "{a: b}", "0:" + "1" + "0" * 18))
        kind = random.randrange(4)
        if separator and kind:
            words[place] = f"{key}={hostile}" if kind > 1 else f"{key[:-1]}={value}"
        elif kind == 0:
            del words[place]
        else:
            words[place] = hostile
        if len(words) < 2:
            break
    return tuple(word.replace("\x00", "") for word in words)
