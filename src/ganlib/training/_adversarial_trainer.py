"""Train a GAN by Algorithm 1 of Goodfellow et al. (2014, arXiv:1406.2661), as a game of two players."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn

from ganlib._checks import check_sizes
from ganlib._logits import as_dtype, as_output, scales
from ganlib._shown import network_name, on_lines, optimizer_name, shown
from ganlib._weights import weighted
from ganlib.errors import BatchesExhaustedError
from ganlib.protocols import AdversarialLoss, AuxiliaryLoss, Batch, DiscriminatorOutput, Latent, Penalty, Stateful, Step
from ganlib.training._augmented import Augmented
from ganlib.training._batch import CONDITION_KEY, BatchReader
from ganlib.training._dry_run import check_made
from ganlib.training._game_trainer import GameTrainer, Player
from ganlib.training._gan_arguments import (
    check_networks,
    check_parts,
    metric_names,
    warn_of_ascent,
    warn_of_useless_signs,
)
from ganlib.training._small_batches import SmallBatches, losses_and_gradients
from ganlib.training._step._due_penalties import DuePenalties, check_precisions, check_reuse_logits
from ganlib.training._step._joint_pass import discriminate_together
from ganlib.training._step._last_activation import widened
from ganlib.training._step._networks import call, move, scalar
from ganlib.training._step._precision import Precision, PrecisionName
from ganlib.training._step._state import reprs_of, warn_of_changes
from ganlib.training._step._step_graphs import CudaGraph

__all__ = ["AdversarialTrainer"]

Losses = tuple[Tensor, dict[str, Tensor]]


class _Minibatch(NamedTuple):
    sample: Tensor
    condition: Any = None
    fake_condition: Any = None
    generator_condition: Any = None  # drawn early, since a CUDA graph cannot draw it
    due: Any = ()  # a dict whose keys are the penalties of this iteration: each set of keys has its own CUDA graph
    latent: Any = None
    fake: Any = None


@final
class AdversarialTrainer:
    r"""Train a generator against a discriminator by Algorithm 1 of Goodfellow et al. (2014), arXiv:1406.2661.

    .. math::
        &\text{for } k \text{ steps: draw samples } x \text{ and latents } z, \text{ and descend }
            \nabla_{\theta_D} \big[ L_D(D(x), D(G(z))) + \text{auxiliary losses} + \text{penalties} \big]; \\
        &\text{then draw latents } z, \text{ and descend }
            \nabla_{\theta_G} \big[ L_G(D(G(z))) + \text{auxiliary losses} \big].

    The trainer is a :class:`GameTrainer` with two players. You can use your own networks, losses, penalties and
    latents: see :mod:`ganlib.protocols`. An iteration does not wait for the device and does not change
    ``requires_grad``. It does not switch the networks between training and evaluation mode. Several processes average
    their gradients; pass networks without a wrapper. You cannot change the settings of a trainer.

    Args:
        generator: called with (latent), or with (latent, condition) if the batches have conditions.
        discriminator: called with (sample), or with (sample, condition).
        generator_optimizer: the optimizer of the generator's parameters. The trainer trains the parameters that require
            gradients.
        discriminator_optimizer: the optimizer of the discriminator's parameters.
        loss: the adversarial loss.
        latent: the distribution of latents.
        penalties: each is added to the discriminator's loss. A penalty with ``every = k`` is added in every k-th
            iteration, multiplied by k. The first iteration is 0.
        auxiliary_losses: each is multiplied by its weight and added to the losses of both players.
        fake_conditions: a function from n to n conditions for the fakes of both updates. None uses those of the batch.
        augment: a function from samples to samples, applied to real and fake samples in both updates, with gradients.
            Penalties receive samples without augmentation, and a discriminator that augments its input. If it has a
            method ``observe``, each discriminator update calls it once for each batch, with the detached logits of the
            real samples (a tensor, or a tuple of several scales). An augmentation can adapt its strength this way. It
            must change its own tensors in place.
        reuse_fakes: whether the generator's update uses the fakes and conditions of the last discriminator update, as
            the PyTorch DCGAN tutorial does. Otherwise it draws new ones, as in Algorithm 1. Reuse saves one run of the
            generator in each iteration. It keeps the graph of the fakes between the two updates (under accumulation,
            the graphs of all batches). The networks must not share parameters.
        reuse_logits: whether penalties with a method ``of(samples, logits)`` and a ``side`` (``"real"`` or ``"fake"``),
            such as R1 and R2, use the logits of the discriminator's update. This saves one forward pass for each. Such
            an update runs the discriminator without compilation. With ``"bf16"``, give these penalties
            ``precision="autocast"``. You cannot combine it with ``joint_pass`` or ``"fp16"``. See :ref:`reuse_logits`.
        discriminator_steps: k, the number of discriminator updates in each iteration, at least 1.
        accumulate_grad_batches: number of batches to average the gradients of one update over, at least 1.
        max_grad_norm: largest norm of a player's gradient, above 0. None does not clip.
        precision: ``"fp32"``, ``"tf32"``, ``"bf16"`` or ``"fp16"``. ``"bf16"`` and ``"fp16"`` run the networks' forward
            passes under autocast. ``"fp16"`` also uses a gradient scaler for each player. ``"tf32"`` lets CUDA round
            the inputs of float32 matrix products. Convolutions may round in all of them, unless
            ``torch.backends.cudnn.allow_tf32`` is False. Losses are always float32, and so are penalties without
            ``precision="autocast"``.
        channels_last: whether to use the channels-last memory format for weights and samples of 4 and 5 dimensions.
        compile: whether to compile both networks in place at their first call. Names in the state do not change.
            Penalties call the networks without compilation.
        joint_pass: whether the discriminator runs once on real and fake samples together, which saves a small network
            half of its calls. Do not use it with batch norm in the discriminator. The statistics then cover real and
            fake samples together, and reveal to the discriminator which samples are fake. Most such trainings fail.
        cuda_graph: whether to record the whole iteration as a CUDA graph, one for each shape of batches. Python code in
            your own loss then runs only during the recording. An error is raised if a Python value changes within an
            iteration. ``"auto"`` launches kernels one by one, with one warning, if an iteration on CUDA cannot be
            recorded. See :ref:`cuda_graphs`.
        sample_key: key of the samples, for batches that are dicts.
        condition_key: key of the conditions, for batches that are dicts. None trains without conditions.

    Attributes:
        iteration: number of completed iterations.
        generator: the generator.
        discriminator: the discriminator.
        generator_optimizer: the generator's optimizer.
        discriminator_optimizer: the discriminator's optimizer.

    Raises:
        ArgumentValueError, ArgumentTypeError: an argument is wrong. The error names the argument and quotes its value.

    Example:
        >>> from ganlib import latents, losses, training
        >>> generator, discriminator = nn.Linear(4, 2), nn.Linear(2, 1)
        >>> trainer = training.AdversarialTrainer(
        ...     generator, discriminator,
        ...     torch.optim.Adam(generator.parameters()), torch.optim.Adam(discriminator.parameters()),
        ...     loss=losses.NonSaturatingLoss(), latent=latents.Gaussian(4))
        >>> sorted(trainer.train_step(torch.randn(8, 2)))
        ['discriminator_loss', 'fake_score', 'generator_loss', 'real_score']

    References:
        Goodfellow et al., "Generative Adversarial Nets", 2014, arXiv:1406.2661, Algorithm 1.
    """

    __slots__ = (
        *("generator", "discriminator", "generator_optimizer", "discriminator_optimizer", "__weakref__"),
        *("_loss", "_latent", "_penalties", "_auxiliary_losses", "_fake_conditions", "_reuse_fakes", "_reuse_logits"),
        *("_joint_pass", "_precision", "_needs_real", "_weight", "_draw_early", "_batches_needed", "_kinds", "_read"),
        "_reprs",
        *("_channels_last", "_game", "_augmented", "_small_batches"),
    )

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
        auxiliary_losses: Sequence[AuxiliaryLoss] = (),
        fake_conditions: Callable[[int], Any] | None = None,
        augment: Callable[[Tensor], Tensor] | None = None,
        reuse_fakes: bool = False,
        reuse_logits: bool = False,
        discriminator_steps: int = 1,
        accumulate_grad_batches: int = 1,
        max_grad_norm: float | None = None,
        precision: PrecisionName = "fp32",
        channels_last: bool = False,
        compile: bool = False,
        joint_pass: bool = False,
        cuda_graph: CudaGraph = False,
        sample_key: str = "image",
        condition_key: str | None = CONDITION_KEY,
    ) -> None:
        check_networks(generator, discriminator, generator_optimizer, discriminator_optimizer, reuse_fakes=reuse_fakes)
        check_parts(
            loss,
            penalties,
            auxiliary_losses,
            functions={"latent": latent, "fake_conditions": fake_conditions, "augment": augment},
            choices={"reuse_fakes": reuse_fakes, "reuse_logits": reuse_logits, "joint_pass": joint_pass},
        )
        optimizers = {"generator_optimizer": generator_optimizer, "discriminator_optimizer": discriminator_optimizer}
        warn_of_ascent(loss, optimizers, stacklevel=2)
        warn_of_useless_signs(loss, augment, stacklevel=2)
        check_sizes(discriminator_steps=discriminator_steps, accumulate_grad_batches=accumulate_grad_batches)
        self.generator = generator
        self.discriminator = discriminator
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self._weight = next(generator.parameters())  # latents have its device and dtype
        self._loss = loss
        self._latent = latent
        self._fake_conditions = fake_conditions
        self._reuse_fakes = reuse_fakes
        self._channels_last = channels_last
        self._augmented = Augmented(discriminator, augment)
        self._joint_pass = joint_pass
        self._precision = Precision(precision)
        check_precisions(penalties, self._precision)
        if reuse_logits:
            check_reuse_logits(penalties, self._precision, joint_pass=joint_pass)
        self._reuse_logits = reuse_logits
        recorded = cuda_graph is True or (cuda_graph == "auto" and self._weight.device.type == "cuda")
        self._draw_early = recorded and fake_conditions is not None and not reuse_fakes
        self._batches_needed = f"discriminator_steps (={discriminator_steps}) * accumulate_grad_batches " + (
            f"(={accumulate_grad_batches})"
        )
        self._needs_real = getattr(loss, "needs_real_logits", False) or any(
            getattr(auxiliary, "needs_real", False) for auxiliary in auxiliary_losses
        )
        auxiliary_names, penalty_names = metric_names(auxiliary_losses, penalties)
        self._auxiliary_losses = dict(zip(auxiliary_names, auxiliary_losses, strict=True))
        self._penalties = dict(zip(penalty_names, penalties, strict=True))
        parts = {"loss": loss, "latent": latent, "fake_conditions": fake_conditions, "augment": augment}
        for kind, members in (("auxiliary_losses", auxiliary_losses), ("penalties", penalties)):
            parts |= {f"{kind}.{index}": member for index, member in enumerate(members)}
        present = {name: part for name, part in parts.items() if part is not None}
        self._kinds = {name: getattr(part, "__name__", type(part).__name__) for name, part in present.items()}
        self._kinds["reuse_fakes"] = str(reuse_fakes)
        self._reprs = {**reprs_of(present), "joint_pass": str(joint_pass), "reuse_logits": str(reuse_logits)}
        self._read = BatchReader(
            generator,
            discriminator,
            latent,
            fake_conditions,
            augment,
            optimizers=[generator_optimizer, discriminator_optimizer],
            loss=loss,
            penalties=penalties,
            auxiliary_losses=auxiliary_losses,
            joint_pass=joint_pass,
            precision=self._precision,
            channels_last=channels_last,
            sample_key=sample_key,
            condition_key=condition_key,
        )
        stateful = {name: part for name, part in present.items() if isinstance(part, Stateful)}
        self._small_batches = SmallBatches(
            self._try_iteration, [generator, discriminator], [*present.values()], any_error=True
        )
        self._game = GameTrainer(
            {"generator": generator, "discriminator": discriminator, **stateful},
            [
                Player(
                    "discriminator", discriminator_optimizer, self._discriminator_objective, steps=discriminator_steps
                ),
                Player("generator", generator_optimizer, self._generator_objective),
            ],
            prepare=self._make_fakes if reuse_fakes else None,
            accumulate_grad_batches=accumulate_grad_batches,
            max_grad_norm=max_grad_norm,
            precision=precision,
            channels_last=channels_last,
            compile=compile,
            cuda_graph=cuda_graph,
        )

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse to replace a network, an optimizer or a setting."""
        if hasattr(self, name):
            raise AttributeError(f"{name} of a trainer cannot be changed; create another trainer")
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        """Show the networks, the losses and the iteration, on a few lines."""
        return on_lines(
            self,
            generator=lambda: f"{network_name(self.generator)}, {optimizer_name(self.generator_optimizer)}",
            discriminator=lambda: f"{network_name(self.discriminator)}, {optimizer_name(self.discriminator_optimizer)}",
            loss=lambda: shown(self._loss),
            latent=lambda: shown(self._latent),
            penalties=lambda: ", ".join(map(shown, self._penalties.values())) or None,
            auxiliary_losses=lambda: ", ".join(map(shown, self._auxiliary_losses.values())) or None,
            state=lambda: f"iteration {self.iteration}, {self._precision.name} on {self._weight.device}",
        )

    # Algorithm 1: GameTrainer draws the batches, descends the first objective k times, then the second one once.

    def _make_fakes(self, batch: _Minibatch) -> _Minibatch:
        """Draw latents z and generate the fakes G(z)."""
        latent = as_dtype(self._latent(len(batch.sample), device=self._weight.device), self._weight.dtype)
        with widened(self._read.last_activation):
            fake = check_made(call(self.generator, latent, batch.fake_condition))
        return batch._replace(latent=latent, fake=as_dtype(fake, batch.sample.dtype))

    def _discriminator_objective(self, batch: _Minibatch) -> Losses:
        """Compute L_D(D(x), D(G(z))) + auxiliary losses + penalties, without a gradient for G."""
        if batch.fake is None:
            with torch.no_grad():
                batch = self._make_fakes(batch)
        real, condition, fake_condition = batch.sample, batch.condition, batch.fake_condition
        fake = batch.fake.detach().clone() if self._reuse_fakes else batch.fake  # a network may change it in place
        due = {name: self._penalties[name] for name in batch.due}
        due_penalties = DuePenalties(due, self._precision, reuse_logits=self._reuse_logits)
        with due_penalties.forward_pass(real, fake) as (x, y):
            if self._joint_pass:
                real_output, fake_output = discriminate_together(self._discriminate, x, y, condition, fake_condition)
            else:
                real_output, fake_output = self._discriminate(x, condition), self._discriminate(y, fake_condition)
        step = Step(real, fake, real_output, fake_output, condition, fake_condition, batch.latent)
        with self._precision.losses(real.device.type):
            adversarial = _over_scales(self._loss.discriminator, real_output, fake_output)
            total, auxiliary = self._with_auxiliary_losses(adversarial, "discriminator", step)
            total, penalties = due_penalties.add_to(total, self._augmented, step)
            self._augmented.observe(real_output.logits)
        scores = {"real_score": _score(real_output), "fake_score": _score(fake_output)}
        return total, {"discriminator_loss": adversarial, **auxiliary, **penalties, **scores}

    def _generator_objective(self, batch: _Minibatch) -> Losses:
        """Compute L_G(D(G(z))) + auxiliary losses."""
        if batch.fake is None:
            batch = self._make_fakes(batch._replace(fake_condition=self._generator_condition(batch)))
        real, condition, fake_condition = batch.sample, batch.condition, batch.fake_condition
        fake_output, real_output = self._discriminate(batch.fake, fake_condition), None
        if self._needs_real:
            with torch.no_grad():
                real_output = self._discriminate(real, condition)
        step = Step(real, batch.fake, real_output, fake_output, condition, fake_condition, batch.latent)
        with self._precision.losses(real.device.type):
            outputs = (fake_output,) if real_output is None else (fake_output, real_output)
            adversarial = _over_scales(self._loss.generator, *outputs)
            total, auxiliary = self._with_auxiliary_losses(adversarial, "generator", step)
        return total, {"generator_loss": adversarial, **auxiliary}

    @property
    def iteration(self) -> int:
        """Number of completed iterations."""
        return self._game.iteration

    @property
    def modules(self) -> dict[str, Any]:
        """Modules and other parts with a state, by name."""
        return self._game.modules

    @property
    def recorded_iterations(self) -> int:
        """Number of iterations that this trainer has launched as a CUDA graph."""
        return self._game.recorded_iterations

    @property
    def batches_per_iteration(self) -> int:
        """Number of batches in an iteration, ``discriminator_steps * accumulate_grad_batches``."""
        return self._game.batches_per_iteration

    def train_step(self, batches: Iterator[Any] | Tensor | Sequence[Any] | Mapping[Any, Any]) -> dict[str, Tensor]:
        """Update the discriminator ``discriminator_steps`` times, then the generator once.

        Args:
            batches: an iterator of ``batches_per_iteration`` batches, or one batch if an iteration needs one. A batch
                is a tensor of samples, ``(sample,)``, ``(sample, condition)``, a :class:`ganlib.protocols.Batch`, or a
                dict with the keys ``sample_key`` and ``condition_key``. The trainer moves it to the generator's device.

        Returns:
            Detached scalars of the last update of each player. ``discriminator_loss`` and ``generator_loss`` are the
            adversarial losses alone. ``real_score`` and ``fake_score`` are the mean sigmoid of the logits in the
            discriminator's update. Each auxiliary loss has a metric: the sum of its values for the two players, without
            the weight. Each penalty has a metric; a penalty with ``every`` keeps the value that was computed last.

        Raises:
            ArgumentValueError, ArgumentTypeError: the batch is invalid; the networks were not trained on it.
            BatchesExhaustedError: there are fewer batches than an iteration needs.
        """
        metrics = self._game.train_step(
            self._minibatches(batches if isinstance(batches, Iterator) else iter([batches]))
        )
        for name in self._auxiliary_losses:
            metrics[name] = metrics.pop(f"discriminator/{name}") + metrics.pop(f"generator/{name}")
        return metrics

    def check_conditions(self, condition: Any) -> None:
        """Refuse conditions that an encoder in a network cannot take; ``fit`` checks a whole data set this way.

        Args:
            condition: any number of conditions.

        Raises:
            ArgumentValueError, ArgumentTypeError: an encoder refuses them.
        """
        self._read.check_conditions(condition)

    def expect_batches(self, size: int, smallest: int) -> None:
        """Announce the sizes of the batches; ``fit`` does this if the loader knows them.

        The trainer then tries an iteration on a part of the first batch, of the smallest size, before it trains
        anything. Without this call it tries each batch that is smaller than all batches before it. It restores networks
        and random numbers after each trial. If your own loss or penalty counts its calls and has no ``state_dict``, it
        counts the trial too.

        Args:
            size: number of samples in most batches.
            smallest: number of samples in the smallest batch, for example the last one of an epoch.
        """
        self._small_batches.announce(size, smallest)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that an exact resume needs; with several processes, all must call this method together.

        Returns:
            The iteration, the settings, and the states of the networks and optimizers. It also contains the states of
            the loss, auxiliary losses, penalties, latent and augmentation, if they have one.
        """
        return {**self._game.state_dict(), "kinds": self._kinds, "reprs": self._reprs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a state.

        Args:
            state: the result of :meth:`state_dict` of a trainer with the same parts.

        Raises:
            CheckpointError: the state belongs to other parts.
        """
        quiet, settings = dict(state), self._game.settings
        if "settings" in state:  # one warning below names all changes
            quiet["settings"] = {
                name: value if name.endswith("_optimizer") else settings.get(name, value)
                for name, value in state["settings"].items()
            }
        self._game.load_state_dict(quiet)
        kinds, reprs = state["kinds"], state.get("reprs", {})  # an earlier version saved fewer of both
        own = {name: value for name, value in settings.items() if name in state["settings"]} | self._kinds
        saved = state["settings"] | kinds
        for name in self._reprs.keys() & reprs.keys():
            if self._kinds.get(name) == kinds.get(name):
                own[name], saved[name] = self._reprs[name], reprs[name]
        warn_of_changes(own, saved)

    def _minibatches(self, batches: Iterator[Any]) -> Iterator[_Minibatch]:
        """Check the batches, and add the conditions of the fakes and the penalties of this iteration."""
        due = {name: () for name, one in self._penalties.items() if self.iteration % getattr(one, "every", 1) == 0}
        for item in batches:
            sample, condition = batch = self._read(item)
            self._small_batches(batch)
            asked = self._fake_conditions is not None
            fake_condition = self._read.fake_conditions(len(sample)) if asked else condition
            later = self._read.fake_conditions(len(sample)) if self._draw_early else None
            yield _Minibatch(sample, condition, fake_condition, later, due)
        raise BatchesExhaustedError(f"batches ran out: an iteration needs {self._batches_needed} of them")

    def _try_iteration(self, batch: Batch) -> list[Tensor]:
        """Compute the losses and gradients of an iteration on a batch that must be finite."""
        sample, condition = batch
        fake_condition = condition if self._fake_conditions is None else self._read.fake_conditions(len(sample))
        due: dict[str, Any] = dict.fromkeys(self._penalties, ())
        minibatch = _Minibatch(sample, condition, fake_condition, fake_condition, due)
        minibatch = move(minibatch, self._weight.device, channels_last=self._channels_last)
        context = partial(self._precision.autocast, self._weight.device.type)
        if self._reuse_fakes:
            with context():
                minibatch = self._make_fakes(minibatch)
        players = (
            (self._discriminator_objective, self.discriminator_optimizer),
            (self._generator_objective, self.generator_optimizer),
        )
        values = losses_and_gradients(players, minibatch, context)
        return [] if self._precision.name == "fp16" else values  # its scaler skips a step that is not finite

    def _generator_condition(self, batch: _Minibatch) -> Any:
        if self._fake_conditions is None:
            return batch.fake_condition
        if self._draw_early:
            return batch.generator_condition
        return move(self._read.fake_conditions(len(batch.sample)), batch.sample.device, channels_last=False)

    def _discriminate(self, sample: Tensor, condition: Any) -> DiscriminatorOutput:
        return as_output(self._augmented(sample, condition))

    def _with_auxiliary_losses(self, total: Tensor, player: str, step: Step) -> Losses:
        values = {}
        for name, auxiliary in self._auxiliary_losses.items():
            value = getattr(auxiliary, player)(step)
            absent = isinstance(value, int | float) and value == 0
            values[f"{player}/{name}"] = total.new_zeros(()) if absent else scalar(value, name)
            total = total if absent else total + weighted(auxiliary.weight, value)
        return total, values


def _over_scales(loss: Callable[..., Tensor], *outputs: DiscriminatorOutput) -> Tensor:
    """Compute a loss of logits; with several scales, sum its values over the scales."""
    values = [scalar(loss(*logits), "loss") for logits in zip(*map(scales, outputs), strict=True)]
    return values[0] if len(values) == 1 else torch.stack(values).sum()


def _score(output: DiscriminatorOutput) -> Tensor:
    """Compute the mean probability that samples are real, over samples, positions and scales of the logits."""
    values = [scale.detach().sigmoid().mean() for scale in scales(output)]
    return values[0] if len(values) == 1 else torch.stack(values).mean()
