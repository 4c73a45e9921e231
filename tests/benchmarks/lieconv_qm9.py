"""QM9 runs of LieConv and of the E(3) model, and their errors on moved test molecules.

The runs are kept and resumed."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

import torch
from scipy.stats import t as student
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.datasets.load import load_dataset
from molequi.experiments import fit
from molequi.groups.rotations import haar_space
from molequi.models.checkpoint import load_model
from molequi.models.molecular import MolecularModel
from molequi.training.config import Config, load_config
from molequi.training.evaluation import evaluate_frames

# What the paper gives, meV: test molecules as they are, moved by T(3), SO(3), SE(3); 20,000
# training molecules, no augmentation.
PUBLISHED_HOMO = {
    "trivial": (173, 183, 239, 243),
    "T(3)": (113, 113, 133, 133),
    "SO(3)": (159, 238, 160, 240),
    "SE(3)": (62, 62, 63, 62),
}
PUBLISHED_SIZE = 20000
PUBLISHED_RANKING = {
    "trivial": 31.7,
    "SO(3)": 65.4,
    "T(3)": 29.6,
    "SE(3)": 26.8,
    "SE(3) by frames": 26.8,
}
# All of QM9: alpha bohr³, mu D, homo meV.
PUBLISHED_T3 = {"isotropic_polarizability": 0.084, "dipole_magnitude": 0.032, "homo": 30.0}
BOHR3 = 0.14818471
MOVES = ("as is", "T(3)", "SO(3)", "SE(3)")
N_TEST, N_RESAMPLINGS = 2000, 4
# For a CPU; the paper has 6 blocks, 1536 channels, 1000 epochs.
SMALL = (
    "model.n_layers=3",
    "model.n_channels=96",
    "training.epochs=20",
    "training.batch_size=50",
    "data.split.valid=1000",
    f"data.split.test={N_TEST}",
)
E3 = {"preset": "small", "cutoff": 5.0}


def homo_rows(runs: Path, sizes: Sequence[int], settings: Sequence[str]) -> list[dict[str, object]]:
    """Return HOMO errors (meV) by group and motion of the test molecules.

    Beside them the published ones and the E(3) model's."""
    rows = []
    for size in sizes:
        for group in (*PUBLISHED_HOMO, "E(3)"):
            config = _config(group, "homo", size, ("model.augmentation=none",), settings)
            model, frames = _trained(config, runs / f"homo_{_slug(group)}_{size}")
            row: dict[str, object] = {"group": group, "train": size}
            published = PUBLISHED_HOMO.get(group) if size == PUBLISHED_SIZE else None
            for move, figure in zip(MOVES, published or (None,) * len(MOVES), strict=True):
                mean, spread = _error(model, frames, move, "homo")
                row |= {move: 1e3 * mean, f"{move} ±": 1e3 * spread, f"paper, {move}": figure}
            rows.append(row)
    return rows


def ranking_rows(
    runs: Path,
    sizes: Sequence[int],
    settings: Sequence[str],
    groups: Sequence[str] = tuple(PUBLISHED_RANKING),
    seeds: Sequence[int] = (0,),
) -> list[dict[str, object]]:
    """Return HOMO errors (meV) by group, trained on molecules turned at random.

    SE(3) twice: with one sampled lift, and with the four frames of the principal axes. Each error
    is the mean over resamplings of motions and lifts; of several seeds, their mean with the half
    width of its 95 % interval (Student's t). Beside it the same of the differences to the first
    group, seed by seed.
    """
    rows = []
    for size in sizes:
        first: Sequence[float] = ()
        for name in groups:
            errors = [_ranking_error(runs, size, settings, name, seed) for seed in seeds]
            means = [1e3 * mean for mean, _ in errors]
            first = first or means
            differences = [mean - other for mean, other in zip(means, first, strict=True)]
            rows.append(
                {
                    "group": name,
                    "train": size,
                    "homo meV": fmean(means),
                    "95 %": _half_width(means),
                    f"minus {groups[0]}": fmean(differences),
                    "of it 95 %": _half_width(differences),
                    "seeds": " ".join(f"{mean:.1f}" for mean in means),
                    "± of resampling": 1e3 * fmean(spread for _, spread in errors),
                    "paper (100,000)": PUBLISHED_RANKING[name],
                }
            )
    return rows


