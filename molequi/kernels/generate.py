"""Write unrolled sweeps for one coupling table: Python source that numba compiles.

Every coefficient is a literal and every row a register, so an edge costs its multiplications and one pass over its data.
Names in the generated code: y the harmonics, r the radial functions, g the gradient at the receiver; u, v, w the cotangents
of h, y, r in the backward of the backward; m and n the coefficients contracted with y and v.
"""

from __future__ import annotations

import numpy as np

from molequi.symmetry.coupling import CouplingTable

_HEADER = '''"""Generated: the convolution's sweeps for one coupling table."""
import numba
import numpy as np
from numba import prange

_jit = numba.njit(parallel=True, fastmath={"contract", "reassoc", "nsz", "arcp"}, cache=True, nogil=True, error_model="numpy")
'''


class _Terms:
    """The table as sums over terms: which coefficients each (path, output row, input row) needs."""

    def __init__(self, table: CouplingTable, dtype: str) -> None:
        self.dtype = f"np.{dtype}"
        self.n_inputs = sum(2 * l + 1 for l, _ in table.first)
        self.n_harmonics = sum(2 * l + 1 for l, _ in table.second)
        self.n_outputs = sum(2 * l + 1 for l, _ in table.output)
        self.n_paths = len(table.paths)
        self.entries: dict[tuple[int, int, int], list[tuple[int, float]]] = {}
        for p, a, b, k, value in zip(table.path, table.row_first, table.row_second, table.row_output, table.value, strict=True):
            self.entries.setdefault((int(p), int(k), int(a)), []).append((int(b), float(value)))

    def pairs(self, path: int) -> list[tuple[int, int]]:
        """The (output row, input row) pairs of a path."""
        return [(k, a) for p, k, a in self.entries if p == path]

    def number(self, value: float) -> str:
        return f"{self.dtype}({float(np.dtype(self.dtype[3:]).type(value))!r})"

    def contracted(self, name: str, source: str) -> list[str]:
        """Lines that contract the coefficients with a row of harmonics."""
        return [
            f"{name}_{p}_{k}_{a} = " + " + ".join(f"{self.number(value)} * {source}{b}" for b, value in entry)
            for (p, k, a), entry in self.entries.items()
        ]


def source(table: CouplingTable, dtype: str) -> str:
    """Return a module with forward, backward, double_by_receiver and double_by_sender for `float32` or `float64`."""
    terms = _Terms(table, dtype)
    sweeps = [sweep(terms, double=double) for double in (False, True) for sweep in (_by_receiver, _by_sender)]
    return "\n\n".join([_HEADER, *sweeps]) + "\n"


def _by_receiver(terms: _Terms, *, double: bool) -> str:
    arguments = "h, y, r, u, v, w, sender, ptr, out" if double else "h, y, r, sender, ptr, out"
    name = "double_by_receiver" if double else "forward"
    lines = ["@_jit", f"def {name}({arguments}):", "    C = h.shape[2]", "    for i in prange(out.shape[0]):"]
    lines += [f"        acc = np.zeros(({terms.n_outputs}, C), dtype={terms.dtype})", "        for e in range(ptr[i], ptr[i + 1]):"]
    edge = ["j = sender[e]", *_coefficients(terms, double=double)]
    for p in range(terms.n_paths):
        pairs = terms.pairs(p)
        edge.append("for c in range(C):")
        body = [f"R = r[e, {p}, c]", *([f"W = w[e, {p}, c]"] if double else [])]
        for a in sorted({a for _, a in pairs}):
            body += [f"z{a} = R * h[j, {a}, c]", *([f"x{a} = R * u[j, {a}, c] + W * h[j, {a}, c]"] if double else [])]
        for k in sorted({k for k, _ in pairs}):
            mine = [a for kk, a in pairs if kk == k]
            sums = [f"m_{p}_{k}_{a} * {'x' if double else 'z'}{a}" for a in mine] + ([f"n_{p}_{k}_{a} * z{a}" for a in mine] if double else [])
            body.append(f"acc[{k}, c] += {' + '.join(sums)}")
        edge += ["    " + line for line in body]
    lines += ["            " + line for line in edge]
    lines += [f"        for k in range({terms.n_outputs}):", "            for c in range(C):", "                out[i, k, c] = acc[k, c]"]
    return "\n".join(lines)


