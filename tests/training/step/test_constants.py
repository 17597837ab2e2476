"""What a step reads, and a recording of it would keep: a change of it is seen, wherever a part holds it."""

import dataclasses
import enum
import functools
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from ganlib import losses, penalties
from ganlib.training._step._constants import Constants

CPU = torch.device("cpu")
NUMBER = 1.0
SETTINGS = types.SimpleNamespace(scale=1.0)


def of(**parts: Any) -> Constants:
    """The constants of parts."""
    return Constants(parts, CPU)


class Case(NamedTuple):
    """A part, what changes it, and what is said then."""

    part: Any
    change: Callable[[], object]
    said: str


class Box:
    """An object of a user's."""

    def __init__(self, **values: Any) -> None:
        vars(self).update(values)

    def read(self, x: Any) -> Any:
        """Read a variable of the file."""
        return NUMBER * x

    def call(self, x: Any) -> Any:
        """Read attributes by another method."""
        return self.scaled(x)

    def scaled(self, x: Any) -> Any:
        """Read an attribute."""
        return self.value * x  # type: ignore[attr-defined]


class Slots:
    """An object with slots, of which one was never set."""

    __slots__ = ("never", "value")

    def __init__(self) -> None:
        self.value = 1


@dataclasses.dataclass(frozen=True)
class Frozen:
    """A frozen object."""

    value: float = 1.0


class Own(nn.Module):
    """A module of a user's that reads a variable of its file."""

    def forward(self, x: Tensor) -> Tensor:
        """Scale."""
        return NUMBER * x


class Choice(enum.Enum):
    """A choice."""

    ONE = 1
    TWO = 2


def set_number() -> None:
    """Change the variable of this file."""
    global NUMBER
    NUMBER = 2.0


def reading(x: Any) -> Any:
    """Read the variable of this file."""
    return NUMBER * x


def indirect(x: Any) -> Any:
    """Read it by another function."""
    return reading(x)


def attribute(value: Any, other: Any, said: str) -> Case:
    """An object whose attribute becomes another one."""
    box = Box(value=value)
    return Case(box, lambda: setattr(box, "value", other), said)


def in_module(make: Callable[[], nn.Module], change: Callable[[Any], object], said: str) -> Case:
    """A module, and what changes it."""
    module = make()
    return Case(module, lambda: change(module), said)


def in_function() -> Case:
    """A function with a variable of the function around it."""
    value = 1

    def function(x: Any) -> Any:
        return value * x

    def change() -> None:
        nonlocal value
        value = 2

    return Case(function, change, "value was 1, and is 2")


def in_partial() -> Case:
    """A part of a call."""
    box = Box(value=1)
    return Case(
        functools.partial(lambda x, y: x, box), lambda: setattr(box, "value", 2), "part[1][0].value was 1, and is 2"
    )


def in_optimizer(change: Callable[[Any], object], said: str) -> Case:
    """An optimizer with a state."""
    parameter = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([parameter])
    parameter.grad = torch.ones(2)
    optimizer.step()
    return Case(optimizer, lambda: change(optimizer), said)


def nested(depth: int) -> Case:
    """An object in objects."""
    box = inner = Box(value=1)
    for _ in range(depth):
        box = Box(value=box)
    return Case(box, lambda: setattr(inner, "value", 2), f"part{'.value' * (depth + 1)} was 1, and is 2")


def assigned(key: str, value: Any) -> Callable[[Any], None]:
    """What sets an attribute."""
    return lambda owner: setattr(owner, key, value)


