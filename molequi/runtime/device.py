"""Devices and number types by the names that users give them."""

from __future__ import annotations

import torch

from molequi.errors import UserError

_DEVICES = "cpu, cuda, cuda:N of several GPUs, or auto"
_DTYPES = {"float32": torch.float32, "float64": torch.float64}


def as_device(device: str | torch.device) -> str:
    """Return the device's name for torch; `auto` is the GPU where there is one.

    Raises UserError for what is no device of float64, and for a GPU that is not there.
    """
    has_gpu = torch.cuda.is_available()
    if device == "auto":
        return "cuda" if has_gpu else "cpu"
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        raise UserError(f"device {device!r} is not possible; it is {_DEVICES}") from None
    if found.type == "cuda":
        _refuse_missing_gpu(found.index or 0, torch.cuda.device_count() if has_gpu else 0)
    elif found.type != "cpu":
        raise UserError(f"device {str(device)!r} is not possible; it is {_DEVICES}")
    return str(device)


def _refuse_missing_gpu(number: int, count: int) -> None:
    if not count:
        raise UserError("device cuda was asked for, but torch finds no GPU here; use --device cpu")
    if number >= count:
        raise UserError(
            f"device cuda:{number} was asked for, but the GPUs here are numbered from 0 to "
            f"{count - 1}"
        )


def as_dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    """Return the torch dtype of a name.

    Raises UserError for anything but float32 and float64.
    """
    if dtype is None:
        return None
    found = _DTYPES.get(str(dtype).removeprefix("torch."))
    if found is None:
        raise UserError(f"dtype {dtype!r} is not possible; it is {' or '.join(_DTYPES)}")
    return found


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that an array was too large; torch raises RuntimeError on CPUs."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
