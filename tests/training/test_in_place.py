"""What a CUDA graph asks of all that takes part in a step: it changes tensors in place, and nothing else.

A recording keeps addresses and Python numbers, and can neither wait for the device nor copy from the host.
"""

import copy
import random
from collections.abc import Callable, Iterator
from types import FunctionType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from typing_extensions import is_protocol

import ganlib
from ganlib import augment, conditioning, latents, losses, penalties, stacks, training
from ganlib.protocols import DiscriminatorOutput, Step
from tests.losses.cases import CASES as LOSSES
from tests.losses.cases import generator_loss
from tests.penalties.cases import CASES as PENALTIES
from tests.penalties.cases import network
from tests.training.players import make_players, make_trainer, points

PACKAGES = ("augment", "conditioning", "latents", "losses", "penalties", "stacks", "training")
PLAN = stacks.StackPlan((2, 8, 8), [stacks.Stage(4), stacks.Stage(6)])
BUFFERS = {"norm": "batch", "spectral_norm": True}
SHAPE = (4, 3, 8, 8)


class Trial(NamedTuple):
    """What takes part in a step, and the step, forwards and backwards."""

    part: Any
    step: Callable[[], object]


Start = Callable[[torch.device], Trial]


def descend(output: Any) -> None:
    """Run the backward pass of all tensors of an output."""
    torch.stack([one.square().sum() for one in tree_leaves(output) if isinstance(one, Tensor)]).sum().backward()


def of_loss(case: Any) -> Start:
    """A loss, in the updates of both players."""

    def start(device: torch.device) -> Trial:
        real, fake = (torch.randn(6, 1, device=device, requires_grad=True) for _ in range(2))
        return Trial(
            case.loss, lambda: descend([case.loss.discriminator(real, fake), generator_loss(case, fake, real)])
        )

    return start


def of_auxiliary_loss(make: Callable[[torch.device], Any]) -> Start:
    """An auxiliary loss, in the updates of both players."""

    def start(device: torch.device) -> Trial:
        part, x = make(device), torch.randn(6, 3, device=device, requires_grad=True)
        classes = torch.arange(6, device=device) % 3

        def step() -> None:
            output = DiscriminatorOutput(2 * x[:, :1], class_logits=3 * x, features=(x.exp(), x.sin()))
            given = Step(x.detach(), x, output, output, classes, classes)
            values = part.discriminator(given), part.generator(given)
            descend([x, *(part.weight * value for value in values)])

        return Trial(part, step)

    return start


def of_penalty(make: Callable[[torch.device], Any]) -> Start:
    """A penalty on a critic."""

    def start(device: torch.device) -> Trial:
        part, critic = make(device), network().to(device)
        real, fake = (torch.randn(6, 3, device=device) for _ in range(2))
        return Trial(part, lambda: descend(part(critic, real, fake)))

    return start


def of_logits(make: Callable[[torch.device], Any]) -> Start:
    """A penalty on logits that are there."""

    def start(device: torch.device) -> Trial:
        part, critic = make(device), network().to(device)
        samples = torch.randn(6, 3, device=device, requires_grad=True)
        return Trial(part, lambda: descend(part.of(samples, critic(samples))))

    return start


def of_path_length(device: torch.device, weight: Any = 2.0) -> Trial:
    """Path length regularization of a generator."""
    part, generator = penalties.PathLength(weight), network().to(device)
    latent = torch.randn(6, 3, device=device)
    return Trial(part, lambda: descend(part(generator, latent)))


def of_function(call: Callable[..., Any], *shapes: tuple[int, ...]) -> Start:
    """A function of tensors of these shapes."""

    def start(device: torch.device) -> Trial:
        given = [torch.randn(shape, device=device, requires_grad=True) for shape in shapes]
        return Trial(None, lambda: descend([given[0], call(*given)]))

    return start


def of_module(make: Callable[[], nn.Module], *shapes: tuple[int, ...], condition: Any = None) -> Start:
    """A module in training mode that is called with samples of these shapes, and with a condition."""

    def start(device: torch.device) -> Trial:
        part = make().to(device)
        given = [torch.randn(shape, device=device, requires_grad=True) for shape in shapes]
        given += [] if condition is None else [condition.to(device)]
        return Trial(part, lambda: descend([given[0], part(*given)]))

    return start


