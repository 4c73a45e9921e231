"""`molequi align`: one molecule laid upon another."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from molequi.cli import options
from molequi.cli.exits import ExitCode
from molequi.cli.loading import load_network, read_pair
from molequi.cli.output import line, print_json, print_table, say
from molequi.cli.records import print_notes

A = Annotated[
    str,
    typer.Argument(
        metavar="A",
        show_default=False,
        help="A file, or - for stdin; its first structure is turned.",
    ),
]
B = Annotated[str, typer.Argument(metavar="B", show_default=False, help="The molecule that stays.")]
ChargeWeight = Annotated[
    float,
    typer.Option(
        "--charge-weight", help="Of the electrostatic overlap in the score; shape has the rest."
    ),
]
Poses = Annotated[
    int, typer.Option("--poses", min=0, help="Poses of the scan to list, best first.")
]


def align(
    a: A,
    b: B,
    *,
    model: options.Model = "organic",
    charge_weight: ChargeWeight = 0.5,
    poses: Poses = 10,
    output: options.Output = None,
    charge: options.Charge = None,
    add_hydrogens: options.AddHydrogens = False,
    as_is: options.AsIs = False,
    json: options.Json = False,
    device: options.DeviceOption = options.Device.cpu,
    dtype: options.DtypeOption = options.Dtype.float64,
    overwrite: options.Overwrite = False,
) -> int:
    """Turn A onto B by their overlap of shape and charge.

    10,000 orientations are scanned, and the best ones refined. The network runs once for each
    molecule; a turned molecule's features are the turned features. A score of 1 is a perfect match.
    OUTPUT is an .xyz file with A as it was laid, then B.
    """
    from molequi.alignment.align import align as run

    first, second = read_pair(a, b, charge, add_hydrogens=add_hydrogens, as_is=as_is)
    network = load_network(model, device, dtype)
    record = run(
        first, second, network, charge_weight=charge_weight, n_poses=poses,
        output=output, overwrite=overwrite,
    )  # fmt: skip
    if json:
        print_json(record)
    else:
        _print(record)
    if output is not None:
        say(f"A as it was laid, then B, written to {output}")
    return ExitCode.DONE


def _print(record: dict[str, Any]) -> None:
    names = [f"{record[side]['formula']} ({record[side]['source']})" for side in "ab"]
    rows = [
        ("score", record["score"]),
        ("shape, Carbo index", record["shape"]),
        ("charge, Carbo index", record["electrostatic"]),
        ("score of A's mirror image", record["mirror_score"]),
        ("part of the shapes resolved", record["resolved"]["shape"]),
        ("part of the charges resolved", record["resolved"]["electrostatic"]),
    ]
    line(f"{names[0]} laid on {names[1]}")
    print_table("", ("after refinement", "value"), rows)
    line("x -> R (x - a) + b with the rows of R, a and b in Å:")
    for place, vector in (("R", row) for row in record["rotation"]):
        line(f"  {place}  {_vector(vector)}")
    line(f"  a  {_vector(record['centre_a'])}\n  b  {_vector(record['centre_b'])}")
    if record["top"]:
        top = [
            (rank, pose["pose"], pose["score"]) for rank, pose in enumerate(record["top"], start=1)
        ]
        line(f"best of {record['n_poses']:,} poses scanned:")
        print_table("", ("rank", "pose", "score"), top)
    line(f"model {record['model']}; charges: {record['level'] or 'level not stated'}")
    print_notes([record["a"], record["b"]])


def _vector(values: Any) -> str:
    return " ".join(f"{value:9.5f}" for value in values)
