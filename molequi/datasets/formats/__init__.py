"""Labelled files: keys, units and tables of any origin."""
