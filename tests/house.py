"""Count the house: `python tests/house.py` prints rooms, floors, imports and the size of things.

A room is a folder of the package, or a file at its root. A room stands one floor below the lowest
room that it imports; the first floor is that of rooms that need no other. An import runs back up
where rooms import each other in a circle. `docs/rooms.py` draws what is counted here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
_BRANCHES = (
    ast.If,
    ast.For,
    ast.While,
    ast.ExceptHandler,
    ast.IfExp,
    ast.comprehension,
    ast.match_case,
)


class Function(NamedTuple):
    """A function: where it stands, its lines with decorators and docstring, its branches."""

    where: str
    n_lines: int
    n_branches: int


class House:
    """The source of `molequi/` and `cli/`, parsed once."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self.files = sorted([*(root / "molequi").rglob("*.py"), *(root / "cli").rglob("*.py")])
        self.texts = {path: path.read_text(encoding="utf-8") for path in self.files}
        self.trees = {path: ast.parse(text) for path, text in self.texts.items()}

    @cached_property
    def lines(self) -> list[tuple[str, str]]:
        """Every line with its place."""
        return [
            (f"{path.relative_to(self.root)}:{number}", line)
            for path, text in self.texts.items()
            for number, line in enumerate(text.splitlines(), start=1)
        ]

    @cached_property
    def functions(self) -> list[Function]:
        """Every function and method."""
        return [
            Function(
                f"{path.relative_to(self.root)}:{node.lineno} {node.name}",
                node.end_lineno - min([node.lineno, *(d.lineno for d in node.decorator_list)]) + 1,
                1 + n_branches(node),
            )
            for path, tree in self.trees.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]

    @cached_property
    def file_lengths(self) -> list[int]:
        """Lines of every file but the folders' `__init__`, ascending."""
        return sorted(
            text.count("\n") for path, text in self.texts.items() if path.name != "__init__.py"
        )

    @cached_property
    def root_files(self) -> list[str]:
        """Files beside the folders."""
        return sorted(path.name for path in (self.root / "molequi").glob("*.py"))

    @cached_property
    def imports(self) -> dict[tuple[str, str], int]:
        """Number of import statements from a room to another one."""
        found: dict[tuple[str, str], int] = {}
        for path, tree in self.trees.items():
            here = self.room_of(path)
            if here is None:
                continue
            targets = {room for name in own_imports(tree) if (room := self.room_named(name))}
            for target in targets - {here}:
                found[here, target] = found.get((here, target), 0) + 1
        return found

    @cached_property
    def rooms(self) -> list[str]:
        """Folders and root files of the package."""
        return sorted({room for path in self.files if (room := self.room_of(path))})

    def room_of(self, path: Path) -> str | None:
        """Name the room of a file; the package's own doors and the command line have none."""
        parts = path.relative_to(self.root).parts
        if parts[0] != "molequi" or parts[1] in {"__init__.py", "__main__.py"}:
            return None
        return parts[1].removesuffix(".py")

    def room_named(self, module: str) -> str | None:
        """Name the room of an imported module."""
        parts = module.split(".")
        return parts[1] if parts[0] == "molequi" and len(parts) > 1 else None

    def floors(self) -> dict[str, int]:
        """Return the floor of every room, 1 for what needs no other room."""
        below: dict[str, set[str]] = {room: set() for room in self.rooms}
        for here, target in self.imports:
            if target in below and (target, here) not in self.imports:
                below[here].add(target)
        floors: dict[str, int] = {}

        def floor(room: str) -> int:
            if room not in floors:
                floors[room] = 0  # of a longer circle
                floors[room] = 1 + max(map(floor, below[room]), default=0)
            return floors[room]

        return {room: floor(room) for room in self.rooms}

    def running_back_up(self) -> list[tuple[str, str]]:
        """Return the imports between rooms that lead back to where they come from."""
        reached: dict[str, set[str]] = {room: set() for room in self.rooms}
        for here, target in self.imports:
            reached[here].add(target)
        changed = True
        while changed:
            sizes = {room: len(rooms) for room, rooms in reached.items()}
            for rooms in reached.values():
                rooms.update(*(reached.get(room, set()) for room in tuple(rooms)))
            changed = sizes != {room: len(rooms) for room, rooms in reached.items()}
        return sorted(pair for pair in self.imports if pair[0] in reached.get(pair[1], set()))

    def unjustified(self) -> list[str]:
        """Return the places of `hasattr` and of `getattr` with a default without a reason."""
        places = []
        for path, tree in self.trees.items():
            lines = self.texts[path].splitlines()
            for node in ast.walk(tree):
                if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                    continue
                guesses = node.func.id == "hasattr" or (
                    node.func.id == "getattr" and len(node.args) == 3
                )
                span = lines[node.lineno - 1 : node.end_lineno]
                if guesses and not any(re.search(r"#\s*\w+", line) for line in span):
                    places.append(f"{path.relative_to(self.root)}:{node.lineno}")
        return places


def n_branches(function: ast.AST) -> int:
    """Count the places where a function may go two ways, those of functions inside left out."""
    count = 0
    for node in ast.iter_child_nodes(function):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if isinstance(node, _BRANCHES):
            count += 1
        elif isinstance(node, ast.BoolOp):
            count += len(node.values) - 1
        count += n_branches(node)
    return count


def own_imports(tree: ast.AST) -> Iterator[str]:
    """Name the modules of the package that a file imports, those for type checkers included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def share(count: int, total: int) -> str:
    """Write a share in per cent."""
    return f"{count} of {total} ({100 * count / total:.1f} %)"


def report(house: House) -> str:
    """Write the figures, and the worst cases of each."""
    functions, n = house.functions, len(house.functions)
    long = sorted((f for f in functions if f.n_lines > 40), key=lambda f: -f.n_lines)
    branched = sorted((f for f in functions if f.n_branches > 10), key=lambda f: -f.n_branches)
    lengths = house.file_lengths
    too_wide = [place for place, line in house.lines if len(line) > 100]
    figures = {
        "rooms": len(house.rooms),
        "floors": max(house.floors().values()),
        "imports between rooms": len(house.imports),
        "of these running back up": len(house.running_back_up()),
        "files at the root": len(house.root_files),
        "files": len(lengths),
        "median file": lengths[len(lengths) // 2],
        "p90 of files": p90(lengths),
        "longest file": lengths[-1],
        "longest line": max(len(line) for _, line in house.lines),
        "lines over 100": len(too_wide),
        "functions over 40 lines": share(len(long), n),
        "functions over 10 branches": share(len(branched), n),
        "getattr with a default, hasattr": len(house.unjustified()),
    }
    lines = [f"{name:32} {value}" for name, value in figures.items()]
    lines += [f"  {here} -> {target}" for here, target in house.running_back_up()]
    lines += [f"  {f.n_lines:3} lines     {f.where}" for f in long]
    lines += [f"  {f.n_branches:3} branches  {f.where}" for f in branched]
    lines += [f"  guesses       {place}" for place in house.unjustified()]
    return "\n".join(lines)


def p90(values: list[int]) -> int:
    """Return the ninth decile of ascending values."""
    return values[int(0.9 * (len(values) - 1))]


if __name__ == "__main__":
    print(report(House()))  # noqa: T201
