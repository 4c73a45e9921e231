"""Shared helpers: the long suite, and the folder of reference data outside the repository."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from morse import MorseModel
from quick_processes import quick_programs

from molequi.models.making import make_model
from molequi.models.metadata import ModelMetadata

CHECKOUT = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    """Take signals as a terminal sends them: whom `nohup` or `&` started ignores some, for good."""
    usual = {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL}
    for name, handler in usual.items():
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long suite out unless `-m` speaks of it."""
    if "long" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("long")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("long")]


@pytest.fixture(scope="session")
def reference_data() -> Callable[[str], Path]:
    """Return a function from a file's name to its path.

    It skips the test where the reference data are absent.

    The folder is the environment variable MOLEQUI_REFERENCE_DATA, else `shared/data` beside the
    checkout.
    """
    folder = Path(os.environ.get("MOLEQUI_REFERENCE_DATA", CHECKOUT.parent / "shared" / "data"))

    def find(name: str) -> Path:
        path = folder / name
        if not path.exists():
            pytest.skip(
                f"reference data {name!r} are not in {folder.name!r}; set MOLEQUI_REFERENCE_DATA "
                "to their folder"
            )
        return path

    return find


@pytest.fixture(scope="module")
def undrawn() -> Iterator[None]:
    """From here on, trainings of the module draw no figures, which take longer than toys do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("molequi.training.finish.draw_run", lambda *_: None)
        yield


@pytest.fixture(scope="session")
def checkout() -> Path:
    """Return the root of the source tree."""
    return CHECKOUT


@pytest.fixture(scope="session")
def quick_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return a PATH whose `molequi` and `python` start quickly: see `quick_server`."""
    with quick_programs(tmp_path_factory.mktemp("bin")) as folder:
        yield f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture(scope="session")
def morse():
    """Return the class of the analytic model."""
    return MorseModel


@pytest.fixture(scope="session")
def network():
    """Return a small network with random weights, float64: energy, forces and dipole of H C N O."""
    return make_model(
        [1, 6, 7, 8],
        ["energy", "forces", "dipole"],
        n_layers=1,
        n_channels=8,
        metadata=ModelMetadata(name="random"),
    ).to(torch.float64)


@pytest.fixture(scope="session")
def charged_network():
    """Return the same with charges among its outputs, as a model has that learned them."""
    return make_model(
        [1, 6, 7, 8],
        ["energy", "forces", "dipole", "charges"],
        n_layers=1,
        n_channels=8,
        metadata=ModelMetadata(name="random"),
    ).to(torch.float64)
