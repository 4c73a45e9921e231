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
    mliap = "mliap"


SUFFIXES = {Target.metatomic: ".pt", Target.aoti: ".pt2", Target.mliap: ".pkl"}


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
    """Write a model as a file of another program.

    `metatomic` (.pt) is for LAMMPS, GROMACS, PLUMED, i-PI, torch-sim and ASE, where they are built
    with metatomic. `aoti` (.pt2) is an AOTInductor package for programs in C++, compiled for this
    machine's CPU, which takes minutes. Both run without molequi, far energies and all, and forces
    are compared with the model's before a file is written. `mliap` (.pkl) is for LAMMPS'
    `pair_style mliap unified` beside an installed molequi, of models without far energies.
    """
    from molequi.runtime.files import check_output

    suffix = SUFFIXES[to]
    output = Path(Path(model).stem + suffix) if output is None else output
    if output.suffix != suffix:
        raise UserError(f"the output {output} has no known format; use {suffix}")
    check_output(output, overwrite=overwrite)
    if periodic and to is not Target.aoti:
        raise UserError(f"--periodic is for --to aoti; a {to.value} file is for both kinds")
    if charge and to is Target.mliap:
        raise UserError("--charge is not for --to mliap, whose models do not know the charge")
    writer = _writer(to, charge, periodic)

    from molequi.models.zoo import load

    writer(load(model, dtype=options.precision(dtype)), output)
    systems = "" if to is Target.mliap else f", for systems of total charge {charge} e,"
    say(f"{model}{systems} written to {output}")


def _writer(to: Target, charge: int, periodic: bool) -> Callable[..., None]:
    """Return what writes a model to a path."""
    if to is Target.mliap:
        from molequi.engines.lammps_mliap import export_mliap

        return export_mliap
    writer = _aoti_writer(periodic) if to is Target.aoti else _metatomic_writer()
    return functools.partial(writer, total_charge=charge)


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
