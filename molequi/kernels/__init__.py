"""Tensor products behind one interface; back ends fill it."""

from molequi.kernels.reference import convolve, couple

__all__ = ["convolve", "couple"]
