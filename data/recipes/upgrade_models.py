"""Write the bundled models again in the present format of model files.

    python data/recipes/upgrade_models.py

Names of folders are left out of what a model started from. Prints the checksums for
`data/README.md`.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

from molequi.models.checkpoint import load_model, save_model

MODELS = Path(__file__).resolve().parents[1] / "models"


def main() -> None:
    """Upgrade every model."""
    for path in sorted(MODELS.glob("*.safetensors")):
        model = load_model(path)
        training = model.metadata.training
        if training.init is not None:
            training = dataclasses.replace(training, init=Path(training.init).name)
        model.metadata = dataclasses.replace(model.metadata, training=training)
        save_model(model, path)
        print(path.name, hashlib.sha256(path.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
