"""Compute the features of the Inception network, which published FID and KID values are based on."""

import functools
import importlib
import io
import os
import urllib.request
import warnings
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from ganlib._shown import shown
from ganlib.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    DataError,
    DTypeError,
    MissingExtraError,
    ShapeError,
)
from ganlib.metrics._range import warn_of_range

__all__ = ["InceptionFeatures", "inception"]

_CHUNK = 64  # images at a time, which take about 1 GB


class InceptionFeatures(nn.Module):
    """Compute the features of the Inception network that published FID and KID values are based on.

    The network is torch-fidelity's port of the 2015 network that defines FID. It computes the 2048 features after the
    last pooling layer, and the 1008 logits of the Inception score. Images are rounded to 8 bits, resized to 299x299 as
    in TensorFlow 1 (bilinear, no antialiasing), and scaled to [-1, 1]. torchmetrics' ``NoTrainInceptionV3`` does the
    same with ``antialias=False``. Newer versions of torchmetrics resize in another way by default, and return other
    values.

    The network is always in evaluation mode, without gradients. It computes in float32, even inside autocast. (On CUDA,
    convolutions may use TF32, unless ``torch.backends.cudnn.allow_tf32`` is False.) It moves to the device of the
    samples. The published weights were trained on photographs; for digits, use :attr:`DigitClassifier.features`. One
    CPU core needs about a minute for 250 images. This class requires the extra ``ganlib[metrics]``.

    Args:
        weights: path of a file of weights in the published format. torch-fidelity calls this file
            ``weights-inception-2015-12-05-6726825d.pth``, and pytorch-fid ``pt_inception-2015-12-05-6726825d.pth``. It
            is loaded without running code from it. None is the published file in the folder ``checkpoints`` of
            ``torch.hub.get_dir()``, which torchmetrics uses too. If the file is missing, it is downloaded (96 MB).
        sample_range: (low, high), the values of black and white; other values are clipped. A warning appears once if
            samples seem to have another range.

    Attributes:
        num_features: 2048.

    Raises:
        ArgumentTypeError: if ``weights`` is not a path.
        ArgumentValueError: if ``sample_range`` does not increase.
        DataError: if the weights are missing, damaged or those of another network.
        MissingExtraError: if torch-fidelity is not installed.

    Example:
        >>> features = InceptionFeatures()  # doctest: +SKIP
        >>> samples = torch.rand(4, 3, 32, 32) * 2 - 1
        >>> features(samples).shape, features.logits(samples).shape  # doctest: +SKIP
        (torch.Size([4, 2048]), torch.Size([4, 1008]))

    References:
        Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016, arXiv:1512.00567.

        Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", 2017,
        arXiv:1706.08500.

        Parmar et al., "On Aliased Resizing and Surprising Subtleties in GAN Evaluation", 2022, arXiv:2104.11222.
    """

    num_features = 2048

    def __init__(
        self, weights: str | os.PathLike[str] | None = None, *, sample_range: tuple[float, float] = (-1.0, 1.0)
    ) -> None:
        super().__init__()
        if not (weights is None or isinstance(weights, str | os.PathLike)):
            raise ArgumentTypeError(f"weights (={shown(weights)}) must be the path of a file, or None")
        low, high = sample_range
        if not low < high:
            raise ArgumentValueError(f"sample_range (={shown(sample_range)}) must increase")
        self.sample_range: tuple[float, float] = (low, high)
        self.network: Any = _network(weights)
        self.eval()

    def forward(self, samples: Tensor) -> Tensor:
        r"""Compute the features.

        A sample :math:`x` becomes the 8-bit image

        .. math:: \operatorname{round}\left(255 \min(\max(\tfrac{x - low}{high - low}, 0), 1)\right).

        Published values come from images that were saved in 8 bits. Rounding to the nearest value restores exactly the
        8-bit image that a sample was scaled from. Rounding down would make some pixels darker by one.

        Args:
            samples: (N, 1 or 3, H, W) float in the ``sample_range``, on any device. One channel is repeated.

        Returns:
            (N, 2048) float32, 0 or more.

        Raises:
            ShapeError: if samples have another shape.
            DTypeError: if samples are not floating point.
            ArgumentValueError: if samples are not finite.
        """
        return self._outputs(samples)[0]

    def logits(self, samples: Tensor) -> Tensor:
        """Compute the 1008 logits, without bias, that published Inception scores are based on.

        Args:
            samples: see :meth:`forward`.

        Returns:
            (N, 1008) float32.

        Raises:
            ShapeError: if samples have another shape.
            DTypeError: if samples are not floating point.
            ArgumentValueError: if samples are not finite.
        """
        return self._outputs(samples)[1]

    def train(self, mode: bool = True) -> Self:
        """Keep evaluation mode, for any ``mode``.

        Args:
            mode: ignored.

        Returns:
            The module itself.
        """
        return super().train(False)

    @torch.no_grad()
    def _outputs(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        if samples.ndim != 4 or samples.shape[1] not in (1, 3):
            raise ShapeError(f"samples {tuple(samples.shape)} must be (N, C, H, W) with 1 or 3 channels")
        if not samples.is_floating_point():
            raise DTypeError(f"samples must be floating point, but their dtype is {samples.dtype}")
        if not samples.isfinite().all():
            raise ArgumentValueError("samples hold values that are not finite")
        warn_of_range(self, samples, self.sample_range)
        if self.network.fc.weight.device != samples.device:
            self.to(samples.device)
        low, high = self.sample_range
        images = ((samples.float() - low) / (high - low)).clamp(0, 1).mul(255).round().to(torch.uint8)
        with torch.autocast(samples.device.type, enabled=False):
            chunks = [self.network(chunk) for chunk in images.expand(-1, 3, -1, -1).split(_CHUNK)]
        features, logits = (torch.cat(outputs) for outputs in zip(*chunks, strict=True))
        return features, logits


@functools.cache
def inception() -> InceptionFeatures:
    """Return the network that all metrics of a process share; the first call creates it."""
    return InceptionFeatures()


def _network(weights: str | os.PathLike[str] | None) -> Any:
    try:
        fidelity = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{error.name} is not installed, which InceptionFeatures needs: pip install 'ganlib[metrics]'"
        ) from error
    url = fidelity.URL_INCEPTION_V3
    path = _published(url) if weights is None else Path(weights)
    # torch-fidelity would run code from the file. So load the weights safely, and give it a copy of them.
    copy = io.BytesIO()
    try:
        # The network starts with random weights, which are overwritten; keep the random state.
        with warnings.catch_warnings(), torch.device("cpu"), torch.random.fork_rng(devices=()):
            warnings.simplefilter("ignore")  # torch warns of strange files before it refuses them
            torch.save(torch.load(path, map_location="cpu", weights_only=True), copy)
            copy.seek(0)
            network = fidelity.FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"], copy)
    except FileNotFoundError:
        raise DataError(f"weights (={str(path)!r}): there is no such file; it can be downloaded from {url}") from None
    except Exception as error:  # torch.load can raise any error for a damaged or hostile file
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise DataError(
            f"weights (={str(path)!r}) cannot be read: the file is damaged, or is not in the format of {url}; "
            f"download it again ({reason})"
        ) from error
    return network.float()


def _published(url: str) -> Path:
    """Return the path of the published weights in the cache of torch.hub; download them if they are missing."""
    path = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    if not path.exists():
        try:
            # Where packets are dropped, torch.hub would wait for minutes.
            urllib.request.urlopen(url, timeout=10).close()
            path.parent.mkdir(parents=True, exist_ok=True)
            # As in all of torch.hub, the name ends with the first digits of the SHA-256.
            torch.hub.download_url_to_file(url, str(path), hash_prefix=path.stem.rpartition("-")[2])
        except Exception as error:  # network, disk, or a wrong hash
            raise DataError(
                f"the weights of the Inception network, {path}, are missing and could not be downloaded ({error}). "
                f"Download {url} to that path, or give your path: InceptionFeatures({path.name!r})"
            ) from error
    return path
