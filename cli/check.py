"""`molequi check`: symmetry and physics of a model or a calculator, measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from molequi.cli import options
from molequi.cli.calculators import foreign_code, load_calculator
from molequi.cli.exits import ExitCode
from molequi.cli.idle import refuse_idle
from molequi.cli.loading import load_network
from molequi.cli.output import line, print_json, print_table
from molequi.cli.records import print_notes
from molequi.errors import UserError

if TYPE_CHECKING:
    from ase import Atoms

    from molequi.diagnostics.limits import Measurement


Input = Annotated[
    str | None,
    typer.Argument(
        metavar="INPUT",
        show_default=False,
        help="A file that ASE or RDKit reads, or - for stdin. Every structure is used.",
    ),
]
Calculator = Annotated[str | None, options.calculator("An ASE calculator instead of MODEL")]
Precision = Annotated[
    options.Dtype | None,
    typer.Option(
        "--dtype",
        show_default=False,
        help="Precision of MODEL, float64 by default; of a calculator, whose limits count, "
        "float32 by default.",
    ),
]

_SCALE = (
    "Values are errors relative to the scale of an output, its change when atoms move by 0.2 Å, "
    "where not said otherwise."
)
_SCALE_OF_DYNAMICS = (
    "Values are errors relative to the size of what is compared; a law that the model was not made "
    "for fails."
)


def check(
    context: typer.Context,
    model: options.ModelOrNone = None,
    input_: Input = None,
    *,
    calculator: Calculator = None,
    add_hydrogens: options.AddHydrogens = False,
    as_is: options.AsIs = False,
    device: options.DeviceOption = options.Device.cpu,
    dtype: Precision = None,
    dispersion: options.Dispersion = None,
    json: options.Json = False,
) -> int:
    """Measure whether MODEL, or an ASE calculator, obeys physics.

    Rotation, mirror, permutation, size, forces, stress, smoothness.

    INPUT adds structures of your own to the built-in ones of a model. A calculator is measured on
    INPUT alone, and without it on two organic molecules. Its factory is called without arguments.
    A model of springs is measured by the laws of mechanics on its own test states.
    Exit code 1 when a measurement exceeds its limit.
    """
    _refuse_both(model, calculator, input_)
    refuse_idle(context, _idle(model, calculator))
    if calculator is not None:
        structures = _structures(model, add_hydrogens=add_hydrogens, as_is=as_is)
        measurements = _check_calculator(calculator, structures, dtype)
    elif model is not None:
        structures = _structures(input_, add_hydrogens=add_hydrogens, as_is=as_is)
        measurements = _check_model(model, input_, structures, device, dtype, dispersion)
    else:
        raise UserError("nothing to check: give a MODEL, or --calculator MODULE:FACTORY")
    if json:
        print_json({name: _as_json(item) for name, item in measurements.items()})
    else:
        _print_measurements(calculator or str(model), measurements)
        print_notes([atoms.info for atoms in structures])
    return _exit_code(measurements)


def _refuse_both(model: str | None, calculator: str | None, input_: str | None) -> None:
    if calculator is not None and input_ is not None:
        raise UserError(
            f"give MODEL or --calculator, not both: {model} and {calculator}; a calculator takes "
            "one INPUT"
        )


def _idle(model: str | None, calculator: str | None) -> dict[str, str]:
    """Return which options do nothing to what is checked, and what they belong to."""
    from molequi.hamiltonian.saved import is_saved_dynamics

    if calculator is not None:
        return dict.fromkeys(("device", "dispersion"), "a MODEL; a calculator runs as it is")
    if model is not None and is_saved_dynamics(model):
        return dict.fromkeys(("device", "dtype", "dispersion"), "a model of molecules")
    return {}


def _exit_code(measurements: Mapping[str, Measurement]) -> ExitCode:
    return ExitCode.DONE if all(item.ok for item in measurements.values()) else ExitCode.FAILED


def _check_model(
    model: str,
    source: str | None,
    structures: Sequence[Atoms],
    device: options.Device,
    dtype: options.Dtype | None,
    dispersion: str | None,
) -> dict[str, Measurement]:
    from molequi.diagnostics.check import check_model
    from molequi.hamiltonian.saved import is_saved_dynamics
    from molequi.structures.atoms import graph_from_atoms

    if is_saved_dynamics(model):
        return _check_dynamics(model, source)
    dtype = dtype or options.Dtype.float64
    network = load_network(model, device, dtype, dispersion=dispersion)
    graphs = []
    for index, atoms in enumerate(structures):
        try:
            graphs.append(graph_from_atoms(atoms, network.cutoff))
            network.check_input(graphs[-1])
        except UserError as error:
            raise UserError(f"{source}, structure {index}: {error}") from None
    return check_model(network, graphs)


def _check_dynamics(model: str, source: str | None) -> dict[str, Measurement]:
    from molequi.hamiltonian.laws import measure_laws
    from molequi.hamiltonian.saved import load_dynamics

    if source is not None:
        raise UserError(
            f"{model} is a model of the dynamics of one system, checked on states of its own; "
            f"leave {source} out"
        )
    trained = load_dynamics(model)
    return measure_laws(trained.model, trained.data.test)


def _check_calculator(
    calculator: str, structures: Sequence[Atoms], dtype: options.Dtype | None
) -> dict[str, Measurement]:
    import torch

    from molequi.diagnostics.check import measure
    from molequi.diagnostics.model_runner import ModelRunner
    from molequi.testing.calculators import as_checkable, default_structures, structure_of

    given = [structure_of(atoms, f"structure {index}") for index, atoms in enumerate(structures)]
    limits = torch.float64 if dtype is options.Dtype.float64 else torch.float32
    with foreign_code():
        runner = ModelRunner(as_checkable(load_calculator(calculator), given))
        return measure(runner, given or default_structures(), dtype=limits)


def _structures(source: str | None, *, add_hydrogens: bool, as_is: bool) -> list[Atoms]:
    from molequi.structures.inputs import read_inputs

    if source is None:
        return []
    found = read_inputs(source, add_hydrogens=add_hydrogens, as_is=as_is)
    return [structure.require_atoms() for structure in found]


def _as_json(item: Measurement) -> dict[str, float | bool]:
    return {"value": item.value, "limit": item.limit, "ok": item.ok}


def _print_measurements(subject: str, measurements: Mapping[str, Measurement]) -> None:
    rows = [
        (name, f"{item.value:.1e}", f"{item.limit:.0e}", "ok" if item.ok else "FAILED", item.where)
        for name, item in measurements.items()
    ]
    print_table(
        f"Physics of {subject}",
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
    line(_SCALE_OF_DYNAMICS if "time_reversal" in measurements else _SCALE)
