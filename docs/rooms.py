"""The picture of the rooms: folders of `molequi/`, root files, and who imports whom.

`python docs/rooms.py rooms.svg` writes it; the site makes it anew at every build. What a room is,
and on which floor it stands, is said in `tests/house.py`. Lines are drawn only where no other path
says the same.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))
from house import House  # noqa: E402

Imports = Mapping[str, frozenset[str]]

WIDTH, ROW, BOX, LETTER = 1000, 78, 34, 8.6
SWEEPS = 8


def without_detours(imports: Imports) -> dict[str, list[str]]:
    """Return the imports that do not follow from others (transitive reduction)."""

    @functools.cache
    def reached(name: str) -> frozenset[str]:
        return frozenset().union(imports[name], *(reached(one) for one in imports[name]))

    return {
        name: sorted(one for one in found if not any(one in reached(other) for other in found))
        for name, found in imports.items()
    }


def draw(house: House) -> str:
    """Return the picture as SVG."""
    imports = {
        room: frozenset(target for here, target in house.imports if here == room)
        for room in house.rooms
    }
    files = {name.removesuffix(".py") for name in house.root_files}
    places = _places(imports, house.floors())
    lines = [
        _line(places[name], places[one])
        for name, found in without_detours(imports).items()
        for one in found
    ]
    boxes = [_box(name, place, is_file=name in files) for name, place in places.items()]
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


def _places(imports: Imports, floors: Mapping[str, int]) -> dict[str, tuple[float, float]]:
    """Return the centre of every room; a few sweeps move each to the middle of its neighbours."""
    links = without_detours(imports)
    near = {
        name: [*links[name], *(one for one, found in links.items() if name in found)]
        for name in imports
    }
    rows = [
        [name for name, own in floors.items() if own == floor]
        for floor in range(1, max(floors.values()) + 1)
    ]
    across = {name: x for row in rows for name, x in _spread(row)}
    for _ in range(SWEEPS):
        for row in rows:
            row.sort(key=lambda name: sum(across[one] for one in near[name]) / len(near[name]))
            across.update(_spread(row))
    return {name: (across[name], ROW * (floors[name] - 0.5)) for name in imports}


def _spread(row: list[str]) -> list[tuple[str, float]]:
    return [(name, WIDTH * (k + 0.5) / len(row)) for k, name in enumerate(row)]


def _line(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x, y), (u, v) = start, end
    y, v = y - BOX / 2, v + BOX / 2
    bend = (y - v) / 2
    points = (x, y), (x, y - bend), (u, v + bend), (u, v)
    start_at, *others = (f"{a:.0f} {b:.0f}" for a, b in points)
    return f'<path d="M{start_at}C{" ".join(others)}"/>'


def _box(name: str, place: tuple[float, float], *, is_file: bool) -> str:
    x, y = place
    name, kind = (f"{name}.py", ' class="file"') if is_file else (name, "")
    width = LETTER * len(name) + 18
    return (
        f'<rect{kind} x="{x - width / 2:.0f}" y="{y - BOX / 2:.0f}" width="{width:.0f}" '
        f'height="{BOX}" rx="6"/><text x="{x:.0f}" y="{y + 5:.0f}">{name}</text>'
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(draw(House()), encoding="utf-8")
