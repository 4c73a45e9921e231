"""How the kernels of this folder are compiled: at their first call, and kept on disk.

NaN and infinity keep their meaning. numba itself would compile a kernel anew only when the file
that it stands in has changed, although functions and constants of others are compiled into it. So
a kernel's name on disk holds a hash of all of them, and no version of the package takes another's.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, cast

import numba

_FAST = {"contract", "reassoc", "nsz", "arcp"}
# What kernels take from beside this folder.
CONSTANTS = ("pair_inputs.py", "splines.py")


def jit(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a kernel at its first call."""
    return _compiled(kernel)


def inline(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function of arrays into its callers: a call would count references to each."""
    return _compiled(function, inline="always")


def _compiled(
    function: Callable[..., Any], inline: Literal["never", "always"] = "never"
) -> Callable[..., Any]:
    function.__qualname__ += f"_{_version()}"
    compiled = numba.njit(
        fastmath=_FAST, cache=True, nogil=True, error_model="numpy", inline=inline
    )
    return cast(Callable[..., Any], compiled(function))


@functools.cache
def _version() -> str:
    folder = Path(__file__).parent
    files = [*sorted(folder.glob("*.py")), *(folder.parent / name for name in CONSTANTS)]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
