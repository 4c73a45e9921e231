"""The layers of MACE with fixed weights."""
