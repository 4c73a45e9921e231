"""Training of models of molecules.

`fit_frames` is loaded when it is first used: Lightning takes seconds to import, and wrong data are
refused before that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from molequi.training.fit import fit_frames

__all__ = ["fit_frames"]


def __getattr__(name: str) -> object:
    if name == "fit_frames":
        from molequi.training.fit import fit_frames

        return fit_frames
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
