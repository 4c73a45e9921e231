"""A folder for the PATH whose `molequi` and `python` start quickly; see `quick_server`."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent


@contextlib.contextmanager
def quick_programs(folder: Path) -> Iterator[Path]:
    """Write the programs to a folder and serve them."""
    # The name of a socket is at most about a hundred bytes, which those of pytest's folders exceed.
    with tempfile.TemporaryDirectory() as short:
        place = os.path.join(short, "socket")
        server = subprocess.Popen(
            [sys.executable, HERE / "quick_server.py", place],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert server.stdout.readline() == b"ready\n"
        client = [sys.executable, "-IS", str(HERE / "quick_client.py"), place]
        for name in ("molequi", "python"):
            program = folder / name
            program.write_text(f'#!/bin/sh\nexec {shlex.join([*client, name])} "$@"\n')
            program.chmod(0o755)
        try:
            yield folder
        finally:
            server.communicate()
