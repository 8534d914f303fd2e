"""Convolutions of images, one per member of a population."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from rlsearch.proxies.networks.layers import uniform

SIDE = 3
"""Of a window. One position of zeros on every side keeps an image's size at stride 1."""


class PopulationConvolution(nn.Module):
    """K convolutions of 3x3, initialised as torch's ``nn.Conv2d`` from one generator per member.

    Args:
        generators: One per member; members with equal states get equal weights.
        channels: Of the input.
        outputs: Channels of the output.
        stride: 1, or 2 to halve the image; what is odd is rounded up.
        has_bias: Whether a number is added to each output. Before batch normalisation it would change nothing, and its
            gradient would be rounding alone.

    Attributes:
        weight: ``[K, outputs, inputs]``, where an input is a row, a column and a channel of a window, in this order.
        bias: ``[K, 1, outputs]``, or None.
    """

    def __init__(
        self, generators: Sequence[torch.Generator], channels: int, outputs: int, stride: int, *, has_bias: bool
    ) -> None:
        super().__init__()
        self.stride = stride
        inputs = SIDE * SIDE * channels
        bound = 1 / math.sqrt(inputs)
        stacked = torch.stack([uniform(each, (inputs + has_bias) * outputs, bound) for each in generators])
        self.weight = nn.Parameter(stacked[:, : inputs * outputs].reshape(-1, outputs, inputs).contiguous())
        self.bias = nn.Parameter(stacked[:, None, inputs * outputs :].contiguous()) if has_bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[K, batch, height, width, channels]`` to as many images of ``outputs`` channels."""
        # A GPU wants one big product, and a CPU wants to stay in cache: there the windows of a population, which are
        # nine times its images, take three to ten times as long as torch's own convolutions one after the other.
        return self.by_member(x) if x.device.type == "cpu" else self.by_product(x)

    def by_product(self, x: Tensor) -> Tensor:
        """All members at once: windows times a matrix."""
        windows = functional.pad(x, (0, 0, 1, 1, 1, 1)).unfold(2, SIDE, self.stride).unfold(3, SIDE, self.stride)
        # From [K, batch, height, width, channels, rows, columns].
        members, batch, height, width = windows.shape[:4]
        rows = windows.movedim(4, -1).reshape(members, batch * height * width, -1)
        matrix = self.weight.mT
        sums = torch.bmm(rows, matrix) if self.bias is None else torch.baddbmm(self.bias, rows, matrix)
        return sums.reshape(members, batch, height, width, -1)

    def by_member(self, x: Tensor) -> Tensor:
        """One member after the other: torch's convolutions, which take images with the channels last as they are."""
        filters = self.weight.reshape(*self.weight.shape[:2], SIDE, SIDE, -1).permute(0, 1, 4, 2, 3)
        biases = [None] * len(x) if self.bias is None else self.bias.squeeze(1).unbind()
        sums = [
            functional.conv2d(*each, self.stride, padding=1).permute(0, 2, 3, 1)
            for each in zip(x.permute(0, 1, 4, 2, 3).unbind(), filters.unbind(), biases, strict=True)
        ]
        return torch.stack(sums)
