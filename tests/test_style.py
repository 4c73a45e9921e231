"""The size of things, counted from the source: `python tests/house.py` prints the figures."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def load_house():
    spec = importlib.util.spec_from_file_location("house", HERE / "house.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


house = load_house()


@pytest.fixture(scope="module")
def source():
    return house.House()


def test_the_root_of_the_package_is_small(source) -> None:
    assert len(source.root_files) <= 10, source.root_files


def test_no_rooms_import_each_other(source) -> None:
    assert source.running_back_up() == []


def test_lines_are_short(source) -> None:
    too_wide = [place for place, line in source.lines if len(line) > 100]
    assert len(too_wide) <= MOST_WIDE_LINES, too_wide


def test_nothing_is_guessed_about_an_object(source) -> None:
    """`hasattr`, and `getattr` with a default, need a reason in the line."""
    assert len(source.unjustified()) <= MOST_GUESSES, source.unjustified()


def test_functions_are_small(source) -> None:
    long = [f"{f.where}: {f.n_lines}" for f in source.functions if f.n_lines > 40]
    assert len(long) < MOST_LONG * len(source.functions), long
    assert max(f.n_lines for f in source.functions) <= LONGEST, long


def test_functions_have_few_branches(source) -> None:
    branched = [f"{f.where}: {f.n_branches}" for f in source.functions if f.n_branches > 10]
    assert len(branched) < MOST_BRANCHED * len(source.functions), branched
    assert max(f.n_branches for f in source.functions) <= MOST_BRANCHES, branched


def test_files_hold_one_concept(source) -> None:
    assert house.p90(source.file_lengths) <= LONGEST_P90


# The figures of today; each may only fall.
MOST_WIDE_LINES, MOST_GUESSES = 0, 0
MOST_LONG, MOST_BRANCHED, MOST_BRANCHES = 0.002, 0.002, 11
LONGEST, LONGEST_P90 = 59, 230


def test_counting(tmp_path: Path) -> None:
    """The counter finds what it is there for."""
    (tmp_path / "cli").mkdir()
    rooms = {
        "low": "",
        "middle": "from molequi.low.a import x\n",
        "high": "import molequi.middle.a\n",
    }
    for room, text in rooms.items():
        (tmp_path / "molequi" / room).mkdir(parents=True)
        (tmp_path / "molequi" / room / "a.py").write_text(text)
    (tmp_path / "molequi" / "root.py").write_text(
        "def f(x, y):\n    if x and y or x:\n        return [a if a else 1 for a in x]\n"
        "    getattr(x, 'a', 1)\n    hasattr(x, 'b')  # its releases differ\n    return None\n"
    )
    found = house.House(tmp_path)
    assert found.rooms == ["high", "low", "middle", "root"]
    assert found.floors() == {"high": 3, "low": 1, "middle": 2, "root": 1}
    assert found.running_back_up() == []
    assert [(f.n_lines, f.n_branches) for f in found.functions] == [(6, 6)]
    assert found.unjustified() == ["molequi/root.py:4"]
    (tmp_path / "molequi" / "low" / "a.py").write_text("from molequi.high.a import y\n")
    assert len(house.House(tmp_path).running_back_up()) == 3
