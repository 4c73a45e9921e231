"""The run directory: what a run may find there, what it leaves, and what a resumed run may change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from molequi.config import Config, load_config
from molequi.errors import UserError

# What a resumed run may change without becoming another run.
FREE_SETTINGS = (
    "epochs",
    "max_minutes",
    "patience",
    "device",
    "devices",
    "nodes",
    "workers",
    "logger",
    "checkpoint_minutes",
    "checkpoint_steps",
)


def with_absolute_paths(config: Config) -> Config:
    """Make the config of the run directory usable from any folder."""
    data = config.data.model_copy(
        update={
            "path": _absolute(config.data.path),
            "split": config.data.split.model_copy(
                update={"path": _absolute(config.data.split.path)}
            ),
        }
    )
    references = config.training.reference_energies
    if isinstance(references, str) and references != "least_squares":
        references = _absolute(references)
    return config.model_copy(
        update={
            "data": data,
            "training": config.training.model_copy(update={"reference_energies": references}),
        }
    )


def _absolute(path: str | None) -> str | None:
    """Resolve a path that exists; bundled names and patterns stay as they are."""
    return str(Path(path).resolve()) if path is not None and Path(path).exists() else path


def refuse_occupied(output: Path, *, overwrite: bool) -> None:
    """Refuse a place where something lies already, unless it may be overwritten."""
    if output.is_file():
        raise UserError(f"the output {output} is a file; give the name of a folder")
    if output.is_dir() and any(output.iterdir()) and not overwrite:
        raise UserError(
            f"the output {output} is not empty; --resume goes on with the run there, --overwrite "
            "replaces it, --output names another place"
        )


def refuse_other_run(config: Config, output: Path) -> None:
    """Refuse to resume where no run is, or where a setting differs that would make it another run."""
    saved_path = output / "config.yaml"
    if not saved_path.is_file():
        raise UserError(
            f"{output} holds no run to resume (config.yaml is missing); start without --resume"
        )
    saved, asked = load_config(saved_path).model_dump(), config.model_dump()
    for group in (saved, asked):
        for name in FREE_SETTINGS:
            group["training"].pop(name)
        for name in ("description", "expected"):
            group.pop(name)
    difference = _first_difference(saved, asked)
    if difference is not None:
        key, old, new = difference
        raise UserError(
            f"--resume: {key} was {old!r} and is now {new!r}; resume with the same settings, or "
            "start a new run with --overwrite or another --output"
        )


def _first_difference(old: Any, new: Any, key: str = "") -> tuple[str, Any, Any] | None:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in {**old, **new}:
            found = _first_difference(
                old.get(name), new.get(name), f"{key}.{name}" if key else str(name)
            )
            if found is not None:
                return found
        return None
    return None if old == new else (key, old, new)


def clear(output: Path) -> None:
    """Remove the files that a run makes, and nothing else."""
    names = (
        "config.yaml",
        "split.json",
        "model.safetensors",
        "last.ckpt",
        "metrics.csv",
        "log.txt",
        "result.json",
        "test_predictions.npz",
        "valid_predictions.npz",
    )
    for path in [output / name for name in names] + sorted((output / "plots").glob("*.png")):
        path.unlink(missing_ok=True)
