"""Write specialized kernels for one coupling table as source: Python for numba, Triton for GPUs.

Names in the generated code, as in `kernels.convolution`: h the features, y the harmonics, r the
distances, s the spline coefficients, g the gradient at the receiver; R, D, S the radial function
and its two derivatives on an edge; u, v, w, z the cotangents of dh, dy, dr, ds in the backward of
the backward; W = w D + sum B z the cotangent that reaches R. m and n are the coefficients
contracted with y and v; q = h m g is what multiplies R. A path p couples components a of the
features with components b of the harmonics to components k of the output.
"""
