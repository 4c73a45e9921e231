"""Fetches a file from the first mirror that answers, and checks it."""

from __future__ import annotations

import hashlib
import http.client
import logging
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from molequi.errors import UserError
from molequi.runtime.files import written_by_rename

_LOG = logging.getLogger(__name__)
_BLOCK = 1 << 20
_TIMEOUT = 20.0


def fetch(mirrors: Sequence[str], target: Path, *, md5: str) -> Path:
    """Download to `target` by rename, from the first of `mirrors` whose file has the checksum.

    Raises UserError that says what each mirror answered.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    answers = []
    with written_by_rename(target) as partial:
        for url in mirrors:
            _LOG.info("downloading %s", url)
            try:
                found = _download(url, partial)
            except (OSError, http.client.HTTPException) as error:
                answers.append(f"{url.split('/')[2]}: {_reason(error)}")
                continue
            if found == md5:
                return target
            answers.append(f"{url.split('/')[2]}: wrong checksum {found}, expected {md5}")
        raise UserError(f"no mirror gave {target.name} ({'; '.join(answers)})")


def _download(url: str, path: Path) -> str:
    """Write the file and return its md5, which guards against damage, not against malice."""
    digest = hashlib.md5(usedforsecurity=False)
    with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer, path.open("wb") as handle:
        while block := answer.read(_BLOCK):
            digest.update(block)
            handle.write(block)
    return digest.hexdigest()


def _reason(error: Exception) -> object:
    return error.reason if isinstance(error, urllib.error.URLError) else error
