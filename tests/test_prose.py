"""Names in docstrings, comments and pages: modules and files that they mention exist."""

from __future__ import annotations

import ast
import functools
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(
    path
    for folder in ("molequi", "cli", "tests", "data/recipes", "docs")
    for path in (ROOT / folder).rglob("*.py")
)
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "tests").rglob("*.md"),
]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in [*(ROOT / "molequi").rglob("*.py"), *(ROOT / "cli").rglob("*.py")]
}
BY_LAST_NAME: dict[str, list[Path]] = {}
for _name, _path in MODULES.items():
    BY_LAST_NAME.setdefault(_name.rpartition(".")[2], []).append(_path)
FILE_NAMES = {
    "/".join(parts[k:])
    for path in [*SOURCES, *MODULES.values()]
    for parts in [path.relative_to(ROOT).parts]
    for k in range(len(parts))
}
DOTTED = re.compile(r"`((?:molequi\.)?[a-z_0-9]+(?:\.[A-Za-z_0-9]+)+)(?:\([^`]*\))?`")
FILE = re.compile(r"(?<![\w*{<-])((?:[\w-]+/)*[a-z_0-9]+\.py)\b")
# Files of other packages.
FOREIGN = {"setup.py", "src/cormorant/data/prepare/qm9.py"}
# Names of files and settings look like names of modules.
FILE_NAME = re.compile(r"\.(py|md|ya?ml|csv|txt|xyz|png|npz|json|html|safetensors)$")
SETTING = re.compile(r"(training|data|model|properties)\.[a-z_.]+")


@functools.cache
def words_of(path: Path) -> frozenset[str]:
    """Return every word of a file."""
    return frozenset(re.findall(r"\w+", path.read_text(encoding="utf-8")))


def prose_of(path: Path) -> str:
    """Return docstrings and comments of a source file; a page as it is."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return text
    docstrings = [
        ast.get_docstring(node) or ""
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
    ]
    comments = [
        token.string
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
    ]
    return "\n".join([*docstrings, *comments])


def own_identifiers(path: Path) -> set[str]:
    """Return variables and arguments of a file: `frames.x` may speak of one of these."""
    if path.suffix != ".py":
        return set()
    nodes = [*ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    names |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return names | {node.arg for node in nodes if isinstance(node, ast.arg)}


def is_there(dotted: str) -> bool:
    """Whether a dotted name is a module, or a word that stands in the module it begins with."""
    parts = dotted.removeprefix("molequi.").split(".")
    root = MODULES["molequi"].read_text(encoding="utf-8")
    if dotted.startswith("molequi.") and f'"{parts[0]}"' in root:
        return True
    for length in range(len(parts), 0, -1):
        module = ".".join(["molequi", *parts[:length]])
        candidates = (
            [MODULES[module]] if module in MODULES else BY_LAST_NAME.get(parts[length - 1], [])
        )
        rest = parts[length:]
        for path in candidates:
            if not rest or rest[0] in words_of(path):
                return True
    return False


def missing(path: Path) -> Iterator[str]:
    prose, own = prose_of(path), own_identifiers(path)
    for match in DOTTED.finditer(prose):
        if FILE_NAME.search(match[1]) or SETTING.fullmatch(match[1]):
            continue
        first = match[1].split(".")[0]
        speaks_of_us = first == "molequi" or first in BY_LAST_NAME or f"molequi.{first}" in MODULES
        if speaks_of_us and first not in own - {"molequi"} and not is_there(match[1]):
            yield match[1]
    for match in FILE.finditer(prose):
        if match[1] not in FOREIGN | FILE_NAMES and not match[1].startswith("my_"):
            yield match[1]


@pytest.mark.parametrize("path", [*SOURCES, *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_names_in_prose_exist(path: Path) -> None:
    assert not [*missing(path)]
