"""A small model that doubts, and a teacher that counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT

from molequi.models.checkpoint import save_model
from molequi.models.making import make_model
from molequi.models.metadata import ModelMetadata
from molequi.properties import get_property


class CountingEMT(EMT):
    """EMT that counts its calculations, over all of its kind, and is ended at one of them."""

    n_calls = 0
    ends_at: int | None = None

    def calculate(self, *arguments: object, **named: object) -> None:
        """Count, and compute."""
        if CountingEMT.n_calls == CountingEMT.ends_at:
            raise KeyboardInterrupt
        CountingEMT.n_calls += 1
        super().calculate(*arguments, **named)


@pytest.fixture
def emt() -> type[CountingEMT]:
    CountingEMT.n_calls, CountingEMT.ends_at = 0, None
    return CountingEMT


@pytest.fixture(scope="session")
def doubting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model of H and O with gentle forces, and doubts of no meaning."""
    rows = [get_property(name) for name in ("energy", "forces_std")]
    model = make_model(
        [1, 8], rows, n_channels=4, n_layers=1, l_max=1, cutoff=4.0,
        metadata=ModelMetadata(name="doubting"),
    )  # fmt: skip
    model.heads["energy"].set_statistics(1e-3)
    path = tmp_path_factory.mktemp("models") / "doubting.safetensors"
    save_model(model, path)
    return path


@pytest.fixture
def water() -> Atoms:
    return molecule("H2O")
