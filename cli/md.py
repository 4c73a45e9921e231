"""`molequi md`: molecular dynamics."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molequi.cli import options
from molequi.cli.exits import ExitCode
from molequi.cli.loading import load_calculator, read_one
from molequi.cli.output import STDERR, print_json, print_table
from molequi.cli.records import print_notes
from molequi.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

    from molequi.simulation.calculator import Calculator
    from molequi.simulation.md import MDSettings


class Ensemble(str, Enum):
    """What is kept constant."""

    nve = "nve"
    nvt = "nvt"


EnsembleOption = Annotated[
    Ensemble, typer.Option("--ensemble", help="nve: velocity Verlet; nvt: Langevin.")
]
Temperature = Annotated[
    float,
    typer.Option(
        "--temperature",
        "-t",
        min=0,
        help="K, of the first velocities, and of the nvt thermostat.",
    ),
]
Timestep = Annotated[float, typer.Option("--timestep", help="fs.")]
Steps = Annotated[
    int, typer.Option("--steps", "-n", min=0, help="In all, those before a restart included.")
]
Interval = Annotated[int, typer.Option("--interval", min=1, help="Steps between frames.")]
Friction = Annotated[float, typer.Option("--friction", help="1/fs, of the nvt thermostat.")]
Restart = Annotated[bool, typer.Option("--restart", help="Go on where OUTPUT ends.")]


def md(
    input_: options.Input = None,
    *,
    smiles: options.OneSmiles = None,
    model: options.Model = "organic",
    ensemble: EnsembleOption = Ensemble.nve,
    temperature: Temperature = 300.0,
    timestep: Timestep = 0.5,
    steps: Steps = 1000,
    interval: Interval = 10,
    friction: Friction = 0.01,
    output: options.Output = None,
    restart: Restart = False,
    charge: options.Charge = None,
    add_hydrogens: options.AddHydrogens = False,
    as_is: options.AsIs = False,
    json: options.Json = False,
    dispersion: options.Dispersion = None,
    unsafe: options.Unsafe = False,
    device: options.DeviceOption = options.Device.cpu,
    dtype: options.DtypeOption = None,
    seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
) -> int:
    """Run molecular dynamics.

    OUTPUT is an extended XYZ file with energy, forces and momenta of every frame. Exit code 3 when
    a guard stops the run (a bond tears, the energy explodes); the frames up to there are kept.
    """
    if restart and output is None:
        raise UserError("--restart needs --output FILE: the trajectory to go on with")

    from molequi.simulation.md import MDSettings

    settings = MDSettings(ensemble.value, temperature, timestep, steps, interval, friction, seed)
    atoms = read_one(input_, smiles, charge, seed, add_hydrogens=add_hydrogens, as_is=as_is)
    calculator = load_calculator(model, device, dtype, dispersion=dispersion, unsafe=unsafe)
    result = _run(atoms, calculator, settings, output, restart=restart, overwrite=overwrite)
    print_json(result) if json else _print(result)
    return ExitCode.DONE if result["stopped"] is None else ExitCode.NOT_CONVERGED


def _run(
    atoms: Atoms,
    calculator: Calculator,
    settings: MDSettings,
    output: Path | None,
    *,
    restart: bool,
    overwrite: bool,
) -> dict[str, Any]:
    """Run with a progress bar."""
    from rich.progress import Progress

    from molequi.simulation.md import run_md

    with Progress(console=STDERR, transient=True, disable=not STDERR.is_terminal) as bar:
        task = bar.add_task(f"{settings.ensemble} {settings.steps} steps", total=settings.steps)
        return run_md(
            atoms,
            calculator,
            settings,
            output=output,
            restart=restart,
            overwrite=overwrite,
            progress=lambda step, _, __: bar.update(task, completed=step),
        )


def _print(result: dict[str, Any]) -> None:
    rows = [
        ("structure", f"{result['formula']}, {result['n_atoms']} atoms"),
        ("model", result["model"]),
        ("ensemble", f"{result['ensemble']}, timestep {result['timestep_fs']:g} fs"),
        (
            "length",
            f"{result['steps']} steps, {result['time_ps']:.3f} ps, {result['frames']} frames",
        ),
        ("mean temperature", f"{result['temperature_mean']:.1f} K"),
    ]
    if result["drift_mev_atom_ps"] is not None:
        rows.append(("drift of the total energy", f"{result['drift_mev_atom_ps']:.4f} meV/atom/ps"))
    rows.append(("trajectory", result["output"] or "not kept; give --output FILE.xyz"))
    print_table("", ("molecular dynamics", ""), rows, left=("",))
    print_notes([result])
