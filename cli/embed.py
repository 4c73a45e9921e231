"""`molequi embed`: the features of every atom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molequi.cli import options
from molequi.cli.exits import ExitCode
from molequi.cli.loading import load_network
from molequi.cli.output import print_json, say
from molequi.cli.records import Record, print_provenance, require_good
from molequi.errors import UserError
from molequi.runtime.wording import counted

if TYPE_CHECKING:
    import numpy as np

    from molequi.prediction.embedding import Embedding

SOURCES = ("charge_source", "multiplicity_source")
EmbedOutput = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        show_default=False,
        help="An .npz file: features (atoms x F), n_atoms, source.",
    ),
]


def embed(
    inputs: options.Inputs = None,
    *,
    output: EmbedOutput = None,
    smiles: options.Smiles = None,
    model: options.Model = "organic",
    charge: options.Charge = None,
    add_hydrogens: options.AddHydrogens = False,
    as_is: options.AsIs = False,
    json: options.Json = False,
    device: options.DeviceOption = options.Device.cpu,
    dtype: options.DtypeOption = None,
    seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
) -> int:
    """Write the invariant features of every atom, for models and analyses of your own.

    The .npz file holds `features`, one row per atom of all structures, and with an entry per
    structure `n_atoms`, `source` and `index` there, `total_charge`, `spin_multiplicity` and where
    these come from. Structures that failed are listed and left out.
    """
    _check_output(output, json=json, overwrite=overwrite)

    from molequi.prediction.embedding import iter_embeddings

    reading = options.Reading(
        inputs or [], smiles or [], charge, seed=seed, add_hydrogens=add_hydrogens, as_is=as_is
    )
    found = list(iter_embeddings(reading.structures(), load_network(model, device, dtype)))
    good = require_good([one.record for one in found])
    if json:
        print_json([_json_record(one) for one in found])
    else:
        print_provenance(good)
    if output is not None:
        features = [one.features for one in found if one.features is not None]
        _write(output, good, features, overwrite=overwrite)
    return ExitCode.DONE if len(good) == len(found) else ExitCode.FAILED


def _json_record(found: Embedding) -> Record:
    return found.record if found.features is None else found.record | {"features": found.features}


def _check_output(output: Path | None, *, json: bool, overwrite: bool) -> None:
    from molequi.runtime.files import check_output

    if output is None and not json:
        raise UserError("say where the features go: --output FILE.npz, or --json")
    if output is not None:
        if output.suffix != ".npz":
            raise UserError(f"the output {output} has no known format; use .npz")
        check_output(output, overwrite=overwrite)


def _write(
    output: Path, records: Sequence[Record], features: Sequence[np.ndarray], *, overwrite: bool
) -> None:
    import numpy as np

    from molequi.runtime.files import written_by_rename

    columns = {
        name: np.array([record[name] for record in records])
        for name in ("source", "index", "n_atoms", "total_charge", "spin_multiplicity", *SOURCES)
    }
    joined = np.concatenate(features)
    with written_by_rename(output, overwrite=overwrite) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, features=joined, **columns)
    what = counted(len(records), "structure")
    say(f"features of {what}, {joined.shape[1]} per atom, written to {output}")
