"""Changes that damage a file: of its bytes, of its words and numbers, of the tree of a JSON."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from random import Random
from typing import Any

NUMBERS = (
    *("nan", "inf", "-inf", ".inf", "1e300", "-1e300", "1e-320", "1e999", "0", "-1", "1", "0.5"),
    *("99999999999999999999", "1" + "0" * 18, "2147483648", "²", "٣", "0x10", "1_000", "--1"),
    *("1e", "+", "1.2.3", "", "7" * 400, "1.178D-01", "8.0*^-3", "1,5", "*", "9" * 9),
)
WORDS = (
    *("\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x9b31m", "\r", "\u202e", "\x00", "\ufffd", "é"),
    *("=1+1", "@SUM(1)", "+1", "../../etc/passwd", "%s%n", "{0}", "[[[[", "]]", "'", '"', "\\"),
    *("A" * 70_000, "a b" * 100, 'Lattice="1 0 0"', "Properties=species:S:1:pos:R:3:x:I:-1"),
    *("charge=1e9", "multiplicity=-3", "pbc=X", "energy=nan", "true", "None", "null", "~", "D"),
    *(
        "!!python/object:os.system",
        "&a [*a, *a]",
        "X",
        "Uuo",
        "H-1",
        "C#N",
        "[Og]",
        "NaN",
        "#",
        ",",
    ),
    *("$$$$", "M  END", "M  V30 BEGIN CTAB", "@<TRIPOS>ATOM", "ENDMDL", "\n", "\n\n", ";", "\t"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 10**18, 10**30, -(10**18), 0.5, -0.5, 1e300, 5e-324),
    *(float("nan"), float("inf"), "", "x", "²", "\x1b[31mred", "=1+1", "nan", "A" * 5000, "0:1"),
    *([], [None], [0], [1, 2, 3], [[]], [[0.0] * 3] * 3, ["a", 1], {}, {"a": None}, {"": []}),
)
_NUMBER = re.compile(rb"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")
_WORD = re.compile(rb"[^\s,;:=()\[\]{}]+")
_LARGEST = 1 << 20


def mutated(data: bytes, random: Random) -> bytes:
    """Damage bytes in one to three places; the text that they may be is mostly kept."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        data = random.choice(_CHANGES)(data, random)
    return data[:_LARGEST]


def mutated_tree(document: Any, random: Random) -> Any:
    """Change a node of nested lists and dicts: another value, one more, one less, another name."""
    document = copy.deepcopy(document)
    for _ in range(random.choice((1, 1, 1, 2))):
        document = _with_one_change(document, random)
    return document


def _with_one_change(document: Any, random: Random) -> Any:
    nodes = list(_containers(document))
    if not nodes or random.random() < 0.05:
        return hostile_value(random)
    node = random.choice(nodes)
    keys = list(node) if isinstance(node, dict) else list(range(len(node)))
    if not keys:
        return hostile_value(random)
    key, change = random.choice(keys), random.randrange(6)
    if change == 0:
        del node[key]
    elif change == 1 and isinstance(node, dict):
        node[random.choice(WORDS)] = node.pop(key)
    elif change == 1:
        node.append(node[key])
    else:
        node[key] = hostile_value(random)
    return document


def hostile_value(random: Random) -> Any:
    """Return a plain value that no reader expects."""
    return copy.deepcopy(random.choice(VALUES))


def _containers(node: Any) -> Any:
    """Yield every list and dict of a tree; of long lists of numbers only themselves."""
    if isinstance(node, dict | list):
        yield node
        for child in node.values() if isinstance(node, dict) else node[:50]:
            yield from _containers(child)


def _place(data: bytes, random: Random) -> int:
    return random.randrange(len(data) + 1)


def _span(data: bytes, random: Random) -> tuple[int, int]:
    start = _place(data, random)
    return start, min(len(data), start + random.choice((1, 2, 8, 64, 512)))


def _flip(data: bytes, random: Random) -> bytes:
    place = _place(data, random)
    return data[:place] + bytes([random.randrange(256)]) + data[place + 1 :]


def _cut(data: bytes, random: Random) -> bytes:
    start, stop = _span(data, random)
    return data[:start] + data[stop:]


def _double(data: bytes, random: Random) -> bytes:
    start, stop = _span(data, random)
    times = random.choice((1, 1, 2, 100))
    return data[:stop] + data[start:stop] * times + data[stop:]


def _truncate(data: bytes, random: Random) -> bytes:
    return data[: _place(data, random)]


def _insert(data: bytes, random: Random) -> bytes:
    place = _place(data, random)
    return data[:place] + random.choice((*WORDS, *NUMBERS)).encode() + data[place:]


def _replaced(pattern: re.Pattern[bytes], words: tuple[str, ...]) -> Callable[..., bytes]:
    def change(data: bytes, random: Random) -> bytes:
        found = list(pattern.finditer(data))
        if not found:
            return _insert(data, random)
        place = random.choice(found)
        return data[: place.start()] + random.choice(words).encode() + data[place.end() :]

    return change


def _lines(data: bytes, random: Random) -> bytes:
    """Drop, double or swap lines."""
    lines = data.splitlines(keepends=True)
    if len(lines) < 2:
        return _cut(data, random)
    first, second = random.sample(range(len(lines)), 2)
    kind = random.randrange(3)
    if kind == 0:
        del lines[first]
    elif kind == 1:
        lines.insert(second, lines[first])
    else:
        lines[first], lines[second] = lines[second], lines[first]
    return b"".join(lines)


def _encoded(data: bytes, random: Random) -> bytes:
    """Write the text as another program or system would."""
    text = data.decode("latin-1")
    return random.choice(
        (
            text.encode("utf-16"),
            b"\xef\xbb\xbf" + data,
            data.replace(b"\n", b"\r\n"),
            data.replace(b"\n", b"\r"),
            data.replace(b" ", b"\t"),
            data + b"\x1a",
        )
    )


_CHANGES: tuple[Callable[[bytes, Random], bytes], ...] = (
    *(_flip, _cut, _double, _truncate, _insert, _lines, _lines, _encoded),
    *(_replaced(_NUMBER, NUMBERS), _replaced(_NUMBER, NUMBERS), _replaced(_NUMBER, NUMBERS)),
    *(_replaced(_WORD, WORDS), _replaced(_WORD, WORDS), _replaced(_WORD, NUMBERS)),
)
