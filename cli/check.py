"""`molequi check`: symmetry and physics of a model, measured."""

from __future__ import annotations

from typing import Annotated

import typer

from molequi.cli import options
from molequi.cli.exits import ExitCode
from molequi.cli.output import line, print_json, print_table


def check(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model file, a run directory, or the name of a bundled model.")],
    input_: options.Input = None,
    *,
    device: options.DeviceOption = options.Device.cpu,
    dtype: options.DtypeOption = options.Dtype.float64,
    json: options.Json = False,
) -> int:
    """Measure whether MODEL obeys physics: rotation, mirror, permutation, size, forces, stress, smoothness.

    INPUT adds structures of your own to the built-in ones. Exit code 1 when a measurement exceeds its limit.
    """
    from molequi.cli.models import load_model_for, read_graphs
    from molequi.diagnostics import check_model

    network = load_model_for(model, device=device, dtype=dtype)
    graphs = read_graphs(input_, network) if input_ is not None else None
    measurements = check_model(network, graphs)
    if json:
        print_json({name: {"value": m.value, "limit": m.limit, "ok": m.ok} for name, m in measurements.items()})
    else:
        rows = [(name, f"{m.value:.2e}", f"{m.limit:.0e}", m.unit, "ok" if m.ok else "FAILED", m.description) for name, m in measurements.items()]
        print_table(f"{model}, {dtype.value if dtype else 'own dtype'}", ("test", "value", "limit", "unit", "result", "what is measured"), rows,
                    left=("unit", "result", "what is measured"))
        failed = [name for name, m in measurements.items() if not m.ok]
        line(f"{len(failed)} of {len(rows)} tests failed: {', '.join(failed)}" if failed else f"all {len(rows)} tests passed")
    return ExitCode.DONE if all(m.ok for m in measurements.values()) else ExitCode.FAILED
