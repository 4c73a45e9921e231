"""Mathematics of groups, without networks: irreps, couplings, harmonics."""
