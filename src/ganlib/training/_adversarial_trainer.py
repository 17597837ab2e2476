"""Algorithm 1 of Goodfellow et al. (2014), with what training in practice adds to it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ganlib.protocols import AdversarialLoss, Batch, DiscriminatorOutput, Latent, Penalty, Term
from ganlib.training._arguments import check_arguments, metric_names
from ganlib.training._batch import BatchGate
from ganlib.training._descent import Descent
from ganlib.training._networks import as_output, call, device_and_dtype, lay_out_, scalar, score, sum_over_scales
from ganlib.training._parts import load_parts, parts_state, stateful_parts
from ganlib.training._replicas import Replicas, metrics_over_ranks

__all__ = ["AdversarialTrainer"]

Losses = tuple[Tensor, dict[str, Tensor]]


class AdversarialTrainer:
    r"""Trains a generator against a discriminator by Algorithm 1 of Goodfellow et al. (2014).

    .. math::
        &\text{for } k \text{ steps: draw samples } x \text{ and latents } z, \text{ and descend }
            \nabla_{\theta_D} \big[ L_D(D(x), D(G(z))) + \text{terms} + \text{penalties} \big]; \\
        &\text{then draw latents } z, \text{ and descend }
            \nabla_{\theta_G} \big[ L_G(D(G(z))) + \text{terms} \big].

    Networks, losses, penalties and latents may be anyone's: see :mod:`ganlib.protocols`. A step waits for the device
    nowhere, changes no ``requires_grad``, and leaves training or evaluation mode to the user. Of several processes that
    ``torch.distributed`` has joined, all step down their mean gradient; give the bare networks, not wrapped ones.

    Args:
        generator: called with (latent), or (latent, condition) where the batches have conditions.
        discriminator: called with (sample), or (sample, condition).
        generator_optimizer: holds parameters of the generator; those that require gradients are trained.
        discriminator_optimizer: likewise, of the discriminator.
        loss: the adversarial loss.
        latent: the distribution of latents.
        penalties: added to the discriminator's loss; one with ``every = k`` at iterations divisible by k, times k. The
            first iteration is 0.
        terms: added, each times its weight, to both players' losses.
        fake_conditions: n -> n conditions for the fakes, in both updates; None takes those of the batch.
        augment: samples -> samples, on real and fake in both updates, with gradients through it. Penalties are given
            samples without it, and a discriminator that augments what it is called with.
        discriminator_steps: k, updates of the discriminator an iteration, at least 1.
        accumulate: batches whose gradients are averaged for one update, at least 1.
        clip_norm: largest norm of a player's gradient, above 0; None does not clip.
        precision: ``"fp32"``, or ``"bf16"`` for the networks' forward passes under autocast; losses and penalties
            are float32 in both.
        channels_last: whether weights and samples of 4 and 5 dimensions are laid out with the channels last.
        compile: whether both networks are compiled in place (their names in a state stay).

    Attributes:
        iteration: training steps taken.

    Raises:
        ArgumentValueError, ArgumentTypeError: naming the argument that is wrong, and its value.

    Example:
        >>> from ganlib import latents, losses, training
        >>> generator, discriminator = nn.Linear(4, 2), nn.Linear(2, 1)
        >>> trainer = training.AdversarialTrainer(
        ...     generator, discriminator,
        ...     torch.optim.Adam(generator.parameters()), torch.optim.Adam(discriminator.parameters()),
        ...     loss=losses.NonSaturatingLoss(), latent=latents.Gaussian(4))
        >>> sorted(trainer.train_step(iter([torch.randn(8, 2)])))
        ['discriminator_loss', 'fake_score', 'generator_loss', 'real_score']

    References:
        Goodfellow et al., "Generative Adversarial Nets", 2014, Algorithm 1.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        generator_optimizer: torch.optim.Optimizer,
        discriminator_optimizer: torch.optim.Optimizer,
        *,
        loss: AdversarialLoss,
        latent: Latent,
        penalties: Sequence[Penalty] = (),
        terms: Sequence[Term] = (),
        fake_conditions: Callable[[int], Tensor] | None = None,
        augment: Callable[[Tensor], Tensor] | None = None,
        discriminator_steps: int = 1,
        accumulate: int = 1,
        clip_norm: float | None = None,
        precision: Literal["fp32", "bf16"] = "fp32",
        channels_last: bool = False,
        compile: bool = False,
    ) -> None:
        self.iteration = 0
        self.generator = generator
        self.discriminator = discriminator
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self.loss = loss
        self.latent = latent
        self.penalties = penalties
        self.terms = terms
        self.fake_conditions = fake_conditions
        self.augment = augment
        self.discriminator_steps = discriminator_steps
        self.accumulate = accumulate
        self.clip_norm = clip_norm
        self.precision = precision
        self.channels_last = channels_last
        check_arguments(self)
        self._term_names, self._penalty_names = metric_names(terms, penalties)
        self._needs_real = getattr(loss, "needs_real_logits", False) or any(
            getattr(term, "needs_real", False) for term in terms
        )
        self._penalty_values: dict[str, Tensor] = {}
        self._gate = BatchGate(self)
        self._descend_discriminator = Descent(self._discriminator_losses)
        self._descend_generator = Descent(self._generator_losses)
        self._replicas = Replicas(lambda: stateful_parts(self).values())
        for network in (generator, discriminator):
            if channels_last:
                lay_out_(network)
            if compile:
                network.compile()

    @property
    def batches_per_iteration(self) -> int:
        """How many batches a step draws."""
        return self.discriminator_steps * self.accumulate

    def train_step(self, batches: Iterator[Any]) -> dict[str, Tensor]:
        """Update the discriminator ``discriminator_steps`` times, then the generator once.

        Args:
            batches: gives ``discriminator_steps * accumulate`` batches. Each is a tensor of samples, ``(sample,)``,
                ``(sample, condition)`` or a :class:`ganlib.protocols.Batch`, and is moved to the generator's device.

        Returns:
            Detached scalars, of the last update of each player: ``discriminator_loss`` and ``generator_loss`` (the
            adversarial losses alone), ``real_score`` and ``fake_score`` (mean sigmoid of the logits in the
            discriminator's update), one for each term (the sum of its values for the two players, without the weight)
            and one for each penalty; a lazy penalty's is the one that was last computed.

        Raises:
            ArgumentValueError, ArgumentTypeError: a batch that cannot be trained on; nothing was trained on it.
            BatchesExhaustedError: fewer batches than an iteration needs.
        """
        self._replicas.align()
        metrics: dict[str, Tensor] = {}
        for _ in range(self.discriminator_steps):
            minibatches = [self._gate.next(batches) for _ in range(self.accumulate)]
            metrics |= self._descend_discriminator(self.discriminator_optimizer, minibatches, self.clip_norm)
        generator_metrics = self._descend_generator(self.generator_optimizer, minibatches, self.clip_norm)
        shared = {name: metrics[name] + generator_metrics[name] for name in self._term_names}
        metrics = metrics_over_ranks(metrics | generator_metrics | shared)
        self._penalty_values |= {name: metrics[name] for name in self._penalty_names if name in metrics}
        self.iteration += 1
        return metrics | self._penalty_values

    def _discriminator_losses(self, batch: Batch) -> Losses:
        real, condition = batch
        with self._autocast():
            with torch.no_grad():
                fake, fake_condition = self._generate(batch)
            real_output = self._judge(real, condition)
            fake_output = self._judge(fake, fake_condition)
        adversarial = sum_over_scales(self.loss.discriminator, real_output, fake_output)
        total, metrics = adversarial, {"discriminator_loss": adversarial}
        for name, term in zip(self._term_names, self.terms, strict=True):
            value = scalar(term.discriminator(real_output, fake_output, condition, fake_condition), name)
            total, metrics[name] = total + term.weight * value, value
        for name, penalty in zip(self._penalty_names, self.penalties, strict=True):
            every = getattr(penalty, "every", 1)
            if self.iteration % every == 0:
                # A compiled module refuses a second derivative.
                with torch.compiler.set_stance("force_eager"):
                    value = scalar(penalty(self._answer, real, fake, condition, fake_condition), name)
                total, metrics[name] = total + every * value, value
        metrics["real_score"] = score(real_output)
        metrics["fake_score"] = score(fake_output)
        return total, metrics

    def _generator_losses(self, batch: Batch) -> Losses:
        real, condition = batch
        with self._autocast():
            fake, fake_condition = self._generate(batch)
            fake_output = self._judge(fake, fake_condition)
            with torch.no_grad():
                real_output = self._judge(real, condition) if self._needs_real else None
        adversarial = sum_over_scales(self.loss.generator, fake_output, real_output)
        total, metrics = adversarial, {"generator_loss": adversarial}
        for name, term in zip(self._term_names, self.terms, strict=True):
            value = scalar(term.generator(fake_output, real_output, fake_condition, condition), name)
            total, metrics[name] = total + term.weight * value, value
        return total, metrics

    def _generate(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        n = len(batch.sample)
        device, dtype = device_and_dtype(self.generator)
        condition = batch.condition if self.fake_conditions is None else self.fake_conditions(n).to(device)
        fake = call(self.generator, self.latent(n, device=device).to(dtype), condition)
        return fake.to(batch.sample.dtype), condition

    def _judge(self, sample: Tensor, condition: Tensor | None = None) -> DiscriminatorOutput:
        return as_output(self._answer(sample, condition))

    def _answer(self, sample: Tensor, condition: Tensor | None = None) -> Any:
        return call(self.discriminator, sample if self.augment is None else self.augment(sample), condition)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            device_and_dtype(self.generator)[0].type, torch.bfloat16, enabled=self.precision == "bf16"
        )

    def check_conditions(self, condition: Tensor) -> None:
        """Refuse conditions that an encoder in either network cannot take; ``fit`` asks this of a whole data set.

        Args:
            condition: any number of conditions, on the host.

        Raises:
            ArgumentValueError, ArgumentTypeError: from the encoder.
        """
        self._gate.check_conditions(condition)

    def state_dict(self) -> dict[str, Any]:
        """Everything of the trainer that an exact resume needs.

        Returns:
            The iteration, and the states of the networks, the optimizers, and of the loss, terms, penalties, latent
            and augmentation that have one.
        """
        return {"iteration": self.iteration, "penalty_values": dict(self._penalty_values), **parts_state(self)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state.

        Args:
            state: what :meth:`state_dict` of a trainer of the same parts gave.

        Raises:
            CheckpointError: the state is of other parts.
        """
        load_parts(self, state)
        self.iteration = state["iteration"]
        self._penalty_values = {
            name: value.to(device_and_dtype(self.generator)[0]) for name, value in state["penalty_values"].items()
        }
