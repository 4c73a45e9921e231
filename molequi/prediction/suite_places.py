"""Which suites a name means: a file, a folder of files, or one that is bundled."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from molequi.errors import UserError
from molequi.prediction.suite_json import is_json_suite, read_json_suite
from molequi.prediction.suite_yaml import read_yaml_suite
from molequi.prediction.suites import Suite
from molequi.runtime.resources import folder

_JSON, _YAML = (".json", ".json.gz"), (".yaml", ".yml")


def bundled_suites() -> tuple[str, ...]:
    """Return the names of the bundled suites."""
    return tuple(sorted(path.name.split(".")[0] for path in _bundled().glob("*.json.gz")))


def is_suite(name: str | os.PathLike[str]) -> bool:
    """Whether a name is that of suites rather than of labelled structures."""
    path = Path(name)
    if os.path.isdir(path):  # which takes names of any length: it may be a list of files
        return bool(_suites_in(path))
    if os.path.exists(path):
        return _is_suite_file(path)
    return str(name).lower() in bundled_suites() or path.name.endswith((*_YAML, ".json.gz"))


def read_suites(names: Iterable[str | os.PathLike[str]]) -> list[Suite]:
    """Read the suites of files, folders and bundled names, in their order.

    Raises UserError for a name that means none, and for two suites of one name.
    """
    suites = [_read(path) for name in names for path in _files(name)]
    found: set[str] = set()
    for suite in suites:
        if suite.origin.name in found:
            raise UserError(f"two suites are called {suite.origin.name}; evaluate them one by one")
        found.add(suite.origin.name)
    return suites


def _files(name: str | os.PathLike[str]) -> list[Path]:
    path = Path(name)
    if path.is_dir():
        files = _suites_in(path)
        if not files:
            raise UserError(f"the folder {path} holds no suite: no .json.gz, .json or .yaml of one")
        return files
    if path.exists():
        return [path]
    if str(name).lower() in bundled_suites():
        return [_bundled() / f"{str(name).lower()}.json.gz"]
    raise UserError(
        f"no suite {name}: no such file or folder, and bundled are {', '.join(bundled_suites())}"
    )


def _read(path: Path) -> Suite:
    return read_yaml_suite(path) if path.name.endswith(_YAML) else read_json_suite(path)


def _suites_in(path: Path) -> list[Path]:
    return sorted(file for file in path.iterdir() if file.is_file() and _is_suite_file(file))


def _is_suite_file(path: Path) -> bool:
    """Judge by the name; JSON and YAML that something else may have written by what they hold."""
    if path.name.endswith(_JSON):
        return path.name.endswith(".gz") or is_json_suite(path)
    return path.name.endswith(_YAML) and _has_suite_keys(path)


def _has_suite_keys(path: Path) -> bool:
    """Whether a YAML file has the keys of a suite at its left edge; configs have not."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return any(line.startswith(("reactions:", "molecules:", "systems:")) for line in lines)


def _bundled() -> Path:
    return folder("_data") / "suites"
