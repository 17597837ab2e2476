"""What stands in for CUDA graphs on the CPU is right, and as unforgiving as they are."""

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.training.graph_on_cpu import GraphOnCPU, capturable_on_cpu

Step = Callable[[], dict[str, Tensor]]


@pytest.fixture(autouse=True)
def one_seed() -> Iterator[None]:
    """Each test draws the same numbers, and leaves none behind."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Trained:
    """A network and what trains it on the batch that lies in ``x``."""

    def __init__(
        self, make: Callable[..., torch.optim.Optimizer], *, precision: torch.dtype | None = None, **options: Any
    ) -> None:
        self.net = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.LeakyReLU(0.2),
            nn.Dropout(0.3),
            nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 4, 3, stride=2)),
            nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
            nn.Dropout2d(0.1),
            nn.Flatten(),
            nn.Linear(36, 1),
        )
        self.optimizer = make(self.net.parameters(), **options)
        fp16 = precision is torch.float16  # whose gradients overflow by this scale, and no longer by half of it
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14, growth_interval=2, enabled=fp16)
        self.precision = precision
        self.x = torch.zeros(5, 3, 8, 8)
        self.penalty, self.set_to_none = 0.1, True

    def step(self) -> dict[str, Tensor]:
        """Train on real samples and on noise, with a penalty on the slope."""
        self.optimizer.zero_grad(self.set_to_none)
        x = (self.x + 0.1 * torch.randn_like(self.x)).requires_grad_()
        autocast = torch.autocast("cpu", self.precision) if self.precision else nullcontext()
        with autocast:
            logits = self.net(x)
        loss = F.softplus(-logits.float()).mean()
        if self.penalty:
            (slope,) = torch.autograd.grad(logits.float().sum(), x, create_graph=True)
            loss = loss + self.penalty * slope.square().sum((1, 2, 3)).mean()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return {"loss": loss.detach(), "share": (logits > 0).float().mean()}

    def follow(self, other: "Trained") -> "Trained":
        """Go on from another's state, in memory of its own (a copied optimizer forgets that it can scale)."""
        self.net.load_state_dict(other.net.state_dict())
        self.optimizer.load_state_dict(copy.deepcopy(other.optimizer.state_dict()))
        self.scaler.load_state_dict(other.scaler.state_dict())
        self.x.copy_(other.x)
        return self

    def state(self) -> list[Any]:
        """Every bit that a step may change."""
        state = [self.net.state_dict(), self.optimizer.state_dict(), self.scaler.state_dict()]
        return [copy.deepcopy(state), [p.grad.clone() for p in self.net.parameters() if p.grad is not None]]


