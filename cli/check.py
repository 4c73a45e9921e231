"""`molequi check`: symmetry and physics of a model, measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from molequi.cli import options
from molequi.cli.exits import ExitCode
from molequi.cli.output import line, print_json, print_table
from molequi.errors import UserError

if TYPE_CHECKING:
    from molequi.diagnostics.check import Measurement
    from molequi.graphs.graph import AtomGraph
    from molequi.models.molecular import MolecularModel


def check(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A model file, a run directory, or the name of a bundled model."
        ),
    ],
    input_: options.Input = None,
    *,
    device: options.DeviceOption = options.Device.cpu,
    dtype: options.DtypeOption = options.Dtype.float64,
    json: options.Json = False,
) -> int:
    """Measure whether MODEL obeys physics.

    Rotation, mirror, permutation, size, forces, stress, smoothness.

    INPUT adds structures of your own to the built-in ones. Exit code 1 when a measurement exceeds
    its limit.
    """
    from molequi.diagnostics.check import check_model
    from molequi.models.zoo import load

    network = load(model, device=device.value, dtype=options.precision(dtype))
    measurements = check_model(network, _graphs(input_, network))
    if json:
        print_json(
            {
                name: {"value": item.value, "limit": item.limit, "ok": item.ok}
                for name, item in measurements.items()
            }
        )
    else:
        _print_measurements(model, measurements)
    return ExitCode.DONE if all(item.ok for item in measurements.values()) else ExitCode.FAILED


def _graphs(source: str | None, model: MolecularModel) -> list[AtomGraph]:
    from molequi.structures.atoms import graph_from_atoms
    from molequi.structures.readers import read_structures

    if source is None:
        return []
    graphs = []
    for index, atoms in read_structures(source):
        try:
            if isinstance(atoms, str):
                raise UserError(atoms)
            graphs.append(graph_from_atoms(atoms, model.cutoff))
            model.check_input(graphs[-1])
        except UserError as error:
            raise UserError(f"{source}, structure {index}: {error}") from None
    return graphs


def _print_measurements(model: str, measurements: Mapping[str, Measurement]) -> None:
    rows = [
        (name, f"{item.value:.1e}", f"{item.limit:.0e}", "ok" if item.ok else "FAILED", item.where)
        for name, item in measurements.items()
    ]
    print_table(
        f"Physics of {model}",
        ("test", "value", "limit", "result", "worst case"),
        rows,
        left=("result", "worst case"),
    )
    failed = {name: item for name, item in measurements.items() if not item.ok}
    for name, item in failed.items():
        line(f"FAILED {name}: {item.description}; {item.where}")
    line(
        f"{len(failed)} of {len(rows)} tests failed."
        if failed
        else f"All {len(rows)} tests passed."
    )
    line(
        "Values are errors relative to the size of what the model has learned, where not said "
        "otherwise."
    )
