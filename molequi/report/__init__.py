"""Pages to look at: runs, structures, trajectories and vibrations as one HTML file each."""

from __future__ import annotations

from typing import Any

__all__ = ["write_report"]


def __getattr__(name: str) -> Any:
    if name == "write_report":
        from molequi.report.write import write_report

        return write_report
    raise AttributeError(f"module 'molequi.report' has no {name!r}; it has write_report")
