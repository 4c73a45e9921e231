"""Mechanics learned from trajectories."""
