"""EMA equals its recursion, copies statistics, and is a module like any other."""

import copy
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.optim.swa_utils import AveragedModel

from ganlib import training
from ganlib._files import load_plain, save_plain
from ganlib._wrappers import unwrapped
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError, GanlibRuntimeError
from tests.training.players import MyTrainer, make_players, points


def change(module: nn.Module, seed: int) -> None:
    """Give a module other weights and statistics, in place, as a step of training does."""
    numbers = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in module.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=numbers))
            else:
                tensor.add_(1)


def test_equals_its_recursion() -> None:
    """The average equals min(decay, (1 + n) / (10 + n)) by hand in float64, its buffers the live ones."""
    generator, _ = make_players()
    ema = training.EMA(generator, decay=0.5)
    expected = [p.detach().double().clone() for p in generator.parameters()]
    for n in range(12):
        change(generator, n)
        ema.update()
        decay = min(0.5, (1 + n) / (10 + n))
        live = [p.detach().double() for p in generator.parameters()]
        expected = [decay * average + (1 - decay) * value for average, value in zip(expected, live, strict=True)]
    for average, value in zip(ema.module.parameters(), expected, strict=True):
        torch.testing.assert_close(average.double(), value, rtol=1e-5, atol=1e-6)
    for average, value in zip(ema.module.buffers(), generator.buffers(), strict=True):
        assert torch.equal(average, value)


def test_equals_torchs_averaged_model_to_the_bit() -> None:
    """AveragedModel with the same warm-up gives the same bits."""
    generator, _ = make_players()
    ema = training.EMA(generator, decay=0.9)

    def step(averages: Any, lives: Any, count: Any) -> None:
        n = int(count) - 1
        torch._foreach_lerp_(averages, lives, 1 - min(0.9, (1 + n) / (10 + n)))

    torchs = AveragedModel(generator, multi_avg_fn=step)
    torchs.update_parameters(generator)  # torch's first update is a copy
    for n in range(100):
        change(generator, n)
        ema.update()
        torchs.update_parameters(generator)
    for name, value in torchs.module.state_dict().items():
        assert torch.equal(ema.module.state_dict()[name], value)


def test_fit_updates_it_after_each_iteration() -> None:
    """As a callback it gives what update() gives."""
    generator, _ = make_players()
    called, updated = training.EMA(generator), training.EMA(generator)

    class Step(MyTrainer):
        """Changes the generator."""

        def train_step(self, batches: Any) -> dict[str, torch.Tensor]:
            change(generator, self.iteration)
            return super().train_step(batches)

    class Update:
        """Updates the other average."""

        def on_iteration(self, run: training.Run) -> None:
            updated.update()

    training.fit(Step(), [points()], iterations=5, callbacks=[called, Update()])
    for one, other in zip(called.parameters(), updated.parameters(), strict=True):
        assert torch.equal(one, other)


def test_starts_as_a_copy_and_keeps_what_is_carried() -> None:
    """The average starts equal to the module, apart from it, with its attributes, and needs no gradients."""
    generator = nn.Linear(2, 2)
    generator.sample_range = (-1.0, 1.0)  # type: ignore[assignment]
    ema = training.EMA(generator)
    assert torch.equal(ema.module.weight, generator.weight)
    assert ema.module.weight is not generator.weight
    assert ema.module.sample_range == (-1.0, 1.0)
    assert not any(p.requires_grad for p in ema.module.parameters())
    assert all(p.requires_grad for p in generator.parameters())


def test_calling_it_calls_the_average() -> None:
    """With positional and named arguments."""
    generator = nn.Bilinear(2, 3, 4)
    ema, x, y = training.EMA(generator), torch.rand(5, 2), torch.rand(5, 3)
    change(generator, 0)
    assert torch.equal(ema(x, input2=y), ema.module(x, y))
    assert not torch.equal(ema(x, y), generator(x, y))


def test_an_update_is_in_place() -> None:
    """Each tensor of the average stays where it is, also when a state is loaded."""
    generator, _ = make_players()
    ema = training.EMA(generator)
    addresses = [tensor.data_ptr() for tensor in (*ema.parameters(), *ema.buffers())]
    change(generator, 0)
    ema.update()
    ema.load_state_dict(training.EMA(make_players(seed=1)[0]).state_dict())
    assert [tensor.data_ptr() for tensor in (*ema.parameters(), *ema.buffers())] == addresses


