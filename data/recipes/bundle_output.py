"""Write a trained model and its card into the package."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from molequi.errors import UserError
from molequi.models.checkpoint import save_model
from molequi.models.molecular import MolecularModel

MODELS = Path(__file__).parents[1] / "models"


def write(
    model: MolecularModel, card: Mapping[str, object], folder: Path, name: str, most_bytes: int
) -> None:
    """Write NAME.safetensors and NAME.json, and print size and checksums for data/README.md.

    Raises UserError, and writes nothing, where the model takes more than `most_bytes`.
    """
    folder.mkdir(exist_ok=True)
    path, partial = folder / f"{name}.safetensors", folder / f"{name}.partial"
    save_model(model, partial)
    size = partial.stat().st_size
    if size > most_bytes:
        partial.unlink()
        raise UserError(
            f"the model takes {size:,} bytes, more than {most_bytes:,}; train a smaller one to "
            "bundle it"
        )
    partial.replace(path)
    path.with_suffix(".json").write_text(
        json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    for written in (path, path.with_suffix(".json")):
        checksum = hashlib.sha256(written.read_bytes()).hexdigest()
        print(f"{written.name} {written.stat().st_size:,} bytes {checksum}")
