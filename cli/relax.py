"""`molequi relax`: structures to their nearest energy minima."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from molequi.cli import dynamics_options as moving
from molequi.cli import options
from molequi.cli.bars import Bar
from molequi.cli.exits import ExitCode
from molequi.cli.loading import completed, load_calculator
from molequi.cli.output import print_json, print_table, say
from molequi.cli.records import Record, hidden_source, print_provenance, require_good
from molequi.runtime.wording import counted

_COLUMNS = {
    "#": "index",
    "source": "source",
    "formula": "formula",
    "energy eV": "energy",
    "change eV": "energy_change",
    "max|F| eV/Å": "fmax",
    "max std F eV/Å": "max_forces_std",
    "steps": "steps",
    "converged": "converged",
    "imaginary": "n_imaginary",
}

Fmax = Annotated[float, moving.fmax("the largest force on an atom of a relaxed structure")]
Steps = Annotated[int, moving.steps("At most.", least=0)]
Minimum = Annotated[
    bool,
    typer.Option(
        "--minimum",
        help="Leave saddle points: relax to 0.001 eV/Å, look at the Hessian, go along imaginary "
        "modes and relax again, until there are none. In float64.",
    ),
]


def relax(
    inputs: options.Inputs = None,
    *,
    smiles: options.Smiles = None,
    model: options.Model = "organic",
    fmax: Fmax = 0.01,
    steps: Steps = 500,
    minimum: Minimum = False,
    output: options.Output = None,
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
    """Move the atoms of every structure to the nearest energy minimum.

    OUTPUT is an extended XYZ file; it appears when all is relaxed, and an interrupted command goes
    on when it is given again. Exit code 3 when a structure did not get there; it is kept as it is.
    """
    options.require_inputs(inputs, smiles, "relax")
    from molequi.simulation.relaxation import relax as run

    given = completed(inputs, add_hydrogens=add_hydrogens, as_is=as_is)
    dtype = options.Dtype.float64 if minimum and dtype is None else dtype
    calculator = load_calculator(model, device, dtype, dispersion=dispersion, unsafe=unsafe)
    total = options.Reading(inputs or [], smiles or [], charge).n_structures()
    with Bar("structures") as bar:
        records = run(
            given, calculator, smiles=smiles or [], charge=charge, seed=seed,
            fmax=fmax, steps=steps, minimum=minimum, output=output, overwrite=overwrite,
            progress=lambda done, failed: bar.show(done, total, failed),
        )  # fmt: skip
    return _report(records, output, json=json)


def _print(records: Sequence[Record]) -> None:
    rows = [[record.get(key) for key in _COLUMNS.values()] for record in records]
    hidden = [*hidden_source(records)]
    for name in ("max std F eV/Å", "imaginary"):
        if not any(_COLUMNS[name] in record for record in records):
            hidden.append(name)
    print_table("", list(_COLUMNS), rows, left=("source", "formula"), hidden=hidden)
    print_provenance(records)


def _report(records: Sequence[Record], output: Path | None, *, json: bool) -> ExitCode:
    """Print the records; say what did not work, and which exit code that is."""
    good = require_good(records)
    if json:
        print_json(records)
    else:
        _print(good)
    if output is not None:
        say(f"{len(good)} of {counted(len(records), 'structure')} written to {output}")
    elif not json:
        say("the relaxed structures are not kept; give --output FILE.xyz")
    unfinished = [record for record in good if not record["converged"]]
    if unfinished:
        say(
            f"{len(unfinished)} of {counted(len(records), 'structure')} did not converge; raise "
            "--steps or --fmax"
        )
        return ExitCode.NOT_CONVERGED
    saddles = [record for record in good if record.get("n_imaginary")]
    if saddles:
        say(
            f"{len(saddles)} of {len(records)} structures keep imaginary modes along which the "
            "energy falls no further"
        )
        return ExitCode.NOT_CONVERGED
    return ExitCode.DONE if len(good) == len(records) else ExitCode.FAILED
