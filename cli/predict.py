"""`molequi predict`: structures in, properties out."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from molequi.cli import options
from molequi.cli.bars import Bar
from molequi.cli.exits import ExitCode
from molequi.cli.loading import completed, load_network
from molequi.cli.optical_rotation import print_means
from molequi.cli.output import say
from molequi.cli.prediction_table import print_records, print_shared
from molequi.cli.records import Record, Tally
from molequi.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from molequi.models.molecular import MolecularModel
    from molequi.structures.inputs import Structure

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
    files then hold a calculator, so that ase.io.read(FILE).get_forces() works. The file appears
    when all is computed; an interrupted command goes on where it was when it is given again.

    An optical rotation comes with its sign, or with none where it is zero to rounding, and with R
    and S of the geometry. --conformers N --temperature K gives the Boltzmann mean of N relaxed
    conformers.
    """
    options.require_inputs(inputs, smiles, "predict")

    from molequi.prediction.predict import iter_records
    from molequi.structures.counting import count_structures
    from molequi.structures.inputs import read_inputs

    network = load_network(model, device, dtype, dispersion=dispersion)
    if temperature is not None:
        _check_means(conformers, unsafe=unsafe)
        given = completed(inputs) if add_hydrogens else inputs or []
        shared = options.Reading(smiles or [], charge, conformers, seed, output, overwrite)
        return _means(given, network, temperature, shared, json=json)
    structures = read_inputs(
        inputs or [], smiles=smiles or [], charge=charge, conformers=conformers, seed=seed,
        add_hydrogens=add_hydrogens,
    )  # fmt: skip
    records = iter_records(
        structures, network, batch_size=batch_size, output=output, overwrite=overwrite,
        unsafe=unsafe,
    )  # fmt: skip
    found = count_structures(inputs or []) if conformers == 1 else None
    total = None if found is None else found + len(smiles or [])
    several = len({*(inputs or []), *(smiles or [])}) > 1
    return _report(records, network, output, total, json=json, with_source=several)


def _means(
    given: Sequence[str] | Sequence[Structure],
    network: MolecularModel,
    temperature: float,
    shared: options.Reading,
    *,
    json: bool,
) -> int:
    from molequi.simulation.boltzmann import predict_means

    means = predict_means(given, network, temperature=temperature, **shared._asdict())
    return print_means(means, network, json=json)


def _report(
    records: Iterator[Record],
    model: MolecularModel,
    output: Path | None,
    total: int | None,
    *,
    json: bool,
    with_source: bool,
) -> ExitCode:
    """Print records as they come, or where they were written; the failed ones are listed."""
    tally = Tally()
    with Bar("structures") as bar:
        passing = _counted(records, tally, bar, total)
        if json:
            _print_json(passing, tally)
        elif output is None:
            print_records(passing, model, bar, with_source=with_source)
        else:
            for _ in passing:
                pass
    tally.require_good()
    if output is None and not json:
        print_shared(tally, model, with_source=with_source)
    if output is not None:
        say(f"{tally.n_good} of {tally.n_all} structures written to {output}")
    return ExitCode.FAILED if tally.n_failed else ExitCode.DONE


def _counted(
    records: Iterator[Record], tally: Tally, bar: Bar, total: int | None
) -> Iterator[Record]:
    for record in records:
        tally.take(record)
        bar.show(tally.n_all, total, tally.n_failed)
        yield record


def _print_json(records: Iterator[Record], tally: Tally) -> None:
    """Print one document as its records come; nothing as long as all of them failed."""
    from molequi.runtime.plain import json_list

    held = []
    for record in records:
        held.append(record)
        if tally.n_good:
            sys.stdout.writelines(json_list(itertools.chain(held, records)))


def _check_means(conformers: int, *, unsafe: bool) -> None:
    if conformers < 2 or unsafe:
        raise UserError(
            "--temperature asks for a mean over conformers: say how many with --conformers N, "
            "at least 2, and leave --unsafe out"
        )
