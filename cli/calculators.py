"""`--calculator MODULE:FACTORY`: an ASE calculator that is not ours."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TextIO

from molequi.cli.output import say
from molequi.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ase.calculators.calculator import BaseCalculator

_STDOUT, _STDERR = 1, 2  # file descriptors
_EXAMPLES = "such as ase.calculators.emt:EMT, or ./my_calculator.py:make for a file"
# Calculators of other packages, ready to be named.
READY = {
    "gfn1-xtb": "molequi.labeling.xtb_calculator:gfn1",
    "gfn2-xtb": "molequi.labeling.xtb_calculator:gfn2",
}


@contextlib.contextmanager
def foreign_code() -> Iterator[None]:
    """Send what calculators print to stderr, so that results stand alone on stdout.

    A library that is not Python may write when the process ends: the descriptor of stdout stays
    with stderr, and `sys.stdout` gets another one.
    """
    results = sys.stdout
    if _has_descriptor(results):
        results.flush()
        results = os.fdopen(os.dup(_STDOUT), "w", encoding=results.encoding, errors=results.errors)
        os.dup2(_STDERR, _STDOUT)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        sys.stdout = results


def _has_descriptor(stream: TextIO) -> bool:
    try:
        return stream.fileno() == _STDOUT
    except OSError:  # what a test or a notebook put in its place
        return False


def load_calculator(text: str) -> BaseCalculator:
    """Return the calculator that MODULE:FACTORY, or FILE.py:FACTORY, names.

    FACTORY: a class or function that is called without arguments, or a calculator. A module is
    looked up where Python finds installed ones; only a file that is named is run, and then said.
    Raises UserError for what cannot be imported, called, or is no calculator.
    """
    from ase.calculators.calculator import BaseCalculator

    found = load_factory(text)
    made = found if isinstance(found, BaseCalculator) else _call(found, text)
    if not isinstance(made, BaseCalculator):
        raise UserError(
            f"--calculator {text} gives a {type(made).__name__}, which is no ASE calculator"
        )
    return made


def load_factory(text: str) -> BaseCalculator | Callable[..., Any]:
    """Return what MODULE:FACTORY, FILE.py:FACTORY or a name in `READY` means, not yet called.

    Raises UserError for what cannot be imported, or is neither a calculator nor can be called.
    """
    from ase.calculators.calculator import BaseCalculator

    place, colon, name = READY.get(text.lower(), text).rpartition(":")
    if not colon or not place or not name:
        raise UserError(
            f"--calculator {text} is not MODULE:FACTORY, {_EXAMPLES}, and none of "
            f"{', '.join(READY)}"
        )
    module = _run_file(Path(place)) if place.endswith(".py") else _import(place)
    if name not in vars(module):
        raise UserError(f"--calculator {text}: {place} has no {name}")
    found = vars(module)[name]
    if not isinstance(found, BaseCalculator) and not callable(found):
        raise UserError(f"--calculator {text} is a {type(found).__name__}, no factory")
    return found


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever a foreign module raises
        here = Path(f"{name}.py")
        hint = f"; for the file here write ./{here}:FACTORY" if here.is_file() else ""
        raise UserError(f"--calculator: no module {name} ({_words(error)}){hint}") from error


def _run_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"_calculator_{path.stem}", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise UserError(f"--calculator: no file {path}")
    say(f"calculator: from the file {path.resolve()}")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a foreign file raises
        raise UserError(f"--calculator: {path} cannot be run ({_words(error)})") from error
    return module


def _call(factory: Callable[..., Any], text: str) -> object:
    try:
        return factory()
    except Exception as error:  # whatever a foreign factory raises
        raise UserError(
            f"--calculator {text} cannot be called without arguments ({_words(error)})"
        ) from error


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
