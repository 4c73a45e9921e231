"""Training of models of molecules.

What is named here is loaded when it is first used: Lightning and the drawing library take seconds
to import, and wrong data are refused before that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from molequi.training.ensembles import join_members
    from molequi.training.figures import draw_errors
    from molequi.training.fit import fit_frames, refuse_other_data
    from molequi.training.on_fingerprints import fingerprint_errors

__all__ = [
    "draw_errors",
    "fingerprint_errors",
    "fit_frames",
    "join_members",
    "refuse_other_data",
]


def __getattr__(name: str) -> object:
    if name == "fit_frames":
        from molequi.training.fit import fit_frames

        return fit_frames
    if name == "refuse_other_data":
        from molequi.training.fit import refuse_other_data

        return refuse_other_data
    if name == "join_members":
        from molequi.training.ensembles import join_members

        return join_members
    if name == "draw_errors":
        from molequi.training.figures import draw_errors

        return draw_errors
    if name == "fingerprint_errors":
        from molequi.training.on_fingerprints import fingerprint_errors

        return fingerprint_errors
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
