"""Modules of generated kernels, imported when they are first needed.

Generated source is kept in the user's cache folder: code must live in a file for numba to cache
what it compiles. Without a writable cache folder it lives in a temporary one.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path
from types import ModuleType

from molequi.runtime.files import write_text


def cache_folder() -> Path:
    """Return the folder for generated kernels."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "molequi" / "kernels"


@functools.lru_cache
def load(text: str) -> ModuleType:
    """Import the module whose source is `text`; its name is the hash of the text."""
    name = f"molequi_kernels_{hashlib.sha256(text.encode()).hexdigest()[:24]}"
    try:
        path = _store(cache_folder(), name, text)
    except OSError:
        path = _store(Path(tempfile.mkdtemp(prefix="molequi-")), name, text)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"Python cannot load the kernels in {path}")
    module = importlib.util.module_from_spec(spec)
    # numba's cache finds compiled functions by the name of an imported module.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _make_private(folder: Path) -> None:
    """Make the folder, to which nobody else may write: what lies there is run.

    What others may have put there is removed. Raises OSError where the folder is another user's.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if os.name != "posix":
        return
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(f"{folder} belongs to another user")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        folder.chmod(0o700)
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _store(folder: Path, name: str, text: str) -> Path:
    """Write the source by rename, so that processes that start together never read half of it."""
    _make_private(folder)
    path = folder / f"{name}.py"
    if not path.is_file() or path.read_text() != text:
        write_text(path, text)
    return path
