"""`molequi report`: one page to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molequi.cli import options
from molequi.cli.output import say

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN|FILE|MODEL...",
        help="Run directories, structures, trajectories, folders of `vibrations` or `evaluate`, "
        "models; each becomes a part of the page.",
    ),
]
Page = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="PAGE.html",
        show_default=False,
        help="By default RUN/report.html or FILE.html; report.html for several.",
    ),
]
Title = Annotated[str | None, typer.Option("--title", show_default=False, help="Of the page.")]


def report(
    sources: Sources,
    *,
    output: Page = None,
    title: Title = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Write one HTML page with tables, plots and molecules to turn.

    Of a run: the model's card, errors beside baselines, learning curves, predictions over labels,
    errors by element and size. Of structures: values, forces and dipoles. Of a trajectory: how the
    energy is kept, and how sure the model is. Of vibrations: spectrum and modes. The page is one
    file that needs no network.
    """
    from molequi.report import write_report

    path = write_report(sources, output, title=title, overwrite=overwrite)
    say(f"the page is {path}; open it in a browser")
