"""Devices and number types by the names that users give them."""

from __future__ import annotations

import torch

from molequi.errors import UserError

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


def as_device(device: str) -> str:
    """Return the device's name for torch; `auto` is the GPU where there is one.

    Raises UserError for a GPU that is not there.
    """
    has_gpu = torch.cuda.is_available()
    if device == "auto":
        return "cuda" if has_gpu else "cpu"
    if device.startswith("cuda") and not has_gpu:
        raise UserError("device cuda was asked for, but torch finds no GPU here; use --device cpu")
    return device


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
