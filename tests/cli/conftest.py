"""A command line that runs in this process, and a model small enough to use in every test."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from molequi.cli.main import run
from molequi.models.checkpoint import save_model
from molequi.models.making import make_model
from molequi.models.metadata import ModelMetadata
from molequi.properties import get_property


@pytest.fixture(scope="module", autouse=True)
def figures(undrawn):
    """Draw none, but in modules that have a fixture of this name of their own."""


class Result(NamedTuple):
    """What a command line gave."""

    code: int
    out: str
    err: str


@pytest.fixture
def molequi(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Result]]:
    """Run a command line in this process."""
    logger = logging.getLogger("molequi")
    before = logger.handlers, logger.level, logger.propagate

    def call(*arguments: object) -> Result:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return Result(code, *capsys.readouterr())

    yield call
    logger.handlers, logger.level, logger.propagate = before


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model with gentle forces: H C N O, energy and dipole."""
    model = make_model(
        [1, 6, 7, 8],
        [get_property("energy"), get_property("dipole")],
        n_channels=8,
        l_max=1,
        metadata=ModelMetadata(name="tiny"),
    )
    model.heads["energy"].set_statistics(1e-3)
    path = tmp_path_factory.mktemp("models") / "tiny.safetensors"
    save_model(model, path)
    return path


@pytest.fixture
def water(tmp_path: Path) -> Path:
    """A file with one water molecule."""
    path = tmp_path / "water.xyz"
    path.write_text("3\n\nO 0.0 0.0 0.119\nH 0.0 0.763 -0.477\nH 0.0 -0.763 -0.477\n")
    return path