def test_it_follows_what_takes_the_place_of_a_part() -> None:
    """A layer, a weight and a buffer that are replaced in the live module are averaged from then on; tied ones once."""
    first = nn.Linear(2, 2)
    module = nn.Sequential(first, nn.BatchNorm1d(2), first)
    ema = training.EMA(module, decay=0.0)  # then the average is the live module
    replacements = [
        lambda: module.__setitem__(1, nn.BatchNorm1d(2)),
        lambda: setattr(first, "weight", nn.Parameter(torch.ones(2, 2))),
        lambda: setattr(module[1], "running_mean", torch.full((2,), 3.0)),
        lambda: module.half(),
        lambda: ema.double(),
    ]
    for replace in [lambda: None, *replacements]:
        replace()
        change(module, 1)
        ema.update()
        for name, value in ema.module.state_dict().items():
            torch.testing.assert_close(value, module.state_dict()[name].to(value), rtol=0, atol=0)


def test_the_state_goes_through_a_file(tmp_path: Path) -> None:
    """A second average that gets the state of the first goes on as the first does, to the bit."""
    generator, _ = make_players()
    first = training.EMA(generator)
    for n in range(3):
        change(generator, n)
        first.update()
    save_plain(tmp_path / "ema.pt", first.state_dict())
    second = training.EMA(generator)
    second.load_state_dict(load_plain(tmp_path / "ema.pt"))
    change(generator, 3)
    for ema in (first, second):
        ema.update()
    for one, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_it_is_a_part_of_a_module() -> None:
    """A module that contains it saves it, moves it, and does not have the weights of the live module twice."""
    whole = nn.Module()
    whole.generator = nn.Linear(2, 3)
    whole.ema = training.EMA(whole.generator)
    names = {"generator.weight", "generator.bias", "ema.module.weight", "ema.module.bias"}
    assert {*whole.state_dict()} == names | {"ema._extra_state"}
    assert {name for name, _ in whole.named_parameters()} == names
    whole.double()
    whole.ema.update()
    assert {p.dtype for p in whole.parameters()} == {torch.float64}
    twin = nn.Module()
    twin.generator = nn.Linear(2, 3)
    twin.ema = training.EMA(twin.generator)
    twin.double().load_state_dict(whole.state_dict())
    for module in (whole, twin):
        change(module.generator, 0)
        module.ema.update()
    assert torch.equal(twin.ema.module.weight, whole.ema.module.weight)


