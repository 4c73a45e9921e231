"""The suite `physics` of `molequi evaluate`: a model or a calculator without data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from molequi.cli import options
from molequi.cli.calculators import foreign_code, load_calculator
from molequi.cli.output import line, print_table
from molequi.errors import UserError

if TYPE_CHECKING:
    from molequi.diagnostics.physicality import PhysicsReport


def check_subject(
    model: str | None,
    calculator: str | None,
    elements: str,
    device: options.Device,
    dtype: options.Dtype | None,
) -> PhysicsReport:
    """Measure a model, in float64 unless told otherwise, or a calculator on pairs of `elements`."""
    from molequi.cli.loading import load_network
    from molequi.diagnostics.physicality import check_physics

    if calculator is None:
        return check_physics(load_network(str(model), device, dtype or options.Dtype.float64))
    from molequi.testing.calculators import CalculatorModel

    with foreign_code():
        foreign = CalculatorModel(load_calculator(calculator), elements=_numbers_of(elements))
        return check_physics(foreign)


def as_json(report: PhysicsReport) -> dict[str, dict[str, Any]]:
    """Return {test: {value, limit, ok, unit, where}}."""
    return {
        name: {
            "value": item.value,
            "limit": item.limit,
            "ok": item.ok,
            "unit": item.unit,
            "where": item.where,
        }
        for name, item in report.measurements.items()
    }


def print_physics(subject: str, report: PhysicsReport) -> None:
    """Print every measurement beside its limit, and in words those that exceed it."""
    rows = [
        (
            name,
            f"{item.value:.2g}",
            f"{item.limit:g}",
            "" if item.unit == "1" else item.unit,
            "ok" if item.ok else "BEYOND",
            item.where,
        )
        for name, item in report.measurements.items()
    ]
    print_table(
        f"Physics of {subject}",
        ("test", "value", "limit", "unit", "result", "worst case"),
        rows,
        left=("unit", "result", "worst case"),
    )
    beyond = {name: item for name, item in report.measurements.items() if not item.ok}
    for name, item in beyond.items():
        line(f"BEYOND {name}: {item.description}; {item.where}")
    line(f"{len(rows) - len(beyond)} of {len(rows)} values are within their limits.")


def _numbers_of(elements: str) -> tuple[int, ...]:
    from ase.data import atomic_numbers

    symbols = elements.replace(",", " ").split()
    unknown = [symbol for symbol in symbols if symbol not in atomic_numbers or symbol == "X"]
    if unknown or not symbols:
        what = f"{unknown[0]} is no element" if unknown else "there are none"
        raise UserError(f"--elements {elements!r}: {what}; write symbols such as 'H C N O'")
    return tuple(atomic_numbers[symbol] for symbol in symbols)