def of_observing(device: torch.device) -> Trial:
    """An augmentation that counts the signs of logits, and changes its probability with each step."""
    part = augment.AdaptiveAugment("blit", every=1, images=64)
    logits = torch.randn(8, 1, device=device)
    return Trial(part, lambda: part.observe(logits))


def of_latent(make: Callable[[], Any]) -> Start:
    """A distribution of latents."""

    def start(device: torch.device) -> Trial:
        part = make()
        return Trial(part, lambda: part(4, device=device))

    return start


def of_trainer(device: torch.device) -> Trial:
    """The trainer of a GAN."""
    trainer = make_trainer(penalties=[penalties.LeCam()])
    return Trial(
        [trainer.modules, trainer.generator_optimizer, trainer.discriminator_optimizer],
        lambda: trainer.train_step(points()),
    )


def of_game(device: torch.device) -> Trial:
    """The trainer of a game of one player."""
    module, _ = make_players()
    optimizer = torch.optim.Adam(module.parameters())
    player = training.Player("only", optimizer, lambda batch: module(batch).square().mean())
    trainer = training.GameTrainer({"module": module}, [player])
    return Trial([trainer.modules, optimizer], lambda: trainer.train_step(torch.randn(6, 3)))


def of_average(device: torch.device) -> Trial:
    """The average of a module with buffers, which a step changes."""
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    average = training.EMA(module).to(device)  # none can be made on the meta device, which holds no numbers
    module.to(device)

    def step() -> None:
        descend(module(torch.randn(4, 3, device=device)))
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(1)
        average.update()

    return Trial(average, step)


def of_schedule(device: torch.device) -> Trial:
    """A value that follows the progress."""
    schedule = training.Schedule(torch.zeros((), device=device), lambda progress: 10 * progress)
    return Trial(schedule, lambda: schedule.on_iteration(SimpleNamespace(progress=random.Random(0).random())))


def of_rates(device: torch.device) -> Trial:
    """A learning rate that follows the progress, in a tensor."""
    parameter = torch.zeros((), device=device, requires_grad=True)
    optimizer = torch.optim.Adam([parameter], lr=torch.tensor(0.1), foreach=False)
    schedule = training.LearningRateSchedule(optimizer, training.linear_decay())
    return Trial(schedule, lambda: schedule.on_iteration(SimpleNamespace(progress=0.9)))


def of_betas(device: torch.device) -> Trial:
    """Betas that follow the progress, in tensors."""
    parameter = torch.zeros((), device=device, requires_grad=True)
    betas = torch.tensor(0.5), torch.tensor(0.9)
    optimizer = torch.optim.Adam([parameter], lr=torch.tensor(0.1), betas=betas, capturable=True, foreach=False)
    schedule = training.BetasSchedule(optimizer, beta1=lambda p: p / 4, beta2=training.cosine_ramp(0.9, 0.99))
    return Trial(schedule, lambda: schedule.on_iteration(SimpleNamespace(progress=0.5)))


def changing(value: float, device: torch.device) -> Tensor:
    """A weight that may change, on a device."""
    return torch.tensor(value).to(device)


ONE_HOT, CLASSES = conditioning.OneHot(3), torch.arange(4) % 3
VECTORS, MAPS = torch.ones(4, 5), torch.ones(4, 2, 8, 8)

