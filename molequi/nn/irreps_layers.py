"""Dropout, normalisation, pooling and striding that keep the symmetry.

Each has an ordinary twin that breaks it.

Features are (N, M, C), rows of irreps as in DESIGN: what acts on a number of each irrep, such as
its norm, may not act on each row.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from molequi.errors import UserError
from molequi.nn.linear import expand_irreps
from molequi.o3.irreps import Irreps


class IrrepsDropout(nn.Module):
    """Drop whole irreps of a channel with probability p, and divide the others by 1 - p.

    All 2l + 1 components or none.
    Raises UserError for a probability outside [0, 1).
    """

    def __init__(self, irreps: str | Irreps, p: float = 0.1) -> None:
        super().__init__()
        if not 0.0 <= p < 1.0:
            raise UserError(f"the dropout probability is {p}; it must lie in [0, 1)")
        self.irreps, self.p = Irreps(irreps), p

    def forward(self, features: Tensor) -> Tensor:
        """Drop at random in training, do nothing otherwise."""
        n, _, c = features.shape
        kept = functional.dropout(features.new_ones(n, len(self.irreps), c), self.p, self.training)
        return features * expand_irreps(kept, self.irreps, dim=1)


class IrrepsNorm(nn.Module):
    """Divide each irrep of an atom by the root mean square of its components over all channels.

    Times a weight per channel. 0e irreps are centred over the channels first and get a bias, all
    others have neither: a mean of vectors is a vector and would be harmless, but a constant vector
    is not. It acts on each atom alone, so that batches do not matter. epsilon is added to the mean
    square, and keeps what symmetry forbids, which is rounding, from being raised to size one.
    """

    def __init__(self, irreps: str | Irreps, n_channels: int, *, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.irreps, self.epsilon = Irreps(irreps), epsilon
        self.slices = self.irreps.slices()
        self.weight = nn.Parameter(torch.ones(len(self.irreps), n_channels))
        self.bias = nn.Parameter(
            torch.zeros(sum(irrep.is_scalar for irrep in self.irreps), n_channels)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Normalise (N, M, C)."""
        parts, scalars = [], iter(self.bias)
        for irrep, rows, weight in zip(self.irreps, self.slices, self.weight, strict=True):
            part = features[:, rows]
            if irrep.is_scalar:
                part = part - part.mean(dim=2, keepdim=True)
            part = (
                part
                * (part.square().mean(dim=(1, 2), keepdim=True) + self.epsilon).rsqrt()
                * weight
            )
            parts.append(part + next(scalars) if irrep.is_scalar else part)
        return torch.cat(parts, dim=1)


class IrrepsPool(nn.Module):
    """Sum each irrep over the atoms of a molecule with softmax weights of its own length.

    For 0e of its value: most counts the atom where it is long. The weight is one number for all
    components of an irrep of a channel. A softmax instead of a maximum, which would jump where two
    atoms tie, as those that a symmetry of the molecule exchanges do. sharpness: factor of the
    length in the exponent.
    """

    def __init__(self, irreps: str | Irreps, sharpness: float = 1.0) -> None:
        super().__init__()
        self.irreps, self.sharpness = Irreps(irreps), sharpness

    def forward(self, features: Tensor, batch: Tensor, n_molecules: int) -> Tensor:
        """Pool (N, M, C) over the atoms of each molecule, batch (N,): (n_molecules, M, C).

        Zeros where there are no atoms.
        """
        parts = [features[:, rows] for rows in self.irreps.slices()]
        # The small number keeps the derivative of a length finite at zero.
        sizes = [
            part[:, 0] if irrep.is_scalar else (part.square().sum(dim=1) + 1e-12).sqrt()
            for irrep, part in zip(self.irreps, parts, strict=True)
        ]
        size = self.sharpness * torch.stack(sizes, dim=1)
        place = batch[:, None, None].expand_as(size)
        largest = (
            size.detach()
            .new_full((n_molecules, *size.shape[1:]), -torch.inf)
            .scatter_reduce(0, place, size.detach(), "amax")
        )
        weights = torch.exp(size - largest[batch])
        total = weights.new_zeros(largest.shape).index_add(0, batch, weights)
        shares = expand_irreps(weights / total[batch], self.irreps, dim=1)
        return features.new_zeros(n_molecules, *features.shape[1:]).index_add(
            0, batch, shares * features
        )


def mean_pool(features: Tensor, batch: Tensor, n_molecules: int) -> Tensor:
    """Average (N, ...) over the atoms of each molecule: (n_molecules, ...).

    Linear, so it keeps every representation.
    """
    counts = torch.bincount(batch, minlength=n_molecules).clamp(min=1).to(features.dtype)
    total = features.new_zeros(n_molecules, *features.shape[1:]).index_add(0, batch, features)
    return total / counts.reshape(-1, *[1] * (features.ndim - 1))


class LowPassStride(nn.Module):
    """Halve an image of even sides, (B, C, n, n), after a low-pass filter.

    Its centre is the centre of the 2 x 2 pixels that become one.
    The filter is the outer product of a row of binomial coefficients with itself, nearly a Gaussian
    and so nearly isotropic; turned by quarters and mirrored it is itself. Taking every second pixel
    instead prefers one corner, and folds fine structure into coarse (R. Zhang, Making convolutional
    networks shift-invariant again, ICML 2019).
    n_taps: even. periodic: whether the image goes on at its edges; zeros lie outside otherwise.
    """

    filter: Tensor

    def __init__(self, n_taps: int = 6, *, periodic: bool = False) -> None:
        super().__init__()
        if n_taps < 2 or n_taps % 2:
            raise UserError(
                f"the filter has {n_taps} taps; an even number of 2 or more puts its centre "
                "between two pixels"
            )
        row = torch.ones(1, dtype=torch.float64)
        for _ in range(n_taps - 1):
            row = functional.pad(row, (1, 0)) + functional.pad(row, (0, 1))
        row = row / row.sum()
        self.periodic, self.margin = periodic, n_taps // 2 - 1
        self.register_buffer(
            "filter",
            torch.outer(row, row)[None, None].to(torch.get_default_dtype()),
            persistent=False,
        )

    def forward(self, images: Tensor) -> Tensor:
        """Filter and take one pixel of four: (B, C, n / 2, n / 2)."""
        if images.shape[-1] % 2 or images.shape[-2] % 2:
            raise UserError(
                f"an image of {images.shape[-2]} x {images.shape[-1]} pixels has no symmetric "
                "half; give it even sides"
            )
        padded = functional.pad(
            images, (self.margin,) * 4, mode="circular" if self.periodic else "constant"
        )
        channels = images.shape[1]
        return functional.conv2d(
            padded, self.filter.expand(channels, 1, -1, -1), stride=2, groups=channels
        )
