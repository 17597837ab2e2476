"""Train the networks of any adversarial game whose players take turns."""

import contextlib
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.parameter import is_lazy

from ganlib._checks import check_count, check_flag, check_positive
from ganlib._ranks import gather
from ganlib._shown import described, network_name, on_lines, optimizer_name, shown
from ganlib._wrappers import is_sharded
from ganlib.distributed import rank, world_size
from ganlib.errors import ArgumentTypeError, ArgumentValueError, BatchesExhaustedError, CheckpointError
from ganlib.protocols import Stateful
from ganlib.training._small_batches import SmallBatches
from ganlib.training._step._cuda_recorder import CudaRecorder
from ganlib.training._step._networks import held_by, iterator_of, lay_out_, leaves_of, move
from ganlib.training._step._precision import Precision, PrecisionName
from ganlib.training._step._recordable import load_portable_state, portable_state
from ganlib.training._step._replicas import Replicas, metrics_over_ranks
from ganlib.training._step._state import load_states, states_of, warn_of_changes
from ganlib.training._step._step_graphs import CudaGraph, StepGraphs
from ganlib.training._step._update import Update
from ganlib.training._untrained import HiddenParts

__all__ = ["GameTrainer", "Player"]

_STATE = {"iteration", "settings", "modules", "per_process", "optimizers", "scalers", "metrics"}


@final
@dataclass(frozen=True)
class Player:
    """Describe a player of a game: an optimizer, and the objective that it minimizes.

    Args:
        name: the player's name; its loss is the metric ``<name>_loss``.
        optimizer: updates parameters of the trainer's modules. Several players may share one optimizer.
        objective: a function of a batch, or of the result of ``prepare``. It returns a scalar with its graph, or a
            tuple of that scalar and a dict of named scalars. The named scalars become metrics.
        steps: updates in each iteration, at least 1. Each update after the first one uses new batches.
        every: the player is updated in every ``every``-th iteration, at least 1. In the first iteration, which is 0,
            every player is updated. To keep the strength of a regularizer with ``every=k``, multiply its value by k.

    Raises:
        ArgumentTypeError, ArgumentValueError: an argument is wrong. The error names the argument and quotes its value.

    Example:
        >>> weight = nn.Parameter(torch.zeros(()))
        >>> Player("follower", torch.optim.SGD([weight], lr=0.1), lambda batch: (batch - weight).square().mean()).steps
        1
    """

    name: str
    optimizer: torch.optim.Optimizer
    objective: Callable[[Any], Tensor | tuple[Tensor, dict[str, Tensor]]]
    _: KW_ONLY
    steps: int = 1
    every: int = 1

    def __post_init__(self) -> None:
        """Check the arguments."""
        if not (isinstance(self.name, str) and self.name):
            raise ArgumentTypeError(f"name (={shown(self.name)}) must be a string, such as 'generator'")
        if not isinstance(self.optimizer, torch.optim.Optimizer):
            raise ArgumentTypeError(
                f"the optimizer of {self.name} (={shown(self.optimizer)}) must be a torch.optim.Optimizer"
            )
        _check_step(self.name, self.optimizer)
        if not callable(self.objective) or isinstance(self.objective, type):
            raise ArgumentTypeError(
                f"the objective of {self.name} (={shown(self.objective)}) must be a function of a batch"
            )
        for count in ("steps", "every"):
            object.__setattr__(self, count, check_count(count, getattr(self, count), least=1))
        if self.steps > 1 and self.every > 1:
            raise ArgumentValueError(
                f"steps (={self.steps}) and every (={self.every}) of {self.name} must not both be above 1"
            )

    def __repr__(self) -> str:
        """Show the player without the parameters of its optimizer."""
        return described(self, "name", "optimizer", "objective", "steps", "every")