CASES: dict[str, Callable[[], Case]] = {
    "a number": lambda: attribute(1, 2, "part.value was 1, and is 2"),
    "a fraction": lambda: attribute(0.5, 0.25, "part.value was 0.5, and is 0.25"),
    "a truth value": lambda: attribute(True, False, "part.value was True, and is False"),
    "a name": lambda: attribute("a", "b", "part.value was 'a', and is 'b'"),
    "nothing": lambda: attribute(None, 1, "part.value was None, and is 1"),
    "something": lambda: attribute(1, None, "part.value was 1, and is None"),
    "a tuple": lambda: attribute((1, (2, "a")), (1, (3, "a")), "part.value was (1, (2, 'a')), and is (1, (3, 'a'))"),
    "a dtype": lambda: attribute(torch.float32, torch.float16, "part.value was torch.float32, and is torch.float16"),
    "a choice": lambda: attribute(Choice.ONE, Choice.TWO, "part.value was "),
    "a tensor": lambda: attribute(torch.ones(2), torch.ones(2), "part.value was replaced by another tensor"),
    "an object": lambda: attribute(Box(), Box(), "part.value was replaced by another object"),
    "a function": lambda: attribute(reading, indirect, "part.value was replaced by another object"),
    "a private attribute": lambda: Case(
        box := Box(_value=1), lambda: setattr(box, "_value", 2), "part.value was 1, and is 2"
    ),
    "what is gone": lambda: Case(box := Box(value=1), lambda: delattr(box, "value"), "part.value was 1, and is None"),
    "a list": lambda: Case(numbers := [1, 2], lambda: numbers.__setitem__(1, 3), "part[1] was 2, and is 3"),
    "a shorter list": lambda: Case(numbers := [1, 2], lambda: numbers.pop(), "part"),
    "a longer list": lambda: Case(numbers := [1, 2], lambda: numbers.append(3), "part"),
    "a new key": lambda: Case(numbers := {"a": 1}, lambda: numbers.update(b=2), "part"),
    "a dict": lambda: Case(numbers := {"a": 1}, lambda: numbers.update(a=2), "part.a was 1, and is 2"),
    "a slot": lambda: Case(slots := Slots(), lambda: setattr(slots, "value", 2), "part.value was 1, and is 2"),
    "a frozen object": lambda: Case(
        frozen := Frozen(), lambda: object.__setattr__(frozen, "value", 2.0), "part.value was 1.0, and is 2.0"
    ),
    "depth 1": lambda: nested(1),
    "depth 3": lambda: nested(3),
    "a function's variable": in_function,
    "a file's variable": lambda: Case(reading, set_number, "NUMBER was 1.0, and is 2.0"),
    "by another function": lambda: Case(indirect, set_number, "NUMBER was 1.0, and is 2.0"),
    "an attribute of a file's variable": lambda: Case(
        lambda x: SETTINGS.scale * x, lambda: setattr(SETTINGS, "scale", 2.0), "SETTINGS.scale was 1.0, and is 2.0"
    ),
    "a partial function": in_partial,
    "a method": lambda: Case((box := Box(value=1)).scaled, lambda: setattr(box, "value", 2), "value was 1, and is 2"),
    "a method of a method": lambda: Case(
        (box := Box(value=1)).call, lambda: setattr(box, "value", 2), "value was 1, and is 2"
    ),
    "a file's variable in a method": lambda: Case(Box().read, set_number, "NUMBER was 1.0, and is 2.0"),
    "a file's variable in an object": lambda: Case(Box(), set_number, "NUMBER was 1.0, and is 2.0"),
    "a file's variable in a module": lambda: Case(Own(), set_number, "NUMBER was 1.0, and is 2.0"),
    "a module's setting": lambda: in_module(
        lambda: nn.Dropout(0.5), assigned("p", 0.25), "part.p was 0.5, and is 0.25"
    ),
    "a child's setting": lambda: in_module(
        lambda: nn.Sequential(nn.Sequential(nn.LeakyReLU(0.5))),
        lambda m: setattr(m[0][0], "negative_slope", 0.25),
        "part.0.0.negative_slope was 0.5, and is 0.25",
    ),
    "a child": lambda: in_module(
        lambda: nn.Sequential(nn.Tanh()),
        lambda m: m.__setitem__(0, nn.Tanh()),
        "part.0 was replaced by another object",
    ),
    "a new child": lambda: in_module(nn.Sequential, lambda m: m.append(nn.Tanh()), "part"),
    "a weight": lambda: in_module(
        lambda: nn.Linear(1, 1), assigned("weight", nn.Parameter(torch.ones(1, 1))), "part.weight was replaced"
    ),
    "a weight's memory": lambda: in_module(
        lambda: nn.Linear(1, 1), lambda m: setattr(m.weight, "data", torch.ones(1, 1)), "part.weight was replaced"
    ),
    "a buffer": lambda: in_module(
        lambda: nn.BatchNorm1d(1), assigned("running_mean", torch.zeros(1)), "part.running_mean was replaced"
    ),
    "a frozen weight": lambda: in_module(
        lambda: nn.Linear(1, 1), lambda m: m.weight.requires_grad_(False), "part.weight needs no gradient now"
    ),
    "an unfrozen weight": lambda: in_module(
        lambda: nn.Linear(1, 1).requires_grad_(False),
        lambda m: m.requires_grad_(True),
        "part.weight needs a gradient now",
    ),
    "a hook": lambda: in_module(nn.Tanh, lambda m: m.register_forward_hook(lambda *_: None), "part.forward_hooks"),
    "a penalty's weight": lambda: in_module(
        lambda: penalties.R1(1.0), assigned("weight", 2.0), "part.weight was 1.0, and is 2.0"
    ),
    "a loss's smoothing": lambda: Case(
        loss := losses.NonSaturatingLoss(losses.LabelSmoothing(0.75)),
        lambda: object.__setattr__(loss.smoothing, "real", 0.5),
        "part.smoothing.real was 0.75, and is 0.5",
    ),
    "an optimizer's state": lambda: in_optimizer(
        lambda o: o.load_state_dict(o.state_dict()), "part.state was replaced by another object"
    ),
    "a tensor of an optimizer": lambda: in_optimizer(
        lambda o: next(iter(o.state.values())).update(exp_avg=torch.zeros(2)), "part.state[0].exp_avg was replaced"
    ),
}


