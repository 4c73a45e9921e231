"""Symmetry in general: Lie groups, finite groups, their representations and networks made for them."""
