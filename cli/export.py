"""`molequi export`: a model as a file of another program."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from molequi.cli import completion, options
from molequi.cli.output import say
from molequi.errors import UserError


class Target(str, Enum):
    """What can be written."""

    metatomic = "metatomic"


Exported = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        autocompletion=completion.models,
        help="A model file, a run directory, or the name of a bundled model.",
    ),
]
To = Annotated[Target, typer.Option("--to", help="The kind of file.")]
Charge = Annotated[
    int,
    typer.Option("--charge", "-q", help="Total charge, e, of every system that the file is for."),
]


def export(
    model: Exported,
    *,
    to: To,
    output: options.Output = None,
    charge: Charge = 0,
    dtype: options.DtypeOption = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Write a model as a file that runs without molequi, far energies and all.

    `metatomic` is for LAMMPS, GROMACS, PLUMED, i-PI, torch-sim and ASE, where they are built with
    metatomic. Forces of the file are compared with the model's before it is written.
    """
    from molequi.runtime.files import check_output

    output = Path(f"{Path(model).stem}.pt") if output is None else output
    if output.suffix != ".pt":
        raise UserError(f"the output {output} has no known format; use .pt")
    check_output(output, overwrite=overwrite)
    try:
        from molequi.engines.metatomic_export import export_metatomic
    except ImportError as error:
        raise UserError(
            f"--to metatomic needs the package metatomic-torch ({error}); "
            "pip install 'molequi[metatomic]'"
        ) from error

    from molequi.models.zoo import load

    export_metatomic(load(model, dtype=options.precision(dtype)), output, total_charge=charge)
    say(f"{model}, for systems of total charge {charge} e, written to {output}")
