"""Tests of drawing samples without changing the generator."""

import copy
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from ganlib._sampling import count_entries, draw, evaluating
from ganlib.conditioning import ConditionalBatchNorm, OneHot
from ganlib.errors import GanlibError
from ganlib.stacks import ConditionalSequential, ResidualUpBlock


class Pair(NamedTuple):
    """Two conditions."""

    a: Any
    b: Any


def _generator():
    """A generator with a batch norm whose averages are far from what it is given, and with dropout."""
    torch.manual_seed(0)
    generator = nn.Sequential(
        nn.Unflatten(1, (4, 1, 1)),
        nn.ConvTranspose2d(4, 3, 5),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Tanh(),
    )
    generator[2].running_mean.fill_(2.0)
    return generator


def _state(module):
    return copy.deepcopy([*module.state_dict().values()]), [part.training for part in module.modules()]


@pytest.mark.parametrize("batch_norm", ["running", "sample"])
@pytest.mark.parametrize("failing", [False, True])
def test_nothing_of_the_generator_changes(batch_norm, failing):
    """Buffers, weights and modes (mixed ones too) are what they were, also where the generator fails."""
    generator = _generator()
    generator[4].eval()
    before, buffers = _state(generator), {name: id(buffer) for name, buffer in generator.named_buffers()}
    if failing:
        with pytest.raises(GanlibError, match=r"(?s)cannot be called with latent \(\d, 5\).*[Uu]nflatten"):
            draw(generator, torch.randn(3, 5), batch_norm=batch_norm)
    else:
        assert not draw(generator, torch.randn(3, 4), batch_norm=batch_norm).requires_grad
    after = _state(generator)
    assert all(torch.equal(*pair) for pair in zip(before[0], after[0], strict=True))
    assert before[1] == after[1]
    assert {name: id(buffer) for name, buffer in generator.named_buffers()} == buffers


def test_a_samples_own_statistics_are_those_of_training_mode_with_one_latent():
    """Each sample is what the generator in training mode (without dropout) makes of its latent alone."""
    generator, latent = _generator(), torch.randn(5, 4)
    twin = copy.deepcopy(generator).train()
    twin[4].eval()
    with torch.no_grad():
        expected = torch.cat([twin(one[None]) for one in latent])
    assert torch.equal(draw(generator, latent, batch_norm="sample"), expected)
    assert not torch.allclose(draw(generator, latent), expected, atol=0.1)


def test_running_averages_are_evaluation_mode():
    """By default the samples are those of evaluation mode, whatever the size of the parts."""
    generator, latent = _generator(), torch.randn(5, 4)
    with torch.no_grad():
        expected = copy.deepcopy(generator).eval()(latent)
    torch.testing.assert_close(draw(generator, latent, batch_size=2), expected)


def test_conditions_go_with_their_latents():
    """A conditional batch norm, which holds a plain one, takes part, and each latent meets its own condition."""
    torch.manual_seed(0)
    generator = ConditionalSequential(
        ResidualUpBlock(8, 4, norm=lambda n: ConditionalBatchNorm(n, OneHot(3))), nn.Tanh()
    )
    for module in generator.modules():
        if isinstance(module, ConditionalBatchNorm):
            for parameter in module.film.parameters():
                nn.init.normal_(parameter)
    latent, condition = torch.randn(4, 8, 4, 4), torch.tensor([0, 1, 2, 1])
    expected = torch.cat(
        [draw(generator, latent[i : i + 1], condition[i : i + 1], batch_norm="sample") for i in range(4)]
    )
    assert torch.equal(draw(generator, latent, condition, batch_norm="sample"), expected)
    alike = draw(generator, latent[:1].expand(3, -1, -1, -1), torch.tensor([0, 1, 1]), batch_norm="sample")
    assert torch.equal(alike[1], alike[2])
    assert not torch.equal(alike[0], alike[1])


@pytest.mark.parametrize(("batch_norm", "batch_size"), [("running", None), ("running", 2), ("sample", None)])
def test_nests_of_conditions_are_split_with_their_latents(batch_norm, batch_size):
    """Each tensor in a dict, a tuple or a named tuple is split; other values reach the generator as they are."""
    seen = []

    class Sums(nn.Module):
        def forward(self, latent, condition):
            seen.append(len(latent))
            assert isinstance(condition["pair"], Pair)
            assert condition["word"] == "x"
            return latent + condition["pair"].a + condition["pair"].b[0][:, None]

    latent, a, b = torch.randn(5, 2), torch.randn(5, 2), torch.arange(5)
    condition = {"pair": Pair(a, (b,)), "word": "x"}
    samples = draw(Sums(), latent, condition, batch_norm=batch_norm, batch_size=batch_size)
    assert torch.equal(samples, latent + a + b[:, None])
    assert max(seen) == {("running", None): 5, ("running", 2): 2, ("sample", None): 1}[batch_norm, batch_size]


def test_no_samples_at_all():
    """Without a latent there is a batch of no samples, of the right shape."""
    assert draw(nn.Linear(4, 2), torch.zeros(0, 4)).shape == (0, 2)


