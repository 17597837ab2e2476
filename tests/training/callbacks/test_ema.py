"""EMA equals its recursion, copies statistics, and is a module like any other."""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from ganlib import training
from ganlib._files import load_plain, save_plain
from ganlib.errors import ArgumentTypeError, ArgumentValueError
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
