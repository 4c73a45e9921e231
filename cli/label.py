"""`molequi label`: reference labels by quantum chemistry."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from molequi.cli import options
from molequi.cli.exits import ExitCode
from molequi.cli.output import STDERR, line, print_json, say
from molequi.errors import UserError

EVERY = (
    60.0  # seconds between lines where stderr is a file, such as the log of a job, and shows no bar
)


def label(
    inputs: options.Inputs = None,
    *,
    smiles: options.Smiles = None,
    level: Annotated[
        str,
        typer.Option(
            "--level",
            "-l",
            help="METHOD/BASIS by PySCF (hf, mp2 or a functional), or gfn2-xtb by tblite.",
        ),
    ] = "hf/6-31g",
    properties: Annotated[
        str | None,
        typer.Option(
            "--properties",
            show_default=False,
            help="Names apart by commas; what is usual for the level by default.",
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Extended XYZ, also .gz.")] = Path(
        "labels.xyz"
    ),
    rows: Annotated[
        str | None,
        typer.Option(
            "--rows",
            show_default=False,
            help="Structures to take: A:B, or a file of numbers; for qm9 its own, else from 0.",
        ),
    ] = None,
    exclude: Annotated[
        Path | None,
        typer.Option(
            "--exclude",
            show_default=False,
            help="SMILES, one per line: molecules of these constitutions are left out.",
        ),
    ] = None,
    charge: options.Charge = None,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            "-p",
            min=1,
            show_default=False,
            help="Processes of one thread each; one per core by default.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted run.")
    ] = False,
    overwrite: options.Overwrite = False,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> int:
    """Compute reference labels for every structure of every INPUT; `qm9` is the prepared data set.

    Energies in eV, forces in eV/Å, dipoles in e·Å, polarizabilities in Å³, Rosenfeld tensors in
    bohr⁴ (origin: centre of mass), as `molequi train` reads them. Needs `pip install
    "molequi[labels]"`. Levels: hf/6-31g, b3lyp/def2-svp, mp2/cc-pvdz, gfn2-xtb and the like.
    """
    if not inputs and not smiles:
        raise UserError(
            "nothing to label: give structure files, qm9, - for standard input, or --smiles TEXT"
        )

    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from molequi.labeling.run import RunSettings
    from molequi.labeling.run import label as compute

    names = [name.strip() for name in (properties or "").split(",") if name.strip()]
    columns = (
        TextColumn("labels"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=STDERR, transient=True, disable=not STDERR.is_terminal) as bar:
        task, said = bar.add_task("", total=None), time.monotonic()

        def show(done: int, total: int, failed: int) -> None:
            nonlocal said
            if not STDERR.is_terminal and time.monotonic() - said > EVERY:
                said = time.monotonic()
                say(f"{done} of {total} labels, {failed} failed")
            bar.update(
                task, completed=done, total=total, description=f"{failed} failed" if failed else ""
            )

        run = RunSettings(processes, resume, overwrite, show)
        result = compute(
            inputs or [],
            level,
            output,
            smiles=smiles or [],
            properties=names,
            rows=rows,
            exclude=exclude,
            charge=charge,
            seed=seed,
            run=run,
        )
    for where, reason in result.failures:
        say(f"error: {where}: {reason}")
    if json:
        print_json({**vars(result), "output": str(result.output)})
    else:
        line(
            f"level: {result.level}; program: {result.program}; properties: "
            f"{', '.join(result.properties)}"
        )
        counts = f"{result.n_labelled} labelled, {len(result.failures)} failed" + (
            f", {result.n_excluded} excluded" if exclude else ""
        )
        line(
            f"{counts}; "
            + (f"written to {result.output}" if result.n_labelled else "nothing written")
        )
    return ExitCode.FAILED if result.failures else ExitCode.DONE
