"""`molequi predict`: structures in, properties out."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

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
from molequi.runtime.wording import counted

if TYPE_CHECKING:
    from pathlib import Path

    from molequi.models.molecular import MolecularModel
    from molequi.runtime.ranks import Rank

Conformers = Annotated[
    int,
    typer.Option(
        "--conformers",
        min=1,
        help="Conformers to make of each SMILES, with the seeds SEED, SEED + 1, ...; with "
        "--temperature up to so many different ones.",
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
    as_is: options.AsIs = False,
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

    With --output (.xyz, .csv or .json) everything is written there; .xyz files hold a calculator.
    The file appears when all is computed; an interrupted command goes on when it is given again,
    and processes that torchrun or srun start share the job.
    An optical rotation has a sign where it is not zero to rounding, and R and S of the geometry.
    """
    options.require_inputs(inputs, smiles, "predict")
    rank = _share(output, alone=temperature is not None)
    network = load_network(model, device, dtype, dispersion=dispersion)
    given = (inputs or [], smiles or [], charge, conformers, seed, add_hydrogens, as_is)
    reading = options.Reading(*given)
    if temperature is not None:
        _check_means(conformers, unsafe=unsafe)
        return _means(reading, network, temperature, output, overwrite=overwrite, json=json)

    from molequi.prediction.predict import iter_records

    if rank.of > 1:
        return _shared(
            reading,
            network,
            rank,
            output,
            batch_size=batch_size,
            overwrite=overwrite,
            unsafe=unsafe,
        )

    records = iter_records(
        reading.structures(), network, batch_size=batch_size, output=output,
        overwrite=overwrite, unsafe=unsafe,
    )  # fmt: skip
    return _report(records, network, output, reading, json=json)


def _share(output: Path | None, *, alone: bool) -> Rank:
    """Return this process's share where a launcher started several; refuse what has none."""
    from molequi.runtime.ranks import launched_rank, use_own_gpu

    rank = launched_rank()
    if rank.of > 1:
        if output is None or alone:
            raise UserError(
                f"{rank.of} processes were started: they share a prediction with --output FILE and "
                "without --temperature; start one process for anything else"
            )
        use_own_gpu()
    return rank


def _shared(
    reading: options.Reading,
    model: MolecularModel,
    rank: Rank,
    output: Path | None,
    **how: Any,
) -> ExitCode:
    """Compute this process's part of the job; the first one shows how far it is, and reports."""
    from molequi.prediction.predict import iter_records

    with Bar("structures", shown=rank.number == 0) as bar:
        total = reading.n_structures() if rank.number == 0 else None
        records = iter_records(
            reading.structures(), model, output=output, rank=rank,
            progress=lambda done: bar.show(done, total), **how,
        )  # fmt: skip
        tally = Tally()
        for record in records:
            tally.take(record)
    return _finish(tally, output) if rank.number == 0 else ExitCode.DONE


def _means(
    reading: options.Reading,
    network: MolecularModel,
    temperature: float,
    output: Path | None,
    *,
    overwrite: bool,
    json: bool,
) -> int:
    from molequi.simulation.boltzmann import predict_means

    given = completed(reading.inputs, add_hydrogens=reading.add_hydrogens, as_is=reading.as_is)
    means = predict_means(
        given, network, temperature=temperature, smiles=reading.smiles, charge=reading.charge,
        conformers=reading.conformers, seed=reading.seed, output=output, overwrite=overwrite,
    )  # fmt: skip
    return print_means(means, network, json=json)


def _report(
    records: Iterator[Record],
    model: MolecularModel,
    output: Path | None,
    reading: options.Reading,
    *,
    json: bool,
) -> ExitCode:
    """Print records as they come, or where they were written; the failed ones are listed."""
    tally, with_source = Tally(), reading.n_sources > 1
    with Bar("structures") as bar:
        passing = _counted(records, tally, bar, reading.n_structures())
        if json:
            _print_json(passing, tally)
        elif output is None:
            print_records(passing, model, bar, with_source=with_source)
        else:
            for _ in passing:
                pass
    code = _finish(tally, output)
    if output is None and not json:
        print_shared(tally, model, with_source=with_source)
    return code


def _finish(tally: Tally, output: Path | None) -> ExitCode:
    """Say how many structures were computed, and where they are."""
    tally.require_good()
    if tally.n_unlike:
        say(
            f"{tally.n_unlike} of {tally.n_good} molecules are unlike all that the model was "
            "trained on (unlike_training): expect larger errors"
        )
    if output is not None:
        say(f"{tally.n_good} of {counted(tally.n_all, 'structure')} written to {output}")
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
