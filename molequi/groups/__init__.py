"""Symmetry in general: Lie groups, finite groups, representations, and networks for them."""
