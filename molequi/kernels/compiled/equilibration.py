"""Charges of `nn.heads.equilibration` and their gradient on the CPU, over edges by receiver.

raw: (N, 5), what the network gives: p / scale, w and v before softplus, chi, eta; the letters are
those of the class. u: (E,), envelope. `begin`: (N + 1,), where the edges of a receiver begin.
`missing`: (B,), the charge that is spread per weight v.
"""

# numba infers the types, and a kernel takes its tensors one by one:
# ruff: noqa: ANN001, ANN201, ANN202, PLR0913, PLR0917

from __future__ import annotations

import numpy as np

from molequi.kernels.compiled.compiling import jit


@jit
def _softplus(x):
    return x if x > 30.0 else np.log1p(np.exp(x))


@jit
def _step(x, plateau):
    """Return where between two plateaus a charge lies, 0 to 1."""
    return min(max((x - np.floor(x) - plateau) / (1.0 - 2.0 * plateau), 0.0), 1.0)


@jit
def _snap(x, plateau):
    t = _step(x, plateau)
    return np.floor(x) + t * t * t * (10.0 - t * (15.0 - 6.0 * t))


@jit
def _slope(x, plateau):
    t = _step(x, plateau)
    return 30.0 * t * t * (1.0 - t) * (1.0 - t) / (1.0 - 2.0 * plateau)


@jit
def _gather(x, u, sender, begin, out):
    """Write x_i + sum_j u_ij x_j."""
    for i in range(len(x)):
        total = x[i]
        for e in range(begin[i], begin[i + 1]):
            total += u[e] * x[sender[e]]
        out[i] = total


@jit
def _scatter(x, g, u, sender, begin, gx, gu):
    """Add to gx and gu what the gradient g of `_gather` gives them."""
    for i in range(len(x)):
        gx[i] += g[i]
        for e in range(begin[i], begin[i + 1]):
            gx[sender[e]] += u[e] * g[i]
            gu[e] += x[sender[e]] * g[i]


@jit
def forward(raw, u, sender, begin, batch, total, scale, plateau, charges, energies, claimed):
    """Write charges, energies and claimed (B,); return what the gradient needs: (N, 9), (B, 2)."""
    n = len(raw)
    kept, of_molecules = np.empty((9, n)), np.zeros((2, len(total)))
    w, v, near_w, near_v = kept[0], kept[1], kept[2], kept[3]
    a, collected_a, b, collected_b, c = kept[4], kept[5], kept[6], kept[7], kept[8]
    for i in range(n):
        w[i], v[i] = _softplus(raw[i, 1]), _softplus(raw[i, 2])
        of_molecules[1, batch[i]] += v[i]
    _gather(w, u, sender, begin, near_w)
    _gather(v, u, sender, begin, near_v)
    for i in range(n):
        a[i] = raw[i, 0] * scale / near_w[i]
    _gather(a, u, sender, begin, collected_a)
    claimed[:] = 0.0
    for i in range(n):
        c[i] = w[i] * collected_a[i]
        whole = _snap(c[i], plateau)
        claimed[batch[i]] += whole
        b[i] = (whole - c[i]) / near_v[i]
    _gather(b, u, sender, begin, collected_b)
    for m in range(len(total)):
        of_molecules[0, m] = (total[m] - claimed[m]) / max(of_molecules[1, m], 1e-12)
    for i in range(n):
        psi = v[i] * of_molecules[0, batch[i]]
        charges[i] = raw[i, 0] * scale + v[i] * collected_b[i] + psi
        energies[i] = raw[i, 3] * (_snap(c[i], plateau) + psi) + 0.5 * raw[i, 4] * psi * psi
    return kept, of_molecules


@jit
def _of_sums(
    raw, batch, v, collected_b, c, plateau, of_molecules, of_charges, of_energies, gr, g_v
):
    """Write gradients of chi, eta, v as the last step has them; return that of whole charges."""
    n = len(raw)
    g_missing, g_whole = np.zeros(of_molecules.shape[1]), np.empty(n)
    for i in range(n):
        missing, chi, eta = of_molecules[0, batch[i]], raw[i, 3], raw[i, 4]
        psi = v[i] * missing
        g_psi = of_charges[i] + of_energies[i] * (chi + eta * psi)
        gr[i, 3] = of_energies[i] * (_snap(c[i], plateau) + psi)
        gr[i, 4] = 0.5 * of_energies[i] * psi * psi
        g_missing[batch[i]] += g_psi * v[i]
        g_v[i] = g_psi * missing + of_charges[i] * collected_b[i]
    for i in range(n):
        share = g_missing[batch[i]] / max(of_molecules[1, batch[i]], 1e-12)
        g_whole[i] = of_energies[i] * raw[i, 3] - share
        g_v[i] -= share * of_molecules[0, batch[i]]
    return g_whole


@jit
def backward(
    raw,
    u,
    sender,
    begin,
    batch,
    scale,
    plateau,
    kept,
    of_molecules,
    of_charges,
    of_energies,
    gr,
    gu,
):
    """Write the gradients gr of raw and gu of u from those of charges and energies."""
    n = len(raw)
    w, v, near_w, near_v = kept[0], kept[1], kept[2], kept[3]
    a, collected_a, b, collected_b, c = kept[4], kept[5], kept[6], kept[7], kept[8]
    g_w, g_v, g_near_w, g_near_v = np.zeros(n), np.empty(n), np.empty(n), np.empty(n)
    g_a, g_b, g_c = np.zeros(n), np.zeros(n), np.empty(n)
    gu[:] = 0.0
    g_whole = _of_sums(
        raw, batch, v, collected_b, c, plateau, of_molecules, of_charges, of_energies, gr, g_v
    )
    _scatter(b, of_charges * v, u, sender, begin, g_b, gu)
    for i in range(n):
        g_d = g_b[i] / near_v[i]
        g_near_v[i] = -g_d * b[i]
        g_c[i] = (g_whole[i] + g_d) * _slope(c[i], plateau) - g_d
        g_w[i] = g_c[i] * collected_a[i]
    _scatter(a, g_c * w, u, sender, begin, g_a, gu)
    for i in range(n):
        gr[i, 0] = (of_charges[i] + g_a[i] / near_w[i]) * scale
        g_near_w[i] = -g_a[i] * a[i] / near_w[i]
    _scatter(w, g_near_w, u, sender, begin, g_w, gu)
    _scatter(v, g_near_v, u, sender, begin, g_v, gu)
    for i in range(n):
        gr[i, 1] = g_w[i] * (1.0 - np.exp(-w[i]))
        gr[i, 2] = g_v[i] * (1.0 - np.exp(-v[i]))
