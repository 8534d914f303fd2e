"""The residual network for images."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from rlsearch.proxies.data.base import DATASETS
from rlsearch.proxies.networks.base import NETWORKS, Layer, Network

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import Tensor, nn

    from rlsearch.proxies.networks.layers import PopulationNetwork
    from rlsearch.proxies.settings import ProxySettings

_TAPS = 9  # windows of 3x3


@NETWORKS.add
class ResNet(Network):
    """The residual network of He et al. for CIFAR (arXiv 1512.03385, section 4.2), as small as is wanted.

    A convolution of 3x3, then one block per width, the mean over positions, a linear layer. A block is two
    convolutions whose result is added to the block's input before the second activation. One that is wider than the
    block before it begins a new stage: it halves the image, and what is added to is every second row and column with
    zeros for the new channels, so that a shortcut has no weights.

    Widths of 16, 32 and 64, three times each, with batch normalisation are ResNet-20, on which Swish was tried
    (arXiv 1710.05941); 16, 32, 64 once each are the smallest network of this form.
    """

    name = "resnet"
    normalisations = ("none", "layer", "rms", "batch")

    def layers(self, settings: ProxySettings) -> tuple[Layer, ...]:
        """The first convolution, two for each width, and the head on the mean over positions."""
        channels, height, width = _image(settings)
        first, *_ = settings.widths
        layers = [Layer(channels, first, height * width, height * width, _TAPS)]
        for before, outputs in pairwise((first, *settings.widths)):
            positions = height * width
            if outputs > before:
                height, width = (height + 1) // 2, (width + 1) // 2
            layers.append(Layer(before, outputs, positions, height * width, _TAPS))
            layers.append(Layer(outputs, outputs, height * width, height * width, _TAPS))
        return (*layers, Layer(settings.widths[-1], settings.n_outputs, height * width))

    def check(self, settings: ProxySettings) -> None:
        """Refuses what are no images, widths that fall, and more stages than an image can be halved for."""
        if settings.data.image is None:
            images = ", ".join(name for name in DATASETS if DATASETS[name].image is not None)
            raise ValueError(f"the resnet network is for images ({images}), not for {settings.dataset}")
        widths = settings.widths
        if any(after < before for before, after in pairwise(widths)):
            raise ValueError(
                "a block of a resnet adds to all channels that it is given: expected widths that do not fall, got "
                f"{list(widths)}"
            )
        _, height, width = _image(settings)
        stages, halvings = len(set(widths)), (min(height, width) - 1).bit_length()
        if stages > halvings + 1:
            raise ValueError(
                f"resnet halves the image of {height}x{width} where widths rise; expected at most {halvings + 1} "
                f"different widths, got {stages}"
            )

    def make_layer(self, layer: Layer, settings: ProxySettings, generators: Sequence[torch.Generator]) -> nn.Module:
        """A convolution, which maps images to images."""
        from rlsearch.proxies.networks.convolution import PopulationConvolution

        stride = 1 if layer.positions == layer.positions_in else 2
        has_bias = settings.normalisation != "batch"
        return PopulationConvolution(generators, layer.channels, layer.outputs, stride, has_bias=has_bias)

    def forward(self, network: PopulationNetwork, inputs: Tensor) -> Tensor:
        """The first convolution, all blocks, and the head; images have their channels last."""
        assert network.image is not None
        images = inputs.reshape(*inputs.shape[:2], *network.image).movedim(2, -1)  # [K, batch, height, width, channels]
        x = network.activate(0, _normalised(network, 0, images))
        for i in range(1, network.depth, 2):
            added = _normalised(network, i + 1, network.activate(i, _normalised(network, i, x)))
            x = network.activate(i + 1, _shortcut(x, added) + added)
        outputs: Tensor = network.head(x.mean(dim=(2, 3)))
        return outputs


def _image(settings: ProxySettings) -> tuple[int, int, int]:
    image = settings.data.image
    assert image is not None, "check() looks for it"
    return image


def _normalised(network: PopulationNetwork, i: int, images: Tensor) -> Tensor:
    """Convolution ``i`` and its normalisation, which sees an image's positions as rows."""
    sums: Tensor = network.layers[i](images)
    normalised: Tensor = network.norms[i](sums.flatten(1, 3))
    return normalised.reshape(sums.shape)


def _shortcut(x: Tensor, added: Tensor) -> Tensor:
    """What a block's result is added to: its input, or in a new stage a quarter of it and channels of zeros."""
    from torch.nn import functional

    new = added.shape[-1] - x.shape[-1]
    return functional.pad(x[:, :, ::2, ::2], (0, new)) if new else x