def _ranking_error(
    runs: Path, size: int, settings: Sequence[str], name: str, seed: int
) -> tuple[float, float]:
    group, _, lifts = name.partition(" by ")
    chosen = ["model.augmentation=rotations", f"training.seed={seed}"]
    chosen += [f"model.lifts={lifts}", "model.n_lifts=4"] if lifts else []
    config = _config(group, "homo", size, chosen, settings)
    tail = f"_{seed}" if seed else ""
    model, frames = _trained(config, runs / f"ranking_{_slug(name)}_{size}{tail}")
    return _error(model, frames, "SO(3)", "homo")


def _half_width(values: Sequence[float]) -> float | None:
    """Return the half width of the 95 % interval of the mean, None of a single value."""
    if len(values) < 2:
        return None
    return float(student.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))


def curve_rows(
    runs: Path, sizes: Sequence[int], settings: Sequence[str]
) -> list[dict[str, object]]:
    """Return errors of LieConv-T(3) and the E(3) model by number of training molecules."""
    rows = []
    for target, published in PUBLISHED_T3.items():
        factor, unit = {"homo": (1e3, "meV"), "dipole_magnitude": (1.0, "D")}.get(
            target, (1.0 / BOHR3, "bohr³")
        )
        for size in sizes:
            row: dict[str, object] = {"target": target, "unit": unit, "train": size}
            for group in ("T(3)", "E(3)"):
                config = _config(group, target, size, ("model.augmentation=rotations",), settings)
                model, frames = _trained(config, runs / f"curve_{target}_{_slug(group)}_{size}")
                row[group] = factor * _error(model, frames, "as is", target)[0]
            rows.append({**row, "paper, T(3), 100,000": published})
    return rows


def _config(
    group: str, target: str, size: int, lieconv: Sequence[str], settings: Sequence[str]
) -> Config:
    """Return the config of a run.

    LieConv in a group, or, for E(3), the small preset of the tensor backbone.
    """
    common = [
        *SMALL,
        f"data.targets=[{target}]",
        f"level={json.dumps({target: 'B3LYP/6-31G(2df,p)'})}",
        f"data.split.train={size}",
    ]
    if group == "E(3)":
        model = f"model={json.dumps(E3)}"
        kept = [text for text in (*common, *settings) if not text.startswith("model.")]
        return load_config(
            "lieconv_qm9", [model, "training.learning_rate=5e-3", "training.ema=0.99", *kept]
        )
    return load_config("lieconv_qm9", [*common, f"model.group={group}", *lieconv, *settings])


def _trained(config: Config, output: Path) -> tuple[MolecularModel, Frames]:
    """Train, go on, or read what is there; return the model and the test structures."""
    if not (output / "result.json").exists():
        fit(config, output, resume=(output / "last.ckpt").exists(), overwrite=True)
    loaded = load_dataset(config.data, config.declared())
    frames, splits = loaded.frames, loaded.splits
    return load_model(output / "model.safetensors"), frames.subset(splits["test"])


def _error(model: MolecularModel, frames: Frames, move: str, target: str) -> tuple[float, float]:
    """Return mean and standard deviation of the error over resamplings of motions and lifts."""
    errors = []
    for seed in range(N_RESAMPLINGS):
        torch.manual_seed(seed)
        moved = dataclasses.replace(frames, positions=_moved(frames, move))
        errors.append(evaluate_frames(model, moved, names=[target]).result[target]["mae"])
    values = torch.tensor(errors, dtype=torch.float64)
    return float(values.mean()), float(values.std())


def _moved(frames: Frames, move: str) -> Tensor:
    """Turn and shift every structure at random; shifts have a standard deviation of 0.5 Å."""
    owner = torch.repeat_interleave(torch.arange(len(frames)), frames.n_atoms)
    positions = frames.positions
    if move in {"SO(3)", "SE(3)"}:
        positions = torch.einsum(
            "nij,nj->ni", haar_space((len(frames),), positions)[owner], positions
        )
    if move in {"T(3)", "SE(3)"}:
        positions = positions + 0.5 * torch.randn(len(frames), 3, dtype=positions.dtype)[owner]
    return positions


def _slug(group: str) -> str:
    return "".join(letter for letter in group if letter.isalnum())
