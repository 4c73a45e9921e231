"""The options that several commands share, each written once."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from molequi.cli import completion
from molequi.errors import UserError

if TYPE_CHECKING:
    from molequi.structures.structure import Structure


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
        autocompletion=completion.models,
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
            "Files that ASE or RDKit read (.xyz .sdf .mol2 .smi .csv .xlsx .parquet .pdb .gjf .cif "
            ".traj .db, also .gz .bz2 .xz), or - for stdin."
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
InputOfMany = Annotated[
    str | None,
    typer.Argument(
        metavar="INPUT",
        show_default=False,
        help="A file that ASE or RDKit reads, or - for stdin. All its structures are run at once.",
    ),
]
ConfigName = Annotated[
    str | None,
    typer.Argument(
        metavar="CONFIG",
        show_default=False,
        autocompletion=completion.configs,
        help="A YAML file, or the name of a bundled config.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...",
        show_default=False,
        autocompletion=completion.settings,
        help="Settings that differ from CONFIG.",
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
        "--model",
        "-m",
        autocompletion=completion.models,
        help="A model file, a run directory, or the name of a bundled model.",
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
        help="Have RDKit place the hydrogens of structures that have none, by the bonds of an SDF "
        "or by those that distances tell.",
    ),
]
AsIs = Annotated[
    bool,
    typer.Option(
        "--as-is",
        help="Take structures without hydrogens for what they are; else they are refused.",
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
# As in `runtime.whole_numbers.LARGEST_SEED`, whose import would take its time.
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


def calculator(role: str, more: str = "") -> Any:
    """Return the option of an ASE calculator; role: what it is for, more: what else it may be."""
    return typer.Option(
        "--calculator",
        metavar="MODULE:FACTORY",
        show_default=False,
        help=f"{role}, such as ase.calculators.emt:EMT or ./my_calculator.py:make{more}.",
    )


def precision(dtype: Dtype | None) -> str | None:
    """Return the name of the dtype for the library; None is the model's own."""
    return None if dtype is None else dtype.value


class Reading(NamedTuple):
    """Which structures a command takes, and how they are read."""

    inputs: list[str]
    smiles: list[str]
    charge: int | None
    conformers: int = 1
    seed: int = 0
    add_hydrogens: bool = False
    as_is: bool = False

    @property
    def n_sources(self) -> int:
        """How many files and SMILES there are."""
        return len({*self.inputs, *self.smiles})

    def structures(self) -> Iterator[Structure]:
        """Read them one after the other; see `inputs.read_inputs`."""
        from molequi.structures.inputs import read_inputs

        return read_inputs(
            self.inputs, smiles=self.smiles, charge=self.charge, conformers=self.conformers,
            seed=self.seed, add_hydrogens=self.add_hydrogens, as_is=self.as_is,
        )  # fmt: skip

    def n_structures(self) -> int | None:
        """Return how many structures there are; None where it takes reading to tell."""
        from molequi.structures.counting import count_structures

        found = count_structures(self.inputs) if self.conformers == 1 else None
        return None if found is None else found + len(self.smiles)


def require_inputs(
    inputs: list[str] | None,
    smiles: list[str] | None,
    action: str,
    files: str = "structure files",
) -> None:
    """Refuse a command line without structures; `action` is what would be done with `files`."""
    if not inputs and not smiles:
        raise UserError(
            f"nothing to {action}: give {files}, - for standard input, or --smiles TEXT"
        )
