"""`molequi embed`: the features of every atom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molequi.cli import options
from molequi.cli.loading import load_network
from molequi.cli.output import print_json, say
from molequi.cli.records import print_provenance
from molequi.errors import UserError
from molequi.runtime.wording import counted

if TYPE_CHECKING:
    from molequi.prediction.embedding import Embedding

SOURCES = ("charge_source", "multiplicity_source")
EmbedOutput = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        show_default=False,
        help="An .npz file: features (atoms x F), n_atoms.",
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
) -> None:
    """Write the invariant features of every atom, for models and analyses of your own.

    The .npz file holds `features`, one row per atom of all structures, and with an entry per
    structure `n_atoms`, `total_charge`, `spin_multiplicity` and where these come from.
    """
    _check_output(output, json=json, overwrite=overwrite)

    from molequi.prediction.embedding import iter_embeddings

    reading = options.Reading(
        inputs or [], smiles or [], charge, seed=seed, add_hydrogens=add_hydrogens, as_is=as_is
    )
    found = list(iter_embeddings(reading.structures(), load_network(model, device, dtype)))
    if json:
        print_json([{**one.record, "features": one.features} for one in found])
    else:
        print_provenance([one.record for one in found])
    if output is not None:
        _write(output, found)


def _check_output(output: Path | None, *, json: bool, overwrite: bool) -> None:
    from molequi.runtime.files import check_output

    if output is None and not json:
        raise UserError("say where the features go: --output FILE.npz, or --json")
    if output is not None:
        if output.suffix != ".npz":
            raise UserError(f"the output {output} has no known format; use .npz")
        check_output(output, overwrite=overwrite)


def _write(output: Path, found: Sequence[Embedding]) -> None:
    import numpy as np

    from molequi.runtime.files import written_by_rename

    columns = {
        name: np.array([one.record[name] for one in found])
        for name in ("n_atoms", "total_charge", "spin_multiplicity", *SOURCES)
    }
    features = np.concatenate([one.features for one in found])
    with written_by_rename(output) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, features=features, **columns)
    what = counted(len(found), "structure")
    say(f"features of {what}, {features.shape[1]} per atom, written to {output}")
