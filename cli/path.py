"""`molequi path`: the way from one structure to another, and the barrier on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from molequi.cli import dynamics_options as moving
from molequi.cli import options
from molequi.cli.exits import ExitCode
from molequi.cli.loading import load_calculator, read_pair
from molequi.cli.output import STDERR, line, line_of_files, print_json, print_table, say
from molequi.cli.records import print_notes
from molequi.cli.scan import in_words
from molequi.runtime.wording import counted

A = Annotated[
    str,
    typer.Argument(
        metavar="A", show_default=False, help="A file; its first structure is the start."
    ),
]
B = Annotated[
    str, typer.Argument(metavar="B", show_default=False, help="The end, of the same atoms.")
]
Images = Annotated[int, typer.Option("--images", help="Between the ends.")]
Fmax = Annotated[float, moving.fmax("of the band")]
Steps = Annotated[int, moving.steps("At most, of the band.")]
NoRelax = Annotated[bool, typer.Option("--no-relax", help="Take A and B as they are.")]
Match = Annotated[
    bool, typer.Option("--match", help="Put B's atoms in the order that fits A best.")
]
Folder = Annotated[Path | None, moving.folder("Folder for path.xyz, saddle.xyz, mode.xyz, ...")]


def path(
    a: A, b: B, *, model: options.Model = "organic", images: Images = 9, fmax: Fmax = 0.05,
    steps: Steps = 500, no_relax: NoRelax = False, match: Match = False, output: Folder = None,
    charge: options.Charge = None, add_hydrogens: options.AddHydrogens = False,
    as_is: options.AsIs = False, json: options.Json = False,
    dispersion: options.Dispersion = None, unsafe: options.Unsafe = False,
    device: options.DeviceOption = options.Device.cpu,
    dtype: options.DtypeOption = options.Dtype.float64, overwrite: options.Overwrite = False,
) -> int:  # fmt: skip
    """Find the path of least energy from A to B, its saddle point and the imaginary mode.

    A nudged elastic band with a climbing image; its top is refined with the exact Hessian. The
    folder appears at the end; an interrupted command goes on when it is given again. Exit code 3
    when the band did not come to rest, or its top is no saddle point.
    """
    from molequi.simulation.barrier import run_path
    from molequi.simulation.path import PathSettings

    settings = PathSettings(images, fmax, steps, not no_relax, match)
    first, last = read_pair(a, b, charge, add_hydrogens=add_hydrogens, as_is=as_is)
    calculator = load_calculator(model, device, dtype, dispersion=dispersion, unsafe=unsafe)
    with STDERR.status("relaxing the ends") as status:

        def show(what: str, step: int, left: float) -> None:
            status.update(f"{what}, step {step}, {left:.3f} eV/Å")

        result = run_path(
            first, last, calculator, settings, output=output, overwrite=overwrite, progress=show
        )
    print_json(result) if json else _print(result)
    return _verdict(result)


def _print(result: dict[str, Any]) -> None:
    rows = [
        (number, image["place"], image["relative_ev"])
        for number, image in enumerate(result["images"])
    ]
    print_table(
        f"{result['formula']}: path",
        ("image", "place Å", "relative energy eV"),
        rows,
    )
    line(f"{counted(result['steps'], 'step')}, largest force {result['fmax']:.3f} eV/Å")
    if result["matched"]:
        line("the atoms of B were put in an order that fits A")
    line(f"barrier: {in_words(result, 'barrier')}")
    line(f"barrier backwards: {in_words(result, 'reverse_barrier')}")
    line(f"B above A: {in_words(result, 'reaction')}")
    saddle = result["saddle"]
    if saddle is None:
        line("no image lies above both ends: there is no barrier on this path")
    else:
        imaginary = ", ".join(f"{-one:.0f}i" for one in saddle["imaginary_cm1"]) or "none"
        line(f"imaginary modes of the top, cm⁻¹: {imaginary}; force {saddle['fmax']:.1e} eV/Å")
    line(f"model {result['model']}; level: {result['level'] or 'not stated'}")
    print_notes([result])
    names = ", saddle.xyz, mode.xyz" if saddle is not None else ""
    files = f"path.xyz, path.csv, path.png, result.json{names}"
    line_of_files(result["output"], files, "the geometries are")


def _verdict(result: dict[str, Any]) -> ExitCode:
    saddle = result["saddle"]
    if not result["converged"]:
        say(f"the band did not come to rest: {result['fmax']:.3f} eV/Å left; raise --steps")
        return ExitCode.NOT_CONVERGED
    if saddle is not None and not saddle["is_first_order"]:
        say(
            f"the top is no saddle point: {saddle['n_imaginary']} imaginary modes, "
            f"{saddle['fmax']:.1e} eV/Å left; more --images may help"
        )
        return ExitCode.NOT_CONVERGED
    return ExitCode.DONE
