"""The wheel: complete, and at work from any folder, the checkout's own included."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "build", "dist", "*.egg-info", "__pycache__", "runs", "demo-output", ".*_cache"
)


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy, because setuptools leaves files behind."""
    folder = tmp_path_factory.mktemp("wheel")
    source = shutil.copytree(checkout, folder / "source", ignore=LEFT_OUT)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    subprocess.run(
        [*pip, "--wheel-dir", str(folder), str(source)], check=True, capture_output=True, text=True
    )
    (path,) = folder.glob("molequi-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(
    wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Install the wheel into a folder of its own.

    What it needs comes from the current environment.
    """
    target = tmp_path_factory.mktemp("target")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run(
        [*pip, "--target", str(target), str(wheel)], check=True, capture_output=True, text=True
    )

    def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(target)}
        return subprocess.run(
            [str(target / "bin" / "molequi"), *arguments],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_wheel_holds_everything_that_is_used(wheel: Path, checkout: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        f"molequi/{path.relative_to(checkout / 'molequi')}"
        for path in (checkout / "molequi").rglob("*.py")
    }
    expected |= {"molequi/py.typed", "molequi/nn/physics/d3_table.npz"}
    assets = (checkout / "molequi" / "report" / "assets").iterdir()
    expected |= {f"molequi/report/assets/{path.name}" for path in assets}
    expected |= {f"molequi/cli/{path.name}" for path in (checkout / "cli").glob("*.py")}
    expected |= {f"molequi/_configs/{path.name}" for path in (checkout / "configs").glob("*.yaml")}
    data = [
        path
        for folder in ("models", "samples", "suites")
        for path in (checkout / "data" / folder).glob("*")
    ]
    expected |= {f"molequi/_data/{path.relative_to(checkout / 'data')}" for path in data}
    assert (
        names - {name for name in names if ".dist-info/" in name} - {"molequi/_data/README.md"}
        == expected
    )


def test_wheel_carries_its_licence_and_says_which(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        headers = archive.read(metadata).decode().partition("\n\n")[0].splitlines()
        licence = archive.read(metadata.replace("METADATA", "licenses/LICENSE")).decode()
    assert "License-Expression: MIT" in headers
    assert licence.startswith("MIT License")


@pytest.mark.parametrize("place", ["checkout", "elsewhere"])
def test_installed_wheel_predicts_from_any_folder(
    installed: Callable, checkout: Path, tmp_path: Path, place: str
) -> None:
    run = installed(
        "predict", "--smiles", "CCO", "--json", cwd=checkout if place == "checkout" else tmp_path
    )
    assert run.returncode == 0, run.stderr
    (record,) = json.loads(run.stdout)
    assert record["formula"] == "C2H6O"
    assert record["model"] == "organic"


def test_installed_wheel_uses_its_own_files(installed: Callable, checkout: Path) -> None:
    """The current folder holds another copy of models and configs; it must play no part."""
    run = installed("models", cwd=checkout)
    assert run.returncode == 0, run.stderr
    assert "_data/models/organic.safetensors" in run.stdout
    assert str(checkout / "data") not in run.stdout
    assert "qm9" in installed("train", "nosuchconfig", cwd=checkout).stderr
