"""`molequi predict` and `molequi embed`: structures in, properties or features out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molequi.cli import options
from molequi.cli.exits import ExitCode
from molequi.cli.optical_rotation import rotation_cells, rotation_headings, print_level, print_means
from molequi.cli.output import line, print_json, print_table, say
from molequi.errors import UserError

if TYPE_CHECKING:
    from molequi.models.molecular import MolecularModel
    from molequi.properties import Property

Record = Mapping[str, Any]


def predict(
    inputs: options.Inputs = None,
    *,
    smiles: options.Smiles = None,
    model: options.Model = "organic",
    output: options.Output = None,
    charge: options.Charge = None,
    conformers: Annotated[
        int,
        typer.Option(
            "--conformers",
            min=1,
            help="Conformers to make of each SMILES, with the seeds SEED, SEED + 1, ...",
        ),
    ] = 1,
    temperature: Annotated[
        float | None,
        typer.Option(
            "--temperature",
            show_default=False,
            help="With --conformers: their Boltzmann mean at so many K, by `organic`.",
        ),
    ] = None,
    json: options.Json = False,
    unsafe: options.Unsafe = False,
    device: options.DeviceOption = options.Device.cpu,
    dtype: options.DtypeOption = None,
    seed: options.Seed = 0,
    batch_size: options.BatchSize = None,
    overwrite: options.Overwrite = False,
) -> int:
    """Predict energy, forces, dipole and whatever else MODEL gives, for every structure of every INPUT.

    One row per structure. With --output (.xyz, .csv or .json) everything is written there; .xyz
    files then hold a calculator, so that ase.io.read(FILE).get_forces() works. An optical rotation
    comes with its sign, or with none where it is zero to rounding, and with R and S of the
    geometry. --conformers N --temperature K relaxes N conformers and gives their Boltzmann mean and
    each conformer's values.
    """
    if not inputs and not smiles:
        raise UserError(
            "nothing to predict: give structure files, - for standard input, or --smiles TEXT"
        )

    from molequi.models.zoo import load
    from molequi.prediction.predict import predict as run
    from molequi.simulation.boltzmann import predict_means

    network = load(model, device=device.value, dtype=options.precision(dtype))
    if temperature is not None:
        if conformers < 2 or unsafe:
            raise UserError(
                "--temperature asks for a mean over conformers: say how many with --conformers N, "
                "at least 2, and leave --unsafe out"
            )
        means = predict_means(
            inputs or [], network, smiles=smiles or [], charge=charge, conformers=conformers, temperature=temperature, seed=seed,
            output=output, overwrite=overwrite,
        )  # fmt: skip
        return print_means(means, network, json=json)
    records = run(
        inputs or [], network, smiles=smiles or [], charge=charge, conformers=conformers, seed=seed,
        batch_size=batch_size, output=output, overwrite=overwrite, unsafe=unsafe,
    )  # fmt: skip
    good = require_good(records)
    if json:
        print_json(records)
    elif output is None:
        _print_records(good, network)
    if output is not None:
        say(f"{len(good)} of {len(records)} structures written to {output}")
    return ExitCode.DONE if len(good) == len(records) else ExitCode.FAILED


def embed(
    inputs: options.Inputs = None,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            show_default=False,
            help="An .npz file: features (atoms x F), n_atoms.",
        ),
    ] = None,
    smiles: options.Smiles = None,
    model: options.Model = "organic",
    charge: options.Charge = None,
    json: options.Json = False,
    device: options.DeviceOption = options.Device.cpu,
    dtype: options.DtypeOption = None,
    seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
) -> None:
    """Write the invariant features of every atom, for models and analyses of your own.

    The .npz file holds `features`, one row per atom of all structures, and `n_atoms`, one entry per
    structure.
    """
    from molequi.models.zoo import load
    from molequi.prediction.predict import embed as run
    from molequi.runtime.files import check_output, written_by_rename

    if output is None and not json:
        raise UserError("say where the features go: --output FILE.npz, or --json")
    if output is not None:
        if output.suffix != ".npz":
            raise UserError(f"the output {output} has no known format; use .npz")
        check_output(output, overwrite=overwrite)
    features = run(
        inputs or [],
        load(model, device=device.value, dtype=options.precision(dtype)),
        smiles=smiles or [],
        charge=charge,
        seed=seed,
    )
    if json:
        print_json(features)
    if output is not None:
        import numpy as np

        with written_by_rename(output) as temporary:
            np.savez_compressed(
                temporary,
                features=np.concatenate(features),
                n_atoms=[len(rows) for rows in features],
            )
        say(
            f"features of {len(features)} structures, {features[0].shape[1]} per atom, written to "
            f"{output}"
        )


def require_good(records: Sequence[Record]) -> list[Record]:
    """Return the records without error; the others are listed.

    Raises UserError where all failed.
    """
    good = [record for record in records if "error" not in record]
    errors = [
        f"{record['source']}, structure {record['index']}: {record['error']}"
        for record in records
        if "error" in record
    ]
    if not good and len(errors) == 1:
        raise UserError(errors[0])
    for text in errors:
        say(f"error: {text}")
    if not good:
        raise UserError(
            f"none of the {len(records)} structures could be computed; the lines above say why"
        )
    return good


def hidden_source(records: Sequence[Record]) -> tuple[str, ...]:
    """Name the column that says nothing where all rows come from one source."""
    return ("source",) if len({record["source"] for record in records}) == 1 else ()


def print_provenance(records: Sequence[Record]) -> None:
    """Say once what the rows of a table share.

    The model, its level of theory, where geometries come from.
    """
    line(f"model {records[0]['model']}; level: {records[0]['level'] or 'not stated'}")
    if hidden_source(records):
        line(f"source: {records[0]['source']}")
    for key, heading in (
        ("geometry", "geometry"),
        ("dipole_origin", "origin of the dipoles of ions"),
        ("unsafe", "outside the model, unsafe"),
    ):
        for note in dict.fromkeys(record[key] for record in records if key in record):
            line(f"{heading}: {note}")


def _print_records(records: Sequence[Record], model: MolecularModel) -> None:
    """One row per structure."""
    hidden = {"stress", "dipole_magnitude" if "dipole" in model.outputs else ""}
    names = [
        name
        for name in model.outputs
        if not model.properties[name].per_atom and name not in hidden | {"specific_rotation"}
    ]
    columns = [
        "#",
        "source",
        "formula",
        "charge e",
        *(heading for name in names for heading in _headings(model.properties[name])),
    ]
    if "energy" in names:
        columns.insert(columns.index("energy eV") + 1, "max|F| eV/Å")
    rows = []
    for record in records:
        cells: list[object] = [
            record["index"],
            record["source"],
            record["formula"],
            record["total_charge"],
        ]
        for name in names:
            cells += _cells(model.properties[name], record)
            if name == "energy":
                cells.append(record.get("max_force"))
        rows.append([*cells, *rotation_cells(model, record)])
    print_table(
        "",
        [*columns, *rotation_headings(model)],
        rows,
        left=("source", "formula"),
        hidden=hidden_source(records),
    )
    print_provenance(records)
    of_atoms = [
        name
        for name in model.outputs
        if model.properties[name].per_atom and name not in {"forces", "charges"}
    ]
    if of_atoms:
        line(
            f"values of atoms ({', '.join(of_atoms)}) are in --output FILE.xyz or .json, and in "
            "--json"
        )
    print_level(model)


def _headings(row: Property) -> list[str]:
    if row.name == "dipole":
        return ["|mu| D", "mu D"]
    unit = "" if row.unit == "1" else f" {row.unit}"
    return [f"{row.name}{' probability' if row.binary else ''}{unit}"]


def _cells(row: Property, record: Record) -> list[object]:
    """A scalar as it is, a vector by its components, a tensor by its size.

    The rest is in the output file.
    """
    import numpy as np

    value = record.get("dipole_debye" if row.name == "dipole" else row.name)
    if value is None:
        return [None] * len(_headings(row))
    if row.name == "dipole":
        return [f"{np.linalg.norm(value):.3f}", _components(value)]
    if np.ndim(value) == 1:
        return [_components(value)]
    return [float(value) if np.ndim(value) == 0 else "norm " + format(np.linalg.norm(value), ".4f")]


def _components(value: Sequence[float]) -> str:
    return " ".join(
        f"{round(float(part), 2) + 0.0:.2f}" for part in value
    )  # + 0.0: no negative zeros
