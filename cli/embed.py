"""`molequi embed`: the features of every atom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molequi.cli import options
from molequi.cli.loading import load_network
from molequi.cli.output import print_json, say
from molequi.errors import UserError

if TYPE_CHECKING:
    import numpy as np

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
    from molequi.prediction.predict import embed as run
    from molequi.runtime.files import check_output

    if output is None and not json:
        raise UserError("say where the features go: --output FILE.npz, or --json")
    if output is not None:
        if output.suffix != ".npz":
            raise UserError(f"the output {output} has no known format; use .npz")
        check_output(output, overwrite=overwrite)
    network = load_network(model, device, dtype)
    features = run(inputs or [], network, smiles=smiles or [], charge=charge, seed=seed)
    if json:
        print_json(features)
    if output is not None:
        _write(output, features)


def _write(output: Path, features: Sequence[np.ndarray]) -> None:
    import numpy as np

    from molequi.runtime.files import written_by_rename

    n_atoms = [len(atoms) for atoms in features]
    with written_by_rename(output) as temporary:
        np.savez_compressed(temporary, features=np.concatenate(features), n_atoms=n_atoms)
    say(
        f"features of {len(features)} structures, {features[0].shape[1]} per atom, written to "
        f"{output}"
    )
