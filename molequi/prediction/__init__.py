"""Files or SMILES in, named properties out."""
