"""Write specialized kernels for one coupling table: Python source that numba compiles.

Every coefficient is a literal and every row a register, so an edge costs its multiplications and
one pass over its data. A kernel serves the nodes from `first` to `last`, so that several threads
can share the work. It walks their edges once for each group of paths: the spline coefficients of a
group fit into the second-level cache, those of all paths would come from memory for every edge.

Names in the generated code, as in `kernels.convolution`: h the features, y the harmonics, r the
distances, s the spline coefficients, g the gradient at the receiver; R, D, S the radial function
and its two derivatives on an edge; u, v, w, z the cotangents of dh, dy, dr, ds in the backward of
the backward; W = w D + sum B z the cotangent that reaches R. m and n are the coefficients
contracted with y and v; q = h m g is what multiplies R.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from molequi.kernels import splines
from molequi.o3.coupling import CouplingTable

_HEADER = '''"""Generated: the convolution's kernels for one coupling table."""
import numba
import numpy as np

_jit = numba.njit(fastmath={"contract", "reassoc", "nsz", "arcp"}, cache=True, nogil=True, \
error_model="numpy")
'''

# Names of numbers in the generated code, to be defined in the dtype of the features.
CONSTANTS = {
    "one": 1.0,
    "two": 2.0,
    "three": 3.0,
    "half": 0.5,
    "three_halves": 1.5,
    "two_thirds": 2.0 / 3.0,
    "sixth": 1.0 / 6.0,
}
_NAMES = {value: name for name, value in CONSTANTS.items()}


class Text:
    """An expression of the generated code: arithmetic with it writes arithmetic.

    Numbers appear by their names, a division by one as a multiplication by its inverse.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def __add__(self, other: Text | float) -> Text:
        return Text(f"({self.text} + {_text_of(other)})")

    def __sub__(self, other: Text | float) -> Text:
        return Text(f"({self.text} - {_text_of(other)})")

    def __rsub__(self, other: float) -> Text:
        return Text(f"({_text_of(other)} - {self.text})")

    def __mul__(self, other: Text | float) -> Text:
        return Text(f"{self.text} * {_text_of(other)}")

    def __rmul__(self, other: float) -> Text:
        return Text(f"{_text_of(other)} * {self.text}")

    def __truediv__(self, other: float) -> Text:
        return self * (1.0 / other)


def _text_of(value: Text | float) -> str:
    if isinstance(value, Text):
        return value.text
    return _NAMES[value] if value > 0 else f"-{_NAMES[-value]}"


# The map of the knots, x(r), and its derivatives.
PLACE = splines.place_near(Text("near"), Text("scale"), Text("shift")).text
_SLOPE = splines.slope_near(Text("near"), Text("scale"), Text("shift")).text
_BEND = splines.bend_near(Text("near"), Text("x1")).text


class Terms:
    """The table as sums over terms: which coefficients each (path, output row, input row) needs."""

    def __init__(self, table: CouplingTable, dtype: str) -> None:
        self.dtype = f"np.{dtype}"
        self.n_inputs = table.first.dim
        self.n_harmonics = table.second.dim
        self.n_outputs = table.output.dim
        self.n_paths = len(table.paths)
        self.entries: dict[tuple[int, int, int], list[tuple[int, float]]] = {}
        for p, a, b, k, value in zip(
            table.path,
            table.component_first,
            table.component_second,
            table.component_output,
            table.value,
            strict=True,
        ):
            self.entries.setdefault((int(p), int(k), int(a)), []).append((int(b), float(value)))

    def pairs(self, path: int) -> list[tuple[int, int]]:
        """The (output row, input row) pairs of a path."""
        return [(k, a) for p, k, a in self.entries if p == path]

    def number(self, value: float) -> str:
        """A literal of the dtype."""
        return f"{self.dtype}({float(np.dtype(self.dtype[3:]).type(value))!r})"

    def of(self, group: range) -> dict[tuple[int, int, int], list[tuple[int, float]]]:
        """The entries of a group of paths."""
        return {key: entry for key, entry in self.entries.items() if key[0] in group}

    def contracted(self, name: str, source: str, group: range) -> list[str]:
        """Lines that load the harmonics of an edge and contract a group of paths with them."""
        entries = self.of(group)
        loads = [
            f"{source}{b} = {source}[e, {b}]"
            for b in sorted({b for entry in entries.values() for b, _ in entry})
        ]
        sums = [
            f"{name}_{p}_{k}_{a} = "
            + " + ".join(f"{self.number(value)} * {source}{b}" for b, value in entry)
            for (p, k, a), entry in entries.items()
        ]
        return loads + sums


def source(table: CouplingTable, dtype: str, n_together: int) -> str:
    """Return a module with the kernels of `cpu._Kernels`, for `float32` or `float64`.

    n_together: paths in a group. An empty ds is left out, an empty z counts as zero; each has
    functions of its own, so that only what is used is compiled.
    """
    terms = Terms(table, dtype)
    # A table without paths still has its outputs to clear.
    groups = [
        range(first, min(first + n_together, terms.n_paths))
        for first in range(0, max(terms.n_paths, 1), n_together)
    ]
    writers = {
        "forward": functools.partial(_by_receiver, double=False, with_z=False),
        "_backward_with_s": functools.partial(_by_sender, double=False, with_s=True, with_z=False),
        "_backward_without_s": functools.partial(
            _by_sender, double=False, with_s=False, with_z=False
        ),
        "_double_by_receiver_with_z": functools.partial(_by_receiver, double=True, with_z=True),
        "_double_by_receiver_without_z": functools.partial(_by_receiver, double=True, with_z=False),
        "_double_by_sender_with_z": functools.partial(
            _by_sender, double=True, with_s=True, with_z=True
        ),
        "_double_by_sender_without_z": functools.partial(
            _by_sender, double=True, with_s=True, with_z=False
        ),
    }
    parts = [_HEADER + _constants(terms), _CHOICES]
    for name, write in writers.items():
        parts += [write(terms, f"{name}_{number}", group) for number, group in enumerate(groups)]
        calls = [f"{name}_{number}(*arguments)" for number in range(len(groups))]
        parts.append("\n".join([f"def {name}(*arguments):", *indented(calls)]))
    return "\n\n\n".join(parts) + "\n"


_CHOICES = """def backward(*arguments):
    (_backward_with_s if len(arguments[-1]) else _backward_without_s)(*arguments)


def double_by_receiver(*arguments):
    (_double_by_receiver_with_z if len(arguments[9]) else _double_by_receiver_without_z)(*arguments)


def double_by_sender(*arguments):
    (_double_by_sender_with_z if len(arguments[10]) else _double_by_sender_without_z)(*arguments)"""


def _constants(terms: Terms) -> str:
    return "\n".join(f"{name} = {terms.number(value)}" for name, value in CONSTANTS.items())


def _by_receiver(terms: Terms, name: str, group: range, *, double: bool, with_z: bool) -> str:
    """Sum over the edges of each receiver.

    A, or in the backward of the backward dg = sum (m R) u + (m W + n R) h.
    """
    cotangents, rows = "u, v, w, z, " if double else "", sorted({k for _, k, _ in terms.of(group)})
    edge = [
        "j = sender[e]",
        *_interval(terms, ["continue"], n_derivatives=int(double)),
        *(["we = w[e]"] if double else []),
    ]
    edge += terms.contracted("m", "y", group) + (
        terms.contracted("n", "v", group) if double else []
    )
    for p in group:
        pairs = terms.pairs(p)
        body = _radial(p, n_derivatives=int(double))
        body += [f"W = we * D{_spline('B', 'z', p) if with_z else ''}"] if double else []
        for a in sorted({a for _, a in pairs}):
            body += [
                f"h{a} = h[j, {a}, c]",
                f"x{a} = R * h{a}",
                *([f"t{a} = R * u[j, {a}, c] + W * h{a}"] if double else []),
            ]
        for k in sorted({k for k, _ in pairs}):
            mine = [a for kk, a in pairs if kk == k]
            sums = [f"m_{p}_{k}_{a} * {'t' if double else 'x'}{a}" for a in mine] + (
                [f"n_{p}_{k}_{a} * x{a}" for a in mine] if double else []
            )
            body.append(f"acc[{rows.index(k)}, c] += {' + '.join(sums)}")
        edge += ["for c in range(C):", *indented(body)]
    node = ["acc[:] = zero", "for e in range(ptr[i], ptr[i + 1]):", *indented(edge)]
    lines = [
        f"def {name}(first, last, h, y, r, s, {cotangents}sender, ptr, cutoff, scale, shift, out):",
        f"    zero, C, K = {terms.number(0.0)}, h.shape[2], s.shape[0] - 3",
        f"    acc = np.empty(({len(rows)}, C), dtype={terms.dtype})",
        "    for i in range(first, last):",
        *(["        out[i] = zero"] if group.start == 0 else []),
        *indented([*node, *(f"out[i, {k}] += acc[{place}]" for place, k in enumerate(rows))], 2),
    ]
    return "@_jit\n" + "\n".join(lines)


def _by_sender(
    terms: Terms, name: str, group: range, *, double: bool, with_s: bool, with_z: bool
) -> str:
    """Sum over the edges of each sender: dh; and dy, dr of each edge; ds of these senders."""
    cotangents, rows = "u, v, w, z, " if double else "", sorted({a for _, _, a in terms.of(group)})
    is_first = group.start == 0
    start = (
        [f"dy[e, {b}] = zero" for b in range(terms.n_harmonics)] + ["dr[e] = zero"]
        if is_first
        else []
    )
    edge = ["e = order[o]", "i = receiver[e]", *start]
    edge += [
        *_interval(terms, ["continue"], n_derivatives=2 if double else 1),
        *(["we = w[e]"] if double else []),
    ]
    edge += terms.contracted("m", "y", group) + (
        terms.contracted("n", "v", group) if double else []
    )
    edge += [f"k_{p}_{k}_{a} = zero" for p, k, a in terms.of(group)] + ["slope = zero"]
    for p in group:
        edge += [
            "for c in range(C):",
            *indented(
                _sender_body(
                    terms, p, group.start, rows, double=double, with_s=with_s, with_z=with_z
                )
            ),
        ]
    edge += _coefficients(group, double=double) if with_s else []
    gradients: dict[int, list[str]] = {}
    for (p, k, a), entry in terms.of(group).items():
        for b, value in entry:
            gradients.setdefault(b, []).append(f"{terms.number(value)} * k_{p}_{k}_{a}")
    edge += [f"dy[e, {b}] += {' + '.join(parts)}" for b, parts in gradients.items()]
    edge.append("dr[e] += slope")
    lines = [
        f"def {name}(first, last, h, y, r, s, g, {cotangents}receiver, order, ptr, cutoff, scale, "
        "shift, dh, dy, dr, ds):",
        f"    zero, C, K = {terms.number(0.0)}, h.shape[2], s.shape[0] - 3",
        f"    acc = np.empty(({len(rows)}, C), dtype={terms.dtype})",
        *(
            f"    {name} = np.empty(({len(group)}, C), dtype={terms.dtype})"
            for name in ["reached", *["turned"] * double] * with_s
        ),
        *(["    ds[:] = zero"] if with_s and is_first else []),
        "    for j in range(first, last):",
        *(["        dh[j] = zero"] if is_first else []),
        *indented(["acc[:] = zero", "for o in range(ptr[j], ptr[j + 1]):", *indented(edge)], 2),
        *indented([f"dh[j, {a}] += acc[{place}]" for place, a in enumerate(rows)], 2),
    ]
    return "@_jit\n" + "\n".join(lines)


def _sender_body(
    terms: Terms,
    p: int,
    first: int,
    sums: Sequence[int],
    *,
    double: bool,
    with_s: bool,
    with_z: bool,
) -> list[str]:
    """One path of the sender kernel: per input row t = m g and f = n g, then all gradients.

    sums: the input rows that `acc` holds. What reaches the coefficients is kept per path, counted
    from `first`: see `_coefficients`.
    """
    pairs = terms.pairs(p)
    rows = sorted({a for _, a in pairs})
    body = _radial(p, n_derivatives=2 if double else 1)
    if double:
        body.append(f"W = we * D{_spline('B', 'z', p) if with_z else ''}")
    body += [f"g{k} = g[i, {k}, c]" for k in sorted({k for k, _ in pairs})]
    for a in rows:
        mine = [k for k, aa in pairs if aa == a]
        body += [
            f"h{a} = h[j, {a}, c]",
            f"t{a} = {' + '.join(f'm_{p}_{k}_{a} * g{k}' for k in mine)}",
        ]
        if double:
            body += [
                f"u{a} = u[j, {a}, c]",
                f"f{a} = {' + '.join(f'n_{p}_{k}_{a} * g{k}' for k in mine)}",
            ]
            body += [
                f"acc[{sums.index(a)}, c] += R * f{a} + W * t{a}",
                f"x{a} = R * u{a} + W * h{a}",
            ]
        else:
            body += [f"acc[{sums.index(a)}, c] += R * t{a}", f"x{a} = R * h{a}"]
    body.append("q = " + " + ".join(f"h{a} * t{a}" for a in rows))
    if double:
        body.append("d = " + " + ".join(f"u{a} * t{a} + h{a} * f{a}" for a in rows))
        curvature = f"(we * S{_spline('D', 'z', p)})" if with_z else "we * S"
        body += [f"slope += D * d + {curvature} * q", "dq = we * q"]
    else:
        body.append("slope += D * q")
    if with_s:
        body += (
            [f"reached[{p - first}, c] = d", f"turned[{p - first}, c] = dq"]
            if double
            else [f"reached[{p - first}, c] = q"]
        )
    return body + [f"k_{p}_{k}_{a} += x{a} * g{k}" for k, a in pairs]


def _coefficients(group: range, *, double: bool) -> list[str]:
    """Lines that add what reached the radial functions of an edge to ds.

    A loop for each knot, which the compiler can see to be plain sums.
    """
    lines = []
    for k in range(4):
        value = f"B{k} * reached[p, c]" + (f" + D{k} * turned[p, c]" if double else "")
        lines += [
            f"for p in range({len(group)}):",
            "    for c in range(C):",
            f"        ds[b + {k}, {group.start} + p, c] += {value}",
        ]
    return lines


def _interval(terms: Terms, skip: list[str], *, n_derivatives: int) -> list[str]:
    """Lines that find the knot interval b of an edge and the basis there.

    An edge at or beyond the cutoff is skipped, NaN stays NaN.
    """
    lines = [
        "if r[e] >= cutoff:",
        *indented(skip),
        "near = one / (r[e] + shift)",
        f"xe = {PLACE}",
    ]
    lines += ["b = 0 if xe != xe else min(int(xe), K - 1)", f"t = xe - {terms.dtype}(b)"]
    return lines + basis(n_derivatives=n_derivatives)


def basis(*, n_derivatives: int) -> list[str]:
    """Lines that compute the basis B and its derivatives D, S in r.

    From the place t in the interval and near = 1 / (r + shift).
    """
    values, first, second = (
        [expression.text for expression in function(Text("t"))]
        for function in (splines.basis, splines.first_derivatives, splines.second_derivatives)
    )
    lines = [f"B{k} = {values[k]}" for k in range(4)]
    if n_derivatives >= 1:
        lines += [f"x1 = {_SLOPE}", *(f"D{k} = x1 * ({first[k]})" for k in range(4))]
    if n_derivatives == 2:
        # The chain rule of x(r): R'' = B'' x'^2 + B' x''.
        lines += [f"x2 = {_BEND}"]
        lines += [f"S{k} = x1 * x1 * ({second[k]}) + x2 * ({first[k]})" for k in range(4)]
    return lines


def radial_sums(*, n_derivatives: int) -> list[str]:
    """Lines that compute R and its derivatives D, S from the coefficients s0 to s3."""
    letters = list(zip("RDS", "BDS", strict=True))[: n_derivatives + 1]
    return [
        f"{value} = " + " + ".join(f"{function}{k} * s{k}" for k in range(4))
        for value, function in letters
    ]


def _radial(p: int, *, n_derivatives: int) -> list[str]:
    return [f"s{k} = s[b + {k}, {p}, c]" for k in range(4)] + radial_sums(
        n_derivatives=n_derivatives
    )


def _spline(basis: str, array: str, p: int) -> str:
    return "".join(f" + {basis}{k} * {array}[b + {k}, {p}, c]" for k in range(4))


def indented(lines: list[str], times: int = 1) -> list[str]:
    """Move the lines of a block to the right."""
    return [" " * (4 * times) + line for line in lines]
