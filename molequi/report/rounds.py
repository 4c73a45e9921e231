"""A folder of active learning: its rounds, and the training of the last one."""

from __future__ import annotations

import csv
from pathlib import Path

from molequi.report.page import Section
from molequi.report.runs import run_sections
from molequi.report.tables import Cell, table
from molequi.runtime.gate import reading
from molequi.runtime.wording import counted

_MARK, _ROUNDS = "active.json", "rounds.csv"


def is_active(folder: Path) -> bool:
    """Tell whether a folder is one of `molequi active` with a finished round."""
    return (folder / _MARK).is_file() and (folder / _ROUNDS).is_file()


def active_sections(title: str, folder: Path, name: str) -> list[Section]:
    """Return the sections of such a folder. name: of the viewer."""
    path = folder / _ROUNDS
    with reading(path, "table of rounds"), path.open(encoding="utf-8", newline="") as file:
        head, *lines = csv.reader(file)
        rows = [[_cell(text) for text in line] for line in lines]
    lead = f"{counted(len(rows), 'round')}; doubts and errors of forces in eV/Å."
    rounds = Section(title, lead, [table([name.replace("_", " ") for name in head], rows)])
    runs = sorted(config.parent for config in folder.glob("round-*/training/config.yaml"))
    if not runs:
        return [rounds]
    return [rounds, *run_sections(f"Training of {runs[-1].parent.name}", runs[-1], name)]


def _cell(text: str) -> Cell:
    return float(text) if text else None