def assert_same(one: Any, other: Any) -> None:
    """Both are the same, bit for bit."""
    torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def assert_replays_are_steps(make: Callable[[], Trained], steps: int = 4) -> Trained:
    """A replay gives what an ordinary step gives from the same state, on a batch of its own each time."""
    trained = make()
    recorder = GraphOnCPU()
    trained.x.copy_(torch.randn_like(trained.x))
    for _ in range(2):
        recorder.warm_up(trained.step)
    twin = make().follow(trained)
    place, replay = recorder.record(trained.step)
    for _ in range(steps):
        batch = torch.randn_like(trained.x)
        trained.x.copy_(batch)
        twin.x.copy_(batch)
        random = torch.get_rng_state()
        expected = twin.step()
        random_after = torch.get_rng_state()
        torch.set_rng_state(random)
        replay()
        assert_same(place, expected)
        assert_same(trained.state(), twin.state())
        assert torch.equal(torch.get_rng_state(), random_after)
    assert (recorder.warm, recorder.recorded, recorder.replayed, recorder.freed) == (2, 1, steps, 0)
    return trained


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (torch.optim.Adam, {"fused": True}),
        (torch.optim.Adam, {"fused": True, "amsgrad": True, "weight_decay": 0.1}),
        (torch.optim.Adam, {"capturable": True, "foreach": True}),
        (torch.optim.Adam, {"capturable": True, "foreach": False}),
        (torch.optim.AdamW, {"fused": True}),
        (torch.optim.AdamW, {"capturable": True}),
        (torch.optim.NAdam, {"capturable": True, "foreach": True}),
        (torch.optim.RMSprop, {"foreach": False, "momentum": 0.5}),
        (torch.optim.RMSprop, {"foreach": True, "centered": True}),
        (torch.optim.SGD, {"momentum": 0.9, "foreach": False}),
        (torch.optim.SGD, {"momentum": 0.9, "foreach": True}),
        (torch.optim.SGD, {"momentum": 0.9, "fused": True, "nesterov": True}),
        (torch.optim.Adagrad, {"fused": True}),
    ],
)
def test_a_replay_is_a_step(
    make: Callable[..., torch.optim.Optimizer], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With any optimizer that can be recorded, in training mode with dropout and a penalty, every bit agrees."""
    capturable_on_cpu(monkeypatch)
    assert_replays_are_steps(lambda: Trained(make, lr=0.01, **options))


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_a_replay_in_half_precision_is_a_step(precision: torch.dtype) -> None:
    """Casts, and a scaler of the loss that skips steps and changes its scale on the device, are replayed."""
    trained = assert_replays_are_steps(lambda: Trained(torch.optim.Adam, fused=True, precision=precision), 6)
    taken = {int(state["step"]) for state in trained.optimizer.state.values()}
    assert (taken == {8}) == (precision is torch.bfloat16)


def test_gradients_that_stay_where_they_were_are_replayed() -> None:
    """Gradients that are set to zero in place, in memory from outside, agree too; so do channels-last images."""

    def make() -> Trained:
        trained = Trained(torch.optim.SGD, lr=0.01)
        trained.set_to_none = False
        trained.net.to(memory_format=torch.channels_last)
        trained.x = trained.x.to(memory_format=torch.channels_last)
        return trained

    trained = make()
    trained.step()
    recorder = GraphOnCPU()
    _, replay = recorder.record(trained.step)
    twin = make().follow(trained)
    random = torch.get_rng_state()
    twin.step()
    torch.set_rng_state(random)
    replay()
    assert_same(trained.state(), twin.state())


def test_recording_changes_no_memory() -> None:
    """Weights, statistics, states of optimizers and of random numbers are as before, even of a step that trips."""

    def trip() -> dict[str, Tensor]:
        trained.step()
        raise ValueError("tripped")

    trained = Trained(torch.optim.Adam, fused=True)
    trained.set_to_none = False  # else gradients are new memory
    trained.step()
    before, random = trained.state(), torch.get_rng_state()
    recorder = GraphOnCPU()
    recorder.record(trained.step)
    with pytest.raises(ValueError, match="tripped"):
        recorder.record(trip)
    assert_same(trained.state(), before)
    assert torch.equal(torch.get_rng_state(), random)
    assert recorder.recorded == 1


def test_results_are_garbage_until_a_replay() -> None:
    """What the step made is not there before it ran, as on CUDA; what was there stays."""
    x, kept = torch.ones(3), []

    def step() -> dict[str, Tensor]:
        kept.append(x * 2)
        return {"new": kept[0].sum(), "index": kept[0].argmax(), "old": x, "empty": torch.empty(3)}

    place, replay = GraphOnCPU().record(step)
    assert torch.stack([place["new"], *kept[0]]).isnan().all()
    assert place["index"] == -1
    assert torch.equal(place["old"], torch.ones(3))
    place["empty"].fill_(5)  # no kernel fills it
    replay()
    assert (place["new"].item(), place["index"].item(), place["empty"].sum().item()) == (6, 0, 15)


def test_a_recording_writes_in_place_and_does_not_see_a_replaced_tensor() -> None:
    """An average in a new tensor stays stuck at its first step; one in place goes on; so it is with ``data``."""
    x = torch.ones(())
    stuck, going, swapped = torch.zeros(()), torch.zeros(()), nn.Parameter(torch.zeros(()))
    old = stuck, swapped.data  # somebody holds them

    def step() -> dict[str, Tensor]:
        nonlocal stuck
        stuck = 0.5 * stuck + x
        going.mul_(0.5).add_(x)
        swapped.data = swapped.data + x
        return {}

    recorder = GraphOnCPU()
    _, replay = recorder.record(step)
    for expected in (1.0, 1.5, 1.75):
        replay()
        assert (stuck.item(), going.item(), swapped.item()) == (1.0, expected, 1.0)
    assert recorder.freed == 0
    assert all(value == 0 for value in old)


def test_memory_that_only_recordings_hold_is_counted() -> None:
    """A tensor that was read, and that nobody holds any more, counts until the recording is gone."""
    recorder = GraphOnCPU()
    held = [torch.ones(2), torch.ones(2)]
    view = held[1][1:]
    replays = [recorder.record(lambda: {"sum": (held[0] + held[1] * 2).sum()})[1] for _ in range(2)]
    assert recorder.freed == 0
    del held[0]
    assert recorder.freed == 1
    held.clear()
    assert recorder.freed == 1
    assert view.sum() == 1
    del view
    assert recorder.freed == 2
    replays.clear()
    assert recorder.freed == 0


def test_numbers_are_baked_in_and_tensors_are_read() -> None:
    """A counter of Python's stays what it was, and changes while recording; a tensor of no dimensions is read."""
    count, scale = 0, torch.ones(())

    def step() -> dict[str, Tensor]:
        nonlocal count
        count += 1
        return {"count": torch.full((), count), "scaled": scale * 3 + count}

    recorder = GraphOnCPU()
    place, replay = recorder.record(step)
    assert count == 1
    scale.fill_(2)
    replay()
    replay()
    assert (count, place["count"].item(), place["scaled"].item()) == (1, 1, 7)


def test_a_learning_rate_is_read_if_it_is_a_tensor() -> None:
    """A tensor's value of now is taken, and a number's of then."""

    def step() -> dict[str, Tensor]:
        by_number.step()
        by_tensor.step()
        return {}

    one, other = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    one.grad, other.grad = torch.ones(1), torch.ones(1)
    by_number = torch.optim.SGD([one], lr=0.5, fused=True)
    by_tensor = torch.optim.SGD([other], lr=torch.tensor(0.5), fused=True)
    _, replay = GraphOnCPU().record(step)
    by_number.param_groups[0]["lr"] = 0.25
    by_tensor.param_groups[0]["lr"].fill_(0.25)
    replay()
    assert (one.item(), other.item()) == (0.5, 0.75)


def test_states_made_while_recording_start_anew_in_each_replay() -> None:
    """An optimizer that was not warmed up begins in every replay: its state's zeros are part of the recording."""
    weight = nn.Parameter(torch.ones(1))
    weight.grad = torch.ones(1)
    optimizer = torch.optim.Adam([weight], fused=True)
    _, replay = GraphOnCPU().record(lambda: {"none": optimizer.step()})
    replay()
    replay()
    assert optimizer.state[weight]["step"] == 1


def test_steps_are_recorded_apart() -> None:
    """One object holds several recordings, which share memory from outside and nothing else."""
    recorder, total = GraphOnCPU(), torch.zeros(())
    one, add_one = recorder.record(lambda: {"is": total.add_(1) + 0})
    two, add_two = recorder.record(lambda: {"is": total.add_(2) + 0})
    add_one()
    add_two()
    add_two()
    assert (one["is"].item(), two["is"].item(), total.item()) == (1, 5, 5)
    assert (recorder.recorded, recorder.replayed) == (2, 3)


def test_modes_of_the_time_of_a_replay_change_nothing() -> None:
    """Casts and gradients were settled when the step was recorded."""
    a, b = torch.rand(4, 4), nn.Parameter(torch.rand(4, 4))
    expected = a @ b.detach()
    place, replay = GraphOnCPU().record(lambda: {"product": (a @ b).detach()})
    with torch.autocast("cpu", torch.bfloat16):
        replay()
    assert torch.equal(place["product"], expected)
    assert (a.requires_grad, b._version) == (False, 0)


def test_what_is_not_taken_apart_before_is_recorded() -> None:
    """Inference mode, where a kernel may be a whole layer, is recorded as other modes are."""
    x, net = torch.rand(2, 3, 4, 4), nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Flatten())

    @torch.inference_mode()
    def step() -> dict[str, Tensor]:
        return {"out": net(x)}

    twin, random = copy.deepcopy(net), torch.get_rng_state()
    place, replay = GraphOnCPU().record(step)
    replay()
    replay()
    torch.set_rng_state(random)
    twin(x)
    assert_same(place["out"], twin(x).detach())
    assert_same(net.state_dict(), twin.state_dict())


