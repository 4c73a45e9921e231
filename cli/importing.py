"""`molequi import`: a model of another program as one of ours."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molequi.cli import options
from molequi.cli.output import line, print_json
from molequi.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

MaceFile = Annotated[
    Path, typer.Argument(metavar="FILE.model", help="A model that mace-torch has saved.")
]
ImportOutput = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        show_default=False,
        help="The model's new file; by default the old one's name, here, with .safetensors.",
    ),
]
HeadName = Annotated[
    str | None, typer.Option("--head", show_default=False, help="Which head, where it has several.")
]
Interpreter = Annotated[
    str,
    typer.Option(
        "--python",
        show_default="this one",
        help="The Python in which mace-torch is installed. Reading the file runs what is in it.",
    ),
]
Licence = Annotated[
    str,
    typer.Option(
        "--licence", show_default=False, help="Licence of the weights: a text, or a file with it."
    ),
]

Multiplicities = Annotated[
    str,
    typer.Option(
        "--multiplicities",
        metavar="M,M",
        help="Spin multiplicities in the training data; MACE itself sees none. Others are refused.",
    ),
]
ExactRadial = Annotated[
    bool,
    typer.Option(
        "--exact-radial",
        help="Predictions run the radial networks on every pair of atoms, without splines.",
    ),
]


def import_model(
    file: MaceFile,
    *,
    output: ImportOutput = None,
    head: HeadName = None,
    python: Interpreter = sys.executable,
    licence: Licence = "",
    multiplicities: Multiplicities = "1",
    exact_radial: ExactRadial = False,
    json: options.Json = False,
    overwrite: options.Overwrite = False,
) -> None:
    """Read a MACE model exactly, for every command that takes a model.

    Its energies and forces for a structure, as MACE computes them, are compared with ours, kept in
    the file, and compared again whenever it is loaded.
    """
    from molequi.models.importers.card import card
    from molequi.models.importers.mace import import_mace
    from molequi.runtime.files import check_output

    output = Path(f"{file.stem}.safetensors") if output is None else output
    if output.suffix != ".safetensors":
        raise UserError(f"the output {output} has no known format; use .safetensors")
    check_output(output, overwrite=overwrite)
    spins = _whole_numbers(multiplicities)
    model = import_mace(
        file,
        output,
        python=python,
        head=head,
        licence=_text(licence),
        multiplicities=spins,
        radial_splines=not exact_radial,
    )
    found = card(model, output)
    if json:
        print_json(found)
        return
    print_lines(found)


def print_lines(found: Mapping[str, Any]) -> None:
    """Print the card of an imported model, a line for each entry."""
    for key, value in found.items():
        line(f"{key.replace('_', ' ')}: {value or 'not stated'}")


def _whole_numbers(text: str) -> list[int]:
    """Return the multiplicities of `1,2`. Raises UserError for other texts."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and 0 < int(word[:9]) < 100 for word in words):
        raise UserError(
            f"--multiplicities is {text!r}; it must be numbers 2S + 1 from 1 to 99, such as 1,2,3"
        )
    return [int(word) for word in words]


def _text(licence: str) -> str:
    """Return the licence, read from a file where that is one's name."""
    path = Path(licence)
    is_line = licence and "\n" not in licence and len(licence) < 1024
    if is_line and path.is_file():
        return path.read_text(encoding="utf-8", errors="replace")
    if is_line and " " not in licence and path.suffix.lower() in {".txt", ".md", ".rst"}:
        raise UserError(f"--licence {licence} does not exist; give a file, or the text itself")
    return licence