@final
class GameTrainer:
    r"""Train the modules of any game whose players take turns, such as a GAN, pix2pix, CycleGAN or R3GAN.

    In each iteration, each player p in turn takes a step down the gradient of its objective :math:`L_p`. The step
    changes only the parameters :math:`\theta_p` of the player's optimizer:

    .. math:: \theta_p \leftarrow \theta_p - \eta \, \nabla_{\theta_p} L_p(\text{batch})

    The first update of every player uses the batches that were drawn last. Each further update of a player with
    ``steps > 1`` draws new batches. An iteration does not wait for the device and does not change ``requires_grad``. It
    does not switch modules between training and evaluation mode. Over several processes, objectives run inside
    ``DistributedDataParallel``, so pass networks without a wrapper.

    Objectives must not read a Python number that changes between iterations. Use a 0-dim tensor instead, which
    :class:`Schedule` can update. Change running means, pools and other state in place. Then the trainer can save the
    state and record the iteration as a CUDA graph.

    Args:
        modules: a dict of all modules with a state that objectives use: networks, image pools, running means. A module
            with ``per_process = True`` has a different state in each process, and each state is saved.
        players: the players in the order of their turns, at least one.
        prepare: a function that the trainer calls once for each batch, with gradients. Objectives receive its result.
            Several players may backpropagate through the graph of this result, but no update may change a weight that a
            later player's gradient needs. In float32, torch raises an error for such a change. In half precision, it
            silently uses the weights from before the update. Under accumulation, the trainer keeps the graphs of all
            batches.
        accumulate_grad_batches: number of batches to average the gradients of one update over, at least 1.
        max_grad_norm: largest norm of a player's gradient, above 0. None does not clip.
        precision: ``"fp32"``, ``"tf32"``, ``"bf16"`` or ``"fp16"``. ``"bf16"`` and ``"fp16"`` run objectives under
            autocast. ``"fp16"`` also uses a gradient scaler for each player. ``"tf32"`` lets CUDA round the inputs of
            float32 matrix products.
        channels_last: whether to use the channels-last memory format for weights and batches of 4 and 5 dimensions.
        compile: whether to compile the networks in place at their first call. Names in the state do not change.
        cuda_graph: whether to record the whole iteration as a CUDA graph, one for each shape of batches. Python code in
            an objective then runs only during the recording. An error is raised if a Python value changes within an
            iteration. ``"auto"`` launches kernels one by one, with one warning, if an iteration on CUDA cannot be
            recorded. See :ref:`cuda_graphs`.

    Attributes:
        iteration: number of completed iterations.
        modules: the modules, by name.
        players: the players.

    Raises:
        ArgumentTypeError, ArgumentValueError: an argument is wrong. The error names the argument and quotes its value.

    Example:
        >>> from ganlib import losses, training
        >>> loss = losses.HingeLoss()
        >>> generator, discriminator = nn.Linear(4, 2), nn.Linear(2, 1)
        >>> def discriminator_objective(real):
        ...     fake = generator(torch.randn(len(real), 4)).detach()
        ...     return loss.discriminator(discriminator(real), discriminator(fake))
        >>> def generator_objective(real):
        ...     fake = generator(torch.randn(len(real), 4))
        ...     l1 = (fake - real).abs().mean()
        ...     return loss.generator(discriminator(fake)) + 100 * l1, {"l1": l1}
        >>> trainer = training.GameTrainer(
        ...     {"generator": generator, "discriminator": discriminator},
        ...     [training.Player("critic", torch.optim.Adam(discriminator.parameters()), discriminator_objective),
        ...      training.Player("generator", torch.optim.Adam(generator.parameters()), generator_objective)])
        >>> sorted(trainer.train_step(torch.randn(8, 2)))
        ['critic_loss', 'generator_loss', 'l1']

    References:
        For two players: Goodfellow et al., "Generative Adversarial Nets", 2014, arXiv:1406.2661, Algorithm 1.

        Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks" (pix2pix), 2017,
        arXiv:1611.07004.

        Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks" (CycleGAN), 2017,
        arXiv:1703.10593.

        Huang et al., "The GAN is dead; long live the GAN! A Modern GAN Baseline" (R3GAN), 2024, arXiv:2501.05441.
    """

    # An objective that can reach the trainer does not read these, unless it names them: see _step/_constants.py.
    unrecorded: ClassVar[tuple[str, ...]] = ("iteration", "_graphs", "_last_metrics", "_small_batches", "_submodules")

    __slots__ = (
        *("iteration", "modules", "players", "_accumulate", "_channels_last", "_graphs", "_last_metrics"),
        "_max_grad_norm",
        *(
            "_optimizers",
            "_parameter",
            "_precision",
            "_prepare",
            "_replicas",
            "_scalers",
            "_small_batches",
            "_submodules",
            "_through",
            "_updates",
            "__weakref__",
        ),
    )

    def __init__(
        self,
        modules: Mapping[str, nn.Module | Stateful],
        players: Sequence[Player],
        *,
        prepare: Callable[[Any], Any] | None = None,
        accumulate_grad_batches: int = 1,
        max_grad_norm: float | None = None,
        precision: PrecisionName = "fp32",
        channels_last: bool = False,
        compile: bool = False,
        cuda_graph: CudaGraph = False,
    ) -> None:
        _check_parts(modules, players)
        if prepare is not None and not callable(prepare):
            raise ArgumentTypeError(f"prepare (={shown(prepare)}) must be a function of a batch, or None")
        accumulate_grad_batches = check_count("accumulate_grad_batches", accumulate_grad_batches, least=1)
        if max_grad_norm not in (None, math.inf):  # infinity clips nothing, as in torch
            max_grad_norm = float(check_positive("max_grad_norm", max_grad_norm))
        channels_last, compiles = check_flag("channels_last", channels_last), check_flag("compile", compile)
        if not (isinstance(cuda_graph, bool) or cuda_graph == "auto"):
            raise ArgumentTypeError(f"cuda_graph (={shown(cuda_graph)}) must be True, False or 'auto'")
        self.iteration: int = 0
        self.modules: dict[str, nn.Module | Stateful] = dict(modules)
        self.players: tuple[Player, ...] = tuple(players)
        self._accumulate = accumulate_grad_batches
        self._max_grad_norm = max_grad_norm
        self._prepare = prepare
        # The players that backpropagate through the prepared batch. The graph is kept only where two of them do, since
        # a compiled network refuses to keep it.
        self._through: set[str] | None = set() if prepare is None else None
        self._channels_last = channels_last
        self._precision = Precision(precision)
        self._parameter = players[0].optimizer.param_groups[0]["params"][0]
        self._last_metrics: dict[str, Tensor] = {}
        # A shared optimizer is saved once, under the name of its first player.
        self._optimizers = {
            f"{player.name}_optimizer": player.optimizer
            for index, player in enumerate(players)
            if all(player.optimizer is not other.optimizer for other in players[:index])
        }
        scalers = {player.name: self._precision.scaler(self.device.type) for player in players}
        self._scalers = {name: scaler for name, scaler in scalers.items() if scaler is not None}
        named = {name: part for name, part in modules.items() if isinstance(part, nn.Module)}
        hidden_parts = HiddenParts(named, self._optimizers.values())
        owners, joined = {"iteration": "the run", "epoch": "the run"}, dict[tuple[int, ...], Any]()
        self._updates = {
            player.name: Update(
                player.name,
                player.optimizer,
                player.objective,
                context=self._autocast,
                scaler=scalers[player.name],
                max_grad_norm=max_grad_norm,
                owners=owners,
                joined=joined,
                look=hidden_parts,
            )
            for player in players
        }
        networks = [*named.values()]
        self._replicas = Replicas(networks)
        self._small_batches: SmallBatches | None = None
        self._find_submodules()
        recorder, self._graphs = CudaRecorder(), None
        if cuda_graph is True and self.device.type != recorder.device_type:
            raise ArgumentValueError(f"cuda_graph (=True) needs a CUDA device, but the modules are on {self.device}")
        if cuda_graph and self.device.type == recorder.device_type:
            self._graphs = StepGraphs(
                self._play_again,
                recorder,
                setting=cuda_graph,
                optimizers=self._optimizers,
                scalers=list(self._scalers.values()),
                parts=self._parts,
                device=self.device,
            )
        for network in networks:
            if channels_last:
                lay_out_(network)
            if compiles and next(network.parameters(), None) is not None:
                network.compile()

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse to replace the modules or the players."""
        if name in ("modules", "players") and hasattr(self, name):
            raise AttributeError(f"{name} of a trainer cannot be changed; create another trainer")
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        """Show the modules, the players and the iteration, on a few lines."""
        return on_lines(
            self,
            modules=lambda: ", ".join(f"{name} ({network_name(part)})" for name, part in self.modules.items()),
            players=lambda: ", ".join(f"{player.name} ({optimizer_name(player.optimizer)})" for player in self.players),
            state=lambda: f"iteration {self.iteration}, {self._precision.name} on {self.device}",
        )

    @property
    def device(self) -> torch.device:
        """Device of the first player's parameters. The trainer moves batches to it."""
        return self._parameter.device

    @property
    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Optimizers, each once, as ``<player>_optimizer`` of the first player that uses it."""
        return dict(self._optimizers)

    @property
    def settings(self) -> dict[str, str]:
        """Settings that change the course of a training, as texts by name."""
        choices = {"precision": self._precision.name, "device": self.device.type}
        choices |= {name: type(optimizer).__name__ for name, optimizer in self._optimizers.items()}
        choices |= {"accumulate_grad_batches": str(self._accumulate), "max_grad_norm": str(self._max_grad_norm)}
        for player in self.players:
            choices |= {f"{player.name}.steps": str(player.steps), f"{player.name}.every": str(player.every)}
        return choices

    @property
    def recorded_iterations(self) -> int:
        """Number of iterations that this trainer has launched as a CUDA graph."""
        return 0 if self._graphs is None else self._graphs.replayed

    @property
    def batches_per_iteration(self) -> int:
        """Number of batches in an iteration, ``accumulate_grad_batches * (1 + sum(steps - 1))``."""
        return self._accumulate * (1 + sum(player.steps - 1 for player in self.players))

    def train_step(self, batches: Any) -> dict[str, Tensor]:
        """Train for one iteration: update each player in turn.

        Args:
            batches: an iterator of at least ``batches_per_iteration`` batches, or one batch if an iteration needs one.
                A batch is any nest of tuples, lists, dicts and named tuples. The trainer moves its tensors to the
                device and leaves other values as they are.

        Returns:
            The metrics of each player's last update as detached scalars, averaged over accumulated batches and
            processes. A metric that this iteration did not compute, for example because its player was not updated,
            keeps its last value.

        Raises:
            BatchesExhaustedError: there are fewer batches than an iteration needs.
            ArgumentTypeError, ArgumentValueError: an objective returned something that cannot be minimized.
        """
        self._replicas.align()
        rounds = self._rounds(iterator_of(batches))
        with self._precision.matrix_products():
            metrics = self._play(rounds) if self._graphs is None else self._graphs(list(rounds), kind=self._kind())
        self.iteration += 1
        self._last_metrics.update(metrics_over_ranks(metrics))
        return dict(self._last_metrics)

    def expect_batches(self, size: int, smallest: int) -> None:
        """Announce the sizes of the batches; ``fit`` does this if the loader knows them.

        A batch norm has no statistics for a single value per channel, and a standard deviation of one value is NaN. If
        the smallest batch has one sample, the trainer tries a batch of one before it trains anything. It restores
        modules and random numbers after the trial. If your own objective counts its calls, it counts the trial too.

        Args:
            size: number of samples in the first batch.
            smallest: number of samples in the smallest batch, for example the last one of an epoch.
        """
        networks = [part for part in self.modules.values() if isinstance(part, nn.Module)]
        others: list[Any] = [part for part in self.modules.values() if not isinstance(part, nn.Module)]
        others += [self._prepare, *(player.objective for player in self.players)]
        self._small_batches = SmallBatches(self._try_iteration, networks, others, any_error=False)
        self._small_batches.announce(size, smallest)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that an exact resume needs; with several processes, all must call this method together.

        Returns:
            The iteration, the states of modules, optimizers and gradient scalers, the last metrics, and the settings.
        """
        common = {name: part for name, part in self.modules.items() if not _is_per_process(part)}
        own = {name: part for name, part in self.modules.items() if _is_per_process(part)}
        return {
            "iteration": self.iteration,
            "settings": self.settings,
            "modules": states_of(common),
            "per_process": gather(_on_host(states_of(own))) if own else [],
            "optimizers": {name: portable_state(optimizer) for name, optimizer in self._optimizers.items()},
            "scalers": states_of(self._scalers),
            "metrics": dict(self._last_metrics),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a state.

        Args:
            state: the result of :meth:`state_dict` of a trainer with the same parts.

        Raises:
            CheckpointError: the state belongs to other parts.
        """
        if missing := _STATE - {*state}:
            raise CheckpointError(f"the state holds no {', '.join(sorted(missing))}: it is not the state of a trainer")
        own, saved = self.settings, state["settings"]
        warn_of_changes({name: own[name] for name in own if name in saved}, saved)  # an earlier version saved fewer
        everyone = state["per_process"]
        modules = state["modules"] | (everyone[rank() % len(everyone)] if everyone else {})
        load_states(self.modules, modules, exactly=True)
        load_states(self._optimizers, state["optimizers"], exactly=True, load=load_portable_state)
        load_states(self._scalers, state["scalers"], exactly=False)  # another precision saved none; scalers adapt
        if self._graphs is not None:
            self._graphs.forget()
        self.iteration = state["iteration"]
        self._last_metrics = {name: value.to(self.device) for name, value in state["metrics"].items()}

    def _play(self, rounds: Iterator[list[Any]]) -> dict[str, Tensor]:
        """Run one iteration on the batches of each update."""
        due = [player for player in self.players if self.iteration % player.every == 0]
        if self._prepare is not None:  # joining writes weights, so it must come before the graph of prepare
            for player in due:
                self._updates[player.name].join()
        metrics: dict[str, Tensor] = {}
        batches = self._prepared(next(rounds))
        for turn, player in enumerate(due, start=1):
            for step in range(player.steps):
                if step:
                    batches = self._prepared(next(rounds))
                shared = False
                if self._through and player.name in self._through and step == player.steps - 1:
                    shared = any(other.name in self._through for other in due[turn:])
                metrics |= self._updates[player.name](batches, retain_graph=shared)
        return metrics

    def _prepared(self, batches: list[Any]) -> list[Any]:
        if self._prepare is None:
            return batches
        with self._autocast():
            prepared = [self._prepare(batch) for batch in batches]
        if self._through is None:
            reached = leaves_of(prepared)
            self._through = {player.name for player in self.players if held_by(player.optimizer) & reached}
        return prepared

    def _rounds(self, batches: Iterator[Any]) -> Iterator[list[Any]]:
        for _ in range(self.batches_per_iteration // self._accumulate):
            drawn = []
            for _ in range(self._accumulate):
                try:
                    batch = next(batches)
                except StopIteration:
                    raise BatchesExhaustedError(
                        f"batches ran out: an iteration needs {self.batches_per_iteration} of them, "
                        f"accumulate_grad_batches (={self._accumulate}) * (1 + sum(steps - 1))"
                    ) from None
                drawn.append(move(batch, self.device, channels_last=self._channels_last))
                if self._small_batches is not None:
                    self._small_batches(drawn[-1])
            yield drawn

    def _try_iteration(self, batch: Any) -> list[Tensor]:
        """Run the forward passes of an iteration on a batch, and return losses that must be finite."""
        with self._autocast():
            prepared = batch if self._prepare is None else self._prepare(batch)
            given = (player.objective(prepared) for player in self.players)
            totals = [_detached(one[0] if isinstance(one, tuple) and one else one) for one in given]
        # A scaler skips a step that is not finite.
        return [] if self._precision.name == "fp16" or world_size() > 1 else [*filter(torch.is_tensor, totals)]

    def _autocast(self) -> Any:
        return self._precision.autocast(self.device.type)

    def _kind(self) -> tuple[object, ...]:
        """Return what selects the kernels, besides the batches: the updated players and the modes of modules."""
        modes = [module.training for module in self._submodules]
        return (*modes, *(self.iteration % player.every == 0 for player in self.players))

    def _play_again(self, rounds: list[Any]) -> dict[str, Tensor]:
        """Run one iteration that may be recorded; its modules may have new submodules."""
        self._find_submodules()
        return self._play(iter(rounds))

    def _find_submodules(self) -> None:
        networks = [part for part in self.modules.values() if isinstance(part, nn.Module)]
        self._submodules = [part for network in networks for part in network.modules()]

    def _parts(self) -> dict[str, Any]:
        """Return everything that an iteration can reach, by name."""
        objectives = {f"objective of {player.name}": player.objective for player in self.players}
        return {**objectives, "prepare": self._prepare, **self.modules, **self._optimizers}


def _check_step(player: str, optimizer: torch.optim.Optimizer) -> None:
    """Refuse an optimizer whose step needs an argument, or takes only the sparse gradients of embeddings."""
    name = f"the optimizer of {player} (={type(optimizer).__name__})"
    arguments: list[inspect.Parameter] = []
    with contextlib.suppress(TypeError, ValueError):  # functions written in C have no signature
        arguments = [*inspect.signature(type(optimizer).step).parameters.values()][1:]
    for argument in arguments:
        if argument.default is argument.empty and argument.kind not in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
            raise ArgumentValueError(
                f"{name} needs {argument.name} in its step, but the trainer computes each gradient once, and calls "
                "step() without arguments: use Adam or SGD, for example"
            )
    held = [p for group in optimizer.param_groups for p in group["params"]]
    # The weight of an embedding has two dimensions; no other layer gives it sparse gradients.
    if isinstance(optimizer, torch.optim.SparseAdam) and any(not is_lazy(p) and p.ndim != 2 for p in held):
        raise ArgumentValueError(
            f"{name} takes only the gradients of embeddings with sparse=True, but holds other parameters too: use Adam"
        )


def _check_parts(modules: Any, players: Any) -> None:
    if not isinstance(modules, Mapping) or not all(isinstance(name, str) for name in modules):
        raise ArgumentTypeError(f"modules (={shown(modules)}) must be a dict from names to modules")
    for name, part in modules.items():
        if isinstance(part, type) or not isinstance(part, Stateful):
            raise ArgumentTypeError(
                f"modules holds {name} (={shown(part)}), which is not a torch.nn.Module, and has no state_dict and "
                "load_state_dict"
            )
        if isinstance(part, nn.Module) and is_sharded(part):
            raise ArgumentTypeError(
                f"modules holds {name} (={type(part).__name__}), which is sharded over processes (FSDP or DTensor): "
                "pass the plain network, whole on each process; the trainer averages gradients over processes itself"
            )
        for module in part.modules() if isinstance(part, nn.Module) else ():
            if isinstance(module, DistributedDataParallel):
                raise ArgumentTypeError(
                    f"modules holds {name}, in which a {type(module).__name__} wraps a network: pass the bare "
                    "network, since the trainer averages over processes itself"
                )
    if not isinstance(players, Sequence) or not players or not all(isinstance(player, Player) for player in players):
        raise ArgumentTypeError(f"players (={shown(players)}) must be a sequence of at least one training.Player")
    names = [player.name for player in players]
    if len({*names}) < len(names):
        raise ArgumentValueError(f"players (={names}) must have different names")
    known = {id(p) for part in modules.values() if isinstance(part, nn.Module) for p in part.parameters()}
    for player in players:
        held = [p for group in player.optimizer.param_groups for p in group["params"]]
        if foreign := [p for p in held if id(p) not in known]:
            raise ArgumentValueError(
                f"the optimizer of {player.name} holds {len(foreign)} of {len(held)} parameters that are in none of "
                f"modules ({', '.join(modules):.100}), so they would not be saved: add their module to modules (or was "
                "the optimizer made before the module was copied?)"
            )


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


def _is_per_process(part: Any) -> bool:
    parts = part.modules() if isinstance(part, nn.Module) else [part]
    return any(getattr(module, "per_process", False) for module in parts)


def _on_host(state: Any) -> Any:
    return move(state, torch.device("cpu"), channels_last=False)
