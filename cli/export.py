"""`molequi export`: a model as a file of another program."""

from __future__ import annotations

import functools
from collections.abc import Callable
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
    aoti = "aoti"


SUFFIXES = {Target.metatomic: ".pt", Target.aoti: ".pt2"}


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


Periodic = Annotated[
    bool, typer.Option("--periodic", help="With --to aoti: for crystals instead of molecules.")
]


def export(
    model: Exported,
    *,
    to: To,
    output: options.Output = None,
    charge: Charge = 0,
    periodic: Periodic = False,
    dtype: options.DtypeOption = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Write a model as a file that runs without molequi, far energies and all.

    `metatomic` (.pt) is for LAMMPS, GROMACS, PLUMED, i-PI, torch-sim and ASE, where they are built
    with metatomic. `aoti` (.pt2) is an AOTInductor package for programs in C++, compiled for this
    machine's CPU, which takes minutes. Forces are compared with the model's before a file is
    written.
    """
    from molequi.runtime.files import check_output

    suffix = SUFFIXES[to]
    output = Path(Path(model).stem + suffix) if output is None else output
    if output.suffix != suffix:
        raise UserError(f"the output {output} has no known format; use {suffix}")
    check_output(output, overwrite=overwrite)
    if periodic and to is not Target.aoti:
        raise UserError("--periodic is for --to aoti; a metatomic file is for both kinds")
    writer = _aoti_writer(periodic) if to is Target.aoti else _metatomic_writer()

    from molequi.models.zoo import load

    writer(load(model, dtype=options.precision(dtype)), output, total_charge=charge)
    say(f"{model}, for systems of total charge {charge} e, written to {output}")


def _metatomic_writer() -> Callable[..., None]:
    try:
        from molequi.engines.metatomic_export import export_metatomic
    except ImportError as error:
        raise UserError(
            f"--to metatomic needs the package metatomic-torch ({error}); "
            "pip install 'molequi[metatomic]'"
        ) from error
    return export_metatomic


def _aoti_writer(periodic: bool) -> Callable[..., None]:
    from molequi.engines.aoti_export import export_aoti

    return functools.partial(export_aoti, is_periodic=periodic)
