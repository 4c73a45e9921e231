"""Mechanics learned from trajectories.

`train_dynamics` is loaded when it is first used: it draws, and matplotlib takes a while to import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from molequi.hamiltonian.train import train_dynamics

__all__ = ["train_dynamics"]


def __getattr__(name: str) -> object:
    if name == "train_dynamics":
        from molequi.hamiltonian.train import train_dynamics

        return train_dynamics
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
