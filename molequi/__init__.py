"""Molecular machine learning with E(3)-equivariant potentials."""