CASES: dict[str, Start] = {
    "augment.Joint": of_module(lambda: augment.Joint(augment.RandomRotation(20)), SHAPE, (4, 2, 8, 8)),
    **{
        f"augment.{name}": of_module(make, SHAPE)
        for name, make in {
            "AdaptiveAugment": lambda: augment.AdaptiveAugment(p=0.5),
            "DiffAugment": augment.DiffAugment,
            "RandomHorizontalFlip": augment.RandomHorizontalFlip,
            "RandomRotation": lambda: augment.RandomRotation(25),
            "RandomRotation, nearest": lambda: augment.RandomRotation(25, interpolation="nearest"),
        }.items()
    },
    "augment.AdaptiveAugment, observing": of_observing,
    **{
        f"conditioning.{name}": of_module(make, *shapes, condition=condition)
        for name, (make, shapes, condition) in {
            "AuxiliaryClassifierHead": (
                lambda: conditioning.AuxiliaryClassifierHead(nn.Conv2d(3, 4, 1), 4, 3),
                [SHAPE],
                CLASSES,
            ),
            "ClassEmbedding": (lambda: _Encoded(conditioning.ClassEmbedding(3, 2)), [(4, 2)], CLASSES),
            "ConcatChannels": (lambda: conditioning.ConcatChannels(nn.Conv2d(6, 1, 1), ONE_HOT), [SHAPE], CLASSES),
            "ConcatFeatures": (
                lambda: conditioning.ConcatFeatures(nn.Linear(3, 4), ONE_HOT, nn.Linear(7, 1)),
                [(4, 3)],
                CLASSES,
            ),
            "ConcatLatent": (lambda: conditioning.ConcatLatent(nn.Linear(6, 2), ONE_HOT), [(4, 3)], CLASSES),
            "ConditionalBatchNorm": (lambda: conditioning.ConditionalBatchNorm(3, ONE_HOT), [SHAPE], CLASSES),
            "FiLM": (lambda: conditioning.FiLM(3, ONE_HOT), [SHAPE], CLASSES),
            "Maps": (lambda: _Encoded(conditioning.Maps(2)), [MAPS.shape], MAPS),
            "OneHot": (lambda: _Encoded(conditioning.OneHot(3)), [(4, 3)], CLASSES),
            "Projection": (lambda: conditioning.Projection(nn.Conv2d(3, 4, 1), ONE_HOT, 4), [SHAPE], CLASSES),
            "TagEmbedding": (lambda: _Encoded(conditioning.TagEmbedding(5, 2)), [(4, 2)], VECTORS),
            "Unconditional": (lambda: conditioning.Unconditional(nn.Linear(3, 2)), [(4, 3)], CLASSES),
            "VectorEmbedding": (lambda: _Encoded(conditioning.VectorEmbedding(5, 2)), [(4, 2)], VECTORS),
        }.items()
    },
    "latents.Gaussian": of_latent(lambda: latents.Gaussian(3)),
    "latents.GaussianMixture": of_latent(lambda: latents.GaussianMixture([[0.0, 1.0], [2.0, 3.0]], 0.1, [1.0, 2.0])),
    "latents.TruncatedGaussian": of_latent(lambda: latents.TruncatedGaussian(3)),
    "latents.Uniform": of_latent(lambda: latents.Uniform(3)),
    **{f"losses.{type(case.loss).__name__}, {name}": of_loss(case) for name, case in LOSSES.items()},
    "losses.NonSaturatingLoss, with draws": of_loss(
        LOSSES["minimax"]._replace(loss=losses.NonSaturatingLoss(losses.LabelSmoothing(jitter=0.1, flip=0.1)))
    ),
    "losses.AuxiliaryClassifier": of_auxiliary_loss(lambda device: losses.AuxiliaryClassifier(changing(2.0, device))),
    "losses.FeatureMatching": of_auxiliary_loss(lambda device: losses.FeatureMatching(changing(2.0, device))),
    "losses.FeatureMatching, paired": of_auxiliary_loss(lambda device: losses.FeatureMatching(kind="paired")),
    **{f"penalties.{name}": of_penalty(lambda device, case=case: case.make()) for name, case in PENALTIES.items()},
    **{
        f"penalties.{name}, changing": of_penalty(lambda device, case=case: case.make(changing(2.0, device)))
        for name, case in PENALTIES.items()
    },
    **{
        f"penalties.{name}, of a weight on the CPU": of_penalty(lambda device, case=case: case.make(torch.tensor(2.0)))
        for name, case in PENALTIES.items()
    },
    "penalties.DRAGAN, noise": of_penalty(lambda device: penalties.DRAGAN(noise=changing(0.5, device))),
    "penalties.LeCam, decay": of_penalty(lambda device: penalties.LeCam(decay=changing(0.9, device))),
    "penalties.PathLength": of_path_length,
    "penalties.PathLength, changing": lambda device: of_path_length(device, changing(2.0, device)),
    "penalties.R1, of": of_logits(lambda device: penalties.R1(changing(2.0, device))),
    "penalties.R2, of": of_logits(lambda device: penalties.R2(changing(2.0, device))),
    "penalties.LeCam, of": of_logits(lambda device: penalties.LeCam(changing(2.0, device))),
    "penalties.LeCam, auxiliary": of_auxiliary_loss(lambda device: penalties.LeCam(changing(2.0, device))),
    **{
        f"stacks.{name}": of_module(make, shape)
        for name, (make, shape) in {
            "BilinearDownsample": (stacks.BilinearDownsample, SHAPE),
            "BilinearUpsample": (stacks.BilinearUpsample, SHAPE),
            "ConditionalSequential": (
                lambda: stacks.ConditionalSequential(nn.Conv2d(3, 4, 1), stacks.PixelNorm()),
                SHAPE,
            ),
            "ConvStack": (lambda: stacks.ConvStack(PLAN, **BUFFERS), (4, 2, 8, 8)),
            "ConvTransposeStack": (lambda: stacks.ConvTransposeStack(PLAN, **BUFFERS), (4, 6, 2, 2)),
            "ConvTransposeStack, linear": (
                lambda: stacks.ConvTransposeStack(PLAN, upsample="linear", dropout=0.5),
                (4, 6, 2, 2),
            ),
            "InvertedBottleneck": (lambda: stacks.InvertedBottleneck(3, group_width=2), SHAPE),
            "LinearStack": (lambda: stacks.LinearStack([3, 4, 2], dropout=0.5, **BUFFERS), (4, 3)),
            "MinibatchStdDev": (stacks.MinibatchStdDev, SHAPE),
            "MultiScaleDiscriminator": (
                lambda: stacks.MultiScaleDiscriminator(
                    [stacks.PatchDiscriminator(3, channels=2, layers=1, kernel_size=3) for _ in range(2)]
                ),
                SHAPE,
            ),
            "PatchDiscriminator": (
                lambda: stacks.PatchDiscriminator(3, channels=2, layers=1, features=True, **BUFFERS),
                SHAPE,
            ),
            "PixelNorm": (stacks.PixelNorm, SHAPE),
            "ResidualDownBlock": (lambda: stacks.ResidualDownBlock(3, 4, **BUFFERS), SHAPE),
            "ResidualUpBlock": (lambda: stacks.ResidualUpBlock(3, 4, **BUFFERS), SHAPE),
            "SelfAttention": (lambda: stacks.SelfAttention(3, spectral_norm=True), SHAPE),
            "UNet": (lambda: stacks.UNet(PLAN, dropout=0.5, **BUFFERS), (4, 2, 8, 8)),
            "UpsampleConv": (lambda: stacks.UpsampleConv(3, 2), SHAPE),
            "VectorQuantizer": (lambda: stacks.VectorQuantizer(5, 3), SHAPE),
        }.items()
    },
    "training.AdversarialTrainer": of_trainer,
    "training.BetasSchedule": of_betas,
    "training.EMA": of_average,
    "training.GameTrainer": of_game,
    "training.ImagePool": of_module(lambda: training.ImagePool(SHAPE[1:], size=6), SHAPE),
    "training.LearningRateSchedule": of_rates,
    "training.Schedule": of_schedule,
}
"""Each public class that may hold tensors, by its package and name; behind a comma is what sets a second case apart."""

