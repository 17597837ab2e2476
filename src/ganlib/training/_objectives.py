"""What the two players descend, on a minibatch."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ganlib.protocols import DiscriminatorOutput
from ganlib.training._arguments import metric_names
from ganlib.training._joint_pass import judge_together
from ganlib.training._last_activation import widened
from ganlib.training._networks import Minibatch, as_output, call, scalar, score, sum_over_scales

if TYPE_CHECKING:
    from ganlib.training._adversarial_trainer import AdversarialTrainer

__all__ = ["Objectives"]

Losses = tuple[Tensor, dict[str, Tensor]]


class Objectives:
    """The adversarial loss with its terms and penalties, for either player.

    Args:
        trainer: whose parts make them.

    Attributes:
        term_names: metrics of the terms.
        penalty_names: metrics of the penalties.
        joint_pass: whether the discriminator judges real and fake samples in one pass.
        last_activation: the generator's, where it has to be computed in float32 under autocast, or None.
    """

    def __init__(self, trainer: "AdversarialTrainer") -> None:
        self._trainer = trainer
        self.term_names, self.penalty_names = metric_names(trainer.terms, trainer.penalties)
        self.joint_pass = bool(trainer.joint_pass)
        self.last_activation: nn.Module | None = None
        self._needs_real = getattr(trainer.loss, "needs_real_logits", False) or any(
            getattr(term, "needs_real", False) for term in trainer.terms
        )

    def discriminator(self, minibatch: Minibatch) -> Losses:
        """What the discriminator descends.

        Args:
            minibatch: real samples, and the conditions of both sides.

        Returns:
            The total, and the metrics.
        """
        real, condition, fake_condition, shared = minibatch
        with self.autocast():
            with torch.no_grad():
                fake = (
                    self._generate(minibatch) if shared is None else shared.detach().clone()
                )  # it may be changed in place
            if self.joint_pass:
                real_output, fake_output = judge_together(self.answer, minibatch, fake)
            else:
                real_output, fake_output = self._judge(real, condition), self._judge(fake, fake_condition)
        adversarial = sum_over_scales(self._trainer.loss.discriminator, real_output, fake_output)
        total, metrics = adversarial, {"discriminator_loss": adversarial}
        for name, term in zip(self.term_names, self._trainer.terms, strict=True):
            value = scalar(term.discriminator(real_output, fake_output, condition, fake_condition), name)
            total, metrics[name] = total + term.weight * value, value
        for name, penalty in self.due().items():
            # A compiled module refuses a second derivative.
            with torch.compiler.set_stance("force_eager"):
                value = scalar(penalty(self.answer, real, fake, condition, fake_condition), name)
            total, metrics[name] = total + getattr(penalty, "every", 1) * value, value
        metrics["real_score"] = score(real_output)
        metrics["fake_score"] = score(fake_output)
        return total, metrics

    def generator(self, minibatch: Minibatch) -> Losses:
        """What the generator descends.

        Args:
            minibatch: the fakes' conditions; real samples and theirs, for a loss or term that needs them.

        Returns:
            The total, and the metrics.
        """
        real, condition, fake_condition, shared = minibatch
        with self.autocast():
            fake = self._generate(minibatch) if shared is None else shared
            fake_output = self._judge(fake, fake_condition)
            with torch.no_grad():
                real_output = self._judge(real, condition) if self._needs_real else None
        adversarial = sum_over_scales(self._trainer.loss.generator, fake_output, real_output)
        total, metrics = adversarial, {"generator_loss": adversarial}
        for name, term in zip(self.term_names, self._trainer.terms, strict=True):
            value = scalar(term.generator(fake_output, real_output, fake_condition, condition), name)
            total, metrics[name] = total + term.weight * value, value
        return total, metrics

    def with_fakes(self, minibatch: Minibatch) -> Minibatch:
        """The minibatch with fakes that both updates share.

        Args:
            minibatch: without fakes.

        Returns:
            The same, with fakes that keep their graph for the generator's update.
        """
        with self.autocast():
            return minibatch._replace(fake=self._generate(minibatch))

    def due(self) -> dict[str, Any]:
        """The penalties of this iteration, by the names of their metrics."""
        penalties = zip(self.penalty_names, self._trainer.penalties, strict=True)
        return {name: one for name, one in penalties if self._trainer.iteration % getattr(one, "every", 1) == 0}

    def answer(self, sample: Tensor, condition: Tensor | None = None) -> Any:
        """The discriminator's answer to samples, augmented where they are to be.

        Args:
            sample: real or fake ones.
            condition: theirs, or None.

        Returns:
            What it gives.
        """
        trainer = self._trainer
        return call(trainer.discriminator, sample if trainer.augment is None else trainer.augment(sample), condition)

    def autocast(self) -> AbstractContextManager[object]:
        """What the networks' forward passes run under."""
        return self._trainer._arithmetic.autocast(self._trainer.device.type)

    def _generate(self, minibatch: Minibatch) -> Tensor:
        trainer, sample = self._trainer, minibatch.sample
        latent = trainer.latent(len(sample), device=trainer.device).to(trainer.dtype)
        with widened(self.last_activation):
            return call(trainer.generator, latent, minibatch.fake_condition).to(sample.dtype)

    def _judge(self, sample: Tensor, condition: Tensor | None) -> DiscriminatorOutput:
        return as_output(self.answer(sample, condition))
