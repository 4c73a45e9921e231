"""`molequi demo`: the main job on bundled data, by the commands that a user would type."""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from molequi.cli import options
from molequi.cli.output import line, print_table
from molequi.errors import UserError


def demo(
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for everything that the demo makes.")
    ] = Path("demo-output"),
    model: options.Model = "organic",
    minutes: Annotated[
        float, typer.Option("--minutes", min=0.01, help="Time for training the property model.")
    ] = 1.0,
    overwrite: options.Overwrite = False,
) -> int:
    """Show the main job on bundled data.

    Predict, relax, vibrations, dynamics, train a property model, check, and a page to look at all
    of it. Takes about three minutes.
    """
    from molequi.runtime.folders import check_folder
    from molequi.runtime.locks import locked
    from molequi.runtime.resources import data_path

    check_folder(output, overwrite=overwrite)
    output.mkdir(exist_ok=True)
    started = time.monotonic()
    with locked(output):
        molecules = Path(shutil.copy(data_path("samples/molecules.xyz"), output))
        for title, arguments in _steps(output, molecules, model, minutes):
            replaces = overwrite and "--output" in arguments
            _step(title, [*arguments, "--overwrite"] if replaces else arguments)
    line(f"\nDone in {time.monotonic() - started:.0f} s. What it left behind:")
    _print_files(output)
    return 0


class _Step(NamedTuple):
    """A command of the demo, and what it shows."""

    title: str
    arguments: list[str]


def _steps(output: Path, molecules: Path, model: str, minutes: float) -> list[_Step]:
    run, with_model = str(output / "qm9_sample"), ["--model", model]
    ethanol = str(output / "ethanol.xyz")
    predictions, trajectory = (
        str(output / f"{name}.xyz") for name in ("predictions", "trajectory")
    )
    predict = ["predict", str(molecules), *with_model]
    relax = ["relax", "--smiles", "CCO", *with_model, "--output", ethanol]
    md = ["md", ethanol, *with_model, "--steps", "1000", "--output", trajectory]
    vibrations = ["vibrations", ethanol, *with_model, "--output", str(output / "vibrations")]
    shown = [predictions, trajectory, str(output / "vibrations"), run]
    page = ["report", *shown, "--title", "What molequi demo made", "--output"]
    train = ["train", "qm9_sample", f"training.max_minutes={minutes:g}", "--output", run]
    what_is_learned = "gap and dipole magnitude on 3,000 molecules of QM9, in the given time"
    return [
        _Step("Energy, forces and dipole of ten molecules", predict),
        _Step("The same into a file that ASE reads", [*predict, "--output", predictions]),
        _Step("Relax ethanol, made from its SMILES", relax),
        _Step("Its vibrations: frequencies, infrared spectrum, modes", vibrations),
        _Step("Molecular dynamics at constant energy, and how well the energy is kept", md),
        _Step(f"Train a model of {what_is_learned}", train),
        _Step("Use it", ["predict", str(molecules), "--model", run]),
        _Step("Check that the bundled model obeys physics", ["check", model]),
        _Step("A page to look at all of it", [*page, str(output / "report.html")]),
    ]


def _step(title: str, arguments: Sequence[str]) -> None:
    """Show a command, run it, and stop the demo where it fails."""
    from molequi.cli.main import run

    line(f"\n== {title}\n$ molequi {shlex.join(arguments)}")
    code = run(arguments)
    if code:
        raise UserError(f"the demo ends here: the command above gave exit code {int(code)}")


def _print_files(output: Path) -> None:
    run = str(output / "qm9_sample")
    notes = {
        "report.html": "a page to look at all of it: open it in a browser",
        "molecules.xyz": "the input",
        "predictions.xyz": "energies, forces, dipoles: ase.io.read(FILE).get_forces()",
        "ethanol.xyz": "the relaxed molecule",
        "vibrations/modes.xyz": "normal modes",
        "trajectory.xyz": "a frame every 5 fs with energy, forces and momenta",
        "qm9_sample/model.safetensors": (
            f"the trained model: molequi predict FILE --model {shlex.quote(run)}"
        ),
        "qm9_sample/result.json": "its errors on the test set",
        "qm9_sample/plots/learning_curve.png": "training and validation",
        "qm9_sample/plots/parity_gap.png": "predicted against QM9",
    }
    rows = [(str(output / name), note) for name, note in notes.items() if (output / name).exists()]
    print_table("", ("file", "what it is"), rows, left=("what it is",))
