"""What is fastest on the device that is there."""

from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from ganlib.errors import ArgumentTypeError, ArgumentValueError

__all__ = ["fast_settings"]


def fast_settings(generator: nn.Module, discriminator: nn.Module) -> dict[str, Any]:
    """The settings of :class:`AdversarialTrainer` that were measured to be fast for such networks on their device.

    Networks with convolutions get ``precision="bf16"`` where the device has instructions for it (older releases of
    torch cannot tell of a CPU, which then keeps ``"fp32"``: emulated, it is several times slower), and
    ``channels_last=True``. Others are left in ``"fp32"``, and on CUDA in ``"tf32"``: casting their weights would take
    longer than it saves. What these bring, and what ``compile`` and ``cuda_graph`` cost and bring beyond them, stands
    in the explanation of performance in the docs. Make the optimizers with ``fused=True`` too.

    Args:
        generator: on its device.
        discriminator: on the same.

    Returns:
        Keywords: ``precision`` and ``channels_last``.

    Raises:
        ArgumentTypeError: one of them is no module.
        ArgumentValueError: their parameters lie on several devices, or there are none.

    Example:
        >>> fast_settings(nn.Linear(4, 2), nn.Linear(2, 1))
        {'precision': 'fp32', 'channels_last': False}
    """
    devices = set[torch.device]()
    convolve = False
    for name, network in (("generator", generator), ("discriminator", discriminator)):
        if not isinstance(network, nn.Module):
            raise ArgumentTypeError(f"{name} (={network!r}) must be a torch.nn.Module")
        devices |= {parameter.device for parameter in network.parameters()}
        convolve = convolve or any(isinstance(module, _ConvNd) for module in network.modules())
    if len(devices) != 1:
        raise ArgumentValueError(
            f"generator and discriminator must lie on one device, but lie on {sorted(map(str, devices))}"
        )
    (device,) = devices
    if not convolve:
        return {"precision": "tf32" if device.type == "cuda" else "fp32", "channels_last": False}
    return {"precision": "bf16" if _has_bf16(device) else "fp32", "channels_last": True}


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = (
        torch.cpu.get_capabilities() if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities") else {}
    )
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
