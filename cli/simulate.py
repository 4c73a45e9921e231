"""`molequi md`, `molequi relax` and `molequi vibrations`."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molequi.cli import options
from molequi.cli.exits import ExitCode
from molequi.cli.output import STDERR, line, print_json, print_table, say
from molequi.cli.predict import Record, hidden_source, print_provenance, require_good
from molequi.errors import UserError

if TYPE_CHECKING:
    from ase import Atoms

    from molequi.simulation.calculator import Calculator


class Ensemble(str, Enum):
    """What is kept constant."""

    nve = "nve"
    nvt = "nvt"


def md(
    input_: options.Input = None,
    *,
    smiles: options.OneSmiles = None,
    model: options.Model = "organic",
    ensemble: Annotated[
        Ensemble, typer.Option("--ensemble", help="nve: velocity Verlet; nvt: Langevin.")
    ] = Ensemble.nve,
    temperature: Annotated[
        float,
        typer.Option(
            "--temperature",
            "-t",
            min=0,
            help="K, of the first velocities, and of the nvt thermostat.",
        ),
    ] = 300.0,
    timestep: Annotated[float, typer.Option("--timestep", help="fs.")] = 0.5,
    steps: Annotated[
        int, typer.Option("--steps", "-n", min=0, help="In all, those before a restart included.")
    ] = 1000,
    interval: Annotated[int, typer.Option("--interval", min=1, help="Steps between frames.")] = 10,
    friction: Annotated[
        float, typer.Option("--friction", help="1/fs, of the nvt thermostat.")
    ] = 0.01,
    output: options.Output = None,
    restart: Annotated[bool, typer.Option("--restart", help="Go on where OUTPUT ends.")] = False,
    charge: options.Charge = None,
    json: options.Json = False,
    unsafe: options.Unsafe = False,
    device: options.DeviceOption = options.Device.cpu,
    dtype: options.DtypeOption = None,
    seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
) -> int:
    """Run molecular dynamics.

    OUTPUT is an extended XYZ file with energy, forces and momenta of every frame.

    Exit code 3 when a guard stops the run (a bond tears, the energy explodes); the frames up to
    there are kept.
    """
    from rich.progress import Progress

    from molequi.simulation.md import MDSettings, run_md

    if restart and output is None:
        raise UserError("--restart needs --output FILE: the trajectory to go on with")
    settings = MDSettings(
        ensemble=ensemble.value,
        temperature=temperature,
        timestep=timestep,
        steps=steps,
        interval=interval,
        friction=friction,
        seed=seed,
    )
    atoms = _one(input_, smiles, charge, seed)
    calculator = _calculator(model, device, dtype, unsafe=unsafe)
    with Progress(console=STDERR, transient=True, disable=not STDERR.is_terminal) as bar:
        task = bar.add_task(f"{ensemble.value} {steps} steps", total=steps)
        result = run_md(
            atoms, calculator, settings, output=output, restart=restart, overwrite=overwrite,
            progress=lambda step, _, __: bar.update(task, completed=step),
        )  # fmt: skip
    if json:
        print_json(result)
    else:
        _print_md(result)
    return ExitCode.DONE if result["stopped"] is None else ExitCode.NOT_CONVERGED


def relax(
    inputs: options.Inputs = None,
    *,
    smiles: options.Smiles = None,
    model: options.Model = "organic",
    fmax: Annotated[
        float,
        typer.Option("--fmax", help="eV/Å, the largest force on an atom of a relaxed structure."),
    ] = 0.01,
    steps: Annotated[int, typer.Option("--steps", "-n", min=0, help="At most.")] = 500,
    output: options.Output = None,
    charge: options.Charge = None,
    json: options.Json = False,
    unsafe: options.Unsafe = False,
    device: options.DeviceOption = options.Device.cpu,
    dtype: options.DtypeOption = None,
    seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
) -> int:
    """Move the atoms of every structure to the nearest energy minimum.

    OUTPUT is an extended XYZ file.

    Exit code 3 when a structure did not get there; it is kept as far as it came.
    """
    if not inputs and not smiles:
        raise UserError(
            "nothing to relax: give structure files, - for standard input, or --smiles TEXT"
        )

    from molequi.simulation.relaxation import relax as run

    calculator = _calculator(model, device, dtype, unsafe=unsafe)
    with STDERR.status("relaxing"):
        records = run(
            inputs or [],
            calculator,
            smiles=smiles or [],
            charge=charge,
            seed=seed,
            fmax=fmax,
            steps=steps,
            output=output,
            overwrite=overwrite,
        )
    good = require_good(records)
    if json:
        print_json(records)
    else:
        rows = [
            (
                r["index"],
                r["source"],
                r["formula"],
                r["energy"],
                r["energy_change"],
                r["fmax"],
                r["steps"],
                r["converged"],
            )
            for r in good
        ]
        columns = (
            "#",
            "source",
            "formula",
            "energy eV",
            "change eV",
            "max|F| eV/Å",
            "steps",
            "converged",
        )
        print_table("", columns, rows, left=("source", "formula"), hidden=hidden_source(good))
        print_provenance(good)
    return _relax_code(records, good, output)


def vibrations(
    input_: options.Input = None,
    *,
    smiles: options.OneSmiles = None,
    model: options.Model = "organic",
    no_relax: Annotated[
        bool, typer.Option("--no-relax", help="Take the geometry as it is.")
    ] = False,
    fmax: Annotated[float, typer.Option("--fmax", help="eV/Å, of the relaxation.")] = 1e-3,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", show_default=False, help="Folder for frequencies.csv, modes.xyz, ..."
        ),
    ] = None,
    charge: options.Charge = None,
    json: options.Json = False,
    unsafe: options.Unsafe = False,
    device: options.DeviceOption = options.Device.cpu,
    dtype: options.DtypeOption = options.Dtype.float64,
    seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
) -> int:
    """Compute harmonic frequencies, infrared intensities and the zero-point energy.

    The structure is relaxed first.

    Imaginary frequencies are printed as negative numbers. Exit code 3 when the relaxation did not
    converge.
    """
    from molequi.simulation.vibrations import vibrations as run

    atoms = _one(input_, smiles, charge, seed)
    calculator = _calculator(model, device, dtype, unsafe=unsafe)
    with STDERR.status("relaxing, then the Hessian"):
        result = run(
            atoms,
            calculator,
            relax_first=not no_relax,
            fmax=fmax,
            output=output,
            overwrite=overwrite,
        )
    if json:
        print_json(result)
    else:
        _print_vibrations(result)
    if result["converged"] is False:
        say(f"the relaxation did not converge: the largest force is {result['fmax']:.4f} eV/Å")
        return ExitCode.NOT_CONVERGED
    return ExitCode.DONE


def _relax_code(records: Sequence[Record], good: Sequence[Record], output: Path | None) -> ExitCode:
    """Say what did not work, and which exit code that is."""
    if output is not None:
        say(f"{len(good)} of {len(records)} structures written to {output}")
    unfinished = [record for record in good if not record["converged"]]
    if unfinished:
        say(
            f"{len(unfinished)} of {len(records)} structures did not converge; raise --steps or "
            "--fmax"
        )
        return ExitCode.NOT_CONVERGED
    return ExitCode.DONE if len(good) == len(records) else ExitCode.FAILED


def _one(source: str | None, smiles: str | None, charge: int | None, seed: int) -> Atoms:
    from molequi.structures.inputs import one_structure

    return one_structure(source, smiles=smiles, charge=charge, seed=seed).atoms


def _calculator(
    model: str, device: options.Device, dtype: options.Dtype | None, *, unsafe: bool
) -> Calculator:
    from molequi.simulation.calculator import Calculator

    return Calculator(model, device=device.value, dtype=options.precision(dtype), unsafe=unsafe)


def _print_vibrations(result: dict[str, Any]) -> None:
    intensities = result["ir_km_mol"] or [None] * len(result["frequencies_cm1"])
    rows = [
        (mode, f"{frequency:.1f}", value)
        for mode, (frequency, value) in enumerate(
            zip(result["frequencies_cm1"], intensities, strict=True)
        )
    ]
    print_table(
        f"{result['formula']}: vibrations", ("mode", "frequency cm⁻¹", "IR intensity km/mol"), rows
    )
    line(
        f"zero-point energy {result['zpe_ev']:.4f} eV; {result['n_imaginary']} imaginary; largest "
        f"force {result['fmax']:.1e} eV/Å"
    )
    line(f"model {result['model']}; level: {result['level'] or 'not stated'}")
    if result["output"] is not None:
        line(
            f"written to {result['output']}: frequencies.csv, modes.xyz, structure.xyz, result.json"
        )


def _print_md(result: dict[str, Any]) -> None:
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