def test_results_that_are_given_a_place_are_replayed() -> None:
    """A result in a tensor of the user's, one that had to grow, views and lists of results are all filled."""
    x, given = torch.zeros(4), torch.zeros(4)

    def step() -> dict[str, Tensor]:
        torch.add(x, 1, out=given)
        grown = torch.add(x, 2, out=torch.empty(0))
        halves = (x + 3).view(2, 2).unbind()
        sums = torch._foreach_add([x, x], [4, 5])
        values, order = x.sort(descending=True)
        turned = (x + 6).view(2, 2).t_()
        return {"all": torch.cat([given, grown, *halves, *sums, values, order, turned.reshape(-1)])}

    place, replay = GraphOnCPU().record(step)
    for value in (1.0, 2.0):
        x.copy_(torch.tensor([value, 0, 0, 0]))
        replay()
        assert_same(place, step())


def test_a_deep_copy_is_replayed() -> None:
    """What is copied by its memory alone stays where it was, and the copy follows it."""
    x = torch.ones(2)
    place, replay = GraphOnCPU().record(lambda: {"copy": copy.deepcopy(x)})
    assert torch.equal(x, torch.ones(2))
    x.fill_(2)
    replay()
    assert torch.equal(place["copy"], torch.full((2,), 2.0))


X, MASK, INDEX = torch.rand(4), torch.tensor([True, False, True, False]), torch.tensor([0, 2])


