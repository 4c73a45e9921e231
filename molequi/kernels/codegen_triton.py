"""Write specialized kernels for one coupling table as Triton source.

What `codegen_numba` is for numba.

The letters are those of `kernels.convolution` and `generate`; rows carry an underscore, h_2. A
program serves one node and BLOCK channels, so that every row is a vector in registers; numbers of
an edge are the same for all its threads. Sums over channels, dy and dr, come in one part per block.
Coefficients are literals in double precision, which Triton rounds to the dtype of the features.
"""

from __future__ import annotations

from molequi.kernels.codegen_numba import CONSTANTS, PLACE, Terms, basis, indented, radial_sums
from molequi.o3.coupling import CouplingTable

_HEADER = '''"""Generated: the convolution's kernels on a GPU for one coupling table."""
import triton
import triton.language as tl'''

_NUMBERS = ", ".join(
    f"{name}: tl.constexpr" for name in ("C", "K", "cutoff", "scale", "shift", "BLOCK")
)


def source(table: CouplingTable) -> str:
    """Return a module with the kernels of `cpu._Kernels`, and two by knot for ds."""
    terms = Terms(table, "float64")
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
    edge = [
        "j = tl.load(sender + e)",
        *_interval(n_derivatives=int(double)),
        *_harmonics(terms, double=double),
    ]
    for p in range(terms.n_paths):
        pairs = terms.pairs(p)
        edge += _radial(terms, p, n_derivatives=int(double)) + (
            _turned(terms, p, ("W", "B")) if double else []
        )
        edge += _contracted(terms, p, double=double)
        for a in sorted({a for _, a in pairs}):
            edge += [_row("h", "j", terms.n_inputs, a), f"x_{a} = R * h_{a}"]
            edge += (
                [_row("u", "j", terms.n_inputs, a), f"t_{a} = R * u_{a} + W * h_{a}"]
                if double
                else []
            )
        for k, a in pairs:
            edge.append(
                f"acc_{k} += m_{k}_{a} * " + (f"t_{a} + n_{k}_{a} * x_{a}" if double else f"x_{a}")
            )
    cotangents = "u, v, w, z, " if double else ""
    return _kernel(
        "double_by_receiver" if double else "forward",
        f"h, y, r, s, {cotangents}sender, ptr, out",
        [
            "i = tl.program_id(0).to(tl.int64)",
            "block = tl.program_id(1)",
            *_channels(),
            *(f"acc_{k} = zero" for k in range(terms.n_outputs)),
        ]
        + [
            "for e in range(tl.load(ptr + i), tl.load(ptr + i + 1)):",
            *indented(_within_reach(edge)),
        ]
        + [_store("out", "i", terms.n_outputs, k) for k in range(terms.n_outputs)],
        double=double,
    )


def _by_sender(terms: Terms, *, double: bool) -> str:
    """Sum over the edges of each sender: dh.

    And the parts of dy, dr of each edge from these channels. Edges out of reach are left as they
    were.
    """
    edge = [
        "i = tl.load(receiver + e)",
        *_interval(n_derivatives=1 + double),
        *_harmonics(terms, double=double),
    ]
    edge += [*(f"dy_{b} = zero" for b in range(terms.n_harmonics)), "slope = zero"]
    for p in range(terms.n_paths):
        edge += _radial(terms, p, n_derivatives=1 + double) + (
            ["bend = we * S", *_turned(terms, p, ("W", "B"), ("bend", "D"))] if double else []
        )
        edge += _powers(terms, p, double=double)
        for a in sorted({a for _, a in terms.pairs(p)}):
            edge.append(f"acc_{a} += R * f_{a} + W * t_{a}" if double else f"acc_{a} += R * t_{a}")
            edge.append(f"x_{a} = R * u_{a} + W * h_{a}" if double else f"x_{a} = R * h_{a}")
        edge.append("slope += D * d + bend * q" if double else "slope += D * q")
        for k, a in terms.pairs(p):
            edge.append(f"xg = x_{a} * g_{k}")
            edge += [f"dy_{b} += {value!r} * xg" for b, value in terms.entries[p, k, a]]
    edge += ["at = e * tl.num_programs(1) + block", "tl.store(dr + at, tl.sum(slope, axis=0))"]
    edge += [
        f"tl.store(dy + at * {terms.n_harmonics} + {b}, tl.sum(dy_{b}, axis=0))"
        for b in range(terms.n_harmonics)
    ]
    cotangents = "u, v, w, z, " if double else ""
    return _kernel(
        "double_by_sender" if double else "backward",
        f"h, y, r, s, g, {cotangents}receiver, order, ptr, dh, dy, dr",
        [
            "j = tl.program_id(0).to(tl.int64)",
            "block = tl.program_id(1)",
            *_channels(),
            *(f"acc_{a} = zero" for a in range(terms.n_inputs)),
        ]
        + [
            "for o in range(tl.load(ptr + j), tl.load(ptr + j + 1)):",
            *indented(["e = tl.load(order + o)", *_within_reach(edge)]),
        ]
        + [_store("dh", "j", terms.n_inputs, a) for a in range(terms.n_inputs)],
        double=double,
    )


