"""Which kernels the work of a network is worth, on the device where it is done."""

from __future__ import annotations

import torch

from molequi.kernels import cuda, policy
from molequi.nn.backbones.base import BackboneBase


def worthwhile_kernels(
    backbone: BackboneBase,
    operations: float,
    *,
    minutes: float | None = None,
    in_one_pass: float = 0.0,
    device: str | torch.device | None = None,
) -> str:
    """Return the kernels that pay for so many operations of `backbone`, as in `kernels.policy`.

    device: where the work will be done; where the weights lie unless given. On a GPU plain torch
    serves where Triton is missing, where it has no kernels of the type of the weights, and where it
    would compile for minutes.
    """
    device = backbone.device if device is None else torch.device(device)
    if device.type == "cpu":
        return policy.worthwhile_kernels(operations, minutes=minutes, in_one_pass=in_one_pass)
    chosen = policy.worthwhile_on_gpu(operations, n_terms=backbone.n_terms, in_one_pass=in_one_pass)
    is_served = device.type == "cuda" and (
        chosen == "reference" or cuda.serves_type(backbone.dtype)
    )
    return chosen if is_served else "reference"
