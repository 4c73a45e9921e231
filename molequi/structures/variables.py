"""Variables of Gaussian inputs: numbers that a geometry names and that sections behind it give.

Gaussian 16 User's Reference, "Molecule Specification" and "Constructing Z-Matrices": the sections
`Variables:` and `Constants:` stand behind the geometry, with a blank line or their heading between;
a name with a minus sign is the negative number.
"""

from __future__ import annotations

import re

# Gaussian ends its sections with blank lines: routes, a title, charge and geometry, what is behind.
BLANK = re.compile(r"\n[ \t\r]*\n")
GEOMETRY = 2
_HEADING = re.compile(r"(?i)^\s*(variables|constants)\s*:?\s*$")
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?"
_DEFINITION = re.compile(
    rf"^\s*(?P<name>[A-Za-z]\w*)(?:\s*=\s*|[\s,]+)(?P<value>{_NUMBER})"
    r"(?:\s+[A-Z])?\s*(?:!.*)?$"  # F: frozen; other letters say what an optimization does with it
)
_NAME = re.compile(r"(?P<sign>[-+]?)(?P<name>[A-Za-z]\w*)")


def with_numbers(job: str) -> str:
    """Return a job of a Gaussian input with the numbers of variables in their places.

    Names to which no number is given stay, and so does a job that has no variables. What stood
    behind the geometry besides (bases, restraints) stays behind it.
    """
    sections = BLANK.split(job)
    if len(sections) <= GEOMETRY:
        return job
    rows, values = _parted(sections[GEOMETRY])
    behind = sections[GEOMETRY + 1 :]
    while behind and (given := _definitions(behind[0])) and given.keys() & _names(rows):
        values |= given
        behind = behind[1:]
    if not values:
        return job
    sections[GEOMETRY:] = ["\n".join(_put_in(row, values) for row in rows), *behind]
    return "\n\n".join(sections)


def _parted(section: str) -> tuple[list[str], dict[str, str]]:
    """Part a geometry from the variables that stand behind it without a blank line."""
    rows = section.split("\n")
    for number, row in enumerate(rows):
        if _HEADING.match(row):
            return rows[:number], _definitions("\n".join(rows[number:])) or {}
    return rows, {}


def _definitions(section: str) -> dict[str, str] | None:
    """Return the numbers that a section gives by name; None where it says anything else."""
    values = {}
    for row in section.split("\n"):
        if not row.strip() or _HEADING.match(row):
            continue
        found = _DEFINITION.match(row)
        if found is None:
            return None
        values[found["name"].lower()] = re.sub("[dD]", "e", found["value"])
    return values


def _names(rows: list[str]) -> set[str]:
    """Return the names that stand where a geometry could have numbers."""
    return {
        found["name"].lower()
        for row in rows
        for word in re.split(r"[\s,]+", row.strip())[1:]
        if (found := _NAME.fullmatch(word))
    }


def _put_in(row: str, values: dict[str, str]) -> str:
    symbol, *words = re.split(r"[\s,]+", row.strip())
    return " ".join([symbol, *(_number(word, values) for word in words)])


def _number(word: str, values: dict[str, str]) -> str:
    found = _NAME.fullmatch(word)
    if found is None or found["name"].lower() not in values:
        return word
    value = values[found["name"].lower()]
    return str(-float(value)) if found["sign"] == "-" else value
