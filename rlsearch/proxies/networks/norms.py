"""Normalisations with a leading population axis: each member has its own scales, and sees no other member."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rlsearch.kernels.base import first_derivative

NORM_EPSILON = 1e-5
"""Added to the square: torch's, of layer and of batch normalisation."""

MOMENTUM = 0.1
"""Share of a new batch in the running statistics of batch normalisation: torch's."""


class PopulationLayerNorm(nn.Module):
    """K layer normalisations over the last axis, each with its own scale and shift."""

    def __init__(self, members: int, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(members, 1, width))
        self.shift = nn.Parameter(torch.zeros(members, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape ``[K, rows, width]``."""
        return torch.addcmul(self.shift, functional.layer_norm(x, x.shape[-1:]), self.scale)


class PopulationRMSNorm(nn.Module):
    """K normalisations by the root of the mean square over the last axis (arXiv 1910.07467), each with its scale."""

    def __init__(self, members: int, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(members, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape ``[K, rows, width]``."""
        return functional.rms_norm(x, x.shape[-1:], eps=NORM_EPSILON) * self.scale


class PopulationBatchNorm(nn.Module):
    """K batch normalisations (arXiv 1502.03167) over rows, each with its own scale, shift and running statistics.

    In training a channel is normalised by the mean and variance of its batch, in scoring by running ones.

    Args:
        members: K.
        width: Channels.

    Attributes:
        mean: The running means, ``[K, 1, width]``.
        variance: The running variances, of the same shape.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, members: int, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(members, 1, width))
        self.shift = nn.Parameter(torch.zeros(members, 1, width))
        self.register_buffer("mean", torch.zeros(members, 1, width))
        self.register_buffer("variance", torch.ones(members, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape ``[K, rows, width]``."""
        if not self.training:
            factor = self.scale * torch.rsqrt(self.variance + NORM_EPSILON)
            return torch.addcmul(self.shift - self.mean * factor, x, factor)
        y, mean, variance = _Normalised.apply(x, self.scale, self.shift)  # type: ignore[no-untyped-call]
        rows = x.shape[1]
        self.mean.lerp_(mean, MOMENTUM)
        # As torch does: the biased variance normalises, and the unbiased one is kept.
        self.variance.lerp_(variance * (rows / (rows - 1)), MOMENTUM)
        return y  # type: ignore[no-any-return]


class _Normalised(torch.autograd.Function):
    """Normalises by the statistics of the batch, and gives them too.

    Written out because memory is what counts here: autograd of the same lines takes two to three times as long on a
    CPU, where a population's tensors do not stay in cache.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean = x.mean(dim=1, keepdim=True)
        centred = x - mean
        variance = centred.square().mean(dim=1, keepdim=True)
        rate = torch.rsqrt(variance + NORM_EPSILON)
        ctx.save_for_backward(centred, rate, scale)
        ctx.mark_non_differentiable(mean, variance)
        return torch.addcmul(shift, centred, rate * scale), mean, variance

    @staticmethod
    @first_derivative
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        centred, rate, scale = ctx.saved_tensors
        rows = centred.shape[1]
        of_shift = gradient.sum(dim=1, keepdim=True)
        of_scale = (gradient * centred).sum(dim=1, keepdim=True) * rate
        # With h = centred * rate: rate * scale * (gradient - mean of it - h * mean of gradient * h).
        factor = rate * scale
        of_x = torch.addcmul(of_shift * factor / -rows, centred, of_scale * factor * rate / -rows)
        return of_x.addcmul_(gradient, factor), of_scale, of_shift


NORMS: dict[str, type[nn.Module] | None] = {
    "none": None,
    "layer": PopulationLayerNorm,
    "rms": PopulationRMSNorm,
    "batch": PopulationBatchNorm,
}
"""What a setting stands for; each is made of the number of members and the width."""


class PopulationRMSNormInPasses(PopulationRMSNorm):
    """The same with its backward pass written out, in few passes over memory.

    A class of its own: its last bits differ from those of :class:`PopulationRMSNorm`, whose scores are kept.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape ``[K, rows, width]``."""
        y: Tensor = _RootNormalised.apply(x, self.scale)  # type: ignore[no-untyped-call]
        return y


class _RootNormalised(torch.autograd.Function):
    """Normalises rows by the root of their mean square."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor) -> Tensor:
        squares = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
        rate = squares.div_(x.shape[-1]).add_(NORM_EPSILON).rsqrt_()
        ctx.save_for_backward(x, rate, scale)
        y: Tensor = (x * rate).mul_(scale)
        return y

    @staticmethod
    @first_derivative
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, rate, scale = ctx.saved_tensors
        # Sums over rows and over columns are products with a vector, which are one pass each.
        products = gradient * x
        of_scale = torch.bmm(rate.mT, products)
        of_rate = torch.bmm(products, scale.mT)
        # rate * (scale * gradient - x * rate**2 * mean of x * scale * gradient).
        pulls = of_rate.mul_(rate.pow(3)).div_(-x.shape[-1])
        of_x = torch.mul(gradient, scale, out=products).mul_(rate).addcmul_(x, pulls)
        return of_x, of_scale
