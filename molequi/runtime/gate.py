"""The gate for what comes from outside: files that stumble, and text that a terminal would obey."""

from __future__ import annotations

import contextlib
import csv
import logging
import lzma
import os
import pickle
import re
import sqlite3
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator

from molequi.errors import UserError

# What decoding a damaged file ends in, whichever library does it: numbers, names and lengths that
# make no sense, and more memory than there is, which a damaged length asks for.
DAMAGE = (
    *(ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, LookupError),
    *(MemoryError, OSError, RuntimeError, SyntaxError, TypeError, ValueError),
    *(
        csv.Error,
        pickle.UnpicklingError,
        sqlite3.Error,
        struct.error,
        tarfile.TarError,
        zipfile.BadZipFile,
    ),
    *(lzma.LZMAError, zlib.error),
)
_LONGEST = 160
# The controls of C0 (a line's end aside) and C1, marks that turn the direction of writing, and the
# halves of pairs that stand for bytes of a file name that are no UTF-8.
_CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# What of these JSON leaves as it is.
_UNESCAPED = re.compile(r"[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


@contextlib.contextmanager
def reading(path: str | os.PathLike[str], what: str, remedy: str = "") -> Iterator[None]:
    """Turn what stumbles over the content of a file into a UserError of one line.

    For the decoding of a file and the checking of its content alone, never for what is computed
    from it. what: what it should hold, such as `split`. remedy: what to do.
    """
    try:
        yield
    except UserError:
        raise
    except DAMAGE as error:
        hint = f"; {remedy}" if remedy else ""
        raise UserError(
            f"{os.fspath(path)} is damaged or holds no {what} ({reason(error)}){hint}"
        ) from error


@contextlib.contextmanager
def warnings_logged(where: object, logger: logging.Logger) -> Iterator[None]:
    """Log each warning of a library once, as a line that names what is read.

    What a library says of its own changes is for programmers and left out.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for category in (FutureWarning, DeprecationWarning, PendingDeprecationWarning):
            warnings.simplefilter("ignore", category)
        yield
    for text in dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught):
        logger.warning("%s: %s", where, text[:_LONGEST])


def reason(error: BaseException) -> str:
    """Word an error of a library in a few words."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return "it asks for more memory than there is"
    if isinstance(error, pickle.UnpicklingError):  # torch's advice is to run what is in the file
        return "it holds more than tensors and plain values"
    if isinstance(error, KeyError):
        return f"there is no {text}"
    return text[:_LONGEST] or type(error).__name__


def printable(text: str) -> str:
    r"""Write the characters that a terminal would obey as escapes, such as `\x1b`.

    The text may come from a file of somebody else: a comment, a name, a column.
    """
    return _CONTROLS.sub(_escaped, text)


def escaped_in_json(text: str) -> str:
    """Escape in a JSON text what it may leave as it is and a terminal would obey."""
    return _UNESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _escaped(control: re.Match[str]) -> str:
    return control[0].encode("unicode_escape").decode("ascii")
