"""Structures that move: the ASE calculator, dynamics, relaxation, vibrations."""
