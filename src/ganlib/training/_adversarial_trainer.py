"""Algorithm 1 of Goodfellow et al. (2014), with what training in practice adds to it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ganlib.protocols import AdversarialLoss, Latent, Penalty, Term
from ganlib.training._arguments import check_arguments
from ganlib.training._batch import BatchGate
from ganlib.training._descent import Descent
from ganlib.training._networks import Minibatch, lay_out_
from ganlib.training._objectives import Objectives
from ganlib.training._parts import load_parts, parts_state, stateful_parts
from ganlib.training._precision import Precision, PrecisionWord
from ganlib.training._replicas import Replicas, metrics_over_ranks
from ganlib.training._step_graphs import StepGraphs

__all__ = ["AdversarialTrainer"]


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
        reuse_fakes: whether the generator's update uses the fakes, with their conditions, of the discriminator's last
            update, as PyTorch's DCGAN tutorial and most scripts do. Otherwise it draws fresh ones, as Algorithm 1 does.
            The generator then runs once less in each iteration; the graph of the fakes is kept between the two updates
            (with ``accumulate``, the graphs of all batches). Both networks need parameters of their own.
        discriminator_steps: k, updates of the discriminator an iteration, at least 1.
        accumulate: batches whose gradients are averaged for one update, at least 1.
        clip_norm: largest norm of a player's gradient, above 0; None does not clip.
        precision: ``"fp32"``; ``"bf16"`` or ``"fp16"`` for the networks' forward passes under autocast, the latter with
            gradients that are scaled to keep within its range; or ``"tf32"``, where float32 matrix products may round
            what they multiply (CUDA; convolutions may in any case, unless ``torch.backends.cudnn.allow_tf32`` is
            off). Losses and penalties are float32 in all of them.
        channels_last: whether weights and samples of 4 and 5 dimensions are laid out with the channels last.
        compile: whether both networks are compiled in place (their names in a state stay), when first called.
            Penalties go through the networks as they are.
        joint_pass: whether the discriminator judges real and fake samples in one pass, which saves small networks
            half of its calls. None does so where it makes no difference: where no sample's answer depends on
            another's, no random numbers are drawn and no buffer changes. With batch norm in the discriminator, True
            takes the statistics of real and fake samples together, by which it can tell the two apart: most such
            trainings fail.
        cuda_graph: whether the whole step is recorded as a CUDA graph, one for each shape of batches, and launched
            as one. Optimizers need ``capturable=True``, and a learning rate that changes has to be a tensor. What
            the step does in Python, in a loss of your own say, is done when it is recorded alone.

    Attributes:
        iteration: training steps taken.
        judges_jointly: whether it is one pass, as ``joint_pass`` says, or as was found out at the first batch.

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
        reuse_fakes: bool = False,
        discriminator_steps: int = 1,
        accumulate: int = 1,
        clip_norm: float | None = None,
        precision: PrecisionWord = "fp32",
        channels_last: bool = False,
        compile: bool = False,
        joint_pass: bool | None = None,
        cuda_graph: bool = False,
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
        self.reuse_fakes = reuse_fakes
        self.discriminator_steps = discriminator_steps
        self.accumulate = accumulate
        self.clip_norm = clip_norm
        self.precision = precision
        self._arithmetic = Precision(precision)
        self.joint_pass = joint_pass
        self.channels_last = channels_last
        self.compile = compile
        self.cuda_graph = cuda_graph
        check_arguments(self)
        self._first = next(generator.parameters())
        self._penalty_values: dict[str, Tensor] = {}
        self._gate = BatchGate(self)
        self._objectives = Objectives(self)
        self._generator_scaler = self._arithmetic.scaler(self.device.type)
        self._discriminator_scaler = self._arithmetic.scaler(self.device.type)
        self._descend_discriminator = Descent(self._objectives.discriminator, self._discriminator_scaler)
        self._descend_generator = Descent(self._objectives.generator, self._generator_scaler)
        self._graphs = StepGraphs(self) if cuda_graph else None
        self._replicas = Replicas(lambda: stateful_parts(self).values())
        for network in (generator, discriminator):
            if channels_last:
                lay_out_(network)
            if compile:
                network.compile()

    @property
    def device(self) -> torch.device:
        """Where the generator is, and batches are moved to."""
        return self._first.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the generator's weights, which latents are given."""
        return self._first.dtype

    @property
    def judges_jointly(self) -> bool:
        """Whether the discriminator judges real and fake samples in one pass."""
        return self._objectives.joint_pass

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
        rounds = self._rounds(batches)
        with self._arithmetic.matrix_products():
            metrics = metrics_over_ranks(self._algorithm(rounds) if self._graphs is None else self._graphs(rounds))
        self._penalty_values |= {name: metrics[name] for name in self._objectives.penalty_names if name in metrics}
        self.iteration += 1
        return metrics | self._penalty_values

    def _algorithm(self, rounds: Iterator[list[Minibatch]]) -> dict[str, Tensor]:
        """Algorithm 1, on the minibatches of each update."""
        metrics: dict[str, Tensor] = {}
        for step in range(1, self.discriminator_steps + 1):
            minibatches = next(rounds)
            if self.reuse_fakes and step == self.discriminator_steps:
                self._descend_generator.prepare(self.generator_optimizer)
                minibatches = [self._objectives.with_fakes(minibatch) for minibatch in minibatches]
            metrics |= self._descend_discriminator(self.discriminator_optimizer, minibatches, self.clip_norm)
        if not self.reuse_fakes:
            minibatches = next(rounds)
        generator_metrics = self._descend_generator(self.generator_optimizer, minibatches, self.clip_norm)
        shared = {name: metrics[name] + generator_metrics[name] for name in self._objectives.term_names}
        return metrics | generator_metrics | shared

    def _rounds(self, batches: Iterator[Any]) -> Iterator[list[Minibatch]]:
        """The minibatches of each update; the generator's are the last ones again, with conditions of its own.

        With ``reuse_fakes`` the generator's are the discriminator's last ones, which are not given twice.
        """
        for _ in range(self.discriminator_steps):
            drawn = [self._gate.next(batches) for _ in range(self.accumulate)]
            yield [self._ask(*batch) for batch in drawn]
        if not self.reuse_fakes:
            yield [self._ask(*batch) for batch in drawn]

    def _ask(self, sample: Tensor, condition: Tensor | None) -> Minibatch:
        if self.fake_conditions is None:
            return Minibatch(sample, condition, condition)
        return Minibatch(sample, condition, self.fake_conditions(len(sample)).to(self.device, non_blocking=True))

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
        if self._graphs is not None:
            self._graphs.forget()
        self.iteration = state["iteration"]
        self._penalty_values = {name: value.to(self.device) for name, value in state["penalty_values"].items()}
