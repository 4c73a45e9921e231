"""What normalises features of padded point sets, or leaves them as they are."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from molequi.groups.modes import modes_kept

# Makes a module for a number of channels: (x (..., C), mask (...) or None) -> (..., C).
Norm = Callable[[int], nn.Module]


class MaskedBatchNorm(nn.Module):
    """Batch normalisation over what is not padded.

    y = weight (x - mean) / sqrt(variance + 1e-5) + bias, for each channel.

    In training with the moments of the batch, of which a running mean is kept (momentum 0.1, as in
    Ioffe and Szegedy 2015); else with that.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.momentum = 0.1
        self.weight = nn.Parameter(torch.ones(n_channels))
        self.bias = nn.Parameter(torch.zeros(n_channels))
        self.register_buffer("mean", torch.zeros(n_channels))
        self.register_buffer("variance", torch.ones(n_channels))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise (..., C); mask: (...), bool, all where there is none.

        What is masked out comes back as zero.
        """
        if self.training and mask is None and x.numel() > x.shape[-1] > 0:
            return self._fused(x)
        mean, variance = self._moments(x, mask) if self.training else (self.mean, self.variance)
        scale = self.weight * torch.rsqrt(variance + 1e-5)
        result = torch.addcmul(self.bias - mean * scale, x, scale)
        return result if mask is None else result * mask[..., None]

    def _fused(self, x: Tensor) -> Tensor:
        """Normalise more than one vector, none masked, by torch's kernel.

        It reads the pairs of a batch, hundreds of thousands, far less often than `_moments`
        does. Of one vector it refuses the variance.
        """
        rows = functional.batch_norm(
            x.flatten(0, -2),
            self.mean,
            self.variance,
            self.weight,
            self.bias,
            training=True,
            momentum=self.momentum,
            eps=1e-5,
        )
        return rows.reshape(x.shape)

    def _moments(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        weight = x.new_ones(x.shape[:-1]) if mask is None else mask.expand(x.shape[:-1]).to(x.dtype)
        count, dims = weight.sum().clamp(min=1.0), tuple(range(x.ndim - 1))
        mean = (x * weight[..., None]).sum(dims) / count
        variance = ((x - mean).square() * weight[..., None]).sum(dims) / count
        with torch.no_grad():
            self.mean.lerp_(mean, self.momentum)
            self.variance.lerp_(variance * count / (count - 1.0).clamp(min=1.0), self.momentum)
        return mean, variance


@contextlib.contextmanager
def measuring(network: nn.Module) -> Iterator[None]:
    """Within this context every `MaskedBatchNorm` takes the moments of its batch as its own."""
    norms = [module for module in network.modules() if isinstance(module, MaskedBatchNorm)]
    momenta = [norm.momentum for norm in norms]
    with modes_kept(network):
        try:
            network.train()
            for norm in norms:
                norm.momentum = 1.0
            with torch.no_grad():
                yield
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum


class Unnormalised(nn.Module):
    """Stands where a norm would and leaves everything as it is.

    For functions whose value must not depend on a batch, such as a Hamiltonian.
    """

    def __init__(self, _n_channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor, _mask: Tensor | None = None) -> Tensor:
        """Return x."""
        return x
