"""What the shell completes beside options: names of configs, models and settings."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import typer

from molequi.errors import UserError

if TYPE_CHECKING:
    from molequi.settings import Settings


def configs(incomplete: str) -> list[str]:
    """Complete the name of a bundled config; files are left to the shell."""
    from molequi.runtime import resources

    return [name for name in resources.config_names() if name.startswith(incomplete)]


def settings(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the key of a setting of the CONFIG that stands before, up to its `=`."""
    from molequi.experiments import load_experiment
    from molequi.keys import keys_of
    from molequi.training.config import Config

    kind: type[Settings] = Config
    named = context.params.get("config")
    if named is not None:
        with contextlib.suppress(UserError):  # which the command will say
            kind = type(load_experiment(named))
    return [f"{key.name}=" for key in keys_of(kind) if key.name.startswith(incomplete)]


def models(incomplete: str) -> list[str]:
    """Complete the name of a bundled model; files and folders are left to the shell."""
    from molequi.models.zoo import list_models

    return [name for name in list_models() if name.startswith(incomplete)]
