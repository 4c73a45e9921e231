"""The picture of the rooms: folders of `molequi/`, root files, and who imports whom.

`python docs/rooms.py rooms.svg` writes it; the site makes it anew at every build. A room stands one
floor below the lowest room that it imports from. Lines are drawn only where no other path says the
same.
"""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "molequi"
Imports = Mapping[str, frozenset[str]]

WIDTH, ROW, BOX, LETTER = 1000, 78, 34, 8.6
SWEEPS = 8


def read_imports() -> dict[str, frozenset[str]]:
    """Return, for every room, the rooms that its files import from."""
    rooms: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name == "__init__.py":
            continue
        room = _room(path.relative_to(PACKAGE).with_suffix("").parts)
        rooms.setdefault(room, set()).update(_imported(path))
    own = {name: frozenset(found & rooms.keys() - {name}) for name, found in rooms.items()}
    return _joined(own)


def floors_of(imports: Imports) -> dict[str, int]:
    """Return the floor of every room, 0 at the top: what needs no other room.

    Raises ValueError for rooms that import each other in a circle.
    """
    floors: dict[str, int] = {}
    left = dict(imports)
    while left:
        ready = [name for name, found in left.items() if found <= floors.keys()]
        if not ready:
            raise ValueError(f"these rooms import each other: {', '.join(left)}")
        for name in ready:
            floors[name] = max((floors[one] + 1 for one in left[name]), default=0)
        left = {name: found for name, found in left.items() if name not in ready}
    return floors


def without_detours(imports: Imports) -> dict[str, list[str]]:
    """Return the imports that do not follow from others (transitive reduction)."""

    @functools.cache
    def reached(name: str) -> frozenset[str]:
        return frozenset().union(imports[name], *(reached(one) for one in imports[name]))

    return {
        name: sorted(one for one in found if not any(one in reached(other) for other in found))
        for name, found in imports.items()
    }


def draw(imports: Imports) -> str:
    """Return the picture as SVG."""
    places = _places(imports)
    lines = [
        _line(places[name], places[one])
        for name, found in without_detours(imports).items()
        for one in found
    ]
    boxes = [_box(name, place) for name, place in places.items()]
    height = max(y for _, y in places.values()) + ROW
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="14">'
    )
    return "\n".join([head, f"<style>{_STYLE}</style>", *lines, *boxes, "</svg>"]) + "\n"


_STYLE = (
    "path{fill:none;stroke:#9fa8da;stroke-width:1.3}rect{fill:#e8eaf6;stroke:#3f51b5;stroke-width:1.5}"
    "rect.file{fill:#fff;stroke-dasharray:4 3}text{text-anchor:middle;fill:#1a237e}"
)


def _room(parts: tuple[str, ...]) -> str:
    return parts[0] if len(parts) > 1 else f"{parts[0]}.py"


def _imported(path: Path) -> Iterable[str]:
    """Yield candidates: `molequi.nn.linear` is of `nn`, `molequi.errors` of `errors.py`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "molequi":
            first = [*(node.module or "").split("."), node.names[0].name][1]
            yield from (first, f"{first}.py")


def _joined(imports: Imports) -> dict[str, frozenset[str]]:
    """Make one room of rooms that import each other: a folder, and a file between its files."""
    reached = {name: set(found) for name, found in imports.items()}
    for middle in imports:
        for found in reached.values():
            found.update(reached[middle] if middle in found else ())
    name_of = {
        one: " ⇄ ".join(sorted({one} | {other for other in reached[one] if one in reached[other]}))
        for one in imports
    }
    joined: dict[str, set[str]] = {name: set() for name in name_of.values()}
    for one, found in imports.items():
        joined[name_of[one]] |= {name_of[other] for other in found} - {name_of[one]}
    return {name: frozenset(found) for name, found in joined.items()}


def _places(imports: Imports) -> dict[str, tuple[float, float]]:
    """Return the centre of every room; a few sweeps move each to the middle of its neighbours."""
    floors = floors_of(imports)
    links = without_detours(imports)
    near = {
        name: [*links[name], *(one for one, found in links.items() if name in found)]
        for name in imports
    }
    rows = [
        [name for name, own in floors.items() if own == floor]
        for floor in range(max(floors.values()) + 1)
    ]
    across = {name: x for row in rows for name, x in _spread(row)}
    for _ in range(SWEEPS):
        for row in rows:
            row.sort(key=lambda name: sum(across[one] for one in near[name]) / len(near[name]))
            across.update(_spread(row))
    return {name: (across[name], ROW * (floors[name] + 0.5)) for name in imports}


def _spread(row: list[str]) -> list[tuple[str, float]]:
    return [(name, WIDTH * (k + 0.5) / len(row)) for k, name in enumerate(row)]


def _line(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x, y), (u, v) = start, end
    y, v = y - BOX / 2, v + BOX / 2
    bend = (y - v) / 2
    points = (x, y), (x, y - bend), (u, v + bend), (u, v)
    start_at, *others = (f"{a:.0f} {b:.0f}" for a, b in points)
    return f'<path d="M{start_at}C{" ".join(others)}"/>'


def _box(name: str, place: tuple[float, float]) -> str:
    x, y = place
    width = LETTER * len(name) + 18
    kind = ' class="file"' if name.endswith(".py") else ""
    return (
        f'<rect{kind} x="{x - width / 2:.0f}" y="{y - BOX / 2:.0f}" width="{width:.0f}" '
        f'height="{BOX}" rx="6"/><text x="{x:.0f}" y="{y + 5:.0f}">{name}</text>'
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(draw(read_imports()), encoding="utf-8")
