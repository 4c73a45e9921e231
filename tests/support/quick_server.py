"""Fork a process for each command line, from one that has imported the libraries of others.

A process then costs tenths of a second instead of four. The package itself is imported anew in
each, so that what it imports, and when, is as the installed command has it. Argument: the place of
the socket. The server ends when its standard input does.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import socket
import sys
import threading
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIBRARIES = (
    *("torch", "numpy", "numba", "networkx", "yaml", "typer", "rich.progress", "sklearn"),
    *("scipy.optimize", "scipy.spatial", "matplotlib.pyplot", "matplotlib.backends.backend_agg"),
    *("ase.io", "ase.io.extxyz", "ase.optimize", "ase.calculators.calculator", "ase.build"),
    *("rdkit.Chem", "rdkit.Chem.AllChem", "pytorch_lightning"),
)


def next_request(listener: socket.socket) -> dict[str, Any]:
    """Return in each forked process the command line that it is to be; never in the server."""
    served = []
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        served = [process for process in served if not os.waitpid(process, os.WNOHANG)[0]]
        connection, _ = listener.accept()
        if process := os.fork():
            connection.close()
            served.append(process)
            continue
        listener.close()
        header, streams, _, _ = socket.recv_fds(connection, 8, 3)
        with connection.makefile("rb") as rest:
            request = json.loads(rest.read(int.from_bytes(header, "big")))
        child = os.fork()
        if not child:
            connection.close()
            return {**request, "streams": streams}
        for stream in streams:
            os.close(stream)
        connection.sendall(f"{child}\n".encode())
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with contextlib.suppress(BrokenPipeError):
            connection.sendall(f"{code}\n".encode())
        os._exit(0)
    for process in served:
        os.waitpid(process, 0)
    sys.exit()


def take_place(request: dict[str, Any]) -> None:
    """Take the caller's folder, environment and streams."""
    for number, stream in enumerate(request["streams"]):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.update(request["environment"])
    sys.stdin = open(0, encoding="utf-8", closefd=False)
    sys.stdout, sys.stderr = (
        open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2)
    )


def be(command: list[str]) -> None:
    """Run `molequi`, `python -c code` or `python -m module`; other commands take the usual way."""
    program, *arguments = command
    sys.path.pop(0)
    if program == "molequi":
        script = str(Path(sys.executable).with_name(program))
        sys.argv = [script, *arguments]
        runpy.run_path(script, run_name="__main__")
    elif arguments[:1] == ["-c"]:
        sys.argv = ["-c", *arguments[2:]]
        sys.path.insert(0, "")
        sys.modules["__main__"] = module = types.ModuleType("__main__")
        exec(compile(arguments[1], "<string>", "exec"), vars(module))
    elif arguments[:1] == ["-m"]:
        sys.argv = arguments[1:]
        sys.path.insert(0, os.getcwd())
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        os.execv(sys.executable, [sys.executable, *arguments])


def ended(work: Callable[[], None]) -> int:
    """Run something to its end, as Python ends, and return the exit code.

    Only the objects of all libraries are not taken down one by one, which takes half a second.
    """
    code: int | str | None = None
    try:
        work()
    except SystemExit as end:
        code = end.code
        if isinstance(code, str):
            sys.stderr.write(f"{code}\n")
    except BaseException:  # noqa: BLE001  as Python itself does last of all
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BrokenPipeError):
            stream.flush()
    return code if isinstance(code, int) else int(code is not None)


def main() -> None:
    """Serve, and in each forked process go on as what was asked for."""
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    request = next_request(listener)
    take_place(request)
    os._exit(ended(lambda: be(request["command"])))


main()
