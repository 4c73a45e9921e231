"""Write specialized kernels for one coupling table as Triton source.

Components carry an underscore, h_2. A program serves one node and BLOCK channels, so that every
component is a vector in registers; numbers of an edge are the same for all its threads. Sums over
channels, dy and dr, come in one part per block. Coefficients are literals in double precision,
which Triton rounds to the dtype of the features.
"""

from __future__ import annotations

from molequi.kernels.codegen import triton_lines as lines_of
from molequi.kernels.codegen.radial import PLACE, basis
from molequi.kernels.codegen.terms import Terms, one
from molequi.kernels.codegen.text import block, only
from molequi.o3.coupling import CouplingTable

_HEADER = '''"""Generated: the convolution's kernels on a GPU for one coupling table."""
import triton
import triton.language as tl'''


def source(table: CouplingTable) -> str:
    """Return a module with the kernels of `cpu._Kernels`, and two by knot for ds."""
    terms = Terms(table)
    kernels = [
        kernel(terms, double=double)
        for double in (False, True)
        for kernel in (_by_receiver, _by_sender, _by_knot)
    ]
    return "\n\n\n".join([_HEADER, *kernels]) + "\n"


def _by_receiver(terms: Terms, *, double: bool) -> str:
    """Sum over the edges of each receiver.

    A, or in the backward of the backward dg = sum (m R) u + (m W + n R) h.
    """
    paths = range(terms.n_paths)
    edge = [
        "j = tl.load(sender + e)",
        *lines_of.interval(n_derivatives=int(double)),
        *lines_of.harmonics(terms, paths, double=double),
    ]
    for p in paths:
        edge += _path_at_receiver(terms, p, double=double)
    return lines_of.kernel(
        "double_by_receiver" if double else "forward",
        f"h, y, r, s, {lines_of.cotangents(double=double)}sender, ptr, out",
        lines_of.of_node("i")
        + lines_of.summed(
            "i",
            "out",
            terms.n_outputs,
            "for e in range(tl.load(ptr + i), tl.load(ptr + i + 1)):",
            lines_of.within_reach(edge),
        ),
        double=double,
    )


def _path_at_receiver(terms: Terms, p: int, *, double: bool) -> list[str]:
    lines = lines_of.radial(terms, p, n_derivatives=int(double))
    lines += lines_of.turned(terms, p, ("W", "B")) if double else []
    lines += lines_of.contracted(terms, p, double=double)
    for a in terms.inputs(one(p)):
        lines += [lines_of.component("h", "j", terms.n_inputs, a), f"x_{a} = R * h_{a}"]
        lines += only(
            double,
            lines_of.component("u", "j", terms.n_inputs, a),
            f"t_{a} = R * u_{a} + W * h_{a}",
        )
    for k, a in terms.pairs(p):
        turned = f"t_{a} + n_{k}_{a} * x_{a}" if double else f"x_{a}"
        lines.append(f"acc_{k} += m_{k}_{a} * {turned}")
    return lines


def _by_sender(terms: Terms, *, double: bool) -> str:
    """Sum over the edges of each sender: dh.

    And the parts of dy, dr of each edge from these channels. Edges out of reach are left as they
    were.
    """
    paths = range(terms.n_paths)
    edge = [
        "i = tl.load(receiver + e)",
        *lines_of.interval(n_derivatives=1 + double),
        *lines_of.harmonics(terms, paths, double=double),
        *(f"dy_{b} = zero" for b in range(terms.n_harmonics)),
        "slope = zero",
    ]
    for p in paths:
        edge += _path_at_sender(terms, p, double=double)
    edge += ["at = e * tl.num_programs(1) + block", "tl.store(dr + at, tl.sum(slope, axis=0))"]
    edge += [
        f"tl.store(dy + at * {terms.n_harmonics} + {b}, tl.sum(dy_{b}, axis=0))"
        for b in range(terms.n_harmonics)
    ]
    return lines_of.kernel(
        "double_by_sender" if double else "backward",
        f"h, y, r, s, g, {lines_of.cotangents(double=double)}receiver, order, ptr, dh, dy, dr",
        lines_of.of_node("j")
        + lines_of.summed(
            "j",
            "dh",
            terms.n_inputs,
            "for o in range(tl.load(ptr + j), tl.load(ptr + j + 1)):",
            ["e = tl.load(order + o)", *lines_of.within_reach(edge)],
        ),
        double=double,
    )


def _path_at_sender(terms: Terms, p: int, *, double: bool) -> list[str]:
    lines = lines_of.radial(terms, p, n_derivatives=1 + double)
    if double:
        lines += ["bend = we * S", *lines_of.turned(terms, p, ("W", "B"), ("bend", "D"))]
    lines += lines_of.powers(terms, p, double=double)
    for a in terms.inputs(one(p)):
        lines.append(f"acc_{a} += R * f_{a} + W * t_{a}" if double else f"acc_{a} += R * t_{a}")
        lines.append(f"x_{a} = R * u_{a} + W * h_{a}" if double else f"x_{a} = R * h_{a}")
    lines.append("slope += D * d + bend * q" if double else "slope += D * q")
    for k, a in terms.pairs(p):
        lines.append(f"xg = x_{a} * g_{k}")
        lines += [f"dy_{b} += {value!r} * xg" for b, value in terms.entries[p, k, a]]
    return lines


def _by_knot(terms: Terms, *, double: bool) -> str:
    """Add to ds the sum over every so many edges of one interval of the knots, for one path.

    One program for each interval, share, path and block.
    """
    body = [
        "b = tl.program_id(0)",
        f"p = tl.program_id(2) % {terms.n_paths}",
        f"block = tl.program_id(2) // {terms.n_paths}",
        *lines_of.channels(),
        "first = tl.load(ptr + b) + tl.program_id(1)",
        "last = tl.load(ptr + b + 1)",
        "n_shares = tl.num_programs(1)",
    ]
    for p in range(terms.n_paths):
        body += block(f"if p == {p}:", _path_at_knot(terms, p, double=double))
    cotangents = "u, v, w, " if double else ""
    tensors = f"h, y, r, g, {cotangents}sender, receiver, order, ptr, ds"
    return lines_of.kernel("double_splines" if double else "splines", tensors, body, double=False)


def _path_at_knot(terms: Terms, p: int, *, double: bool) -> list[str]:
    edge = [
        "e = tl.load(order + o)",
        "i = tl.load(receiver + e)",
        "j = tl.load(sender + e)",
        "re = tl.load(r + e)",
        "near = one / (re + shift)",
        f"t = {PLACE} - b",
        *basis(n_derivatives=int(double)),
        *lines_of.harmonics(terms, one(p), double=double),
        *lines_of.powers(terms, p, double=double),
        *only(double, "dq = we * q"),
    ]
    edge += [
        f"acc_{k} += " + (f"B{k} * d + D{k} * dq" if double else f"B{k} * q") for k in range(4)
    ]
    return [
        *(f"acc_{k} = zero" for k in range(4)),
        *block("for o in range(first, last, n_shares):", edge),
        *(
            f"tl.atomic_add(ds + {lines_of.coefficient(terms, p, k)}, acc_{k}, "
            "mask=inside & (first < last))"
            for k in range(4)
        ),
    ]
