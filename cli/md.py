"""`molequi md`: molecular dynamics."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molequi.cli import dynamics_options as moving
from molequi.cli import options
from molequi.cli.exits import ExitCode
from molequi.cli.idle import refuse_idle
from molequi.cli.loading import load_calculator, read_several
from molequi.cli.md_text import print_many, print_one
from molequi.cli.output import print_json
from molequi.cli.records import require_good
from molequi.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from molequi.simulation.calculator import Calculator
    from molequi.simulation.md_settings import MDSettings
    from molequi.structures.structure import Structure


class Ensemble(str, Enum):
    """What is kept constant."""

    nve = "nve"
    nvt = "nvt"
    npt = "npt"


class Thermostat(str, Enum):
    """What keeps the temperature of nvt."""

    langevin = "langevin"
    nose_hoover = "nose-hoover"
    bussi = "bussi"


class Cell(str, Enum):
    """What of a cell moves."""

    isotropic = "isotropic"
    full = "full"


EnsembleOption = Annotated[
    Ensemble,
    typer.Option(
        "--ensemble",
        help="nve: velocity Verlet; nvt: with a thermostat; npt: thermostat and barostat "
        "(Martyna, Tobias, Klein), for a periodic cell.",
    ),
]
ThermostatOption = Annotated[
    Thermostat,
    typer.Option(
        "--thermostat", help="Of nvt; nose-hoover is a chain of three, bussi rescales at random."
    ),
]
Temperature = Annotated[
    float, moving.temperature("of the first velocities, and of the thermostat", least=0)
]
Ramp = Annotated[
    str | None,
    typer.Option(
        "--ramp",
        show_default=False,
        help="Points K:PS with straight lines between them, for the thermostat, such as "
        "300:0,600:5,300:20.",
    ),
]
Pressure = Annotated[float, moving.pressure("of npt")]
CellOption = Annotated[
    Cell, typer.Option("--cell", help="Of npt: the size of the cell moves, or its shape too.")
]
Constrain = Annotated[
    list[str] | None,
    typer.Option(
        "--constrain",
        show_default=False,
        help="x-h: bonds of hydrogen keep their lengths; 0,3-5: these atoms stay (counted from 0). "
        "May be repeated.",
    ),
]
Steps = Annotated[int, moving.steps("In all, those before a restart included.", least=0)]
Interval = Annotated[int, typer.Option("--interval", min=1, help="Steps between frames.")]
Friction = Annotated[float, typer.Option("--friction", help="1/fs, of langevin.")]
ThermostatTime = Annotated[
    float, typer.Option("--thermostat-time", help="fs, of nose-hoover, bussi and npt.")
]
BarostatTime = Annotated[float, typer.Option("--barostat-time", help="fs, of npt.")]
MaxDoubt = Annotated[
    float | None,
    typer.Option(
        "--max-doubt",
        show_default=False,
        help="eV/Å: stop where a model that knows its errors doubts a force by more.",
    ),
]
KeepVelocities = Annotated[
    bool,
    typer.Option(
        "--keep-velocities",
        help="Begin with the velocities of INPUT, such as a frame of dynamics, not with new ones.",
    ),
]
Restart = Annotated[bool, typer.Option("--restart", help="Go on where OUTPUT ends.")]


def md(
    context: typer.Context,
    input_: options.InputOfMany = None, *, smiles: options.Smiles = None,
    model: options.Model = "organic", ensemble: EnsembleOption = Ensemble.nve,
    thermostat: ThermostatOption = Thermostat.langevin, temperature: Temperature = 300.0,
    ramp: Ramp = None, pressure: Pressure = 1.0, cell: CellOption = Cell.isotropic,
    constrain: Constrain = None, keep_velocities: KeepVelocities = False,
    timestep: moving.Timestep = 0.5, steps: Steps = 1000, interval: Interval = 10,
    friction: Friction = 0.01, thermostat_time: ThermostatTime = 100.0,
    barostat_time: BarostatTime = 1000.0, max_doubt: MaxDoubt = None,
    output: options.Output = None, restart: Restart = False, charge: options.Charge = None,
    add_hydrogens: options.AddHydrogens = False, as_is: options.AsIs = False,
    json: options.Json = False, dispersion: options.Dispersion = None,
    unsafe: options.Unsafe = False, device: options.DeviceOption = options.Device.cpu,
    dtype: options.DtypeOption = None, seed: options.Seed = 0, overwrite: options.Overwrite = False,
) -> int:  # fmt: skip
    """Run molecular dynamics, of many structures at once where INPUT has several.

    OUTPUT is an extended XYZ or .traj file with energy, forces and momenta of every frame; beside
    it lies a log, OUTPUT.csv. Exit code 3 when a guard stops a structure (a bond tears, atoms fall
    together, the energy explodes); its frames up to there are kept, and the others go on.
    """
    if restart and output is None:
        raise UserError("--restart needs --output FILE: the trajectory to go on with")
    refuse_idle(context, _idle(ensemble, thermostat, keep_velocities, ramp))

    from molequi.simulation.md_settings import MDSettings

    settings = MDSettings(
        ensemble.value, temperature, timestep, steps, interval, friction, seed,
        thermostat=thermostat.value, thermostat_time=thermostat_time, pressure=pressure,
        barostat_time=barostat_time, cell=cell.value, ramp=_points(ramp),
        constrain=tuple(constrain or ()), max_doubt=max_doubt, keep_velocities=keep_velocities,
    )  # fmt: skip
    structures = read_several(
        input_, smiles, charge, seed, add_hydrogens=add_hydrogens, as_is=as_is
    )
    calculator = load_calculator(model, device, dtype, dispersion=dispersion, unsafe=unsafe)
    results = _run(structures, calculator, settings, output, restart=restart, overwrite=overwrite)
    return _report(results, settings, json=json)


def _idle(
    ensemble: Ensemble, thermostat: Thermostat, keep: KeepVelocities, ramp: str | None
) -> dict[str, str]:
    """Return the options that say nothing to this ensemble, and what they belong to."""
    is_nvt, is_npt = ensemble is Ensemble.nvt, ensemble is Ensemble.npt
    is_langevin = thermostat is Thermostat.langevin
    idle = _idle_temperature(ensemble, keep, ramp)
    if not is_nvt:
        idle["thermostat"] = "--ensemble nvt"
    if not (is_nvt and is_langevin):
        idle["friction"] = "--ensemble nvt --thermostat langevin"
    if not is_npt:
        idle |= dict.fromkeys(("pressure", "barostat_time", "cell"), "--ensemble npt")
    if not is_npt and (is_langevin or not is_nvt):
        idle["thermostat_time"] = (
            "--ensemble npt, and to nvt with --thermostat nose-hoover or bussi"
        )
    return idle


def _idle_temperature(ensemble: Ensemble, keep: KeepVelocities, ramp: str | None) -> dict[str, str]:
    """Return what the temperature belongs to where it says nothing."""
    if ensemble is Ensemble.nve:
        of = "new velocities and thermostats, and --keep-velocities of nve has none"
        return {"temperature": of} if keep else {}
    of = "runs without --ramp, which begins at its first point"
    return {"temperature": of} if ramp else {}


def _points(text: str | None) -> tuple[tuple[float, float], ...]:
    """Read the points of a ramp: K:PS,K:PS,..."""
    points = []
    for part in text.split(",") if text else ():
        kelvin, _, time = part.partition(":")
        try:
            points.append((float(kelvin), float(time)))
        except ValueError:
            raise UserError(
                f"--ramp {text}: {part!r} is no point K:PS; give such as 300:0,600:5,300:20"
            ) from None
    return tuple(points)


def _run(
    structures: Sequence[Structure],
    calculator: Calculator,
    settings: MDSettings,
    output: Path | None,
    *,
    restart: bool,
    overwrite: bool,
) -> list[dict[str, Any]]:
    """Run, and show how far it is; results have the pace of all together."""
    from molequi.cli.md_progress import StepsBar
    from molequi.simulation.md import run_many, run_md

    with StepsBar(settings, len(structures)) as bar:
        how: Any = {
            "output": output, "restart": restart, "overwrite": overwrite, "progress": bar.show,
        }  # fmt: skip
        if len(structures) == 1:
            results = [run_md(structures[0], calculator, settings, **how)]
        else:
            results = run_many(structures, calculator, settings, **how)
    return [{**result, "ns_per_day": bar.ns_per_day} for result in results]


def _report(results: Sequence[dict[str, Any]], settings: MDSettings, *, json: bool) -> ExitCode:
    """Print what came of it; say which exit code that is."""
    is_one = len(results) == 1
    good = results if is_one else require_good(results)
    if json:
        print_json(results[0] if is_one else list(results))
    elif is_one:
        print_one(results[0], settings)
    else:
        print_many(good, settings)
    if any(result["stopped"] is not None for result in good):
        return ExitCode.NOT_CONVERGED
    return ExitCode.DONE if len(good) == len(results) else ExitCode.FAILED
