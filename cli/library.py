"""`molequi data` and `molequi models`: what there is to work with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molequi.cli import completion, options
from molequi.cli.importing import print_lines
from molequi.cli.output import STDERR, line, print_json, print_table
from molequi.runtime.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from molequi.datasets.report import Label

data_app = typer.Typer(
    no_args_is_help=True, help="List data sets, prepare one, or see what a file holds."
)

Root = Annotated[
    Path | None,
    typer.Option(
        "--root", show_default=False, help="Folder of prepared data; the user's cache by default."
    ),
]
Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="A set that `molequi data list` tells how to prepare, such as qm9."
    ),
]
Source = Annotated[
    list[Path] | None,
    typer.Option(
        "--source",
        metavar="FILE",
        show_default=False,
        help="The set's own file; rosenfeld takes several.",
    ),
]
Structures = Annotated[
    Path | None,
    typer.Option(
        "--structures",
        metavar="QM9",
        show_default=False,
        help="QM9, for labels that name its molecules.",
    ),
]
Offline = Annotated[
    bool, typer.Option("--offline", help="Use local files and installed packages alone.")
]


@data_app.command("list")
def list_data(*, root: Root = None, json: options.Json = False) -> None:
    """List the bundled samples and the sets that can be prepared."""
    from molequi.datasets import describe_datasets

    entries = describe_datasets(root)
    if json:
        print_json([vars(entry) for entry in entries])
        return
    rows = [(entry.name, entry.available, entry.description, entry.where) for entry in entries]
    print_table(
        "",
        ("name", "here", "what it is", "data.path, or how to get it"),
        rows,
        left=("here", "what it is", "data.path, or how to get it"),
    )


@data_app.command("prepare")
def prepare_data(
    name: Name,
    *,
    root: Root = None,
    source: Source = None,
    structures: Structures = None,
    offline: Offline = False,
) -> None:
    """Make the file that a data set loads from in seconds."""
    from rich.progress import Progress

    from molequi.datasets import prepare

    with Progress(console=STDERR, transient=True, disable=not STDERR.is_terminal) as bar:
        task = bar.add_task("molecules read", total=None)
        path = prepare(
            name,
            root,
            sources=source or (),
            structures=structures,
            progress=lambda done: bar.update(task, completed=done),
            offline=offline,
        )
    line(str(path))


@data_app.command("inspect")
def inspect_data(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="Structures, a table, an npz, a folder or archive of QM9; or a bundled sample.",
        ),
    ],
    *,
    json: options.Json = False,
) -> None:
    """Show which labels a file holds, under which keys, in which units."""
    from molequi.datasets import inspect

    report = inspect(file)
    if json:
        labels = [vars(row) for row in report.labels.rows]
        print_json({**vars(report), "labels": labels})
        return
    count = f", {counted(report.n_structures, 'structure')}" if report.n_structures else ""
    line(f"{report.path}: {report.kind}{count}")
    _print_labels(report.labels.rows)
    _print_keys(report.labels.keys)
    for note in report.notes:
        line(note)


def models(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME|FILE]",
            show_default=False,
            autocompletion=completion.models,
            help="A bundled model, or a file of `molequi import`; without it all are listed.",
        ),
    ] = None,
    *,
    json: options.Json = False,
) -> None:
    """List the bundled models, or show the card of one: data, level of theory, errors, limits.

    Of an imported file: elements, cutoff, sizes, head, checksum of the original, licence.
    """
    from molequi.models import zoo
    from molequi.models.importers.card import card_of_file

    if name is not None and name not in zoo.list_models() and Path(name).exists():
        found = card_of_file(Path(name))
        print_json(found) if json else print_lines(found)
        return
    if name is not None:
        card = zoo.card(name)
        print_json(card) if json else _print_card(card)
        return
    cards = {bundled: zoo.card(bundled) for bundled in zoo.list_models()}
    if json:
        print_json(cards)
        return
    rows = [
        (bundled, card.get("description"), zoo.resolve_model(bundled))
        for bundled, card in cards.items()
    ]
    print_table("", ("name", "what it is", "file"), rows, left=("what it is", "file"))


_COLUMNS = {
    "name": "label",
    "key": "key in the file",
    "where": "where",
    "frames": "structures",
    "unit": "unit in the file",
    "minimum": "min",
    "mean": "mean",
    "maximum": "max",
}


def _print_labels(labels: Sequence[Label]) -> None:
    if not labels:
        line("no labels of the property table")
        return
    rows = [[vars(label)[name] for name in _COLUMNS] for label in labels]
    left = ("key in the file", "where", "unit in the file")
    print_table("", tuple(_COLUMNS.values()), rows, left=left)


def _print_keys(keys: Mapping[str, Mapping[str, int]]) -> None:
    for place, names in keys.items():
        if names:
            line(
                f"keys in {place}: {', '.join(f'{key} ({count})' for key, count in names.items())}"
            )


def _print_card(card: Mapping[str, Any], indent: str = "") -> None:
    """Print nested data as lines; groups that all have fields of their own become a table."""
    for key, value in card.items():
        heading = f"{indent}{key.replace('_', ' ')}:"
        if isinstance(value, dict):
            if _are_groups(value):
                _print_groups(heading, value)
            else:
                line(heading)
                _print_card(value, indent + "  ")
        elif isinstance(value, list):
            line(heading + _listed(value, indent))
        else:
            line(f"{heading} {value}")


def _listed(values: list[Any], indent: str) -> str:
    """Write words one after the other, sentences one a line."""
    if any(isinstance(item, str) and " " in item for item in values):
        return "".join(f"\n{indent}  - {item}" for item in values)
    return f" {', '.join(map(str, values))}"


def _are_groups(card: Mapping[str, Any]) -> bool:
    return bool(card) and all(isinstance(group, dict) for group in card.values())


def _print_groups(heading: str, groups: Mapping[str, Mapping[str, Any]]) -> None:
    columns = list(dict.fromkeys(name for group in groups.values() for name in group))
    rows = [
        (name, *(_cell(group.get(column)) for column in columns)) for name, group in groups.items()
    ]
    print_table(heading, ("", *columns), rows)


def _cell(value: object) -> str | None:
    return None if value is None else str(value)