FUNCTIONS: dict[str, Start] = {
    "latents.lerp": of_function(lambda a, b: latents.lerp(a, b, 5), (4, 3), (4, 3)),
    "latents.slerp": of_function(lambda a, b: latents.slerp(a, b, 5), (4, 3), (4, 3)),
    "losses.adaptive_weight": of_function(
        lambda x, layer: losses.adaptive_weight((x @ layer).square().mean(), (x @ layer).mean(), layer), (4, 3), (3, 2)
    ),
}
"""Each public function that a step may call."""

WITHOUT_TENSORS: dict[str, Callable[[], Any]] = {
    "losses.LabelSmoothing": losses.LabelSmoothing,
    "stacks.StackPlan": lambda: PLAN,
    "stacks.Stage": lambda: stacks.Stage(3),
    "training.CSVLogger": lambda: training.CSVLogger("metrics.csv"),
    "training.Checkpoint": lambda: training.Checkpoint("checkpoints", every=1),
    "training.EarlyStopping": lambda: training.EarlyStopping("loss", patience=3),
    "training.ProgressBar": training.ProgressBar,
}
"""Public classes that hold no tensors at all, and no module or optimizer that could."""

ELSEWHERE = {
    "stacks.Quantized": "is what a VectorQuantizer returns",
    "training.Evaluate": "holds metrics, which are no part of a step",
    "training.Player": "names an optimizer and an objective, which are the user's",
    "training.TensorBoardLogger": "needs an extra",
}