def _by_knot(terms: Terms, *, double: bool) -> str:
    """Add to ds the sum over every so many edges of one interval of the knots, for one path.

    One program for each interval, share, path and block.
    """
    cotangents = "u, v, w, " if double else ""
    body = [
        "b = tl.program_id(0)",
        f"p = tl.program_id(2) % {terms.n_paths}",
        f"block = tl.program_id(2) // {terms.n_paths}",
        *_channels(),
    ]
    body += [
        "first = tl.load(ptr + b) + tl.program_id(1)",
        "last = tl.load(ptr + b + 1)",
        "n_shares = tl.num_programs(1)",
    ]
    for p in range(terms.n_paths):
        edge = [
            "e = tl.load(order + o)",
            "i = tl.load(receiver + e)",
            "j = tl.load(sender + e)",
            "re = tl.load(r + e)",
        ]
        edge += [
            "near = one / (re + shift)",
            f"t = {PLACE} - b",
            *basis(n_derivatives=int(double)),
        ]
        edge += [*_harmonics(terms, double=double, path=p), *_powers(terms, p, double=double)]
        edge += ["dq = we * q"] if double else []
        edge += [
            f"acc_{k} += " + (f"B{k} * d + D{k} * dq" if double else f"B{k} * q") for k in range(4)
        ]
        own = [
            *(f"acc_{k} = zero" for k in range(4)),
            "for o in range(first, last, n_shares):",
            *indented(edge),
        ]
        place = f"((b + {{}}) * {terms.n_paths} + {p}) * C + c"
        own += [
            f"tl.atomic_add(ds + {place.format(k)}, acc_{k}, mask=inside & (first < last))"
            for k in range(4)
        ]
        body += [f"if p == {p}:", *indented(own)]
    tensors = f"h, y, r, g, {cotangents}sender, receiver, order, ptr, ds"
    return _kernel("double_splines" if double else "splines", tensors, body, double=False)


def _kernel(name: str, tensors: str, body: list[str], *, double: bool) -> str:
    flags = ", WITH_Z: tl.constexpr" if double else ""
    constants = [f"{constant}: tl.constexpr = {value!r}" for constant, value in CONSTANTS.items()]
    return "\n".join(
        [
            "@triton.jit",
            f"def {name}({tensors}, {_NUMBERS}{flags}):",
            *indented([*constants, *body]),
        ]
    )


def _channels() -> list[str]:
    return [
        "c = block * BLOCK + tl.arange(0, BLOCK)",
        "inside = c < C",
        "zero = tl.zeros((BLOCK,), dtype=h.dtype.element_ty)",
    ]


def _within_reach(edge: list[str]) -> list[str]:
    """Lines that leave an edge out from the cutoff on; NaN goes in."""
    return ["re = tl.load(r + e)", "if (re < cutoff) | (re != re):", *indented(edge)]