def assign(index: Any, value: Any) -> Step:
    """A step that assigns."""

    def step() -> dict[str, Tensor]:
        X.clone()[index] = value
        return {}

    return step


WAITING: list[Callable[[], Any]] = [
    lambda: X.sum().item(),
    lambda: float(X[0]),
    lambda: 1 if X[0] > 0 else 0,
    lambda: [0, 1, 2][INDEX[0]],
    lambda: X.tolist(),
    lambda: X.numpy(),
    lambda: X.detach().cpu(),
    lambda: X.to("cpu"),
    lambda: repr(X),
    lambda: f"{X[0]:.3f}",
    lambda: 1.0 in X,
    lambda: torch.equal(X, X),
    lambda: torch.allclose(X, X),
    lambda: X.nonzero(),
    lambda: torch.where(MASK),
    lambda: X[MASK],
    lambda: X.masked_select(MASK),
    lambda: X.unique(),
    lambda: INDEX.bincount(),
    lambda: X.repeat_interleave(INDEX.repeat(2)),
    lambda: F.one_hot(INDEX),
    lambda: X.multinomial(2),
    lambda: torch.normal(X, X),
    lambda: torch.linalg.inv(torch.eye(2)),
    assign(MASK, X[:2]),
    assign(MASK, X[0]),
    lambda: X.new_tensor([1.0]),
    lambda: torch.tensor([1.0], device=X.device),
    torch.inference_mode()(lambda: X.sum().item()),
    torch.inference_mode()(lambda: torch.where(MASK)),
    torch.no_grad()(lambda: X.clamp(0, 1)[MASK].mean()),
]
UNRECORDABLE: list[Callable[[], Any]] = [
    lambda: torch.tensor([1.0, 2.0]),
    lambda: torch.as_tensor([1.0]),
    lambda: torch.tensor(1.0).to(X.device),
    lambda: torch.from_numpy(np.ones(1)),
    lambda: torch.manual_seed(1),
    lambda: torch.manual_seed(1) and torch.rand(1),
    lambda: torch.rand(2, generator=torch.Generator()),
    lambda: F.embedding(INDEX, nn.Parameter(torch.rand(4, 2)), sparse=True).sum().backward(),
]
FREE: list[Callable[[], Any]] = [
    lambda: torch.zeros(2) + torch.full((2,), 3.0) + torch.arange(2) + torch.eye(2),
    lambda: torch.where(MASK, X, 0.0),
    lambda: F.one_hot(INDEX, 3),
    lambda: F.cross_entropy(torch.rand(2, 3), INDEX),
    lambda: X.index_select(0, INDEX) + X[INDEX] + X[::2],
    lambda: X.repeat_interleave(INDEX.repeat(2), output_size=4) + X.repeat_interleave(1),
    lambda: X.to(X.device, torch.float64),
    lambda: torch.randn(2, generator=torch.default_generator) + torch.randperm(2) + torch.bernoulli(X[:2]),
    lambda: nn.utils.clip_grad_norm_([nn.Parameter(X)], 1.0) + X * torch.tensor(2.0) + torch.as_tensor(2.0),
    torch.inference_mode()(lambda: F.one_hot(INDEX, 3)),
    assign(INDEX, X[:2]),
]
# What indexing copies from the host is not known in the backward pass of an own function.
WAITING_BY_INDEX: list[Callable[[], Any]] = [assign(0, 1.0), assign(INDEX, 1.0), lambda: X[[0, 2]]]
FREE_BY_INDEX: list[Callable[[], Any]] = [assign(slice(2), 1.0), assign(MASK, 1.0)]