def test_entries_are_counted():
    """Of a tensor or a nest; a nest of different numbers, without tensors, or of other values is an error of ours."""
    nest = {"a": torch.zeros(3), "b": (torch.zeros(3, 2), None)}
    assert count_entries("x", nest) == count_entries("x", nest, 3) == count_entries("x", torch.zeros(3)) == 3
    for wrong, n in ((nest, 4), (torch.zeros(()), None), ((torch.zeros(3), torch.zeros(4)), None)):
        with pytest.raises(ValueError, match=r"^x \(.*\) must have one entry for each of n"):
            count_entries("x", wrong, n)
    for wrong in ([1, 2], {}, {"a": torch.zeros(3), "b": "x"}, "x"):
        with pytest.raises(TypeError, match=r"^x \(=.*\) must be a tensor, or a dict or tuple of tensors"):
            count_entries("x", wrong)


@pytest.mark.parametrize(
    ("norm", "shape"),
    [
        (nn.BatchNorm1d, (3, 5)),
        (nn.BatchNorm2d, (3, 4, 4)),
        (nn.SyncBatchNorm, (3, 4, 4)),
        (lambda n: nn.InstanceNorm2d(n, track_running_stats=True), (3, 4, 4)),
        (lambda n: nn.InstanceNorm1d(n, affine=True, track_running_stats=True), (3, 5)),
        (lambda n: nn.BatchNorm2d(n, track_running_stats=False), (3, 4, 4)),
    ],
)
@pytest.mark.parametrize("around", [nn.Sequential, nn.DataParallel])
def test_every_norm_with_running_averages_can_use_a_samples_own(norm, shape, around):
    """Batch and instance norms normalize each sample with its own mean and variance; all they hold stays as it is."""
    layer = norm(3)
    if layer.running_mean is not None:
        layer.running_mean.fill_(7.0)
    x = 3 + torch.randn(4, *shape)
    held = dict(vars(layer))
    axes = tuple(range(2, x.ndim))
    expected = (x - x.mean(axes, keepdim=True)) / (x.var(axes, keepdim=True, correction=0) + layer.eps).sqrt()
    torch.testing.assert_close(draw(around(layer), x, batch_norm="sample"), expected)
    assert vars(layer) == held


def _forms():
    spectral = nn.utils.spectral_norm(nn.Linear(4, 4))
    return [
        nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)),
        nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)),
        spectral,
        nn.utils.weight_norm(nn.Linear(4, 4)),
        prune.l1_unstructured(nn.Linear(4, 4), "weight", 0.5),
        torch.compile(nn.Linear(4, 4), backend="eager"),
    ]


@pytest.mark.parametrize("number", range(6))
@pytest.mark.filterwarnings("ignore:`torch.nn.utils.(weight|spectral)_norm` is deprecated")
def test_vectors_and_masks_of_parametrized_weights_do_not_move(number):
    """Two draws are equal, and the state is what it was, whatever computes a weight."""
    generator = _forms()[number]
    before, latent = _state(generator), torch.randn(3, 4)
    one, two = draw(generator, latent), draw(generator, latent)
    after = _state(generator)
    assert torch.equal(one, two)
    assert all(torch.equal(*pair) for pair in zip(before[0], after[0], strict=True))
    assert before[1] == after[1]


@pytest.mark.parametrize(
    "norm", [nn.BatchNorm1d(3), nn.Sequential(nn.Unflatten(1, (3, 1)), nn.InstanceNorm1d(3, track_running_stats=True))]
)
def test_a_norm_that_sees_one_value_is_named(norm):
    """A batch norm of vectors has no statistics of one sample: an error of ours says so."""
    with pytest.raises(ValueError, match=r"batch_norm \(='sample'\)") as caught:
        draw(norm, torch.randn(4, 3), batch_norm="sample")
    assert isinstance(caught.value, GanlibError)


def test_another_option_is_named():
    """An unknown option is a ValueError of ours with its value."""
    with pytest.raises(ValueError, match=r"batch_norm \(='train'\)") as caught:
        draw(_generator(), torch.randn(4, 4), batch_norm="train")
    assert isinstance(caught.value, GanlibError)


def test_modes_come_back_after_an_error():
    """The mode of each module is put back where something fails inside."""
    generator = _generator()
    generator[2].eval()
    modes = [part.training for part in generator.modules()]

    def fail():
        with evaluating(generator, nn.Dropout()):
            assert not any(part.training for part in generator.modules())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [part.training for part in generator.modules()] == modes


def test_a_program_of_torch_export_is_drawn_from() -> None:
    """It refuses eval(); its mode flags are restored, and an error of ours says that its batch size is fixed."""
    network = nn.Sequential(nn.Linear(4, 2))
    program = torch.export.export(network, (torch.zeros(8, 4),)).module()
    latent, modes = torch.randn(8, 4), [module.training for module in program.modules()]
    torch.testing.assert_close(draw(program, latent), network(latent).detach())
    assert [module.training for module in program.modules()] == modes
    with pytest.raises(GanlibError, match=r"generator .* cannot be called with latent \(5, 4\)"):
        draw(program, latent[:5])
