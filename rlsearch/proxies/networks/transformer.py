"""The transformer, a language model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlsearch.proxies.networks.base import NETWORKS, Layer, Network

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from torch import Tensor

    from rlsearch.proxies.networks.decoder import PopulationDecoder
    from rlsearch.proxies.settings import ProxySettings

_POINTWISE = 4
"""Hidden width of the feed-forward part of a pointwise activation, as a multiple of the width (arXiv 1706.03762)."""


@NETWORKS.add
class Transformer(Network):
    """A decoder: one block per width, all of one width, and a head that shares its weights with the embedding.

    A block is causal attention and a feed-forward part. Each is given its normalised input, and its result is added to
    that input. There are no biases but those of layer normalisation.

    The feed-forward part of an activation of ``x`` alone is a layer up to four times the width, the activation, and a
    layer down. That of ``x`` and ``g`` is gated (arXiv 2002.05202): two layers up, of which the first gives ``x`` and
    the second the gate ``g``, and one down. It is 8/3 of the width wide, up to a multiple of 4, so that both have as
    many weights within a percent, from width 64 on.
    """

    name = "transformer"
    normalisations = ("rms", "layer")
    gated = True
    by_position = True
    own_settings = ("heads", "positions")
    cpu_members = 4

    def layers(self, settings: ProxySettings) -> tuple[Layer, ...]:
        """Of each block: query, key and value in one, their result, up and down; and the head. All are pointwise."""
        length, width = settings.data.n_features, settings.widths[0]
        hidden = hidden_width(width, gated=False)
        sizes = ((width, 3 * width), (width, width), (width, hidden), (hidden, width)) * len(settings.widths)
        return tuple(Layer(a, b, length, length) for a, b in (*sizes, (width, settings.n_outputs)))

    def check(self, settings: ProxySettings) -> None:
        """Refuses what are no tokens, and widths and heads that do not fit."""
        data, width = settings.data, settings.widths[0]
        if data.n_tokens is None or data.n_classes != data.n_tokens:
            raise ValueError(
                f"the head of the transformer network is its embedding: expected a data set whose classes are its "
                f"tokens, got {settings.dataset}"
            )
        if len(set(settings.widths)) > 1:
            raise ValueError(f"all blocks of a transformer have one width, got {list(settings.widths)}")
        if width % (4 * settings.heads):
            raise ValueError(
                f"heads must divide the width of {width} into multiples of 4; expected {_possible_heads(width)}, got "
                f"{settings.heads}"
            )
        default = type(settings).model_fields["embedding"].default
        if settings.embedding != default:
            raise ValueError(
                f"the embedding of a transformer is as wide as its blocks: expected no embedding, got "
                f"{settings.embedding}"
            )

    def build(
        self,
        settings: ProxySettings,
        generators: Sequence[torch.Generator],
        activation: Callable[..., Tensor],
        inputs: Sequence[str] = ("x",),
    ) -> PopulationDecoder:
        """K networks on the CPU, pointwise or gated as the inputs say; see :meth:`Network.build`."""
        from rlsearch.proxies.networks.decoder import PopulationDecoder

        return PopulationDecoder(settings, generators, activation, gated="g" in inputs)


def hidden_width(width: int, *, gated: bool) -> int:
    """Hidden width of a feed-forward part.

    Args:
        width: Of the block.
        gated: Whether there are two layers up; then it is the multiple of 4 next to two thirds of the pointwise one.
    """
    hidden = _POINTWISE * width
    return round(2 * hidden / 3 / 4) * 4 if gated else hidden


def _possible_heads(width: int) -> str:
    return " or ".join(str(heads) for heads in range(1, width // 4 + 1) if width % (4 * heads) == 0)
