"""Reads the files named on the command line under a hook that allows reading alone.

Sound files come first and warm everything up; from the word `--` on, whatever runs code, imports a
module, starts a process, opens a socket, or writes, is printed as `FORBIDDEN` and refused. For each
file a line says `ok` or gives the UserError.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from molequi.datasets import inspect
from molequi.datasets.array_files import open_arrays
from molequi.datasets.splits import file_split
from molequi.errors import UserError
from molequi.models.checkpoint import load_model
from molequi.prediction.suite_places import read_suites
from molequi.settings import read_settings
from molequi.simulation.state import read_state as read_moment
from molequi.structures.readers import read_structures
from molequi.training.state import read_state

_FORBIDDEN = frozenset(
    "exec compile marshal.loads pickle.find_class os.system os.exec os.posix_spawn os.fork "
    "os.forkpty subprocess.Popen ctypes.dlopen os.remove os.rename os.mkdir os.link os.symlink "
    "shutil.rmtree".split()
)
# `ast.literal_eval`, by which NumPy reads the head of an array, parses a text and runs nothing.
_PARSERS = ("ast.py",)


def _structures(path: Path) -> None:
    problems = [text for _, text in read_structures(path) if isinstance(text, str)]
    if problems:
        raise UserError(problems[0])


READERS: dict[str, Callable[[Path], Any]] = {
    ".ckpt": read_state,
    ".restart": read_moment,
    ".safetensors": load_model,
    ".npz": lambda path: (inspect(path), open_arrays(path)),
    ".tar": inspect,
    ".csv": inspect,
    ".yaml": read_settings,
}


def _read(path: Path) -> None:
    """Read a file as the commands do that take it."""
    if path.name.startswith("split"):
        file_split(path, 12)
    elif path.name.startswith("suite"):
        read_suites([path])
    else:
        READERS.get(path.suffix, _structures)(path)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    is_new = event == "import" and arguments[0] not in sys.modules
    is_written = event == "open" and _writes(arguments[1])
    if not (event in _FORBIDDEN or event.startswith("socket.") or is_new or is_written):
        return  # before a frame is looked at, which is an event too
    caller = Path(sys._getframe(1).f_code.co_filename).name
    if event != "compile" or caller not in _PARSERS:
        sys.stdout.write(f"FORBIDDEN {event} {str(arguments)[:200]} by {caller}\n")
        raise PermissionError(f"{event} is forbidden here")


def _writes(mode: object) -> bool:
    return isinstance(mode, str) and bool(set(mode) & set("wax+"))


def main(words: list[str]) -> None:
    """Read all."""
    logging.disable()
    warnings.simplefilter("ignore")
    for word in words:
        if word == "--":
            sys.addaudithook(_hook)
            continue
        try:
            _read(Path(word))
            said = "ok"
        except UserError as error:
            said = f"UserError: {error}"
        sys.stdout.write(f"{word}: {said.encode('unicode_escape').decode()}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
