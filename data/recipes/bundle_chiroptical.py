"""Put a trained `chiroptical` model into the package.

Its file, and its card with the errors on the test part.

    python data/recipes/bundle_chiroptical.py RUN rosenfeld.npz reserved.txt [--name chiroptical]
    [--models data/models]

RUN is the run directory of `molequi train chiroptical data.path=rosenfeld.npz`, rosenfeld.npz the
same set with its stored split and groups, reserved.txt a list of SMILES, one a line, that nothing
may have learned from. Refuses a model that saw one of these constitutions, or whose test
constitutions stand in its training part. Writes NAME.safetensors and NAME.json and prints the rows
for data/README.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

import torch
from ase.data import chemical_symbols
from bundle_output import MODELS, write

from molequi.datasets.in_memory import Frames
from molequi.datasets.labelled_set import LabelledSet
from molequi.datasets.npz import load_npz
from molequi.errors import UserError
from molequi.models.molecular import MolecularModel
from molequi.models.zoo import load
from molequi.properties import PROPERTIES
from molequi.structures.cip import constitution_of
from molequi.training.parts import split_parts
from molequi.training.predictions import predict_frames

Score = Callable[[torch.Tensor, torch.Tensor], float]
SIGN_LIMIT = 0.05  # bohr⁴: the sign of smaller values is not asked for
MAX_BYTES = 1_000_000

# What the level itself gets wrong, in deg/[dm (g/cm³)] at 589 nm. HF with a large basis and
# experiment: K. Ruud, P. J. Stephens, F. J. Devlin, P. R. Taylor, J. R. Cheeseman, M. J. Frisch,
# Chem. Phys. Lett. 373 (2003) 606, tables 4 and 5 (molecules 6 and 14). HF/6-31G, static: by
# `molequi relax --smiles SMILES --output m.xyz` and `molequi label m.xyz --level hf/6-31g`.
WHERE_HF_FAILS = [
    {
        "molecule": "(2R,3R)-1-methylene-2,3-dimethylcyclopropane",
        "smiles": "C=C1[C@H](C)[C@H]1C",
        "HF/aug-cc-pVDZ": -21.6,
        "HF/6-31G": 60.0,
        "experiment": 57.6,
        "what": "the sign is wrong with a good basis; the small basis is right by an error of its "
        "own",
    },
    {
        "molecule": "(1S,4S)-norbornenone",
        "smiles": "O=C1C[C@H]2C=C[C@@H]1C2",
        "HF/aug-cc-pVDZ": -606.7,
        "HF/6-31G": -408.8,
        "experiment": -1146.0,
        "what": "half of the value, and a third in the model's own basis",
    },
]
LIMITS = [
    "it predicts HF/6-31G at zero frequency, not experiment: basis, electron correlation, "
    "wavelength, solvent and vibrations are absent",
    "a rotation belongs to the conformer: average flexible molecules with `--conformers N "
    "--temperature K`",
    "neutral, closed-shell molecules of the elements above with up to 9 heavy atoms, at "
    "relaxed geometries",
    "R and S are read off the geometry, and say nothing about the sign of a rotation",
    "cages with a double bond in small rings, C=C or C=N at a bridgehead, rotate most, by up to "
    "twelve times the spread, and are in doubt: of 720 held-out molecules the 29 with three rings "
    "or more and a double bond in a ring of up to five atoms have a mean error of 0.13 bohr⁴, the "
    "others 0.05; gdb 38514 (C1C2OC3=NC1C1C2C31) has -5.04 bohr⁴, and -1.16 predicted",
]
SOURCE = "K. Ruud et al., Chem. Phys. Lett. 373 (2003) 606, doi 10.1016/S0009-2614(03)00667-5"


def overlap(groups: list[str], reserved: Path) -> int:
    """Count the constitutions of a set that stand in a list of SMILES, whatever their stereo marks.

    Raises UserError for an empty list: an overlap with nothing would say nothing.
    """
    listed = {
        constitution_of(line.split()[0])
        for line in reserved.read_text(encoding="utf-8").splitlines()
        if line.strip()
    }
    if not listed:
        raise UserError(f"{reserved} lists no SMILES; expected one a line")
    return len({constitution_of(group) for group in groups} & listed)


def scores(model: MolecularModel, test: Frames) -> dict[str, object]:
    """Return R², error and sign of the isotropic part on both enantiomers.

    Beside them R² by irrep part of the tensor, and how exactly the enantiomers are mirrored.
    """
    row, label = PROPERTIES["rosenfeld"], test.targets["rosenfeld"]
    image = dataclasses.replace(test, positions=-test.positions)
    value, other = (
        predict_frames(model, frames, ["rosenfeld"])["rosenfeld"] for frames in (test, image)
    )
    parts = zip(split_parts(row, value).items(), split_parts(row, label).values(), strict=True)
    result: dict[str, object] = {f"R² of {name}": _r2(x, y) for (name, x), y in parts}
    guess, truth = (
        torch.cat([_isotropic(value), _isotropic(other)]),
        torch.cat([_isotropic(label), -_isotropic(label)]),
    )
    is_right = (guess.sign() == truth.sign())[truth.abs() > SIGN_LIMIT]
    one, real = _isotropic(value), _isotropic(label)
    return {
        "structures, both hands": len(truth),
        "R² of rosenfeld_isotropic": _r2(guess, truth),
        "R² of rosenfeld_isotropic, 95 % interval": interval(one, real, _r2_of_hands),
        "MAE of rosenfeld_isotropic (bohr⁴)": round(float((guess - truth).abs().mean()), 4),
        "MAE of predicting zero (bohr⁴)": round(float(truth.abs().mean()), 4),
        f"sign right where |rosenfeld_isotropic| > {SIGN_LIMIT} bohr⁴ (%)": round(
            100 * float(is_right.double().mean()), 1
        ),
        "sign right, 95 % interval (%)": interval(one, real, _signs_right),
        **result,
        "mirror violation over the spread": float(
            (_isotropic(value) + _isotropic(other)).abs().max() / truth.std(correction=0)
        ),
    }


def interval(guess: torch.Tensor, truth: torch.Tensor, score: Score) -> list[float]:
    """Return the 2.5 and 97.5 percentiles of a score over 4,000 bootstrap samples of molecules.

    One molecule stands for a constitution, with both of its hands.
    """
    generator = torch.Generator().manual_seed(0)
    draws = torch.randint(0, len(truth), (4000, len(truth)), generator=generator)
    values = torch.tensor([score(guess[rows], truth[rows]) for rows in draws], dtype=torch.float64)
    limits = torch.quantile(values, torch.tensor([0.025, 0.975], dtype=torch.float64))
    return [round(float(limit), 3) for limit in limits]


def _r2_of_hands(guess: torch.Tensor, truth: torch.Tensor) -> float:
    """Return R² over both hands, whose mean is zero."""
    return 1.0 - float((guess - truth).square().sum() / truth.square().sum())


def _signs_right(guess: torch.Tensor, truth: torch.Tensor) -> float:
    counted = truth.abs() > SIGN_LIMIT
    return 100.0 * float((guess.sign() == truth.sign())[counted].double().mean())


def spread(frames: Frames) -> float:
    """Return the root mean square of the 0o part of the tensors in the orthonormal basis, bohr⁴.

    What `predict` compares a rotation with.
    """
    return float(
        split_parts(PROPERTIES["rosenfeld"], frames.targets["rosenfeld"])["rosenfeld[0o]"]
        .square()
        .mean()
        .sqrt()
    )


def make_card(
    model: MolecularModel, loaded: LabelledSet, reserved: Path, name: str
) -> dict[str, object]:
    """Measure everything that the card states.

    Raises UserError where reserved constitutions were learned from, or the split lets a
    constitution straddle it.
    """
    if not loaded.groups:
        raise UserError(
            "the set has no groups, so that its split cannot be checked; prepare it by `molequi "
            "data prepare rosenfeld`"
        )
    parts = {part: loaded.frames.subset(rows) for part, rows in loaded.splits.items()}
    groups = {
        part: {loaded.groups[int(row)] for row in rows} for part, rows in loaded.splits.items()
    }
    shared = groups["train"] & groups["test"]
    if shared:
        raise UserError(
            f"{len(shared)} constitutions stand in training and test, such as {sorted(shared)[0]}; "
            "the split must be grouped"
        )
    common = overlap(list(loaded.groups), reserved)
    if common:
        raise UserError(
            f"{common} constitutions of the set stand in {reserved.name}; label and train without "
            "them"
        )
    seen = model.metadata.training.n_structures
    if seen != len(parts["train"]):
        raise UserError(
            f"the run saw {seen} training structures, this set has {len(parts['train'])}; give the "
            "set that the run was trained on"
        )
    # The same sums for a structure and its image: kernels that change in between would show as a
    # violation of the mirror law.
    model.backbone.use_kernels("generic")
    return {
        "name": name,
        "description": "Rosenfeld tensor and optical rotation, with polarizability and dipole, of "
        "neutral closed-shell molecules",
        "elements": [chemical_symbols[number] for number in model.elements],
        "level": dict(model.metadata.level),
        "data": {
            "geometries": "QM9 (B3LYP/6-31G(2df,p) minima), one conformer each",
            "split": "by constitution (stereo-free SMILES), so that hands and conformers stay in "
            "one part",
            **{
                part: {"structures": len(frames), "constitutions": len(groups[part])}
                for part, frames in parts.items()
            },
            "spread of rosenfeld_isotropic in training (bohr⁴)": round(
                spread(parts["train"]) / math.sqrt(3.0), 4
            ),
        },
        "reserved constitutions in the data": common,
        "model": {**model.backbone.settings, "weights": sum(p.numel() for p in model.parameters())},
        "errors on the test part": scores(model, parts["test"]),
        "where Hartree-Fock itself fails": {
            "unit": PROPERTIES["specific_rotation"].unit,
            "source": SOURCE,
            "molecules": WHERE_HF_FAILS,
        },
        "limits": LIMITS,
    }


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("reserved", type=Path)
    parser.add_argument("--name", default="chiroptical")
    parser.add_argument("--models", type=Path, default=MODELS)
    arguments = parser.parse_args()
    model, loaded = load(arguments.run), load_npz(arguments.data)
    try:
        model.metadata = dataclasses.replace(model.metadata, name=arguments.name)
        card = make_card(model, loaded, arguments.reserved, arguments.name)
        train = loaded.frames.subset(loaded.splits["train"])
        training = model.metadata.training
        scales = {"rosenfeld[0o]": spread(train), **training.spread}
        training = dataclasses.replace(training, spread=scales)
        model.metadata = dataclasses.replace(model.metadata, training=training)
        write(model, card, arguments.models, arguments.name, MAX_BYTES)
    except UserError as error:
        parser.error(str(error))
    print(json.dumps(card["errors on the test part"], indent=1, ensure_ascii=False))


def _isotropic(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.diagonal(dim1=1, dim2=2).mean(dim=1)


def _r2(value: torch.Tensor, label: torch.Tensor) -> float:
    return round(
        1.0 - float((value - label).square().sum() / (label - label.mean(dim=0)).square().sum()), 4
    )


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
