"""Put a trained model of the teacher's set into the package, with its card.

    python data/recipes/bundle.py RUN teacher.npz [--name organic] [--suites DIR] [--atoms FILE]
    [--begun TEXT] [--models data/models]

RUN is the run directory of `molequi train organic data.path=teacher.npz`, teacher.npz the set of
`teacher.py` that it was trained on. --suites: a folder of reference energies, those that are
bundled by default. --atoms: `atoms.json` of `teacher.py atoms`, energies (eV) of the isolated atoms
at the model's level, for atomization energies; those of the run's config by default. --begun: what
the run began from, in words, for a run with `init`: the file that it names is on one machine alone.

Writes NAME.safetensors (float32) and NAME.json, and prints size and checksums for data/README.md.
Refuses a run of another set, and a model above 8 MB.
"""

import argparse
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import bundle_errors as errors
import torch
from ase.build import molecule
from ase.data import chemical_symbols
from ase.units import Debye
from bundle_output import MODELS, write

from molequi.datasets.labelled_set import LabelledSet
from molequi.datasets.npz import load_npz
from molequi.errors import UserError
from molequi.graphs.neighbors import build_graph
from molequi.models.molecular import MolecularModel
from molequi.models.zoo import load
from molequi.training.config import make_config
from molequi.training.evaluation import evaluate_frames
from molequi.training.metrics_file import read_metrics
from molequi.training.run_directory import RunDirectory

MOST_BYTES = 8_000_000
LIMITS = (
    "closed-shell molecules and ions of the elements above; radicals, triplets, other elements, "
    "metals among them, and charges that were not trained are refused by name",
    "barriers and broken bonds are as poor as the teacher's, which was made for molecules near "
    "their minima",
    "up to 64 atoms in training; the errors by size judge larger ones",
    "gas phase: crystals and liquids were not trained on, but as clusters of up to ten molecules",
)


def identified(
    model: MolecularModel, name: str, atoms: Path | None, begun: str | None = None
) -> MolecularModel:
    """Return the model in float32 under its name, with the energies of isolated atoms of a file.

    Raises UserError where the file lacks an element of the model, and for a run with `init` of
    which nobody said what it began from.
    """
    training = model.metadata.training
    if training is not None and training.init is not None:
        if begun is None:
            raise UserError(f"the run began from {training.init}; say what that was by --begun")
        training = dataclasses.replace(training, init=begun)
    metadata = dataclasses.replace(model.metadata, name=name, training=training)
    if atoms is not None:
        known = json.loads(atoms.read_text(encoding="utf-8"))
        symbols = [chemical_symbols[number] for number in model.elements]
        missing = [symbol for symbol in symbols if symbol not in known]
        if missing:
            raise UserError(
                f"{atoms} has no energy of {', '.join(missing)}; run `teacher.py atoms` to its end"
            )
        energies = {symbol: float(known[symbol]) for symbol in symbols}
        metadata = dataclasses.replace(metadata, isolated_atom_energies=energies)
    model.metadata = metadata
    return model.to(torch.float32)


def counts_of(loaded: LabelledSet, model: MolecularModel) -> Mapping[str, Mapping]:
    """Return the counts that the recipe wrote into the set.

    Raises UserError for a set of another recipe, or another one than the model was trained on.
    """
    if "counts" not in loaded.notes or not loaded.frames.source:
        raise UserError("the set has no counts; give teacher.npz as `teacher.py assemble` wrote it")
    seen, here = model.metadata.training.n_structures, len(loaded.splits["train"])
    if seen != here:
        raise UserError(
            f"the run saw {seen} training structures, this set has {here}; give the set that the "
            "run was trained on"
        )
    return loaded.notes["counts"]


def training_of(run: RunDirectory, begun: str | None) -> dict[str, object]:
    """Return what the run's config says of the training beside the defaults, and its epochs."""
    config = make_config(run.read_settings(), str(run.config))
    return {
        "config": config.name,
        **({} if begun is None else {"begun from": begun}),
        "epochs done": len(read_metrics(run.metrics)),
        **config.training.model_dump(mode="json", exclude_defaults=True),
    }


def water_dipole(model: MolecularModel) -> float:
    """Return water's dipole along the line from O to the middle of the hydrogens, D."""
    atoms = molecule("H2O")
    graph = build_graph(atoms.positions, atoms.numbers, model.cutoff)
    dipole = model.compute(graph)["dipole"][0].numpy()
    axis = atoms.positions[1:].mean(axis=0) - atoms.positions[0]
    return float(dipole @ axis / torch.linalg.norm(torch.tensor(axis)) / Debye)


def data_of(loaded: LabelledSet, counts: Mapping[str, Mapping]) -> dict[str, object]:
    """Return how many frames and molecules the parts of the set have, and what was left out."""
    names = [line.split(" ", 2)[2] for line in loaded.frames.source]
    different = {
        part: len({names[row] for row in rows.tolist()}) for part, rows in loaded.splits.items()
    }
    return {
        "recipe": "data/recipes/teacher.py",
        "labels": loaded.notes["level"],
        "frames": dict(counts["all"]["frames"]),
        "molecules and complexes": different,
        "frames with completed dispersion": loaded.notes.get("completed_dispersion"),
        "split": "by skeleton without hydrogens, bond orders, charges and stereo marks",
    }


def make_card(
    model: MolecularModel, run: RunDirectory, loaded: LabelledSet, suites: Path | None
) -> dict[str, object]:
    """Measure everything that the card states."""
    counts = counts_of(loaded, model)
    frames = errors.part(loaded.frames, loaded.splits["test"])
    evaluation = evaluate_frames(model, frames, names=errors.COMPARED)
    found, judged = errors.tables(evaluation, counts), errors.suite_errors(model, suites)
    charges = sorted(charge for charge, _ in model.metadata.charge_multiplicity)
    training = model.metadata.training
    return {
        "name": model.metadata.name,
        "description": "Energies, forces, charges and dipoles of closed-shell molecules and ions "
        f"of {len(model.elements)} elements",
        "elements": [chemical_symbols[number] for number in model.elements],
        "charges": f"{charges[0]:+d} to {charges[-1]:+d}",
        "level": dict(model.metadata.level),
        "isolated atoms (eV)": dict(model.metadata.isolated_atom_energies),
        "data": data_of(loaded, counts),
        "model": {**model.backbone.settings, "weights": sum(p.numel() for p in model.parameters())},
        "training": training_of(run, training and training.init),
        "errors on held-out constitutions": found.pop("all"),
        **{f"errors by {title}": group for title, group in found.items()},
        "doubt on held-out constitutions": errors.doubt(evaluation),
        **{f"reference energies, {kind}": rows for kind, rows in judged.items() if rows},
        "water, dipole from O to the hydrogens (D)": round(water_dipole(model), 3),
        "where it fails": errors.worst(found, evaluation),
        "limits": list(LIMITS),
    }


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--name", default="organic")
    parser.add_argument("--suites", type=Path)
    parser.add_argument("--atoms", type=Path)
    parser.add_argument("--begun")
    parser.add_argument("--models", type=Path, default=MODELS)
    arguments = parser.parse_args()
    try:
        model = identified(load(arguments.run), arguments.name, arguments.atoms, arguments.begun)
        loaded = load_npz(arguments.data)
        card = make_card(model, RunDirectory(arguments.run), loaded, arguments.suites)
        write(model, card, arguments.models, arguments.name, MOST_BYTES)
    except UserError as error:
        parser.error(str(error))
    print(json.dumps(card["errors on held-out constitutions"], indent=1, ensure_ascii=False))
    print("\n".join(card["where it fails"]))


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