COUNTS = {"training.EMA"}
"""What changes a Python number: as a callback it counts its updates between two steps, so no recording holds them."""

TRAINERS = {"training.AdversarialTrainer", "training.GameTrainer"}
"""These are not asked whether they wait: here an optimizer on the CPU reads its count of steps."""

every_case = pytest.mark.parametrize("name", CASES)
in_a_step = pytest.mark.parametrize("name", [name for name in CASES | FUNCTIONS if name not in TRAINERS])


class _Encoded(nn.Module):
    """An encoder that is called like the other modules: its code is added to x."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor, condition: Any) -> Tensor:
        """Encode."""
        return x + self.encoder(condition)


def parts_of(thing: Any, path: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Any]]:
    """Tensors and plain values that something holds, also in containers and in objects that it holds, by their path."""
    seen = set() if seen is None else seen
    if isinstance(thing, Tensor | str | bytes | bool | int | float | None | torch.device | torch.dtype):
        yield path, thing
        return
    if id(thing) in seen:
        return
    seen.add(id(thing))
    members: dict[Any, Any] = {}
    if isinstance(thing, dict):
        members = {
            f"key {number}" if isinstance(key, Tensor) else key: value
            for number, (key, value) in enumerate(thing.items())
        }
    elif isinstance(thing, list | tuple | set | frozenset):
        members = dict(enumerate(thing))
    elif type(thing).__module__.partition(".")[0] in ("ganlib", "tests", "torch"):
        members = dict(getattr(thing, "__dict__", {}))
        slots = [slot for one in type(thing).__mro__ for slot in getattr(one, "__slots__", ())]
        members |= {slot: getattr(thing, slot) for slot in slots if slot != "__weakref__" and hasattr(thing, slot)}
    for key, value in members.items():
        yield from parts_of(value, f"{path}.{key}", seen)


def places(thing: Any) -> dict[str, tuple[Tensor, int]]:
    """Each tensor that something holds, and where its numbers lie."""
    return {path: (one, one.data_ptr()) for path, one in parts_of(thing) if isinstance(one, Tensor)}


def moved(before: dict[str, tuple[Tensor, int]], after: dict[str, tuple[Tensor, int]]) -> list[str]:
    """The paths at which there is another tensor, or one that lies elsewhere."""
    return [
        path
        for path in before | after
        if path not in before
        or path not in after
        or before[path][0] is not after[path][0]
        or before[path][1] != after[path][1]
    ]


def started(name: str, device: str = "cpu") -> Trial:
    """A trial after its first step, in which a part may still move to the device."""
    torch.manual_seed(0)
    trial = (CASES | FUNCTIONS)[name](torch.device(device))
    trial.step()
    return trial


def public(kind: type) -> Iterator[str]:
    """Each public class, or function, of the packages that take part in a step."""
    for package in PACKAGES:
        module = getattr(ganlib, package)
        for name in module.__all__:
            value = getattr(module, name)
            if isinstance(value, kind) and not (isinstance(value, type) and is_protocol(value)):
                yield f"{package}.{name}"


def test_every_public_class_is_here():
    """A class that is added needs a case, unless it holds no tensors."""
    assert {*public(type)} == {name.split(",")[0] for name in CASES} | {*WITHOUT_TENSORS} | {*ELSEWHERE}


def test_every_function_of_tensors_is_here():
    """A function that is added to what a step calls needs a case."""
    called = ("augment.", "latents.", "losses.", "penalties.")
    assert {name for name in public(FunctionType) if name.startswith(called)} == {*FUNCTIONS}


@pytest.mark.parametrize("name", WITHOUT_TENSORS)
def test_what_needs_no_case_holds_no_tensors(name):
    """The classes without a case hold neither tensors nor what could: modules and optimizers."""
    thing = WITHOUT_TENSORS[name]()

    assert type(thing).__name__ == name.split(".")[1]
    assert places(thing) == {}
    assert not isinstance(thing, nn.Module | torch.optim.Optimizer)


@every_case
def test_a_step_changes_tensors_in_place(name):
    """After a step each buffer, parameter and tensor attribute is the object that it was, where it was."""
    trial = started(name)
    before = places(trial.part)

    trial.step()

    assert moved(before, places(trial.part)) == []


@every_case
def test_a_state_is_loaded_in_place(name):
    """After a state was loaded each buffer, parameter and tensor attribute of a part is where it was."""
    trial = started(name)
    stateful = list(_stateful(trial.part))
    before, states = places(stateful), [copy.deepcopy(one.state_dict()) for one in stateful]
    trial.step()

    for one, state in zip(stateful, states, strict=True):
        one.load_state_dict(state)

    assert moved(before, places(stateful)) == []


def _stateful(part: Any) -> Iterator[Any]:
    """The modules of a part; an optimizer's state is replaced, and trainers drop their recordings then."""
    for one in [*part[0].values()] if isinstance(part, list) else [part]:
        if hasattr(one, "load_state_dict"):
            yield one


