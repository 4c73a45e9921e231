"""Networks with exact symmetry: layers, heads and the derivatives of their outputs."""
