"""Adaptive discriminator augmentation (ADA)."""

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ganlib._checks import check_fraction, check_positive, check_sizes
from ganlib._logits import at_least_float32, scales, without_autocast
from ganlib._precise_buffers import PreciseBuffers
from ganlib._warning import warn_user
from ganlib.augment._color import COLOR, recolored
from ganlib.augment._draws import Draws
from ganlib.augment._geometric import BLIT, GEOMETRIC, compose, general_map, pixel_map
from ganlib.augment._policy import read_policy
from ganlib.augment._resampling import copied, resampled
from ganlib.augment._samples import check_images
from ganlib.augment._wavelet import filter_taps
from ganlib.distributed import mean_over_ranks, rank, world_size
from ganlib.protocols import DiscriminatorOutput, Logits

__all__ = ["AdaptiveAugment"]

_GROUPS = {"blit": BLIT, "geometric": GEOMETRIC, "color": COLOR}
_NAMES = {**_GROUPS, **{name: (name,) for names in _GROUPS.values() for name in names}}
_unobserved = weakref.WeakKeyDictionary["AdaptiveAugment", float]()  # number of calls without any observe
_MANY = 300
_NO_MORE = float("inf")  # observe was called, or a warning was given


class AdaptiveAugment(PreciseBuffers):
    r"""Augment real and fake samples with a probability that follows the overfitting of the discriminator (ADA).

    Use it to train with little data. Pass it to the trainer as ``augment``. The discriminator then sees augmented
    samples in the updates of both players, and the trainer calls :meth:`observe` in each update of the discriminator.
    In an objective of :class:`ganlib.training.GameTrainer`, call both yourself.

    Each transform is applied to each sample with the probability :math:`p`, independently. :math:`p` begins at 0, so
    the samples are not changed at first. After every ``every`` updates,

    .. math:: r_t = \operatorname{mean} \operatorname{sign} D(x), \qquad
        p \leftarrow \operatorname{clamp}\left(p + \operatorname{sign}(r_t - \text{target})
        \frac{\text{images since the last change}}{\text{images}},\ 0,\ 1\right),

    where :math:`D(x)` are the logits of real samples in these updates. A discriminator that memorizes has
    :math:`r_t` near 1. Samples are in [-1, 1]. The transforms, in the order of their application, are:

    - group ``"blit"``, which copies pixels: ``"flip"``, horizontally, for half of the samples; ``"rotate90"``, by
      :math:`k \cdot 90` degrees, :math:`k \sim U\{0, ..., 3\}`; ``"translate"``, by whole pixels, up to an eighth of
      the width and of the height.
    - group ``"geometric"``, which interpolates: ``"scale"``, by :math:`2^{N(0, 0.2^2)}`; ``"rotate"``, by any angle,
      before the stretch, after it, or both; ``"stretch"``, by :math:`2^{N(0, 0.2^2)}` in one direction and by its
      inverse in the other; ``"shift"``, by :math:`N(0, 0.125^2)` of the width and of the height.
    - group ``"color"``: ``"brightness"``, :math:`x + N(0, 0.2^2)`; ``"contrast"``, :math:`2^{N(0, 0.5^2)} x`;
      ``"luma_flip"``, which mirrors the brightness of each pixel about 0, for half of the samples; ``"hue"``, a
      rotation about the gray axis by any angle; ``"saturation"``, a factor of :math:`2^{N(0, 1)}`.

    All geometric transforms of a sample are one affine map, so a sample is interpolated once: at twice the resolution,
    with the wavelet filter sym6. Samples that no transform changes, or only those of ``"blit"``, keep their exact
    values. Outside, images are reflected, as often as necessary. All transforms of colors are one affine map of each
    pixel, too. ``"hue"`` is for 3 channels, and ``"saturation"`` for 2 or more; for other samples they do nothing.

    Nothing reads :math:`p` on the host. So the geometric transforms cost the same for each :math:`p`: they interpolate
    all samples, at a resolution of about 4 H by 4 W, which is enough for any map. A policy without them is several
    times as fast. All operations can be differentiated any number of times, so gradient penalties work with them.

    Over several processes, :math:`r_t` and the number of images are those of all processes, so :math:`p` is the same in
    all. All must call :meth:`observe` together. The first call moves the buffers to the device of the samples.

    Args:
        policy: transforms and groups: a string, separated by commas, or a sequence of strings. Their order does not
            matter. The default is the "bgc" of the paper. ``"colour"`` is accepted too.
        p: the first probability, in [0, 1].
        target: the value of :math:`r_t` to aim at, in [0, 1]. None keeps :math:`p`: it is fixed, or a
            :class:`ganlib.training.Schedule` of ``augment.p`` changes it. If a resumed run gives another fixed
            ``p``, that value is used, with a warning. Pass None with a loss that does not
            separate real from fake samples at a logit of 0: relativistic and Wasserstein losses, which fix only
            differences of logits, and least squares with the targets 1 and 0.
        images: number of images, above 0, after which :math:`p` can have gone from 0 to 1. Use fewer for small
            data sets and short trainings.
        every: number of batches of real samples between two changes of :math:`p`, at least 1. With
            ``accumulate_grad_batches``, an update has several.

    Attributes:
        p: the probability now, a tensor () that is changed in place.
        transforms: names of the transforms, in the order of their application.
        sample_range: the range (-1, 1) that ``"luma_flip"`` assumes; None without this transform.

    Raises:
        ArgumentValueError: an argument is out of range, or the policy is empty or has an unknown name.
        ArgumentTypeError: the policy is neither a string nor a sequence of strings.

    Example:
        >>> augment = AdaptiveAugment("blit,color", p=0.5, images=1000, every=1)
        >>> augment(torch.ones(4, 3, 32, 32)).shape
        torch.Size([4, 3, 32, 32])
        >>> augment.observe(torch.ones(100, 1))  # the logits of 100 real images are all positive: 1 > 0.6
        >>> augment.p
        tensor(0.6000)

    References:
        Karras et al., "Training Generative Adversarial Networks with Limited Data", 2020, arXiv:2006.06676, section 3
        and appendix B. The defaults follow the paper, and the ranges follow the authors' code. That code limits the
        reflection to one size of the image, and interpolates samples that are only flipped, turned or translated.
    """

    p: Tensor
    first_p: Tensor
    signs: Tensor
    seen: Tensor
    updates: Tensor
    taps: Tensor

    def __init__(
        self,
        policy: str | Sequence[str] = "blit,geometric,color",
        *,
        p: float = 0.0,
        target: float | None = 0.6,
        images: float = 500_000,
        every: int = 4,
    ) -> None:
        super().__init__()
        names = read_policy(policy, _NAMES)
        chosen = {transform for name in names for transform in _NAMES[name]}
        check_fraction("p", p)
        if target is not None:
            target = check_fraction("target", target)
        check_sizes(every=every)
        self.policy: str = ",".join(names)
        self.transforms: tuple[str, ...] = tuple(name for group in _GROUPS.values() for name in group if name in chosen)
        self.target: float | None = target
        self.images: float = check_positive("images", images)
        self.every: int = int(every)
        self.register_buffer("p", torch.tensor(float(p)))
        self.register_buffer("first_p", torch.tensor(float(p)))  # of the code, to notice its change at a resume
        self.register_buffer("signs", torch.zeros(()))  # the sum over the images since the last change
        self.register_buffer("seen", torch.zeros(()))  # the number of these images
        self.register_buffer("updates", torch.zeros(()))
        self.register_buffer("taps", filter_taps(), persistent=False)

    def forward(self, samples: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Augment the samples.

        Args:
            samples: (N, C, H, W) float.
            generator: source of random numbers on the device of the samples; None uses torch's default.

        Returns:
            The same shape and dtype.

        Raises:
            ShapeError: the samples are not images.
            ArgumentTypeError: the samples are not a tensor.
            DTypeError: the samples are not floating point.
        """
        check_images(samples)
        self._look_for_observe()
        self._move(samples.device)
        changed = at_least_float32(samples)
        draws = Draws(len(samples), self.p, changed.dtype, generator)
        # Autocast would compute the matrix products of the interpolation in half precision.
        with without_autocast(samples.device.type):
            changed = self._geometric(changed, draws)
            if not set(COLOR).isdisjoint(self.transforms):
                changed = recolored(changed, draws, self.transforms)
        return changed.to(samples.dtype)

    def _geometric(self, samples: Tensor, draws: Draws) -> Tensor:
        """Apply the transforms of the groups "blit" and "geometric"."""
        size = samples.shape[2:]
        whole = None
        moved = samples
        if not set(BLIT).isdisjoint(self.transforms):
            whole = pixel_map(draws, self.transforms, *size)
            moved = copied(samples, whole)
        if set(GEOMETRIC).isdisjoint(self.transforms):
            return moved
        maps, changed = general_map(draws, self.transforms, *size)
        if whole is not None:
            maps = compose(whole, maps)
        # The sum after the conversion, since two rows of float32 have the precision of float64 together.
        interpolated = resampled(samples, maps, self.taps.to(samples.dtype).sum(0))
        # torch.lerp is exact at 0 and 1, and on the CPU faster than torch.where.
        return torch.lerp(moved, interpolated, changed.to(samples.dtype).view(-1, 1, 1, 1))

    @torch.no_grad()
    def observe(self, real_logits: Logits | DiscriminatorOutput) -> None:
        """Count the signs of the logits of real samples, and change p after every ``every`` calls.

        The trainer calls it in each update of the discriminator. In evaluation mode, and without a target, it does
        nothing.

        Args:
            real_logits: logits of augmented real samples: float (N, ...), a tuple with one tensor per scale, whose mean
                signs are averaged, or a DiscriminatorOutput.

        Raises:
            ArgumentTypeError: these are not logits.
        """
        parts = scales(real_logits)
        if self.target is None:
            return
        first = not torch.compiler.is_compiling() and _unobserved.get(self) != _NO_MORE
        if first:
            _unobserved[self] = _NO_MORE
        if not self.training:
            if first and rank() == 0:
                warn_user(
                    f"{type(self).__name__} is in evaluation mode, so it does not adapt p: call train() of it, or pass "
                    "target=None to keep p"
                )
            return
        self._move(parts[0].device)
        n = len(parts[0]) if parts[0].ndim else 1
        sign = torch.stack([part.sign().sum() / max(part.numel(), 1) for part in parts]).mean().to(self.p.dtype)
        # Over all processes, which may have batches of different sizes.
        batch = torch.stack([n * sign, torch.full_like(sign, n)])
        signs, seen = (mean_over_ranks(batch) * world_size()).unbind()
        self.signs.add_(signs)
        self.seen.add_(seen)
        self.updates.add_(1)
        # A branch on the host would wait for the device.
        due = (self.updates >= self.every).to(self.p.dtype)
        direction = (self.signs - self.target * self.seen).sign()
        self.p.add_(due * direction * self.seen / self.images).clamp_(0, 1)
        for count in (self.signs, self.seen, self.updates):
            count.mul_(1 - due)

    @property
    def sample_range(self) -> tuple[float, float] | None:
        """Range that the samples must have."""
        return (-1.0, 1.0) if "luma_flip" in self.transforms else None

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``, without p, which changes."""
        return f"policy={self.policy!r}, target={self.target}, images={self.images}, every={self.every}"

    def _move(self, device: torch.device) -> None:
        if self.p.device != device:
            self.to(device)

    def _look_for_observe(self) -> None:
        """Warn, once, if p would never change because nobody calls observe; loaders and dry runs need no gradients."""
        if (
            torch.compiler.is_compiling()
            or self.target is None
            or not self.training
            or not torch.is_grad_enabled()
            or (calls := _unobserved.get(self, 0)) == _NO_MORE
        ):
            return
        _unobserved[self] = calls + 1
        if calls + 1 == _MANY:
            _unobserved[self] = _NO_MORE
            if rank() != 0:
                return
            warn_user(
                f"{type(self).__name__} has augmented {_MANY} batches, but observe(real_logits) was never called, so p "
                "does not adapt: pass it to AdversarialTrainer as augment, or call observe in the discriminator's "
                "objective; target=None keeps p"
            )

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **options: Any) -> None:
        """Load a state, but keep a fixed p that has been changed in the code since the state was saved."""
        saved, first = state_dict.get(f"{prefix}p"), state_dict.get(f"{prefix}first_p")
        if first is None:  # of an earlier version
            state_dict[f"{prefix}first_p"] = self.first_p
        elif self.target is None and saved is not None and float(saved) == float(first) != float(self.first_p):
            # The saved run did not change p either, neither by a schedule nor by hand.
            warn_user(
                f"p (={float(self.first_p):.4g}) of {type(self).__name__} is used from here on, and not the p "
                f"(={float(saved):.4g}) of the state that is loaded, since target is None"
            )
            state_dict[f"{prefix}p"] = state_dict[f"{prefix}first_p"] = self.first_p
        super()._load_from_state_dict(state_dict, prefix, *args, **options)