def _interval(*, n_derivatives: int) -> list[str]:
    """Lines that find the knot interval b of an edge and the basis there."""
    lines = ["near = one / (re + shift)", f"xe = {PLACE}"]
    lines += ["b = tl.minimum(tl.where(xe > 0.0, xe, 0.0).to(tl.int32), K - 1)", "t = xe - b"]
    return lines + basis(n_derivatives=n_derivatives)


def _harmonics(terms: Terms, *, double: bool, path: int | None = None) -> list[str]:
    """Lines that load the harmonics of an edge, or those that one path needs.

    In the backward of the backward their cotangents and that of r too.
    """
    needed = {
        b for (p, _, _), entry in terms.entries.items() if path in {None, p} for b, _ in entry
    }
    names = "yv" if double else "y"
    loads = [
        f"{name}{b} = tl.load({name} + e * {terms.n_harmonics} + {b})"
        for name in names
        for b in sorted(needed)
    ]
    return loads + (["we = tl.load(w + e)"] if double else [])


def _contracted(terms: Terms, p: int, *, double: bool) -> list[str]:
    """Lines that contract the coefficients of one path with the harmonics.

    M, and n with their cotangents.
    """
    return [
        f"{name}_{k}_{a} = "
        + " + ".join(f"{value!r} * {row}{b}" for b, value in terms.entries[p, k, a])
        for k, a in terms.pairs(p)
        for name, row in (("m", "y"), ("n", "v"))[: 1 + double]
    ]


def _powers(terms: Terms, p: int, *, double: bool) -> list[str]:
    """Lines for one path at the sender.

    Per input row t = m g and f = n g, then q = h t and d = u t + h f.
    """
    pairs = terms.pairs(p)
    rows = sorted({a for _, a in pairs})
    lines = _contracted(terms, p, double=double) + [
        _row("g", "i", terms.n_outputs, k) for k in sorted({k for k, _ in pairs})
    ]
    for a in rows:
        mine = [k for k, aa in pairs if aa == a]
        lines += [
            _row("h", "j", terms.n_inputs, a),
            f"t_{a} = " + " + ".join(f"m_{k}_{a} * g_{k}" for k in mine),
        ]
        lines += (
            [
                _row("u", "j", terms.n_inputs, a),
                f"f_{a} = " + " + ".join(f"n_{k}_{a} * g_{k}" for k in mine),
            ]
            if double
            else []
        )
    lines.append("q = " + " + ".join(f"h_{a} * t_{a}" for a in rows))
    return lines + (
        ["d = " + " + ".join(f"u_{a} * t_{a} + h_{a} * f_{a}" for a in rows)] if double else []
    )


def _radial(terms: Terms, p: int, *, n_derivatives: int) -> list[str]:
    return [*_coefficients("s", terms, p), *radial_sums(n_derivatives=n_derivatives)]


def _turned(terms: Terms, p: int, *parts: tuple[str, str]) -> list[str]:
    """Lines for what reaches a radial function, W = w D + sum B z, and its slope, `bend`.

    parts: the sums and their basis.
    """
    sums = [
        f"{name} += " + " + ".join(f"{function}{k} * z{k}" for k in range(4))
        for name, function in parts
    ]
    return ["W = we * D", "if WITH_Z:", *indented([*_coefficients("z", terms, p), *sums])]


def _coefficients(array: str, terms: Terms, p: int) -> list[str]:
    place = f"((b + {{}}) * {terms.n_paths} + {p}) * C + c"
    return [
        f"{array}{k} = tl.load({array} + {place.format(k)}, mask=inside, other=0.0)"
        for k in range(4)
    ]


def _row(array: str, node: str, n_rows: int, row: int) -> str:
    place = f"{array} + ({node} * {n_rows} + {row}) * C + c"
    return f"{array}_{row} = tl.load({place}, mask=inside, other=0.0)"


def _store(array: str, node: str, n_rows: int, row: int) -> str:
    return f"tl.store({array} + ({node} * {n_rows} + {row}) * C + c, acc_{row}, mask=inside)"
