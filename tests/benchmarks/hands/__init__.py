"""Baselines of the chirality benchmark."""