def test_moving_it_leaves_the_live_module_where_it_is() -> None:
    """Another dtype of the average is that of the average alone, and updates go on in it."""
    generator = nn.Linear(2, 3)
    ema = training.EMA(generator).double()
    assert (generator.weight.dtype, ema.module.weight.dtype) == (torch.float32, torch.float64)
    change(generator, 0)
    expected = 0.9 * generator.weight.double() + 0.1 * ema.module.weight
    ema.update()
    torch.testing.assert_close(ema.module.weight, expected)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_copy_together_with_the_live_module_follows_the_copy(copied: Any) -> None:
    """A deep copy or a pickle of both goes on as the two did, and changes nothing of them."""
    generator, _ = make_players()
    ema = training.EMA(generator)
    change(generator, 0)
    ema.update()
    twin_generator, twin = copied((generator, ema))
    before = copy.deepcopy(ema.state_dict())
    change(twin_generator, 1)
    twin.update()
    assert all(torch.equal(one, other) for one, other in zip(ema.state_dict().values(), before.values(), strict=True))
    change(generator, 1)
    ema.update()
    for one, other in zip(ema.state_dict().values(), twin.state_dict().values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.gpu
def test_an_update_on_a_device_does_not_wait(sync_debug_mode: Any) -> None:
    """An average that was made on the CPU and moved, as Lightning does, is updated without a wait, and right."""
    generator, _ = make_players()
    generator = nn.Sequential(generator, parametrizations.spectral_norm(nn.Linear(2, 2)), nn.Linear(2, 2).half())
    host = copy.deepcopy(generator)
    ema, on_host = training.EMA(generator), training.EMA(host)
    generator.cuda()
    ema.cuda()
    for n in range(3):
        change(host, n)
        generator.load_state_dict(host.state_dict())
        torch.cuda.synchronize()
        sync_debug_mode("error")
        ema.update()
        sync_debug_mode("default")
        on_host.update()
    for one, other in zip(ema.module.parameters(), on_host.module.parameters(), strict=True):
        torch.testing.assert_close(one.cpu(), other)


def test_wrong_arguments_are_named() -> None:
    """A decay must be in [0, 1), and the module must be one."""
    for decay in (-0.1, 1.0, float("nan")):
        with pytest.raises(ArgumentValueError, match=rf"decay \(={decay}\)"):
            training.EMA(nn.Linear(1, 1), decay=decay)
    with pytest.raises(ArgumentTypeError, match=r"module \(=<built-in function len>\)"):
        training.EMA(len)  # type: ignore[arg-type]


def _twice(make: Any) -> Any:
    """A layer under it with weights that hooks have computed, as they are after a step of training."""
    return lambda: nn.Sequential(make(nn.Linear(4, 6)), nn.Tanh(), make(nn.Linear(6, 4)))


def _pruned(layer: nn.Linear) -> nn.Linear:
    return prune.custom_from_mask(layer, "weight", torch.ones_like(layer.weight).triu())


class Tied(nn.Module):
    """One weight under two names, an embedding of integers, a flag, and a parameter that is None."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
        self.two.weight = self.one.weight
        self.register_parameter("none", None)
        self.register_buffer("flag", torch.tensor([True]))
        self.chosen = nn.Parameter(torch.tensor([2, 0, 1, 3]), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Both layers."""
        return self.two(self.one(x)[:, self.chosen])


class Keeping(nn.Module):
    """Keeps what it computed, and registers a buffer when it is first called."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.kept: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One layer."""
        if "offset" not in self._buffers:
            self.register_buffer("offset", torch.ones(4), persistent=False)
        self.kept = [self.layer(x) + self.offset]
        return self.kept[0]


class Recurrent(nn.Module):
    """An LSTM with a weight norm."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.utils.weight_norm(nn.LSTM(4, 4), "weight_hh_l0")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The states."""
        states: torch.Tensor = self.lstm(x)[0]
        return states


FORMS: dict[str, Any] = {
    "plain": _twice(lambda layer: layer),
    "weight norm": _twice(parametrizations.weight_norm),
    "weight norm, a hook": _twice(nn.utils.weight_norm),
    "orthogonal": _twice(parametrizations.orthogonal),
    "pruned": _twice(_pruned),
    "pruned twice": _twice(lambda layer: prune.random_unstructured(_pruned(layer), "weight", 0.2)),
    "tied": Tied,
    "keeping": Keeping,
    "recurrent": Recurrent,
    "batch norm": lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)),
    "compiled": lambda: torch.compile(nn.Linear(4, 4), backend="eager"),
    "compiled inside": lambda: nn.Sequential(torch.compile(nn.Linear(4, 4), backend="eager")),
    "several devices": lambda: nn.DataParallel(nn.Linear(4, 4)),
    "frozen": lambda: nn.Sequential(nn.Linear(4, 4).requires_grad_(False), nn.Linear(4, 4)),
    "bfloat16": lambda: nn.Linear(4, 4).to(torch.bfloat16),
    "float16": lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).to(torch.float16),
    "float64": lambda: nn.Linear(4, 4).double(),
    "bfloat16 with weight norm": lambda: _twice(nn.utils.weight_norm)().to(torch.bfloat16),
    "channels last": lambda: nn.Sequential(nn.Unflatten(1, (4, 1, 1)), nn.Conv2d(4, 4, 1)).to(
        memory_format=torch.channels_last  # type: ignore[call-overload]
    ),
}
SPECTRAL: dict[str, Any] = {
    "a parametrization": _twice(parametrizations.spectral_norm),
    "a hook": _twice(nn.utils.spectral_norm),
    "over weight norm": _twice(lambda layer: parametrizations.spectral_norm(parametrizations.weight_norm(layer))),
    "bfloat16": lambda: _twice(parametrizations.spectral_norm)().to(torch.bfloat16),
}
hooks = pytest.mark.filterwarnings("ignore:`torch.nn.utils.(weight|spectral)_norm` is deprecated")


