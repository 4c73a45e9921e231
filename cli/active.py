"""`molequi active`: a model that chooses what is labelled for it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molequi.cli import completion, options
from molequi.cli import dynamics_options as moving
from molequi.cli.calculators import foreign_code, load_factory
from molequi.cli.exits import ExitCode
from molequi.cli.output import line, print_json, print_table, say
from molequi.errors import UserError
from molequi.runtime.wording import counted

if TYPE_CHECKING:
    from molequi.active.loop import Learned
    from molequi.active.teachers import Teacher

_MEMBERS = 3

Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT... [KEY=VALUE]...",
        show_default=False,
        autocompletion=completion.settings,
        help="Files with the structures that move, and settings of the training.",
    ),
]
Level = Annotated[
    str | None,
    typer.Option(
        "--level", "-l", show_default=False, help="Who labels: a level, as `molequi label` has it."
    ),
]
Calculator = Annotated[str | None, options.calculator("Or an ASE calculator")]
StartModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        show_default=False,
        autocompletion=completion.models,
        help="To begin with, with forces_std; organic, or with --data a new ensemble of three.",
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data", show_default=False, help="Structures with labels of that kind to begin with."
    ),
]
Config = Annotated[
    str,
    typer.Option("--config", autocompletion=completion.configs, help="Of the training."),
]
Rounds = Annotated[int, typer.Option("--rounds", min=1, help="At most.")]
Labels = Annotated[int, typer.Option("--labels", min=2, help="At most, in all.")]
PerRound = Annotated[int, typer.Option("--per-round", min=2, help="Labels of a round.")]
Doubt = Annotated[
    float,
    typer.Option(
        "--doubt", help="eV/Å: label frames with a larger one; done when 1 % have. The goal."
    ),
]
Copies = Annotated[int, typer.Option("--copies", min=1, help="Of each structure, that move.")]
Temperature = Annotated[float, moving.temperature("of dynamics", least=0)]
Steps = Annotated[int, moving.steps("Of dynamics, in a round.", least=1)]
Interval = Annotated[
    int, typer.Option("--interval", min=1, help="Steps between frames to choose from.")
]
Processes = Annotated[
    int | None,
    typer.Option(
        "--processes", "-p", min=1, show_default=False, help="That label; one per core by default."
    ),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="A folder.")]


def active(
    inputs: Inputs = None, *, smiles: options.Smiles = None, level: Level = None,
    calculator: Calculator = None, model: StartModel = None, data: Data = None,
    config: Config = "extxyz", rounds: Rounds = 10, labels: Labels = 200,
    per_round: PerRound = 20, doubt: Doubt = 0.1, copies: Copies = 8,
    temperature: Temperature = 300.0, timestep: moving.Timestep = 0.5, steps: Steps = 2000,
    interval: Interval = 20, charge: options.Charge = None, processes: Processes = None,
    output: Output = Path("active"), device: options.DeviceOption = options.Device.cpu,
    seed: options.Seed = 0, overwrite: options.Overwrite = False, json: options.Json = False,
) -> int:  # fmt: skip
    """Label what the model doubts, train, and go on: few labels for a model of your molecules.

    A round: dynamics with the present model, which stop where the doubt is too high; labels of
    frames that are doubted and unlike each other; training from that model. The folder holds
    rounds.csv, labelled.xyz and model.safetensors; whatever ends the command, the same one goes on.
    """
    from molequi.active.beginning import Start
    from molequi.active.loop import learn_actively
    from molequi.active.retraining import Recipe
    from molequi.active.settings import ActiveSettings
    from molequi.simulation.md_settings import MDSettings

    files, overrides = _sorted(inputs or [])
    options.require_inputs(files, smiles, "move")
    reading = options.Reading(files, smiles or [], charge, seed=seed)
    dynamics = MDSettings("nvt", temperature, timestep, steps, interval, seed=seed)
    settings = ActiveSettings(rounds, labels, per_round, doubt, copies, dynamics)
    start = Start(model or (None if data else "organic"), data)
    if start.model is None:
        overrides = _with_members(overrides)
    with _without_ends_of_trajectories(), foreign_code():
        found = learn_actively(
            reading.structures(), _teacher(level, calculator, processes), output, settings,
            start=start, recipe=Recipe(config, tuple(overrides), seed=seed), overwrite=overwrite,
            device=device.value, progress=say,
        )  # fmt: skip
    _report(found, json=json)
    return ExitCode.DONE


@contextlib.contextmanager
def _without_ends_of_trajectories() -> Iterator[None]:
    """What each trajectory says at its early end is told in one line a round."""
    logger = logging.getLogger("molequi.simulation.md")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _sorted(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Tell files from settings."""
    settings = [text for text in arguments if "=" in text and not Path(text).is_file()]
    return [text for text in arguments if text not in settings], settings


def _with_members(overrides: list[str]) -> list[str]:
    """Let a new network be several: few labels teach no head how large its errors are."""
    is_said = any(text.startswith("ensemble=") for text in overrides)
    return overrides if is_said else [*overrides, f"ensemble={_MEMBERS}"]


def _teacher(level: str | None, calculator: str | None, processes: int | None) -> Teacher:
    from molequi.active.teachers import CalculatorTeacher, LevelTeacher

    if (level is None) == (calculator is None):
        raise UserError(
            "who labels? give --level, such as b3lyp/def2-svp or gfn2-xtb, or --calculator"
        )
    if level is not None:
        return LevelTeacher(level, processes)
    import zlib

    file = Path(str(calculator).rpartition(":")[0])
    text = file.read_bytes() if file.suffix == ".py" and file.is_file() else b""
    factory = load_factory(str(calculator))
    return CalculatorTeacher(str(calculator), factory, {"file": zlib.crc32(text)})


_COLUMNS = {
    "round": "round", "frames": "frames", "doubt_50_eV_A": "doubt 50 %", "doubt_99_eV_A": "99 %",
    "doubted": "doubted", "labels": "labels", "forces_mae_eV_A": "force MAE before",
    "within": "within doubt", "seconds": "s",
}  # fmt: skip


def _report(found: Learned, *, json: bool) -> None:
    """Print the table of the rounds, and what there is."""
    if json:
        rows = [{name: _cell(text) for name, text in row.items()} for row in found.rows]
        files = {"model": found.model, "labelled": found.labelled}
        places = {name: str(path) if path.is_file() else None for name, path in files.items()}
        print_json({**found._asdict(), **places, "rows": rows})
        return
    cells = [tuple(_cell(row[name]) for name in _COLUMNS) for row in found.rows]
    print_table("Rounds (eV/Å)", tuple(_COLUMNS.values()), cells)
    line(f"{found.reason}; {counted(found.n_labels, 'label')}")
    if found.model.is_file():
        line(f"model: {found.model}; labelled structures: {found.labelled}")
    else:
        line("nothing was labelled, so nothing was trained: the model stays the one given")


def _cell(text: Any) -> object:
    """Return a cell of the table as a number where it is one; nothing for an empty one."""
    if text == "":
        return None
    return int(text) if text.isdigit() else float(text)