@pytest.mark.parametrize("name", [name for name in CASES if name not in COUNTS])
def test_a_step_changes_no_number_and_draws_from_torch_alone(name):
    """A step changes no Python number, string or bool, and draws neither from ``random`` nor from NumPy."""
    trial = started(name)
    before = plain_values(trial.part), random.getstate(), repr(np.random.get_state())

    trial.step()

    assert before == (plain_values(trial.part), random.getstate(), repr(np.random.get_state()))


@pytest.mark.parametrize("name", COUNTS)
def test_what_is_left_out_does_count(name):
    """What is not asked whether it changes numbers does change one; otherwise it need not be left out."""
    trial = started(name)
    before = plain_values(trial.part)

    trial.step()

    assert before != plain_values(trial.part)


def plain_values(thing: Any) -> dict[str, Any]:
    """The plain values that something holds."""
    return {path: one for path, one in parts_of(thing) if not isinstance(one, Tensor)}


class WaitError(AssertionError):
    """The host would have waited for the device, or sent it something."""


READS = {"_local_scalar_dense", "_unique2", "equal", "is_nonzero", "masked_select", "nonzero", "unique_dim"}
SENDS = {"lift", "lift_fresh", "lift_fresh_copy"}
CHECKED_ON_THE_HOST = ("conditioning.", "losses.AuxiliaryClassifier")
"""What reads a condition that is on the CPU, and only there, to check it."""


class NoWaiting(TorchDispatchMode):
    """Refuses operations for which the host waits for the device, or sends it something."""

    def __init__(self, refused: set[str] = READS | SENDS) -> None:
        super().__init__()
        self.refused = refused

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in self.refused:
            raise WaitError(f"{name} reads from the device, or is how the host makes a tensor of numbers")
        tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        if "index" in name and any(one.dtype in (torch.bool, torch.uint8) for one in tensors[1:]):
            raise WaitError(f"{name} with a mask waits for the number of its positions")
        if name in ("_to_copy", "copy_"):
            devices = {one.device for one in tensors} | {(kwargs or {}).get("device") or tensors[0].device}
            if len(devices) > 1:
                raise WaitError(f"{name} copies between {' and '.join(map(str, devices))}")
        return func(*args, **(kwargs or {}))


@in_a_step
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_step_does_not_wait_for_the_device(name, device):
    """Forwards and backwards nothing is read from the device, or sent to it.

    The meta device, whose numbers nobody can read, stands in for one; on the CPU more of what makes tensors is seen.
    """
    trial = started(name, device)

    with NoWaiting(SENDS if device == "cpu" and name.startswith(CHECKED_ON_THE_HOST) else READS | SENDS):
        trial.step()


@pytest.mark.gpu
@in_a_step
def test_a_step_does_not_wait_for_cuda(name, sync_debug_mode):
    """The same, on CUDA, as torch sees it."""
    trial = started(name, "cuda")
    sync_debug_mode("error")

    trial.step()


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: float(x.sum()),
        lambda x: x if x.sum() > 0 else -x,
        lambda x: x * torch.tensor(2.0),
        lambda x: x * torch.tensor([2.0, 1.0]).to(x.device),
        lambda x: x.to("meta"),
        lambda x: x[x > 0],
        lambda x: x.masked_select(x > 0),
        lambda x: torch.equal(x, x + 1),
    ],
)
def test_waiting_is_noticed(wait):
    """What reads from the device or sends to it is refused; what stays on it is not."""
    x = torch.randn(2)
    with NoWaiting():
        assert (x * 2 + torch.zeros_like(x)).index_select(0, torch.arange(2)).shape == (2,)
        with pytest.raises(WaitError):
            wait(x)