def _train(module: nn.Module, x: torch.Tensor, steps: int) -> Any:
    """Train a module, with a pause after each step."""
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=0.3)
    for _ in range(steps):
        optimizer.zero_grad()
        (module(x).float() - 1).square().mean().backward()
        optimizer.step()
        yield


@pytest.mark.parametrize("form", [*FORMS, *(f"spectral norm: {form}" for form in SPECTRAL)])
@hooks
def test_it_averages_a_module_of_any_form(form: str) -> None:
    """Parameters follow the recursion in float64; the average stands alone, goes through a state and copies."""
    make = FORMS.get(form) or SPECTRAL[form.removeprefix("spectral norm: ")]
    torch.manual_seed(0)
    module = make()
    dtype = next(p.dtype for p in module.parameters() if p.is_floating_point())
    x = torch.randn(8, 4).to(dtype)
    list(_train(module, x, 1))  # so that hooks have computed something
    ema = training.EMA(module, decay=0.5)
    plain = unwrapped(module)
    expected = {name: p.detach().clone().double() for name, p in ema.module.named_parameters()}
    for n, _ in enumerate(_train(module, x, 12)):
        ema.update()
        decay = min(0.5, (1 + n) / (10 + n))
        for name, p in plain.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * p.detach().double()
    assert [*expected] == [name for name, _ in plain.named_parameters()]
    for name, p in ema.module.named_parameters():
        assert p.dtype.itemsize >= 4
        torch.testing.assert_close(p.double(), expected[name], rtol=1e-6, atol=1e-7)

    # What it gives is what the module gives with these weights.
    wide = copy.deepcopy(ema.module).double().eval()
    before = ema.eval()(x).clone()
    assert before.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(before.double(), wide(x.double()), rtol=1e-5, atol=1e-6)
    for name, buffer in plain.named_buffers():
        if not name.endswith(("_u", "_v")):
            torch.testing.assert_close(ema.module.get_buffer(name), buffer, check_dtype=False, rtol=0, atol=0)

    state = copy.deepcopy(ema.state_dict())
    list(_train(module, x, 2))
    assert torch.equal(ema(x), before)
    copied, other = copy.deepcopy(ema), training.EMA(make(), decay=0.5)
    other.load_state_dict(state)
    assert torch.equal(other.eval()(x), before)
    for each in (copied, ema):
        each.update()
    assert torch.equal(copied(x), ema(x))
    assert not torch.equal(ema(x), before)


