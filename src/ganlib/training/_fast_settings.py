"""What is fastest on the device that is there."""

from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from ganlib.distributed import world_size
from ganlib.errors import ArgumentTypeError, ArgumentValueError

__all__ = ["fast_settings"]


def fast_settings(*modules: nn.Module) -> dict[str, Any]:
    """Return the settings of a trainer that were measured to be fast for such networks on their device.

    Networks with convolutions get ``precision="bf16"`` where the device has instructions for it (older releases of
    torch cannot tell of a CPU, which then keeps ``"fp32"``: emulated, it is several times slower), and
    ``channels_last=True``. Others stay in ``"fp32"``, and on CUDA in ``"tf32"``: to cast their weights would take
    longer than it saves. On CUDA a single process gets ``cuda_graph="auto"`` too. The page on performance in the docs
    says what these bring, and what ``compile`` costs and brings beyond them. Make the optimizers with ``fused=True``
    too.

    Args:
        modules: the networks that are trained together, on one device.

    Returns:
        Keywords: ``precision`` and ``channels_last``; on CUDA in one process ``cuda_graph`` too.

    Raises:
        ArgumentTypeError: one of them is not a module.
        ArgumentValueError: their parameters lie on several devices, or there are none.

    Example:
        >>> fast_settings(nn.Linear(4, 2), nn.Linear(2, 1))
        {'precision': 'fp32', 'channels_last': False}
    """
    devices = set[torch.device]()
    convolve = False
    for module in modules:
        if not isinstance(module, nn.Module):
            raise ArgumentTypeError(f"modules holds {module!r}, which is not a torch.nn.Module")
        devices |= {parameter.device for parameter in module.parameters()}
        convolve = convolve or any(isinstance(part, _ConvNd) for part in module.modules())
    if len(devices) != 1:
        raise ArgumentValueError(f"modules must lie on one device, but lie on {sorted(map(str, devices))}")
    (device,) = devices
    precision = ("bf16" if _has_bf16(device) else "fp32") if convolve else ("tf32" if device.type == "cuda" else "fp32")
    settings: dict[str, Any] = {"precision": precision, "channels_last": convolve}
    return settings | ({"cuda_graph": "auto"} if device.type == "cuda" and world_size() == 1 else {})


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = (
        torch.cpu.get_capabilities() if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities") else {}
    )
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
