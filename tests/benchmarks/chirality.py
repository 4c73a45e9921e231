"""What parity is worth: networks that know the hand beside networks and kernels that do not.

    python tests/benchmarks/chirality.py d0 alanine.npz        L or D of alanine in motion
    python tests/benchmarks/chirality.py d1 qm9_rs.npz         R or S of the stereocentre of
    molecules of QM9
    python tests/benchmarks/chirality.py d2 rosenfeld.npz      optical rotation: a third of the
    trace of the Rosenfeld tensor [--only NAME ...] [--epochs N] [--train N] [--set key=value ...]
    [--runs DIR] [--json]

Each file is a flat npz with a stored split in which mirror images and conformers of a constitution
stand in one part. The settings are those of configs/alanine.yaml, handedness.yaml and
chiroptical.yaml. Every test geometry is judged together with its own mirror image x -> -x. A run
that stands in DIR already is not repeated.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from hands import ridge
from hands.twin import mirrored, relabelled, without_parity
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.datasets.making import join_frames
from molequi.datasets.npz import load_npz
from molequi.datasets.splits import shrink
from molequi.errors import UserError
from molequi.models.checkpoint import load_model
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.properties import PROPERTIES, Property
from molequi.training.config import Config, load_config, make_config
from molequi.training.fit import fit_frames
from molequi.training.parts import split_parts
from molequi.training.predictions import predict_frames

CONFIGS = {"d0": "alanine", "d1": "handedness", "d2": "chiroptical"}
SIGN_LIMIT = 0.05  # bohr⁴: the sign of smaller values is not asked for


class Task(NamedTuple):
    """One set. target: what is judged. config: of our model. parts: train, valid, test."""

    name: str
    target: str
    config: Config
    parts: dict[str, Frames]


def open_task(name: str, path: str, overrides: list[str], n_train: int | None) -> Task:
    """Read the set and the settings.

    N_train: train on so many structures, the same ones for all methods, smaller choices within
    larger ones.
    """
    loaded = load_npz(path)
    target, targets = (
        ("rosenfeld_isotropic", ["rosenfeld", "polarizability"])
        if name == "d2"
        else ("handedness", ["handedness"])
    )
    config = changed(load_config(CONFIGS[name], ["level={}", *overrides]), targets)
    frames = loaded.frames.with_targets(list(dict.fromkeys([*targets, target])))
    splits = shrink(loaded.splits, {"train": n_train or 0}, config.training.seed)
    return Task(name, target, config, {part: frames.subset(rows) for part, rows in splits.items()})


def train(config: Config, parts: Mapping[str, Frames], output: Path) -> MolecularModel:
    """Train unless `output` holds the result already; returns the best model."""
    if not (output / "result.json").is_file():
        frames = join_frames(list(parts.values()))
        rows = torch.arange(len(frames)).split([len(part) for part in parts.values()])
        fit_frames(config, frames, dict(zip(parts, rows, strict=True)), output)
    model = load_model(output / "model.safetensors")
    # The same sums for a structure and its image: kernels that change in between would show as a
    # violation of the mirror law.
    model.backbone.use_kernels("generic")
    return model


def changed(
    config: Config,
    targets: list[str],
    *,
    model: Mapping[str, Any] | None = None,
    epochs: float = 1.0,
) -> Config:
    """Return the config with other targets, another network or a multiple of the epochs."""
    data = config.model_dump()
    if "even" in targets:
        data["properties"] = {"even": {"unit": "1"}}
    data["data"]["targets"] = targets
    data["model"] |= dict(model or {})
    kept = {
        key: value
        for key, value in data["training"]["weights"].items()
        if key.partition("[")[0] in targets
    }
    data["training"] |= {"weights": kept, "epochs": max(1, round(epochs * config.training.epochs))}
    return make_config(data)


def called_even(frames: Frames, target: str) -> Frames:
    """Add the target under the name `even`, declared 0e.

    What a model without handed outputs has to offer.
    """
    row = PROPERTIES[target]
    even = Property(
        "even", "0e", row.unit, per_atom=row.per_atom, extensive=row.extensive, binary=row.binary
    )
    return dataclasses.replace(
        frames,
        targets={**frames.targets, "even": frames.targets[target]},
        properties={**frames.properties, "even": even},
    )


def ours(task: Task, output: Path) -> Predictor:
    """Both parities, the handed output."""
    names = list(task.config.data.targets)
    return Predictor(train(task.config, with_names(task.parts, names), output), task.target)


def natural(task: Task, output: Path) -> Predictor:
    """Natural-parity features (0e 1o 2e 3o), which never reach a pseudoscalar.

    Refused, and zero if it were not.
    """
    try:
        make_model(
            task.parts["train"].elements(),
            list(task.config.data.targets),
            **{**task.config.model.overrides(), "parity": "natural"},
        )
    except UserError as refusal:
        return Predictor(None, task.target, str(refusal))
    raise AssertionError("a network of natural parity was not refused")


def even_only(task: Task, output: Path, **model: Any) -> Predictor:
    """The same network with 0e output."""
    parts = {name: called_even(part, task.target) for name, part in task.parts.items()}
    names = ["even", *(["polarizability"] if task.name == "d2" and not model else [])]
    return Predictor(
        train(changed(task.config, names, model=model), with_names(parts, names), output), "even"
    )


def distances_only(task: Task, output: Path) -> Predictor:
    """Scalar features: l_max = 0, distances alone."""
    return even_only(task, output, l_max=0, parity="natural")


def so3(task: Task, output: Path, *, augmented: bool = False) -> Predictor:
    """All parities relabelled even.

    With `augmented` the mirror images are trained on too, for half as many epochs.
    """
    names = list(task.config.data.targets)
    parts = with_names(task.parts, names)
    if augmented:
        parts["train"] = join_frames([parts["train"], mirrored(parts["train"])])
    parts = {name: relabelled(part) for name, part in parts.items()}
    config = changed(
        task.config, names, model={"parity": "natural"}, epochs=0.5 if augmented else 1.0
    )
    weights = {key.replace("o]", "e]"): value for key, value in config.training.weights.items()}
    training = config.training.model_copy(update={"weights": weights})
    with without_parity():
        return Predictor(
            train(config.model_copy(update={"training": training}), parts, output), task.target
        )


def so3_augmented(task: Task, output: Path) -> Predictor:
    """The twin with mirror augmentation."""
    return so3(task, output, augmented=True)


def odd_ridge(task: Task, output: Path) -> Predictor:
    """The kernel ridge of `hands/ridge.py`."""
    values, choice = ridge.fit_predict(
        {**task.parts, "image": mirrored(with_names(task.parts, [task.target])["test"])}
    )
    fixed = {name: torch.from_numpy(part) for name, part in values.items()}
    return Predictor(None, task.target, f"chosen on valid: {choice._asdict()}", fixed)


def zero(task: Task, output: Path) -> Predictor:
    """Zero, or a coin."""
    return Predictor(None, task.target)


def with_names(parts: Mapping[str, Frames], names: list[str]) -> dict[str, Frames]:
    """Keep these targets in every part."""
    return {name: part.with_targets(names) for name, part in parts.items()}


class Predictor(NamedTuple):
    """What gives values: a model and its output, fixed values, or neither, which is zero.

    The fixed values are those of `test` and `image`. note: for the table."""

    model: MolecularModel | None
    output: str
    note: str = ""
    fixed: Mapping[str, Tensor] | None = None

    def values(self, frames: Frames, part: str) -> Tensor:
        """Return the values for all structures (or atoms) of a part."""
        if self.fixed is not None:
            return self.fixed[part]
        size = (
            frames.positions.shape[0]
            if PROPERTIES.get(self.output, PROPERTIES["handedness"]).per_atom
            else len(frames)
        )
        if self.model is None:
            return torch.zeros(size, dtype=torch.float64)
        return predict_frames(self.model, frames, [self.output])[self.output]


METHODS: dict[str, Callable[[Task, Path], Predictor]] = {
    "ours": ours,
    "natural": natural,
    "0e_only": even_only,
    "distances_only": distances_only,
    "so3": so3,
    "so3_augmented": so3_augmented,
    "odd_ridge": odd_ridge,
    "zero": zero,
}


def judge(task: Task, predictor: Predictor) -> dict[str, Any]:
    """Score the values on the test geometries and on their mirror images together."""
    test = task.parts["test"]
    image = dataclasses.replace(test, positions=-test.positions)
    known = ~torch.isnan(test.targets[task.target])
    label = test.targets[task.target][known]
    value, other = predictor.values(test, "test")[known], predictor.values(image, "image")[known]
    spread = float(value.std(correction=0)) if task.name != "d2" else float(label.std(correction=0))
    result: dict[str, Any] = {
        "violation": float((value + other).abs().max()) / spread if spread > 0 else None
    }
    if predictor.model is not None:
        result["violation_float64"] = double_violation(predictor, test, image, known, spread)
    if task.name == "d2":
        result |= regression(torch.cat([value, other]), torch.cat([label, -label]))
        if predictor.model is not None and "rosenfeld" in predictor.model.outputs:
            result |= tensor_scores(predictor.model, test)
    else:
        sign = 2.0 * label - 1.0
        result |= {
            "accuracy": float(
                0.5 + 0.5 * torch.cat([value.sign() * sign, -other.sign() * sign]).mean()
            ),
            "count": 2 * len(label),
        }
    return {**result, "note": predictor.note}


def regression(value: Tensor, label: Tensor) -> dict[str, float | int]:
    """R², MAE over that of zero, and how often the sign is right where |label| > SIGN_LIMIT.

    A value of zero is right half the time.
    """
    large = label.abs() > SIGN_LIMIT
    error = value - label
    return {
        "r2": 1.0 - float(error.square().sum() / (label - label.mean()).square().sum()),
        "mae_ratio": float(error.abs().mean() / label.abs().mean()),
        "sign": float(0.5 + 0.5 * (value.sign() * label.sign())[large].mean()),
        "count": len(label),
    }


def tensor_scores(model: MolecularModel, test: Frames) -> dict[str, float]:
    """R² of each irrep part of the tensor, and the mean absolute error of its components, bohr⁴."""
    row, label = PROPERTIES["rosenfeld"], test.targets["rosenfeld"]
    value = predict_frames(model, test, ["rosenfeld"])["rosenfeld"]
    parts = zip(split_parts(row, value).items(), split_parts(row, label).values(), strict=True)
    scores = {
        f"r2_{name}": 1.0 - float((x - y).square().sum() / (y - y.mean(dim=0)).square().sum())
        for (name, x), y in parts
    }
    return {**scores, "tensor_mae": float((value - label).abs().mean())}


def double_violation(
    predictor: Predictor, test: Frames, image: Frames, known: Tensor, spread: float
) -> float | None:
    """The mirror violation of the same weights in float64."""
    twin = predictor._replace(model=predictor.model.to(torch.float64))
    violation = (twin.values(test, "test")[known] + twin.values(image, "image")[known]).abs().max()
    predictor.model.to(torch.float32)
    return float(violation) / spread if spread > 0 else None


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Lay the numbers out, one method a line."""
    columns = list(dict.fromkeys(key for row in rows.values() for key in row if key != "note"))
    lines = [["method", *columns]] + [
        [name, *(_number(row.get(column)) for column in columns)] for name, row in rows.items()
    ]
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _number(value: Any) -> str:
    return "-" if value is None else str(value) if isinstance(value, int) else f"{value:.4g}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=CONFIGS)
    parser.add_argument("file")
    parser.add_argument("--only", nargs="+", choices=METHODS)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--train", type=int, help="train on so many structures")
    parser.add_argument(
        "--set", nargs="+", default=[], help="other settings of the config, such as training.seed=1"
    )
    parser.add_argument("--runs", default="runs/chirality")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    overrides = [
        *arguments.set,
        *([f"training.epochs={arguments.epochs}"] if arguments.epochs else []),
    ]
    task = open_task(arguments.task, arguments.file, overrides, arguments.train)
    names = arguments.only or [name for name in METHODS if name != "odd_ridge" or task.name == "d2"]
    rows = {
        name: judge(task, METHODS[name](task, Path(arguments.runs) / f"{task.name}_{name}"))
        for name in names
    }
    sizes = {part: len(frames) for part, frames in task.parts.items()}
    print(
        json.dumps({"task": task.name, "sizes": sizes, "methods": rows}, indent=1)
        if arguments.json
        else table(rows)
    )


if __name__ == "__main__":
    main()
