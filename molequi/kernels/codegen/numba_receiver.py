"""Numba kernels that sum over the edges of each receiver.

A, or in the backward of the backward dg = sum (m R) u + (m W + n R) h.
"""

from __future__ import annotations

from molequi.kernels.codegen.numba_lines import Form, NumbaTerms, kernel, radial
from molequi.kernels.codegen.terms import one
from molequi.kernels.codegen.text import block, only, total


def by_receiver(terms: NumbaTerms, name: str, group: range, form: Form) -> str:
    """Write the kernel of a group of paths; the first group clears the output."""
    outputs = terms.outputs(group)
    node = [
        *only(group.start == 0, "out[i] = zero"),
        "acc[:] = zero",
        *block("for e in range(ptr[i], ptr[i + 1]):", _edge(terms, group, form)),
        *(f"out[i, {k}] += acc[{place}]" for place, k in enumerate(outputs)),
    ]
    return kernel(
        f"def {name}(first, last, h, y, r, s, {form.cotangents}sender, kinds, ptr, K, cutoff, "
        "scale, shift, out):",
        [*terms.head(len(outputs)), *block("for i in range(first, last):", node)],
    )


def _edge(terms: NumbaTerms, group: range, form: Form) -> list[str]:
    lines = ["j = sender[e]", *terms.edge(group, form, n_derivatives=int(form.double))]
    for p in group:
        lines += block("for c in range(C):", _path(terms, p, terms.outputs(group), form))
    return lines


def _path(terms: NumbaTerms, p: int, outputs: list[int], form: Form) -> list[str]:
    """Lines that add one path and channel of an edge to `acc`, which holds the outputs."""
    lines = radial(p, form, n_derivatives=int(form.double))
    for a in terms.inputs(one(p)):
        lines += [f"h{a} = h[j, {a}, c]", f"x{a} = R * h{a}"]
        lines += only(form.double, f"t{a} = R * u[j, {a}, c] + W * h{a}")
    for k in terms.outputs(one(p)):
        inputs = terms.inputs_of(p, k)
        sums = [f"m_{p}_{k}_{a} * {'t' if form.double else 'x'}{a}" for a in inputs]
        sums += only(form.double, *(f"n_{p}_{k}_{a} * x{a}" for a in inputs))
        lines.append(f"acc[{outputs.index(k)}, c] += {total(sums)}")
    return lines