@pytest.fixture(autouse=True)
def _number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.NUMBER", 1.0)
    monkeypatch.setattr(SETTINGS, "scale", 1.0)


@pytest.mark.parametrize("name", CASES)
def test_a_change_is_seen_and_named(name: str) -> None:
    """Until then all holds; after it something does not, and it is said what."""
    part, change, said = CASES[name]()
    constants = of(part=part)
    assert constants.hold()
    assert constants.change() is None
    change()
    assert not constants.hold()
    assert (constants.change() or "").startswith(said)


@pytest.mark.parametrize(
    "change",
    [
        lambda module: module.weight.data.add_(1),
        lambda module: setattr(module.weight, "grad", torch.ones(1, 1)),
        lambda module: setattr(module, "value", float("1.5")),
        lambda module: setattr(module, "numbers", (1, 2.5)),
        lambda module: module.long.append(1),
    ],
)
def test_what_a_recording_reads_again_is_no_change(change: Callable[[Any], object]) -> None:
    """Values in place, gradients, an equal number, and data in long lists."""
    module: Any = nn.Linear(1, 1)
    module.value, module.numbers, module.long = 1.5, (1, 2.5), [0] * 100
    constants = of(part=module)
    change(module)
    assert constants.change() is None
    assert constants.hold()


def test_circles_are_looked_through_once() -> None:
    """Objects that hold each other, and one that is there twice, are no trouble."""
    one, other = Box(value=1), Box(value=2)
    one.other, other.other = one, one  # type: ignore[attr-defined]
    constants = of(one=one, other=other)
    assert constants.hold()
    other.value = 3  # type: ignore[attr-defined]
    assert constants.change() == "other.value was 2, and is 3"


def test_python_values_are_put_back() -> None:
    """Also those of frozen objects, of functions and of files; what is no plain value is left as it is."""
    value = 1

    def function() -> int:
        return value

    box, frozen, slots, numbers = Box(value=1, pair=(1, 2)), Frozen(), Slots(), [1, 2]
    constants = of(box=box, frozen=frozen, slots=slots, numbers=numbers, function=function, reading=reading)
    box.value, box.pair, slots.value, numbers[0], value = 2, (3, 4), 2, 3, 5  # type: ignore[attr-defined]
    object.__setattr__(frozen, "value", 2.0)
    set_number()
    constants.put_back()
    assert (box.value, box.pair, slots.value, numbers, value) == (1, (1, 2), 1, [1, 2], 1)  # type: ignore[attr-defined]
    assert (frozen.value, NUMBER) == (1.0, 1.0)
    assert constants.hold()


