"""The charges of `nn.heads.equilibration` compiled, with their gradient: for predictions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from molequi.kernels import compiled


class Neighborhoods(NamedTuple):
    """What surrounds the atoms: as in `AtomGraph`. total_charge: (B,), e."""

    sender: Tensor
    receiver_ptr: Tensor
    batch: Tensor
    total_charge: Tensor


class EquilibratedOnce(torch.autograd.Function):
    """Charges (N,), their energies (N,) and what is claimed (B,), float64, on the CPU.

    raw: (N, 5), of the network; envelope: (E,); scale: e; plateau: e. Differentiable once, in raw
    and the envelope; what is claimed has no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any,  # torch's FunctionCtx lacks what torch gives its instances
        raw: Tensor,
        envelope: Tensor,
        around: Neighborhoods,
        scale: float,
        plateau: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run the kernel and keep what its gradient needs."""
        values, u = raw.detach().double().numpy(), envelope.detach().double().numpy()
        sender, begin, batch, total = (part.numpy() for part in around)
        charges, energies, claimed = np.empty(len(raw)), np.empty(len(raw)), np.empty(len(total))
        kept = compiled.equilibration.forward(
            values, u, sender, begin, batch, total, scale, plateau, charges, energies, claimed
        )
        ctx.rest = (values, u, sender, begin, batch, scale, plateau, *kept)
        ctx.dtypes = raw.dtype, envelope.dtype
        total_claims = torch.from_numpy(claimed)
        ctx.mark_non_differentiable(total_claims)
        return torch.from_numpy(charges), torch.from_numpy(energies), total_claims

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, of_charges: Tensor, of_energies: Tensor, _: Tensor
    ) -> tuple[Tensor | None, ...]:
        """Run the kernel of the gradient."""
        values, u = ctx.rest[:2]
        of_raw, of_envelope = np.empty_like(values), np.empty_like(u)
        pulls = of_charges.contiguous().numpy(), of_energies.contiguous().numpy()
        compiled.equilibration.backward(*(*ctx.rest, *pulls, of_raw, of_envelope))
        first, second = ctx.dtypes
        return (
            torch.from_numpy(of_raw).to(first),
            torch.from_numpy(of_envelope).to(second),
            None,
            None,
            None,
        )
