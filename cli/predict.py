"""`molequi predict`: structures in, properties out."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from molequi.cli import options
from molequi.cli.exits import ExitCode
from molequi.cli.loading import completed, load_network
from molequi.cli.optical_rotation import (
    print_level,
    print_means,
    rotation_cells,
    rotation_headings,
)
from molequi.cli.output import line, print_json, print_table, say
from molequi.cli.records import Record, hidden_source, print_provenance, require_good
from molequi.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from molequi.models.molecular import MolecularModel
    from molequi.properties import Property

Conformers = Annotated[
    int,
    typer.Option(
        "--conformers",
        min=1,
        help="Conformers to make of each SMILES, with the seeds SEED, SEED + 1, ...",
    ),
]
Temperature = Annotated[
    float | None,
    typer.Option(
        "--temperature",
        show_default=False,
        help="With --conformers: their Boltzmann mean at so many K, by `organic`.",
    ),
]


def predict(
    inputs: options.Inputs = None,
    *,
    smiles: options.Smiles = None,
    model: options.Model = "organic",
    output: options.Output = None,
    charge: options.Charge = None,
    add_hydrogens: options.AddHydrogens = False,
    conformers: Conformers = 1,
    temperature: Temperature = None,
    json: options.Json = False,
    dispersion: options.Dispersion = None,
    unsafe: options.Unsafe = False,
    device: options.DeviceOption = options.Device.cpu,
    dtype: options.DtypeOption = None,
    seed: options.Seed = 0,
    batch_size: options.BatchSize = None,
    overwrite: options.Overwrite = False,
) -> int:
    """Predict energy, forces, dipole and whatever else MODEL gives, for all structures of INPUT.

    One row per structure. With --output (.xyz, .csv or .json) everything is written there; .xyz
    files then hold a calculator, so that ase.io.read(FILE).get_forces() works. An optical rotation
    comes with its sign, or with none where it is zero to rounding, and with R and S of the
    geometry. --conformers N --temperature K gives the Boltzmann mean of N relaxed conformers.
    """
    options.require_inputs(inputs, smiles, "predict")

    from molequi.prediction.predict import predict as run
    from molequi.simulation.boltzmann import predict_means

    given = completed(inputs) if add_hydrogens else inputs or []
    network = load_network(model, device, dtype, dispersion=dispersion)
    shared = options.Reading(smiles or [], charge, conformers, seed, output, overwrite)
    if temperature is not None:
        _check_means(conformers, unsafe=unsafe)
        means = predict_means(given, network, temperature=temperature, **shared._asdict())
        return print_means(means, network, json=json)
    records = run(given, network, batch_size=batch_size, unsafe=unsafe, **shared._asdict())
    return _report(records, network, output, json=json)


def _report(
    records: Sequence[Record], model: MolecularModel, output: Path | None, *, json: bool
) -> ExitCode:
    """Print the records, or where they were written; the failed ones are listed."""
    good = require_good(records)
    if json:
        print_json(records)
    elif output is None:
        _print_records(good, model)
    if output is not None:
        say(f"{len(good)} of {len(records)} structures written to {output}")
    return ExitCode.DONE if len(good) == len(records) else ExitCode.FAILED


def _check_means(conformers: int, *, unsafe: bool) -> None:
    if conformers < 2 or unsafe:
        raise UserError(
            "--temperature asks for a mean over conformers: say how many with --conformers N, "
            "at least 2, and leave --unsafe out"
        )


class _Column(NamedTuple):
    """A column of the table: its heading, and what stands there for a record."""

    heading: str
    cell: Callable[[Record], object]


def _print_records(records: Sequence[Record], model: MolecularModel) -> None:
    """One row per structure."""
    columns = _columns(model)
    print_table(
        "",
        [*(column.heading for column in columns), *rotation_headings(model)],
        [
            [*(column.cell(record) for column in columns), *rotation_cells(model, record)]
            for record in records
        ],
        left=("source", "formula"),
        hidden=hidden_source(records),
    )
    print_provenance(records)
    of_atoms = [
        name
        for name in model.outputs
        if model.properties[name].per_atom and name not in {"forces", "charges", "forces_std"}
    ]
    if of_atoms:
        line(
            f"values of atoms ({', '.join(of_atoms)}) are in --output FILE.xyz or .json, and in "
            "--json"
        )
    print_level(model)


def _columns(model: MolecularModel) -> list[_Column]:
    hidden = {"stress", "specific_rotation"}
    hidden |= {"dipole_magnitude"} if "dipole" in model.outputs else set()
    columns = [
        _Column(heading, operator.itemgetter(key))
        for heading, key in (
            ("#", "index"),
            ("source", "source"),
            ("formula", "formula"),
            ("charge e", "total_charge"),
        )
    ]
    for name in model.outputs:
        target = model.properties[name]
        if (not target.per_atom or target.spread_of) and name not in hidden:
            columns += _columns_of(target)
    return columns


def _columns_of(target: Property) -> list[_Column]:
    """A scalar as it is, a vector by its components, a tensor by its size.

    The rest is in the output file.
    """
    unit = "" if target.unit == "1" else f" {target.unit}"
    heading = f"{target.name}{' probability' if target.binary else ''}{unit}"
    own = _Column(heading, lambda record: _cell(record.get(target.name)))
    if target.name == "energy":
        return [own, _Column("max|F| eV/Å", lambda record: record.get("max_force"))]
    if target.name == "forces_std":
        return [_Column("max std F eV/Å", lambda record: record.get("max_forces_std"))]
    if target.name == "dipole":
        return [
            _Column("|mu| D", lambda record: _length(record.get("dipole_debye"))),
            _Column("mu D", lambda record: _cell(record.get("dipole_debye"))),
        ]
    return [own]


def _cell(value: Any) -> object:
    import numpy as np

    if value is None or np.ndim(value) == 0:
        return None if value is None else float(value)
    if np.ndim(value) > 1:
        return f"norm {np.linalg.norm(value):.4f}"
    return " ".join(f"{round(float(part), 2) + 0.0:.2f}" for part in value)  # no negative zeros


def _length(vector: Any) -> str | None:
    import numpy as np

    return None if vector is None else f"{np.linalg.norm(vector):.3f}"
