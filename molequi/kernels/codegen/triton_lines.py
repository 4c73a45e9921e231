"""Lines that the Triton kernels have in common."""

from __future__ import annotations

from molequi.kernels.codegen.radial import PLACE, basis, radial_sums
from molequi.kernels.codegen.terms import Terms, one
from molequi.kernels.codegen.text import CONSTANTS, block, indented, only, total

_NUMBERS = ", ".join(
    f"{name}: tl.constexpr" for name in ("C", "K", "cutoff", "scale", "shift", "BLOCK")
)


def cotangents(*, double: bool) -> str:
    """Write the arguments that a backward of the backward has besides."""
    return "u, v, w, z, " if double else ""


def kernel(name: str, tensors: str, body: list[str], *, double: bool) -> str:
    """Write a compiled function; `double` ones are told whether there is a z."""
    flags = ", WITH_Z: tl.constexpr" if double else ""
    constants = [f"{constant}: tl.constexpr = {value!r}" for constant, value in CONSTANTS.items()]
    head = f"def {name}({tensors}, {_NUMBERS}{flags}):"
    return "\n".join(["@triton.jit", *block(head, [*constants, *body])])


def of_node(node: str) -> list[str]:
    """Lines that name the node and the channels of a program."""
    return [f"{node} = tl.program_id(0).to(tl.int64)", "block = tl.program_id(1)", *channels()]


def channels() -> list[str]:
    """Lines that find the channels of a block."""
    return [
        "c = block * BLOCK + tl.arange(0, BLOCK)",
        "inside = c < C",
        "zero = tl.zeros((BLOCK,), dtype=h.dtype.element_ty)",
    ]


def within_reach(edge: list[str]) -> list[str]:
    """Lines that leave an edge out from the cutoff on; NaN goes in."""
    return ["re = tl.load(r + e)", *block("if (re < cutoff) | (re != re):", edge)]


def interval(*, n_derivatives: int) -> list[str]:
    """Lines that find the knot interval b of an edge and the basis there."""
    lines = ["near = one / (re + shift)", f"xe = {PLACE}"]
    lines += ["b = tl.minimum(tl.where(xe > 0.0, xe, 0.0).to(tl.int32), K - 1)", "t = xe - b"]
    return lines + basis(n_derivatives=n_derivatives)


def harmonics(terms: Terms, group: range, *, double: bool) -> list[str]:
    """Lines that load the harmonics of an edge that a group of paths needs.

    In the backward of the backward their cotangents and that of r too.
    """
    loads = [
        f"{name}{b} = tl.load({name} + e * {terms.n_harmonics} + {b})"
        for name in ("yv" if double else "y")
        for b in terms.harmonics(group)
    ]
    return loads + only(double, "we = tl.load(w + e)")


def contracted(terms: Terms, p: int, *, double: bool) -> list[str]:
    """Lines that contract the coefficients of one path with the harmonics.

    They are m, and n with the cotangents of the harmonics.
    """
    return [
        f"{name}_{k}_{a} = "
        + total(f"{value!r} * {array}{b}" for b, value in terms.entries[p, k, a])
        for k, a in terms.pairs(p)
        for name, array in (("m", "y"), ("n", "v"))[: 1 + double]
    ]


def powers(terms: Terms, p: int, *, double: bool) -> list[str]:
    """Lines for one path at the sender.

    Per component of the features t = m g and f = n g, then q = h t and d = u t + h f.
    """
    inputs = terms.inputs(one(p))
    lines = contracted(terms, p, double=double)
    lines += [component("g", "i", terms.n_outputs, k) for k in terms.outputs(one(p))]
    for a in inputs:
        lines += [component("h", "j", terms.n_inputs, a), f"t_{a} = {_reaching('m', terms, p, a)}"]
        if double:
            lines.append(component("u", "j", terms.n_inputs, a))
            lines.append(f"f_{a} = {_reaching('n', terms, p, a)}")
    lines.append("q = " + total(f"h_{a} * t_{a}" for a in inputs))
    return lines + only(double, "d = " + total(f"u_{a} * t_{a} + h_{a} * f_{a}" for a in inputs))


def _reaching(coefficients: str, terms: Terms, p: int, a: int) -> str:
    return total(f"{coefficients}_{k}_{a} * g_{k}" for k in terms.outputs_of(p, a))


def radial(terms: Terms, p: int, *, n_derivatives: int) -> list[str]:
    """Lines that compute R of a path and its derivatives."""
    return [*_coefficients("s", terms, p), *radial_sums(n_derivatives=n_derivatives)]


def turned(terms: Terms, p: int, *parts: tuple[str, str]) -> list[str]:
    """Lines for what reaches a radial function, W = w D + sum B z, and its slope, `bend`.

    parts: the sums and their basis.
    """
    sums = [
        f"{name} += " + total(f"{function}{k} * z{k}" for k in range(4)) for name, function in parts
    ]
    return ["W = we * D", *block("if WITH_Z:", [*_coefficients("z", terms, p), *sums])]


def _coefficients(array: str, terms: Terms, p: int) -> list[str]:
    return [
        f"{array}{k} = tl.load({array} + {coefficient(terms, p, k)}, mask=inside, other=0.0)"
        for k in range(4)
    ]


def coefficient(terms: Terms, p: int, k: int) -> str:
    """Write where the k-th coefficient of the interval b stands in an array of splines."""
    return f"((b + {k}) * {terms.n_paths} + {p}) * C + c"


def component(array: str, node: str, n_components: int, number: int) -> str:
    """Write the line that loads a component of a node's features."""
    place = f"{array} + ({node} * {n_components} + {number}) * C + c"
    return f"{array}_{number} = tl.load({place}, mask=inside, other=0.0)"


def summed(node: str, array: str, n_components: int, head: str, edge: list[str]) -> list[str]:
    """Lines that sum up all components of a node over its edges and store them."""
    return [
        *(f"acc_{k} = zero" for k in range(n_components)),
        head,
        *indented(edge),
        *(
            f"tl.store({array} + ({node} * {n_components} + {k}) * C + c, acc_{k}, mask=inside)"
            for k in range(n_components)
        ),
    ]
