"""Structures in and out: files, SMILES, stereochemistry. ASE and RDKit live here."""
