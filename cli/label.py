"""`molequi label`: reference labels by quantum chemistry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molequi.cli import options
from molequi.cli.bars import Bar
from molequi.cli.exits import ExitCode
from molequi.cli.output import line, print_json, say

if TYPE_CHECKING:
    from molequi.labeling.run import Labelled

Level = Annotated[
    str,
    typer.Option(
        "--level",
        "-l",
        help="METHOD/BASIS by PySCF (hf, mp2 or a functional), or gfn2-xtb by tblite.",
    ),
]
Properties = Annotated[
    str | None,
    typer.Option(
        "--properties",
        show_default=False,
        help="Names apart by commas; what is usual for the level by default.",
    ),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="Extended XYZ, also .gz.")]
Rows = Annotated[
    str | None,
    typer.Option(
        "--rows",
        show_default=False,
        help="Structures to take: A:B, or a file of numbers; QM9's own numbers for qm9, else from "
        "0.",
    ),
]
Exclude = Annotated[
    Path | None,
    typer.Option(
        "--exclude",
        show_default=False,
        help="SMILES, one per line: molecules of these constitutions are left out.",
    ),
]
Processes = Annotated[
    int | None,
    typer.Option(
        "--processes",
        "-p",
        min=1,
        show_default=False,
        help="Processes of one thread each; one per core by default.",
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")]


def label(
    inputs: options.Inputs = None,
    *,
    smiles: options.Smiles = None,
    level: Level = "hf/6-31g",
    properties: Properties = None,
    output: Output = Path("labels.xyz"),
    rows: Rows = None,
    exclude: Exclude = None,
    charge: options.Charge = None,
    add_hydrogens: options.AddHydrogens = False,
    as_is: options.AsIs = False,
    processes: Processes = None,
    resume: Resume = False,
    overwrite: options.Overwrite = False,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> int:
    """Compute reference labels for every structure of every INPUT; `qm9` is the prepared data set.

    Energies in eV, forces in eV/Å, dipoles in e·Å, polarizabilities in Å³, Rosenfeld tensors in
    bohr⁴ (origin: centre of mass), as `molequi train` reads them. Needs `pip install
    "molequi[labels]"`. Levels: hf/6-31g, b3lyp/def2-svp, mp2/cc-pvdz, gfn2-xtb and the like.
    """
    options.require_inputs(inputs, smiles, "label", "structure files, qm9")
    from molequi.labeling.run import RunSettings
    from molequi.labeling.run import label as compute

    names = [name.strip() for name in (properties or "").split(",") if name.strip()]
    with Bar("labels") as bar:
        run = RunSettings(processes, resume, overwrite, bar.show, add_hydrogens, as_is)
        result = compute(
            inputs or [], level, output, smiles=smiles or [], properties=names, rows=rows,
            exclude=exclude, charge=charge, seed=seed, run=run,
        )  # fmt: skip
    for failure in result.failures:
        say(f"error: {failure.structure}: {failure.reason}")
    _print_result(result, json=json, with_excluded=exclude is not None)
    return _verdict(result)


def _verdict(result: Labelled) -> ExitCode:
    """Return the exit code: where all failed nothing is written."""
    if not result.failures:
        return ExitCode.DONE
    return ExitCode.FAILED if result.n_labelled else ExitCode.USAGE


def _print_result(result: Labelled, *, json: bool, with_excluded: bool) -> None:
    if json:
        print_json({**vars(result), "output": str(result.output)})
        return
    names = ", ".join(result.properties)
    line(f"level: {result.level}; program: {result.program}; properties: {names}")
    excluded = f", {result.n_excluded} excluded" if with_excluded else ""
    written = f"written to {result.output}" if result.n_labelled else "nothing written"
    line(f"{result.n_labelled} labelled, {len(result.failures)} failed{excluded}; {written}")
