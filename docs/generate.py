"""Pages that are written by what they describe: the command line, settings, properties, the API.

MkDocs calls the `on_...` functions (`hooks` in `mkdocs.yml`).
"""

from __future__ import annotations

import enum
import inspect
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url
from rooms import House, draw

from molequi.cli.main import app
from molequi.keys import keys_of
from molequi.properties import PROPERTIES
from molequi.settings import Settings
from molequi.training.config import Config

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "molequi"
FOLDERS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
API = "reference/api"
FOREIGN_SCRIPT, OWN_SCRIPT = "https://unpkg.com/iframe-worker/shim", "assets/iframe_worker.js"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put one entry per folder of the package below `Python`."""
    reference = next(entry["Reference"] for entry in config.nav or [] if "Reference" in entry)
    reference[-1] = {
        "Python": [f"{API}.md", *({name: f"{API}/{name}.md"} for name in [*FOLDERS, "other"])]
    }
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to those of the folder."""
    pages: dict[str, Callable[[], str]] = {
        "reference/cli.md": command_line,
        "reference/settings.md": settings,
        "reference/properties.md": properties,
        f"{API}/other.md": lambda: api("", "Files of the root"),
    }
    for name in FOLDERS:
        pages[f"{API}/{name}.md"] = lambda name=name: api(name, f"molequi.{name}")
    pages["figures/architecture.svg"] = lambda: draw(House())
    for uri, text in pages.items():
        files.append(File.generated(config, uri, content=text()))
    return files


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Load the script that the theme would take from the network from the site itself."""
    return output.replace(FOREIGN_SCRIPT, get_relative_url(OWN_SCRIPT, page.url))


def on_post_template(output_content: str, template_name: str, config: MkDocsConfig) -> str:
    """Do the same for the page of dead links."""
    return output_content.replace(FOREIGN_SCRIPT, OWN_SCRIPT)


def command_line() -> str:
    """Write every command with its arguments and options, as `--help` has them."""
    root: Any = typer.main.get_command(app)
    text = ["# Command line\n", f"{root.help}\n", f"Before the command: {_option_words(root)}.\n"]
    panels: dict[str, list[str]] = {}
    for name, command in root.commands.items():
        children = getattr(command, "commands", None) or {"": command}
        for child, one in children.items():
            section = _command(f"{name} {child}".strip(), one)
            panels.setdefault(command.rich_help_panel, []).append(section)
    for panel, sections in panels.items():
        text += [f"## {panel}\n", *sections]
    return "\n".join([*text, _EXIT_CODES])


_EXIT_CODES = """## Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | a check failed, or some inputs failed: they are listed, the good ones are written |
| 2 | wrong input or usage: one line says what, where and what would be right; nothing is written |
| 3 | not converged, or stopped by a guard of the physics; the frames so far are kept |
| 70 | internal error |
| 75 | interrupted, saved, can be resumed |
| 130 | Ctrl-C |
"""


def _command(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    words = " ".join(p.metavar or p.name.upper() for p in arguments)
    usage = f"molequi {name} {words}".strip()
    rows = [f"| `{p.metavar or p.name.upper()}` | {p.help or ''} | |" for p in arguments]
    rows += [f"| {_names(p)} | {p.help or ''} | {_default(p)} |" for p in options]
    table = "\n".join(["| | | default |", "|---|---|---|", *rows]) if rows else ""
    return f"### molequi {name}\n\n```text\n{usage} [OPTIONS]\n```\n\n{command.help}\n\n{table}\n"


def _option_words(command: Any) -> str:
    return ", ".join(f"{_names(p)} ({p.help.rstrip('.')})" for p in command.params)


def _names(option: Any) -> str:
    return ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])


def _default(option: Any) -> str:
    value = option.default.value if isinstance(option.default, enum.Enum) else option.default
    return "" if value is None or value is False or value == [] else f"`{value}`"


def settings() -> str:
    """Write the bundled configs and every setting with its type and default."""
    text = [_SETTINGS]
    for path in sorted((ROOT / "configs").glob("*.yaml")):
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        text.append(f"| `{path.stem}` | {data['description']} | {data.get('expected', '')} |")
    text.append("\n## Settings\n")
    units = {key.name: key.unit for key in keys_of(Config)}
    for name, group in _groups(Config, ""):
        text += [f"### {name or 'Of the experiment'}\n", f"{inspect.getdoc(group)}\n"]
        text += ["| setting | type | default | unit | meaning |", "|---|---|---|---|---|"]
        dotted = {f"{name}{'.' if name else ''}{key}": key for key in group.model_fields}
        for key, field in ((key, group.model_fields[own]) for key, own in dotted.items()):
            if not _is_group(field):
                cells = _type_words(field.annotation), _value(field), units.get(key, "")
                text.append(f"| `{key}` | {' | '.join(cells)} | {field.description} |")
        text.append("")
    return "\n".join(text)


_SETTINGS = """# Settings

`molequi train CONFIG key=value ...` takes a YAML file, or the name of a bundled config, and
settings that differ from it. A setting that is not given has its default. `molequi config show
NAME` prints a config with all of its settings; the run directory keeps the same as `config.yaml`.
`molequi config keys` lists what follows in the terminal. A wrong key is an error that names the
nearest right one.

## Bundled configs

| name | what it trains | what to expect |
|---|---|---|"""


def _groups(kind: type[Settings], prefix: str) -> Iterator[tuple[str, type[Settings]]]:
    yield prefix, kind
    for name, field in kind.model_fields.items():
        if _is_group(field):
            yield from _groups(field.annotation, f"{prefix}{'.' if prefix else ''}{name}")


def _is_group(field: Any) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, Settings)


def _type_words(annotation: Any) -> str:
    """Write a type as a reader of YAML would: `integer`, `a, b or c`, `name -> number`."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type_words(arguments[0])
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type_words(one) for one in arguments if one is not types.NoneType)
    if origin is dict:
        return f"{_type_words(arguments[0])} → {_type_words(arguments[1])}"
    if origin is tuple:
        return f"list of {_type_words(arguments[0])}"
    words = {str: "text", int: "integer", float: "number", bool: "yes/no"}
    return words.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _value(field: Any) -> str:
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    return "" if value in (None, "", {}, ()) else f"`{value}`"


def properties() -> str:
    """Write the property table."""
    rows = [
        f"| `{name}` | {row.irreps} | {row.unit} | {'atom' if row.per_atom else 'molecule'} "
        f"| {row.description} |"
        for name, row in PROPERTIES.items()
    ]
    return "\n".join([_PROPERTIES, *rows, ""])


_PROPERTIES = """# Properties

What a model can predict, in which unit. Irreps are in e3nn's notation: `0e` a scalar, `0o` a scalar
that changes sign in the mirror, `1o` a vector, `1e` an axial vector, `0e+2e` a symmetric tensor. A
property of your own is declared in the config, never in code: see
[Train on a property of your own](../how-to/train_property.md).

| name | irreps | unit | per | meaning |
|---|---|---|---|---|"""


def api(folder: str, title: str) -> str:
    """Write the page of one folder: mkdocstrings puts the docstrings where `:::` stands."""
    paths = sorted(
        (PACKAGE / folder).glob("*.py") if not folder else (PACKAGE / folder).rglob("*.py")
    )
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    modules = [name for name in names if not name.endswith("__init__")]
    return "\n\n".join([f"# {title}", *(f"::: {name}" for name in modules)]) + "\n"
