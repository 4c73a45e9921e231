"""The options that several commands share, each written once."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from molequi.errors import UserError


class Device(str, Enum):
    """Where a model runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Dtype(str, Enum):
    """Precision of the network; positions and energies are float64 in any case."""

    float32 = "float32"
    float64 = "float64"


ModelOrNone = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL",
        show_default=False,
        help="A model file, a run directory, or the name of a bundled model; left out with "
        "--calculator.",
    ),
]
Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT...",
        show_default=False,
        help=(
            "Files that ASE or RDKit read (.xyz .sdf .mol2 .smi .pdb .gjf .cif .traj .db, also .gz "
            ".bz2 .xz), or - for stdin."
        ),
    ),
]
Input = Annotated[
    str | None,
    typer.Argument(
        metavar="INPUT",
        show_default=False,
        help="A file that ASE or RDKit reads, or - for stdin. The first structure is used.",
    ),
]
ConfigName = Annotated[
    str | None,
    typer.Argument(
        metavar="CONFIG", show_default=False, help="A YAML file, or the name of a bundled config."
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...", show_default=False, help="Settings that differ from CONFIG."
    ),
]
Smiles = Annotated[
    list[str] | None,
    typer.Option(
        "--smiles",
        show_default=False,
        help="A molecule as SMILES; ETKDGv3 + MMFF94 make its geometry. May be repeated.",
    ),
]
OneSmiles = Annotated[
    str | None,
    typer.Option(
        "--smiles",
        show_default=False,
        help="A molecule as SMILES instead of INPUT; ETKDGv3 + MMFF94 make its geometry.",
    ),
]
Model = Annotated[
    str,
    typer.Option(
        "--model", "-m", help="A model file, a run directory, or the name of a bundled model."
    ),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", show_default=False, help="Where to write.")
]
Charge = Annotated[
    int | None,
    typer.Option(
        "--charge",
        "-q",
        show_default=False,
        help="Total charge in e; overrides what the input says.",
    ),
]
AddHydrogens = Annotated[
    bool,
    typer.Option(
        "--add-hydrogens",
        help="Complete SDF records that have coordinates in space but no hydrogens; other inputs "
        "without them are refused.",
    ),
]
DeviceOption = Annotated[Device, typer.Option("--device", help="Where the model runs.")]
DtypeOption = Annotated[
    Dtype | None,
    typer.Option(
        "--dtype", show_default=False, help="Precision of the network; the model's own by default."
    ),
]
Dispersion = Annotated[
    str | None,
    typer.Option(
        "--dispersion",
        metavar="d3bj[:FUNCTIONAL]",
        show_default=False,
        help="Add D3(BJ) to a model trained without; of its level of theory by default.",
    ),
]
# As in `settings.LARGEST_SEED`, whose import would take its time.
LARGEST_SEED = 2**31 - 1
Seed = Annotated[
    int, typer.Option("--seed", min=0, max=LARGEST_SEED, help="Seed of everything random.")
]
BatchSize = Annotated[
    int | None,
    typer.Option("--batch-size", min=1, show_default=False, help="Structures per batch."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")
]
Unsafe = Annotated[
    bool,
    typer.Option(
        "--unsafe",
        help="Compute other charges and spins than the model's too; the output is marked.",
    ),
]


def precision(dtype: Dtype | None) -> str | None:
    """Return the name of the dtype for the library; None is the model's own."""
    return None if dtype is None else dtype.value


class Reading(NamedTuple):
    """What `predict` and its means share: how structures are read, and where records go."""

    smiles: list[str]
    charge: int | None
    conformers: int
    seed: int
    output: Path | None
    overwrite: bool


def require_inputs(inputs: list[str] | None, smiles: list[str] | None, action: str) -> None:
    """Refuse a command line without structures; `action` is what would be done with them."""
    if not inputs and not smiles:
        raise UserError(
            f"nothing to {action}: give structure files, - for standard input, or --smiles TEXT"
        )
