"""The `molequi` command: its subcommands, and what becomes of errors."""

from __future__ import annotations

import io
import itertools
import logging
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from molequi import __version__
from molequi.cli import (
    active,
    align,
    bench,
    check,
    config,
    demo,
    drive,
    embed,
    evaluate,
    export,
    importing,
    label,
    library,
    md,
    path,
    predict,
    relax,
    report,
    scan,
    spectrum,
    train,
    vibrations,
)
from molequi.cli.exits import ExitCode, explain
from molequi.cli.output import say, start_logging
from molequi.errors import UserError

app = typer.Typer(
    name="molequi",
    no_args_is_help=True,
    # Square brackets stay what they are: in the other mode `[labels]` would be taken for a style.
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train, check and use E(3)-equivariant models of molecules. Units: eV, Å, e·Å, fs, K.",
)

app.command("predict", rich_help_panel="Use a model")(predict.predict)
app.command("relax", rich_help_panel="Use a model")(relax.relax)
app.command("vibrations", rich_help_panel="Use a model")(vibrations.vibrations)
app.command("spectrum", rich_help_panel="Use a model")(spectrum.spectrum)
app.command("scan", rich_help_panel="Use a model")(scan.scan)
app.command("path", rich_help_panel="Use a model")(path.path)
app.command("md", rich_help_panel="Use a model")(md.md)
app.command("align", rich_help_panel="Use a model")(align.align)
app.command("embed", rich_help_panel="Use a model")(embed.embed)
app.command("drive", rich_help_panel="Use a model")(drive.drive)
app.command("export", rich_help_panel="Use a model")(export.export)
app.command("import", rich_help_panel="Make a model")(importing.import_model)
app.command("label", rich_help_panel="Make a model")(label.label)
app.command("train", rich_help_panel="Make a model")(train.train)
app.command("active", rich_help_panel="Make a model")(active.active)
app.command("evaluate", rich_help_panel="Make a model")(evaluate.evaluate)
app.command("check", rich_help_panel="Make a model")(check.check)
app.command("report", rich_help_panel="See what there is")(report.report)
app.add_typer(library.data_app, name="data", rich_help_panel="See what there is")
app.add_typer(config.config_app, name="config", rich_help_panel="See what there is")
app.command("models", rich_help_panel="See what there is")(library.models)
app.command("bench", rich_help_panel="See what there is")(bench.bench)
app.command("demo", rich_help_panel="See what there is")(demo.demo)


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"molequi {__version__}\n")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log what the library does.")
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug", help="Show the traceback of an internal error; may stand anywhere."
        ),
    ] = False,
) -> None:
    """Handle the options before the command; `run` has taken `--debug` out already."""
    start_logging(logging.INFO if verbose else logging.WARNING)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    debug = "--debug" in arguments
    try:
        _refuse_empty(arguments)
        code = app(
            [argument for argument in arguments if argument != "--debug"],
            prog_name="molequi",
            standalone_mode=False,
        )
        sys.stdout.flush()
    except BrokenPipeError:  # `molequi ... | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    # The outermost frame turns every error into a line and a code.
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001
        code, text = explain(error, debug=debug)
        if text:
            say(text)
    return int(code or ExitCode.DONE)


def _refuse_empty(arguments: Sequence[str]) -> None:
    """Raise UserError for an empty argument: of a shell variable that is not set, most often.

    As a path it would be the current folder.
    """
    for before, argument in itertools.pairwise(["", *arguments]):
        if argument.startswith("--") and argument.endswith("="):
            raise UserError(f"{argument.removesuffix('=')} is empty; give a value, or leave it out")
        if not argument:
            what = before if before.startswith("-") else "an argument"
            raise UserError(f"{what} is empty; give a value, or leave it out")


def main() -> None:
    """Run the command line of this process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Å is no reason to fail
    # Python processes that a command starts look for no modules in the current folder either.
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
