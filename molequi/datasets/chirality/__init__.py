"""Chiral molecules: enantiomers, their labels, and the properties that tell them apart."""