def backward(use: Callable[[], Any]) -> Callable[[], Any]:
    """The same in a backward pass."""

    class Use(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, slope: Tensor) -> Tensor:
            with torch.enable_grad():
                use()
            return slope

    return lambda: Use.apply(torch.ones(1, requires_grad=True)).backward()


@pytest.mark.parametrize("use", [*WAITING, *WAITING_BY_INDEX, *map(backward, WAITING)])
def test_waiting_is_refused(use: Callable[[], Any]) -> None:
    """What waits for a device is refused while recording, which changes nothing, and inside ``without_waiting``."""
    recorder, total = GraphOnCPU(), torch.zeros(2)
    random = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="operation not permitted when stream is capturing"):
        recorder.record(lambda: {"sum": total.add_(torch.rand(2)), "used": use()})
    assert torch.equal(total, torch.zeros(2))
    assert torch.equal(torch.get_rng_state(), random)
    assert recorder.recorded == 0
    with pytest.raises(RuntimeError, match="called a synchronizing CUDA operation"), recorder.without_waiting():
        use()
    use()


@pytest.mark.parametrize("use", [*UNRECORDABLE, *map(backward, UNRECORDABLE)])
def test_what_cannot_be_recorded_is_refused(use: Callable[[], Any]) -> None:
    """Data of the host, a generator that no graph knows of, and a seed are refused, though nothing waits for them."""
    recorder = GraphOnCPU()
    random = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="operation not permitted when stream is capturing"):
        recorder.record(use)
    assert torch.equal(torch.get_rng_state(), random)
    with recorder.without_waiting():
        use()


@pytest.mark.parametrize("use", [*FREE, *FREE_BY_INDEX, *map(backward, FREE)])
def test_the_rest_is_recorded(use: Callable[[], Any]) -> None:
    """Kernels that only write numbers, and those that only the CPU checks, are no reason to refuse."""
    recorder = GraphOnCPU()
    with recorder.without_waiting():
        use()
    recorder.record(use)[1]()


def test_a_refusal_that_the_step_swallows_spoils_the_recording() -> None:
    """A graph that was interrupted is none, even if the step went on."""

    def step() -> dict[str, Tensor]:
        try:
            X.sum().item()
        except RuntimeError:
            return {}
        raise AssertionError

    with pytest.raises(RuntimeError, match="previous error during capture"):
        GraphOnCPU().record(step)


def test_other_threads_may_wait() -> None:
    """A loader's thread is not watched."""

    def wait() -> None:
        lists.append(X.tolist())
        lists.append(torch.tensor([1.0]).tolist())

    def step() -> dict[str, Tensor]:
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join()
        return {}

    lists: list[list[float]] = []
    GraphOnCPU().record(step)
    assert lists == [X.tolist(), [1.0]]


def test_it_leaves_no_trace_in_torch() -> None:
    """Afterwards numbers in tensors are still read as numbers: a list of pairs of them is a matrix."""
    recorder, x = GraphOnCPU(), torch.arange(4.0)
    with recorder.without_waiting():
        x[1:] = 1.0
    _, replay = recorder.record(lambda: {"x": x[1:].sum()})
    replay()
    one, other = x.sum(), x.mean()
    assert torch.tensor([(one, other), (other, one)]).shape == (2, 2)
