"""The file that a run resumes from, and where in the run it stands."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from molequi.errors import UserError
from molequi.runtime.files import written_by_rename
from molequi.runtime.gate import DAMAGE, reason

FORMAT = 2


@dataclasses.dataclass
class Position:
    """Where a run stands.

    batch: batches of the current epoch that are done. step: optimiser steps in all. seconds: time
    spent so far. stage_step: the step at which the second stage of the loss began, 0 before.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    seconds: float = 0.0
    stage_step: int = 0


def write_state(state: Mapping[str, Any], path: Path, *, version: int = FORMAT) -> None:
    """Write tensors and plain values to `path`, complete or not at all, and on disk on return.

    version: the format number of what the state holds.
    """
    with written_by_rename(path) as partial:
        torch.save({"format": version, **state}, partial)


def read_state(path: Path, *, version: int = FORMAT, older: Sequence[int] = ()) -> dict[str, Any]:
    """Read what `write_state` wrote; nothing in the file is executed.

    older: numbers that are read as well. Raises UserError for a missing, damaged or foreign file,
    and for another format number.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing, so there is nothing to resume; start without --resume")
    try:
        with zipfile.ZipFile(path) as archive:
            if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
                raise EOFError("its parts are compressed, as torch never has them")
            if (part := archive.testzip()) is not None:
                raise EOFError(f"{part} is damaged")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGE as error:
        raise UserError(
            f"{path} cannot be read ({reason(error)}); start again with --overwrite"
        ) from None
    if not isinstance(state, dict) or state.get("format") not in (version, *older):
        found = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise UserError(
            f"{path} has format {found}; this version resumes format {version}; start again with "
            "--overwrite"
        )
    return state
