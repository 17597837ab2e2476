"""The settings that are fast on the device that is there."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ganlib import training
from ganlib.errors import ArgumentTypeError, ArgumentValueError
from tests.training.players import make_trainer, points


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [({"amx_bf16": True}, "bf16"), ({"avx512_bf16": True}, "bf16"), ({"avx512_f": True}, "fp32"), ({}, "fp32")],
)
def test_convolutions_are_half_precision_where_there_are_instructions(
    capabilities: dict[str, bool], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """bf16 needs AMX or AVX-512's bf16; the layout does not."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    chosen = training.fast_settings(nn.ConvTranspose2d(3, 2, 4), nn.Conv2d(2, 1, 4))
    assert chosen == {"precision": precision, "channels_last": True}


def test_an_older_torch_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where torch cannot say what the processor has, float32 is the safe side."""
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert training.fast_settings(nn.Conv2d(1, 1, 1), nn.Linear(1, 1))["precision"] == "fp32"


@pytest.mark.parametrize("count", [1, 3])
def test_any_number_of_modules_is_looked_at(count: int) -> None:
    """One network, or three, have settings together; a convolution in any of them counts."""
    plain = [nn.Linear(1, 1) for _ in range(count - 1)]
    assert training.fast_settings(*plain, nn.Linear(1, 1)) == {"precision": "fp32", "channels_last": False}
    assert training.fast_settings(*plain, nn.Sequential(nn.Conv1d(1, 1, 1)))["channels_last"] is True


@pytest.mark.filterwarnings("ignore:generator gives samples in")  # its last layer is linear
def test_they_are_arguments_of_the_trainer() -> None:
    """A trainer takes them as they are."""
    generator = nn.Sequential(nn.Linear(3, 8), nn.Unflatten(1, (2, 2, 2)), nn.Conv2d(2, 2, 1))
    discriminator = nn.Sequential(nn.Conv2d(2, 1, 2), nn.Flatten())
    trainer = make_trainer(generator, discriminator, **training.fast_settings(generator, discriminator))
    trainer.train_step(iter([points(4).view(4, 2, 1, 1).expand(-1, -1, 2, 2).contiguous()]))
    assert trainer.iteration == 1


@pytest.mark.parametrize("kind", ["mps", "xpu"])
def test_nothing_is_chosen_where_nothing_was_measured(kind: str) -> None:
    """On MPS and XPU they are the defaults of the trainers, also for convolutions."""
    network = nn.Conv2d(1, 1, 1)
    weight = SimpleNamespace(device=torch.device(kind))
    network.parameters = lambda: iter([weight])  # type: ignore[assignment, method-assign, return-value]
    assert training.fast_settings(network) == {"precision": "fp32", "channels_last": False}


def test_wrong_networks_are_named() -> None:
    """What is not a module, and networks on two devices or without weights, are refused."""
    with pytest.raises(ArgumentTypeError, match="modules holds 3, which is not a torch.nn.Module"):
        training.fast_settings(nn.Linear(1, 1), 3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentValueError, match=r"one device, but lie on \['cpu', 'meta'\]"):
        training.fast_settings(nn.Linear(1, 1), nn.Linear(1, 1, device="meta"))
    with pytest.raises(ArgumentValueError, match="one device"):
        training.fast_settings(nn.Identity(), nn.Identity())


@pytest.mark.gpu
def test_on_cuda_matrix_products_are_rounded_at_least() -> None:
    """Convolutions run in bf16 where the card has it; perceptrons in TF32."""
    assert training.fast_settings(nn.Linear(1, 1).cuda(), nn.Linear(1, 1).cuda())["precision"] == "tf32"
    assert training.fast_settings(nn.Conv2d(1, 1, 1).cuda(), nn.Linear(1, 1).cuda())["channels_last"] is True
