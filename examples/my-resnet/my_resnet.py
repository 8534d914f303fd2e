"""A model that exists as the network of a search: its ReLUs are replaced within the function that builds it.

The ResNet here stands for any model of a library, such as torchvision's or timm's. my_resnet.yaml beside this file
names both functions.
"""

import torch
from torch import nn

from rlsearch import replace_activations


class Residual(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        self.around = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        self.activation = nn.ReLU()

    def forward(self, x):
        """Images [examples, channels, height, width]."""
        return self.activation(self.layers(x) + self.around(x))


def resnet(classes=10):
    """A model as a library gives it: it knows nothing of a search."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), Residual(8, 8, 1), Residual(8, 16, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, classes),
    )  # fmt: skip


def build(activation):
    """Builds the model and puts the activation under search where its ReLUs are."""
    model = resnet()
    replace_activations(model, nn.ReLU, activation)
    return model


def data(seed, examples=2048, size=12):
    """Makes training, validation and test data: images of waves whose direction is the class, under noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(10, (examples,), generator=generator)
    angles = torch.pi * (labels + 0.5 * torch.rand(examples, generator=generator)) / 10
    phases, places = 6.28 * torch.rand(examples, 1, 1, generator=generator), torch.arange(size) - size / 2
    across = angles.cos()[:, None, None] * places + angles.sin()[:, None, None] * places[:, None]
    images = (1.2 * across + phases).sin() + 1.5 * torch.randn(examples, size, size, generator=generator)
    cuts = [examples // 2, 3 * examples // 4]
    return list(zip(images[:, None].tensor_split(cuts), labels.tensor_split(cuts), strict=True))
