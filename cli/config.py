"""`molequi config`: the experiments that come with the package, and what a config says in full."""

from __future__ import annotations

import sys

import typer

from molequi.cli import options
from molequi.cli.output import print_json, print_table
from molequi.errors import UserError

config_app = typer.Typer(
    no_args_is_help=True, help="List the bundled experiments, or show all settings of one."
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
