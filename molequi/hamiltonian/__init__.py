"""Mechanics learned from trajectories.

`fit_dynamics` is loaded when it is first used: it draws, and matplotlib takes a while to import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from molequi.hamiltonian.train import fit_dynamics

__all__ = ["fit_dynamics"]


def __getattr__(name: str) -> object:
    if name == "fit_dynamics":
        from molequi.hamiltonian.train import fit_dynamics

        return fit_dynamics
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