def test_tensors_are_put_back() -> None:
    """An attribute that a step has bound to another tensor, and a buffer, are what they were."""
    module: Any = nn.BatchNorm1d(2)
    module.last = torch.zeros(2)
    kept = module.last, module.running_mean
    constants = of(module=module)
    module.last, module.running_mean = torch.ones(2), torch.ones(2)
    constants.put_back()
    assert (module.last is kept[0], module.running_mean is kept[1]) == (True, True)
    assert constants.hold()


def test_a_last_value_that_is_kept_for_looking_at_is_no_change() -> None:
    """A step may bind an attribute to what it has computed; a buffer that it replaces stays a change."""
    module: Any = nn.BatchNorm1d(2)
    module.last_output = torch.zeros(2)
    constants = of(module=module)
    module.last_output = torch.ones(2)
    constants.leave_out_what_passes()
    assert constants.hold()
    module.running_mean = torch.ones(2)
    constants.leave_out_what_passes()
    assert not constants.hold()
    assert constants.change() == "module.running_mean was replaced by another tensor"


@pytest.mark.gpu
def test_a_tensor_on_the_host_is_a_number_to_a_step_on_the_device() -> None:
    """Kernels take it by value, so that writing it is a change; one on the device is read again."""
    for device, change in (("cpu", "part.weight (a tensor on the CPU) was 1.0, and is 2.0"), ("cuda", None)):
        part = penalties.R1(torch.tensor(1.0, device=device))
        constants = Constants({"part": part}, torch.device("cuda"))
        part.weight.fill_(2.0)
        assert constants.change() == change
        assert constants.hold() == (change is None)


def test_a_tensor_on_the_host_is_a_number_to_a_step_elsewhere() -> None:
    """The same, without a device to compute on."""
    part = penalties.R1(torch.tensor(1.0))
    constants = Constants({"part": part}, torch.device("meta"))
    assert constants.hold()
    part.weight.fill_(2.0)
    assert not constants.hold()
    assert constants.change() == "part.weight (a tensor on the CPU) was 1.0, and is 2.0"


@pytest.mark.parametrize(
    "tensor",
    [
        lambda: torch.eye(2).to_sparse(),
        lambda: torch.empty(0),
        lambda: torch.ones(2, device="meta"),
        lambda: nn.UninitializedParameter(),
    ],
)
def test_a_tensor_without_an_address_is_no_trouble(tensor: Callable[[], Tensor]) -> None:
    """Sparse, empty, meta and lazy tensors are known by what they are alone."""
    box = Box(value=tensor())
    constants = of(part=box)
    assert constants.hold()
    assert constants.change() is None
    box.value = torch.ones(2)  # type: ignore[attr-defined]
    assert not constants.hold()
    assert (constants.change() or "").startswith("part.value was replaced")


def test_a_count_on_the_host_is_no_number_of_a_kernel() -> None:
    """Adagrad counts its steps in a tensor on the CPU, which no kernel of it reads."""
    parameter = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adagrad([parameter])
    constants = Constants({"optimizer": optimizer}, torch.device("meta"))
    optimizer.state[parameter]["step"] += 1
    assert constants.hold()


def test_small_tensors_on_the_host_are_numbers_to_a_step_elsewhere() -> None:
    """An element of one is taken by value."""
    box = Box(weights=torch.ones(2), long=torch.ones(100))
    constants = Constants({"box": box}, torch.device("meta"))
    box.long[0] = 5  # type: ignore[attr-defined]
    assert constants.hold()
    box.weights[0] = 5  # type: ignore[attr-defined]
    assert not constants.hold()
    assert constants.change() == "box.weights (a tensor on the CPU) was [1.0, 1.0], and is [5.0, 1.0]"


def test_what_a_class_calls_unrecorded_may_change_between_steps_only() -> None:
    """Between steps it is no change, unless a function that is reached names it; within one it is."""

    class Counting(Box):
        unrecorded = ("count",)

    box = Counting(count=1)
    alone, named = of(box=box), of(box=box, function=lambda x: x * box.count)  # type: ignore[attr-defined]
    box.count = 2  # type: ignore[attr-defined]
    assert alone.hold()
    assert alone.change() is None
    assert alone.change(within=True) == "box.count was 1, and is 2"
    assert not named.hold()