@pytest.mark.parametrize("form", SPECTRAL)
@hooks
def test_a_spectral_norm_of_an_average_is_1(form: str) -> None:
    """The norm of an averaged layer is 1, where that with the vectors of the trained module would be above it."""
    torch.manual_seed(0)
    module, copied = SPECTRAL[form](), []
    ema = training.EMA(module, decay=0.99)
    for n in range(300):
        change(module, n % 7)
        module(torch.randn(2, 4).to(next(module.parameters()).dtype))  # moves its vectors
        ema.update()
    ema.eval()(torch.randn(1, 4))
    for layer in (ema.module[0], ema.module[2]):  # type: ignore[index]
        assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1, abs=1e-3)
    with torch.no_grad():
        for own, live in zip(ema.module.buffers(), module.buffers(), strict=True):
            own.copy_(live)
    ema(torch.randn(1, 4))
    copied = [torch.linalg.matrix_norm(layer.weight, 2).item() for layer in (ema.module[0], ema.module[2])]  # type: ignore[index]
    assert min(copied) > 1.001


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_small_steps_in_half_precision_are_not_lost(dtype: torch.dtype) -> None:
    """After thousands of updates the average has arrived, also where the EMA was turned to half precision."""
    module = nn.Linear(1, 1, bias=False).to(dtype)
    nn.init.constant_(module.weight, 1.0)
    both = nn.ModuleList([module, training.EMA(module, decay=0.999)]).to(dtype)
    nn.init.constant_(module.weight, 1.25)
    expected = 1.0
    for n in range(4000):
        both[1].update()
        decay = min(0.999, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * 1.25
    assert both[1].module.weight.item() == pytest.approx(expected, rel=1e-6)
    assert both[1](torch.ones(1, 1, dtype=dtype)).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("wrap", [lambda m: torch.compile(m, backend="eager"), nn.DataParallel, training.EMA])
def test_of_a_wrapped_module_the_one_inside_is_averaged(wrap: Any) -> None:
    """So the average has its names, calls and class, and also takes states that have the names of the wrapper."""
    module = nn.Linear(2, 2)
    ema = training.EMA(wrap(module))
    assert type(ema.module) is nn.Linear
    assert ema.state_dict().keys() == training.EMA(module).state_dict().keys()
    for name in ("module._orig_mod", "module.module"):
        values = torch.ones(2, 2), torch.full((2,), 3.0), torch.tensor(7)
        old = dict(zip((f"a.{name}.weight", f"a.{name}.bias", "a._extra_state"), values, strict=True))
        nn.ModuleDict({"a": ema}).load_state_dict(old)
        assert torch.equal(ema.module.bias, torch.full((2,), 3.0))


def test_a_complex_weight_is_averaged() -> None:
    """Real and imaginary parts."""
    module = nn.Linear(2, 2, bias=False, dtype=torch.complex64)
    start, ema = module.weight.detach().clone(), training.EMA(module, decay=0.5)
    nn.init.constant_(module.weight, 1 + 2j)  # type: ignore[arg-type]
    ema.update()
    torch.testing.assert_close(ema.module.weight, 0.1 * start + 0.9 * (1 + 2j))


CHANGES: dict[str, Any] = {
    "a layer more": lambda m: m.append(nn.Linear(2, 2)),
    "a parameter more": lambda m: m[0].register_parameter("gain", nn.Parameter(torch.ones(2))),
    "another shape": lambda m: setattr(m[0], "weight", nn.Parameter(torch.ones(1, 2))),
    "no bias": lambda m: setattr(m[0], "bias", None),
    "a weight norm": lambda m: parametrizations.weight_norm(m[0]),
}


@pytest.mark.parametrize("change_", CHANGES)
@pytest.mark.parametrize("updates", [0, 2])
def test_a_network_that_has_grown_is_named(change_: str, updates: int) -> None:
    """Another layer, parameter or shape is an error of ours at the next update, not a broadcast."""
    module = nn.Sequential(nn.Linear(2, 2))
    ema = training.EMA(module)
    for _ in range(updates):
        ema.update()
    CHANGES[change_](module)
    with pytest.raises(GanlibRuntimeError, match="make a new EMA"):
        ema.update()
    training.EMA(module).update()


def _locked() -> nn.Module:
    module = nn.Linear(1, 1)
    module.lock = threading.Lock()  # type: ignore[assignment]
    return module


@pytest.mark.parametrize(
    ("make", "builtin", "message"),
    [
        (lambda: nn.Sequential(nn.LazyLinear(2)), ValueError, r"module has no 0\.weight yet"),
        (lambda: nn.Linear(1, 1, device="meta"), ValueError, "module has weight on the meta device"),
        (_locked, TypeError, r"module \(=Linear\) cannot be copied.*lock"),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_modules_that_cannot_be_averaged_are_named(make: Any, builtin: type[Exception], message: str) -> None:
    """At once, not at the first update."""
    with pytest.raises(builtin, match=message) as caught:
        training.EMA(make())
    assert isinstance(caught.value, GanlibError)


def test_it_may_be_made_and_updated_in_inference_mode() -> None:
    """And updated outside of it later."""
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    with torch.inference_mode():
        ema = training.EMA(module)
        ema.update()
    ema.update()
    with torch.inference_mode():
        made_there = nn.Linear(2, 2)
    training.EMA(made_there).update()


@pytest.mark.parametrize("decay", [np.float64(0.5), np.float32(0.5)])
def test_a_decay_of_numpy_is_a_number(decay: Any) -> None:
    """It becomes Python's, which a state can hold; a bool or a string is refused."""
    assert type(training.EMA(nn.Linear(1, 1), decay=decay).decay) is float
    wrong: Any
    for wrong in (True, "0.5", None):
        with pytest.raises(ArgumentValueError, match=r"decay \(="):
            training.EMA(nn.Linear(1, 1), decay=wrong)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_decay_in_a_tensor_is_read_at_each_update(dtype: torch.dtype) -> None:
    """The recursion with decays that change, limited by the warm-up as a number is."""
    module, decay = nn.Linear(1, 1, bias=False, dtype=torch.float64), torch.zeros((), dtype=dtype)
    nn.init.zeros_(module.weight)
    ema, expected = training.EMA(module, decay), 0.0
    assert ema.decay is decay
    for n in range(60):
        decay.fill_(n / 64)
        nn.init.constant_(module.weight, float(n))
        ema.update()
        own = min(n / 64, (1 + n) / (10 + n))
        expected = own * expected + (1 - own) * n
    assert ema.module.weight.item() == pytest.approx(expected, rel=1e-12)


def test_a_decay_in_a_tensor_is_that_in_a_number() -> None:
    """To the last bit, where the tensor is in float64; a state of one loads into the other."""
    module = nn.Linear(3, 3)
    one, other = training.EMA(module, 0.9), training.EMA(module, torch.tensor(0.9, dtype=torch.float64))
    for n in range(30):
        change(module, n)
        one.update()
        other.update()
    assert torch.equal(one.module.weight, other.module.weight)
    assert one.state_dict().keys() == other.state_dict().keys()
    another = training.EMA(nn.Linear(3, 3), torch.zeros((), dtype=torch.float64))
    another.load_state_dict(other.state_dict())
    assert torch.equal(another.module.weight, one.module.weight)


@pytest.mark.parametrize(
    ("decay", "message"),
    [
        (torch.zeros((), device="meta"), r"decay is a tensor on meta, and each update would wait .* on the CPU"),
        (torch.zeros(1), r"decay \(=.* of no dimensions"),
        (torch.tensor(0), r"decay \(=.* floating-point"),
        (torch.zeros((), requires_grad=True), r"decay \(=.* without gradients"),
        (torch.tensor(0.5, dtype=torch.bfloat16), r"decay is a tensor of torch.bfloat16, .* use torch.float64"),
        (torch.tensor(1.0), r"decay \(=1.0\) must be in \[0, 1\)"),
        (torch.tensor(-0.5), r"decay \(=-0.5\) must be in \[0, 1\)"),
        (torch.tensor(float("nan")), r"decay \(=nan\) must be in \[0, 1\)"),
        (
            nn.Parameter(torch.tensor(0.5), requires_grad=False),
            r"decay \(=a parameter\) would be a part of the EMA's state",
        ),
        (nn.Buffer(torch.tensor(0.5)), r"decay \(=a buffer\) would be a part of the EMA's state"),
    ],
)
def test_what_is_no_decay_in_a_tensor_is_refused(decay: torch.Tensor, message: str) -> None:
    """At once; a tensor on another device would make each update wait for it."""
    with pytest.raises(GanlibError, match=message):
        training.EMA(nn.Linear(1, 1), decay)


@pytest.mark.parametrize("value", [1.0, float("nan"), -0.25])
def test_a_decay_that_leaves_its_range_ends_the_run(value: float) -> None:
    """The average stays as it was."""
    decay = torch.tensor(0.5)
    module = nn.Linear(1, 1)
    ema = training.EMA(module, decay)
    before = ema.module.weight.clone()
    change(module, 0)
    decay.fill_(value)
    with pytest.raises(GanlibError, match=rf"decay \(={value}\) must be in \[0, 1\)"):
        ema.update()
    assert torch.equal(ema.module.weight, before)


def test_a_decay_that_its_dtype_rounds_to_1_is_explained() -> None:
    """A half-life of many batches needs float64; even there a decay is below 1."""
    value = training.half_life_decay(5e8, 8)
    for dtype, rounds in ((torch.float32, True), (torch.float64, False)):
        decay = torch.zeros((), dtype=dtype)
        ema = training.EMA(nn.Linear(1, 1), decay)
        decay.fill_(value)
        if rounds:
            with pytest.raises(ArgumentValueError, match="torch.float32 has rounded it: use a tensor of torch.float64"):
                ema.update()
            with pytest.raises(ArgumentValueError, match="since torch.float32 rounds it: use torch.float64"):
                training.fit(
                    MyTrainer(), [points()], iterations=1, callbacks=[training.Schedule(decay, lambda _: value)]
                )
        else:
            ema.update()
    assert training.half_life_decay(1e30, 1) < 1


def test_a_decay_in_a_tensor_stays_where_it_is() -> None:
    """Its schedule writes into this very tensor, wherever the average goes; a copy has a tensor of its own."""
    decay = torch.tensor(0.5, dtype=torch.float64)
    ema = training.EMA(nn.Linear(1, 1), decay)
    ema.to(torch.bfloat16)
    assert ema.decay is decay
    assert decay.dtype == torch.float64
    copied, pickled = copy.deepcopy(ema), pickle.loads(pickle.dumps(ema))
    decay.fill_(0.25)
    assert [float(each.decay) for each in (ema, copied, pickled)] == [0.25, 0.5, 0.5]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("function", "ema_first", "progress"),
    [
        (lambda progress: 0.9 + 0.1 * progress, False, "1"),
        (lambda progress: 0.9 + 0.1 * progress, True, None),  # the value at the end is never read
        (lambda progress: 2 * progress, True, "0.5"),
        (lambda progress: 2 * progress, False, "0.5"),
    ],
)
def test_a_scheduled_decay_that_reaches_1_is_refused_before_training(
    function: Any, ema_first: bool, progress: str | None, dtype: torch.dtype
) -> None:
    """At the progress at which an update would read it; another precision would not help."""
    decay = torch.tensor(0.5, dtype=dtype)
    trainer = MyTrainer()
    callbacks = [training.Schedule(decay, function), training.EMA(nn.Linear(1, 1), decay)]
    callbacks = callbacks[::-1] if ema_first else callbacks
    if progress is None:
        training.fit(trainer, [points()], iterations=8, callbacks=callbacks)
        assert trainer.iteration == 8
        return
    with pytest.raises(ArgumentValueError, match=rf"returns 1 at the progress {progress}, .* decay \(=1.0\)") as caught:
        training.fit(trainer, [points()], iterations=8, callbacks=callbacks)
    assert "torch.float64" not in str(caught.value)
    assert trainer.iteration == 0


def test_another_decay_than_that_of_a_checkpoint_is_named(recwarn: pytest.WarningsRecorder) -> None:
    """When a run starts, once; the code's decay is used, and a decay in a tensor is its schedule's."""
    module = nn.Linear(1, 1)
    ema = training.EMA(module, 0.99)
    ema.update()

    def run(decay: Any, state: Any) -> training.EMA:
        other = training.EMA(module, decay)
        other.load_state_dict(state)
        for _ in range(2):
            training.fit(MyTrainer(), [points()], iterations=1, callbacks=[other])
        return other

    run(0.99, ema.state_dict())
    tensor = run(torch.tensor(0.5), ema.state_dict())
    run(0.5, tensor.state_dict())
    training.EMA(module, 0.5).load_state_dict(ema.state_dict())  # to draw samples, for example
    assert len(recwarn) == 0
    other = run(0.5, ema.state_dict())
    (warning,) = recwarn
    assert "EMA goes on with your decay (=0.5), and not with the checkpoint's (=0.99)" in str(warning.message)
    assert warning.filename == __file__
    assert other.decay == 0.5


def test_a_state_without_a_decay_is_loaded(recwarn: pytest.WarningsRecorder) -> None:
    """As earlier versions saved it: the number of updates alone."""
    ema = training.EMA(nn.Linear(1, 1), 0.5)
    ema.load_state_dict(ema.state_dict() | {"_extra_state": torch.tensor(7)})
    assert "updates=7" in repr(ema)
    assert len(recwarn) == 0


def test_an_average_is_behind_until_it_is_updated_or_loaded() -> None:
    """If its module has changed meanwhile."""
    module, loaded = nn.Linear(2, 2), nn.Linear(2, 2)
    ema = training.EMA(module)
    assert not ema.is_behind()
    change(module, 0)
    assert ema.is_behind()
    ema.module.load_state_dict(loaded.state_dict())
    assert not ema.is_behind()
    ema.module.load_state_dict(module.state_dict())
    assert not ema.is_behind()
    updated = training.EMA(module)
    updated.update()
    change(module, 1)
    assert not updated.is_behind()
