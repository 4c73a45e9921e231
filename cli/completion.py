"""What the shell completes beside options: names of configs, models and settings."""

from __future__ import annotations


def configs(incomplete: str) -> list[str]:
    """Complete the name of a bundled config; files are left to the shell."""
    from molequi.runtime import resources

    return [name for name in resources.config_names() if name.startswith(incomplete)]


def settings(incomplete: str) -> list[str]:
    """Complete the key of a setting, up to its `=`."""
    from molequi.keys import keys_of
    from molequi.training.config import Config

    return [f"{key.name}=" for key in keys_of(Config) if key.name.startswith(incomplete)]


def models(incomplete: str) -> list[str]:
    """Complete the name of a bundled model; files and folders are left to the shell."""
    from molequi.models.zoo import list_models

    return [name for name in list_models() if name.startswith(incomplete)]