def _by_sender(terms: _Terms, *, double: bool) -> str:
    cotangents = "u, v, w, " if double else ""
    zero = terms.number(0.0)
    name = "double_by_sender" if double else "backward"
    lines = [
        "@_jit",
        f"def {name}(h, y, r, g, {cotangents}receiver, order, ptr, dh, dy, dr):",
        "    C = h.shape[2]",
        "    for j in prange(h.shape[0]):",
    ]
    lines += [f"        acc = np.zeros(({terms.n_inputs}, C), dtype={terms.dtype})", "        for q in range(ptr[j], ptr[j + 1]):"]
    edge = ["e = order[q]", "i = receiver[e]", *_coefficients(terms, double=double)]
    edge += [f"s_{p}_{k}_{a} = {zero}" for p, k, a in terms.entries]
    for p in range(terms.n_paths):
        edge += ["for c in range(C):", *("    " + line for line in _sender_body(terms, p, double=double))]
    gradients: dict[int, list[str]] = {b: [] for b in range(terms.n_harmonics)}
    for (p, k, a), entry in terms.entries.items():
        for b, value in entry:
            gradients[b].append(f"{terms.number(value)} * s_{p}_{k}_{a}")
    edge += [f"dy[e, {b}] = {' + '.join(parts) or zero}" for b, parts in gradients.items()]
    lines += ["            " + line for line in edge]
    lines += [f"        for a in range({terms.n_inputs}):", "            for c in range(C):", "                dh[j, a, c] = acc[a, c]"]
    return "\n".join(lines)


def _sender_body(terms: _Terms, p: int, *, double: bool) -> list[str]:
    """One path of the sender sweep: t = m g and q = n g per input row, then the three gradients."""
    pairs = terms.pairs(p)
    rows = sorted({a for _, a in pairs})
    body = [f"R = r[e, {p}, c]", *([f"W = w[e, {p}, c]"] if double else [])]
    body += [f"g{k} = g[i, {k}, c]" for k in sorted({k for k, _ in pairs})]
    for a in rows:
        mine = [k for k, aa in pairs if aa == a]
        body += [f"h{a} = h[j, {a}, c]", f"t{a} = {' + '.join(f'm_{p}_{k}_{a} * g{k}' for k in mine)}"]
        if double:
            body += [f"u{a} = u[j, {a}, c]", f"q{a} = {' + '.join(f'n_{p}_{k}_{a} * g{k}' for k in mine)}"]
            body += [f"acc[{a}, c] += R * q{a} + W * t{a}", f"x{a} = R * u{a} + W * h{a}"]
        else:
            body += [f"acc[{a}, c] += R * t{a}", f"x{a} = R * h{a}"]
    body.append(f"dr[e, {p}, c] = " + " + ".join(f"u{a} * t{a} + h{a} * q{a}" if double else f"h{a} * t{a}" for a in rows))
    return body + [f"s_{p}_{k}_{a} += x{a} * g{k}" for k, a in pairs]


def _coefficients(terms: _Terms, *, double: bool) -> list[str]:
    """Load the harmonics of the edge (and their cotangents) and contract the table with them."""
    lines = [*_load_row(terms, "y"), *terms.contracted("m", "y")]
    return [*lines, *_load_row(terms, "v"), *terms.contracted("n", "v")] if double else lines


def _load_row(terms: _Terms, name: str) -> list[str]:
    return [f"{name}{b} = {name}[e, {b}]" for b in range(terms.n_harmonics)]
