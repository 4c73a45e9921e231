"""Finds the bundled configs, samples and models.

In the installed package, or beside it in a checkout.

The search is anchored at the files of the running package, so the current folder, even another
checkout, plays no part.
"""

from __future__ import annotations

import importlib.resources
from pathlib import Path

from molequi.errors import UserError

# Installed name of each folder, and its name in a checkout (pyproject.toml maps one to the other).
_FOLDERS = {"_configs": "configs", "_data": "data"}


def data_path(name: str) -> Path:
    """Return a bundled file or folder by its path in `data/`, as `models/organic.safetensors`.

    Raises UserError that names the place where it was looked for.
    """
    path = folder("_data") / name
    if not path.exists():
        there = ", ".join(sorted(found.name for found in path.parent.glob("*"))) or "nothing"
        raise UserError(f"there is no bundled file {name!r}; {path.parent} has {there}")
    return path


def config_path(name: str) -> Path:
    """Return a bundled config by its name, with or without `.yaml`.

    Raises UserError that lists the bundled configs.
    """
    path = folder("_configs") / f"{name.removesuffix('.yaml')}.yaml"
    if not path.is_file():
        what = f"{name} is a folder" if Path(name).is_dir() else f"no config named {name!r}"
        if (Path(name) / "config.yaml").is_file():
            what = (
                f"{name} is a run directory, no config; `molequi train --output {name} --resume` "
                "goes on with it"
            )
        raise UserError(
            f"{what}; bundled are {', '.join(config_names())}; or give the path of a YAML file"
        )
    return path


def config_names() -> tuple[str, ...]:
    """Return the names of the bundled configs."""
    return tuple(sorted(path.stem for path in folder("_configs").glob("*.yaml")))


def folder(package: str) -> Path:
    """Return the folder that is installed as `molequi.<package>`: `_configs` or `_data`."""
    installed = importlib.resources.files("molequi").joinpath(package)
    if isinstance(installed, Path) and installed.is_dir():
        return installed
    return Path(__file__).resolve().parents[2] / _FOLDERS[package]
