"""`molequi scan`: the energy along a bond, an angle or a torsion."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molequi.cli import dynamics_options as moving
from molequi.cli import options
from molequi.cli.bars import Bar
from molequi.cli.exits import ExitCode
from molequi.cli.idle import refuse_idle
from molequi.cli.loading import load_calculator, read_one
from molequi.cli.output import line, line_of_files, print_json, print_table, say
from molequi.cli.records import print_notes
from molequi.errors import UserError
from molequi.runtime.wording import counted

if TYPE_CHECKING:
    from molequi.simulation.scan_points import ScanSettings

_ATOMS = "{} that is changed: the numbers of its atoms from 0, such as {}."
Bond = Annotated[
    str | None,
    typer.Option("--bond", show_default=False, help=_ATOMS.format("The distance", "0-1")),
]
Angle = Annotated[
    str | None, typer.Option("--angle", show_default=False, help=_ATOMS.format("Angle", "0-1-2"))
]
Torsion = Annotated[
    str | None,
    typer.Option("--torsion", show_default=False, help=_ATOMS.format("Torsion", "0-1-2-3")),
]
Start = Annotated[
    float | None,
    typer.Option(
        "--from",
        show_default=False,
        help="Å or degrees; by default where it is, and -180 for a torsion's full turn.",
    ),
]
Stop = Annotated[
    float | None,
    typer.Option("--to", show_default=False, help="Å or degrees; a torsion turns once by default."),
]
Points = Annotated[int, typer.Option("--points", help="Both ends included.")]
Rigid = Annotated[bool, typer.Option("--rigid", help="Move one side as a piece, relax nothing.")]
Fmax = Annotated[float, moving.fmax("of the relaxation of every point")]
Steps = Annotated[int, moving.steps("At most, for every point.", least=1)]
BothWays = Annotated[
    bool | None,
    typer.Option(
        "--both-ways/--one-way",
        show_default=False,
        help="Relax every point from both its neighbours and keep the lower one, or once only; by "
        "default torsions both ways.",
    ),
]
Folder = Annotated[Path | None, moving.folder("Folder for scan.xyz, scan.csv, scan.png.")]


def scan(
    context: typer.Context,
    input_: options.Input = None, *, smiles: options.OneSmiles = None, bond: Bond = None,
    angle: Angle = None, torsion: Torsion = None, start: Start = None, stop: Stop = None,
    points: Points = 25, rigid: Rigid = False, fmax: Fmax = 0.01, steps: Steps = 300,
    both_ways: BothWays = None, model: options.Model = "organic", output: Folder = None,
    charge: options.Charge = None, add_hydrogens: options.AddHydrogens = False,
    as_is: options.AsIs = False, json: options.Json = False,
    dispersion: options.Dispersion = None, unsafe: options.Unsafe = False,
    device: options.DeviceOption = options.Device.cpu,
    dtype: options.DtypeOption = options.Dtype.float64, seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
) -> int:  # fmt: skip
    """Scan a bond, an angle or a torsion, with everything else relaxed or rigid.

    The folder appears when all points are there; an interrupted command goes on when it is given
    again. Exit code 3 when a point did not relax.
    """
    if rigid:
        relaxed = "a relaxed scan, and --rigid relaxes nothing"
        refuse_idle(context, dict.fromkeys(("fmax", "steps", "both_ways"), relaxed))

    from molequi.simulation.scan import run_scan
    from molequi.simulation.scan_points import ScanSettings

    kind, atoms_text = _coordinate(bond=bond, angle=angle, torsion=torsion)
    settings = ScanSettings(kind, atoms_text, start, stop, points, rigid, fmax, steps, both_ways)
    structure = read_one(input_, smiles, charge, seed, add_hydrogens=add_hydrogens, as_is=as_is)
    calculator = load_calculator(model, device, dtype, dispersion=dispersion, unsafe=unsafe)
    with Bar("points") as bar:
        result = run_scan(
            structure, calculator, settings, output=output, overwrite=overwrite,
            progress=lambda done, total: bar.show(done, total, 0),
        )  # fmt: skip
    print_json(result) if json else _print(result, settings)
    if not result["converged"]:
        say("some points did not relax; raise --steps or --fmax")
        return ExitCode.NOT_CONVERGED
    return ExitCode.DONE


def _coordinate(**given: str | None) -> tuple[str, str]:
    """Return the one coordinate that is given. Raises UserError for none or several."""
    chosen = [(kind, text) for kind, text in given.items() if text is not None]
    if len(chosen) != 1:
        raise UserError(
            f"{len(chosen)} coordinates given; name one: --bond 0-1, --angle 0-1-2 or "
            "--torsion 0-1-2-3"
        )
    return chosen[0]


def _print(result: dict[str, Any], settings: ScanSettings) -> None:
    name = f"{result['kind']} {settings.atoms} {result['unit']}"
    rows = [
        (f"{point['value']:.3f}", point["energy"], point["relative_kj_mol"],
         point["relative_kcal_mol"], point["converged"])
        for point in result["points"]
    ]  # fmt: skip
    hidden = ("relaxed",) if result["rigid"] else ()
    print_table(
        f"{result['formula']}: {'rigid' if result['rigid'] else 'relaxed'} scan",
        (name, "energy eV", "relative kJ/mol", "kcal/mol", "relaxed"),
        rows,
        hidden=hidden,
    )
    line(f"highest above lowest: {in_words(result, 'range')}")
    if result["lowered"]:
        line(f"{counted(result['lowered'], 'point')} lay lower from the other side, as given here")
    line(f"model {result['model']}; level: {result['level'] or 'not stated'}")
    print_notes([result])
    files = "scan.xyz, scan.csv, scan.png, result.json"
    line_of_files(result["output"], files, "the geometries are")


def in_words(result: dict[str, Any], name: str) -> str:
    """Write an energy of a result in the three units."""
    return (
        f"{result[f'{name}_kj_mol']:.2f} kJ/mol = {result[f'{name}_kcal_mol']:.2f} kcal/mol = "
        f"{result[f'{name}_ev']:.4f} eV"
    )
