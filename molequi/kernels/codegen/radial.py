"""Lines that evaluate the radial functions of an edge, the same for numba and Triton."""

from __future__ import annotations

from molequi.kernels import splines
from molequi.kernels.codegen.text import Text, total

# The map of the knots, x(r), and its derivatives.
PLACE = splines.place_near(Text("near"), Text("scale"), Text("shift")).text
_SLOPE = splines.slope_near(Text("near"), Text("scale"), Text("shift")).text
_BEND = splines.bend_near(Text("near"), Text("x1")).text


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
        f"{value} = " + total(f"{function}{k} * s{k}" for k in range(4))
        for value, function in letters
    ]
