"""Numba kernels that sum over the edges of each sender: dh; dy, dr of each edge; ds of them all."""

from __future__ import annotations

from molequi.kernels.codegen.numba_lines import Form, NumbaTerms, kernel, radial, spline
from molequi.kernels.codegen.terms import one
from molequi.kernels.codegen.text import block, only, total


def by_sender(terms: NumbaTerms, name: str, group: range, form: Form) -> str:
    """Write the kernel of a group of paths; the first group clears the gradients."""
    inputs, is_first = terms.inputs(group), group.start == 0
    node = [
        *only(is_first, "dh[j] = zero"),
        "acc[:] = zero",
        *block("for o in range(ptr[j], ptr[j + 1]):", _edge(terms, group, form)),
        *(f"dh[j, {a}] += acc[{place}]" for place, a in enumerate(inputs)),
    ]
    reached = f"np.empty(({len(group)}, C), dtype={terms.dtype})"
    return kernel(
        f"def {name}(first, last, h, y, r, s, g, {form.cotangents}receiver, order, kinds, ptr, K, "
        "cutoff, scale, shift, dh, dy, dr, ds):",
        [
            *terms.head(len(inputs)),
            *only(form.with_s, f"reached = {reached}"),
            *only(form.with_s and form.double, f"turned = {reached}"),
            *only(form.with_s and is_first, "ds[:] = zero"),
            *block("for j in range(first, last):", node),
        ],
    )


def _edge(terms: NumbaTerms, group: range, form: Form) -> list[str]:
    """Lines for one edge: its paths one by one, then what they leave for ds, dy and dr."""
    clear = [*(f"dy[e, {b}] = zero" for b in range(terms.n_harmonics)), "dr[e] = zero"]
    lines = ["e = order[o]", "i = receiver[e]", *only(group.start == 0, *clear)]
    lines += terms.edge(group, form, n_derivatives=2 if form.double else 1)
    lines += [f"k_{p}_{k}_{a} = zero" for p, k, a in terms.of(group)] + ["slope = zero"]
    for p in group:
        lines += block("for c in range(C):", _path(terms, p, group, form))
    if form.with_s:
        lines += _coefficients(group, form)
    return [*lines, *_harmonics(terms, group), "dr[e] += slope"]


def _path(terms: NumbaTerms, p: int, group: range, form: Form) -> list[str]:
    """Lines for one path and channel of an edge: all its gradients.

    What reaches the coefficients is kept per path of the group: see `_coefficients`.
    """
    lines = radial(p, form, n_derivatives=2 if form.double else 1)
    lines += [f"g{k} = g[i, {k}, c]" for k in terms.outputs(one(p))]
    for a in terms.inputs(one(p)):
        place = terms.inputs(group).index(a)
        component = _component_of_double if form.double else _component
        lines += component(p, a, place, terms.outputs_of(p, a))
    lines += _powers(p, terms.inputs(one(p)), form)
    kept = {"reached": "d", "turned": "dq"} if form.double else {"reached": "q"}
    lines += only(
        form.with_s, *(f"{array}[{p - group.start}, c] = {power}" for array, power in kept.items())
    )
    return lines + [f"k_{p}_{k}_{a} += x{a} * g{k}" for k, a in terms.pairs(p)]


def _component(p: int, a: int, place: int, outputs: list[int]) -> list[str]:
    """Lines for one component of the features: t = m g."""
    return [
        f"h{a} = h[j, {a}, c]",
        f"t{a} = {total(f'm_{p}_{k}_{a} * g{k}' for k in outputs)}",
        f"acc[{place}, c] += R * t{a}",
        f"x{a} = R * h{a}",
    ]


def _component_of_double(p: int, a: int, place: int, outputs: list[int]) -> list[str]:
    """Lines for one component of the features: t = m g and f = n g."""
    return [
        f"h{a} = h[j, {a}, c]",
        f"t{a} = {total(f'm_{p}_{k}_{a} * g{k}' for k in outputs)}",
        f"u{a} = u[j, {a}, c]",
        f"f{a} = {total(f'n_{p}_{k}_{a} * g{k}' for k in outputs)}",
        f"acc[{place}, c] += R * f{a} + W * t{a}",
        f"x{a} = R * u{a} + W * h{a}",
    ]


def _powers(p: int, inputs: list[int], form: Form) -> list[str]:
    """Lines for q = h t and d = u t + h f, which multiply the radial functions, and for dr."""
    power = f"q = {total(f'h{a} * t{a}' for a in inputs)}"
    if not form.double:
        return [power, "slope += D * q"]
    curvature = f"(we * S{spline('D', p, form)})" if form.with_z else "we * S"
    return [
        power,
        f"d = {total(f'u{a} * t{a} + h{a} * f{a}' for a in inputs)}",
        f"slope += D * d + {curvature} * q",
        "dq = we * q",
    ]


def _coefficients(group: range, form: Form) -> list[str]:
    """Lines that add what reached the radial functions of an edge to ds.

    A loop for each knot, which the compiler can see to be plain sums.
    """
    lines = []
    for k in range(4):
        value = f"B{k} * reached[p, c]" + (f" + D{k} * turned[p, c]" if form.double else "")
        sums = block("for c in range(C):", [f"ds[b + {k}, {group.start} + p, c] += {value}"])
        lines += block(f"for p in range({len(group)}):", sums)
    return lines


def _harmonics(terms: NumbaTerms, group: range) -> list[str]:
    """Lines that contract the coefficients with the sums over channels: dy of an edge."""
    sums: dict[int, list[str]] = {}
    for (p, k, a), entry in terms.of(group).items():
        for b, value in entry:
            sums.setdefault(b, []).append(f"{terms.number(value)} * k_{p}_{k}_{a}")
    return [f"dy[e, {b}] += {total(parts)}" for b, parts in sums.items()]
