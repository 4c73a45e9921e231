"""The options that commands which move atoms share; what they are of is said by each."""

from __future__ import annotations

from typing import Annotated, Any

import typer

NoRelax = Annotated[bool, typer.Option("--no-relax", help="Take the geometry as it is.")]
Timestep = Annotated[float, typer.Option("--timestep", help="fs.")]


def fmax(of: str) -> Any:
    """Return the option of a largest force."""
    return typer.Option("--fmax", help=f"eV/Å, {of}.")


def steps(what: str, *, least: int | None = None) -> Any:
    """Return the option of a number of steps."""
    return typer.Option("--steps", "-n", min=least, help=what)


def temperature(of: str, *, least: float | None = None, shown: bool = True) -> Any:
    """Return the option of a temperature; shown: whether its default is."""
    return typer.Option("--temperature", "-t", min=least, show_default=shown, help=f"K, {of}.")


def pressure(of: str) -> Any:
    """Return the option of a pressure."""
    return typer.Option("--pressure", help=f"bar, {of}.")


def folder(what: str) -> Any:
    """Return the option of a folder that is written."""
    return typer.Option("--output", "-o", show_default=False, help=what)
