"""`molequi config`: the experiments that come with the package, and what a config says in full."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from molequi.cli import options
from molequi.cli.output import line, print_json, print_table
from molequi.errors import UserError

if TYPE_CHECKING:
    from molequi.keys import Key

config_app = typer.Typer(
    no_args_is_help=True,
    help="List the bundled experiments, show all settings of one, or explain the keys.",
)


@config_app.command("list")
def list_configs(*, json: options.Json = False) -> None:
    """List the bundled experiments; `molequi train NAME` runs one."""
    from molequi.experiments import load_experiment
    from molequi.runtime import resources

    configs = [load_experiment(name) for name in resources.config_names()]
    if json:
        keys = {"name", "description", "expected"}
        print_json([config.model_dump(include=keys) for config in configs])
        return
    rows = [(config.name, config.description) for config in configs]
    print_table("", ("name", "what it trains"), rows, left=("what it trains",))


@config_app.command("keys")
def list_keys(config: options.ConfigName = None, *, json: options.Json = False) -> None:
    """List every key of a training config: its default, its unit and what it means, a line each.

    With CONFIG the keys of experiments of its kind. NAME stands for a name of your own.
    """
    from molequi.experiments import load_experiment
    from molequi.keys import keys_of
    from molequi.training.config import Config

    keys = [*keys_of(Config if config is None else type(load_experiment(config)))]
    if json:
        print_json([key._asdict() for key in keys])
        return
    cells = [(key.name, _default(key), key.unit, key.meaning) for key in keys]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    for *first, meaning in cells:
        padded = (text.ljust(width) for text, width in zip(first, widths, strict=True))
        line(f"{'  '.join(padded)}  {meaning}")


def _default(key: Key) -> str:
    """Write a default as it would be given on the command line."""
    import yaml

    if key.is_required:
        return "(needed)"
    value = list(key.default) if isinstance(key.default, tuple) else key.default
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()


@config_app.command("show")
def show_config(
    config: options.ConfigName = None,
    settings: options.Overrides = None,
    *,
    json: options.Json = False,
) -> None:
    """Print every setting of CONFIG as YAML, those that it leaves at their defaults too.

    The output is a config itself: `molequi config show rmd17 > mine.yaml`.
    """
    from molequi.experiments import load_experiment
    from molequi.settings import dump_settings

    resolved = load_experiment(require_config(config), settings or ())
    if json:
        print_json(resolved.model_dump(mode="json"))
    else:
        sys.stdout.write(dump_settings(resolved))


def require_config(config: str | None) -> str:
    """Return the name of a config; raises UserError that lists the bundled ones for none."""
    from molequi.runtime import resources

    if config is None:
        raise UserError(
            f"CONFIG is missing; bundled are {', '.join(resources.config_names())}; or give the "
            "path of a YAML file"
        )
    return config
