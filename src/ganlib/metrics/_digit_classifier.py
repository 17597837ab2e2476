"""Classify digits, for metrics that need features or classes."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from ganlib._once import once
from ganlib.errors import ShapeError
from ganlib.metrics._range import warn_of_range

__all__ = ["DigitClassifier"]

_PRETRAINED = Path(__file__).with_name("pretrained") / "digit_classifier.safetensors"


class DigitClassifier(nn.Module):
    """Classify grayscale 28x28 digits with a small convolutional network.

    Two stages of two 3x3 convolutions with batch norm, ReLU and pooling, then 128 features, then a linear layer.
    ``DigitClassifier()`` is untrained; :meth:`pretrained` is trained on MNIST. It warns once if samples seem to be in
    [0, 1] or [0, 255].

    Attributes:
        num_features: 128.

    Example:
        >>> import torch
        >>> classifier = DigitClassifier.pretrained()
        >>> classifier(torch.zeros(2, 1, 28, 28)).shape, classifier.features(torch.zeros(2, 1, 28, 28)).shape
        (torch.Size([2, 10]), torch.Size([2, 128]))

    References:
        Stacked 3x3 convolutions: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
        Recognition", 2015, arXiv:1409.1556.
    """

    num_features = 128

    def __init__(self) -> None:
        super().__init__()
        self.body: nn.Sequential = nn.Sequential(
            *_convolution(1, 32), *_convolution(32, 32), nn.MaxPool2d(2),
            *_convolution(32, 64), *_convolution(64, 64), nn.MaxPool2d(2),
            nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * 49, self.num_features), nn.ReLU(),
        )  # fmt: skip
        self.head: nn.Linear = nn.Linear(self.num_features, 10)

    @classmethod
    def pretrained(cls) -> "DigitClassifier":
        """Load the classifier that comes with ganlib, trained on MNIST with rotations of up to 25 degrees.

        Returns:
            A classifier in float32, on the CPU, in evaluation mode. Its ``info`` contains the ``command`` that trained
            it and, as ``figures``, its accuracy on the test set of MNIST.

        Example:
            >>> import torch
            >>> from ganlib import models
            >>> generator, labels = models.pretrained("mnist_cdcgan"), torch.arange(10).repeat(10)
            >>> images = generator(torch.randn(100, generator.info["latent_dim"]), labels)
            >>> bool((DigitClassifier.pretrained()(images).argmax(1) == labels).float().mean() > 0.9)
            True
        """
        with torch.device("cpu"), torch.random.fork_rng(devices=()):  # the initial weights are random
            classifier: Any = cls().float()
        with safe_open(_PRETRAINED, framework="pt") as file:
            # They are stored in half precision; load_state_dict copies them into float32.
            classifier.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
            classifier.info = json.loads(file.metadata().get("info", "{}"))
        return classifier.eval()

    def features(self, samples: Tensor) -> Tensor:
        """Compute the features, which are the input of the last layer.

        Args:
            samples: (N, 1, 28, 28) float in [-1, 1].

        Returns:
            (N, 128) float, 0 or more.

        Raises:
            ShapeError: if samples have another shape.
        """
        if samples.shape[1:] != (1, 28, 28):
            raise ShapeError(f"samples {tuple(samples.shape)} must have shape (N, 1, 28, 28)")
        warn_of_range(self, samples)
        return once(self.body, samples, lambda: self.body(samples))

    def forward(self, samples: Tensor) -> Tensor:
        """Classify samples.

        Args:
            samples: (N, 1, 28, 28) float in [-1, 1].

        Returns:
            (N, 10) logits.

        Raises:
            ShapeError: if samples have another shape.
        """
        return self.head(self.features(samples))


def _convolution(in_channels: int, out_channels: int) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    ]
