"""Choose the trainer settings that are fastest on a device."""

from typing import NotRequired, TypedDict

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from ganlib._shown import shown
from ganlib.distributed import world_size
from ganlib.errors import ArgumentTypeError, ArgumentValueError
from ganlib.training._step._precision import PrecisionName
from ganlib.training._step._step_graphs import CudaGraph

__all__ = ["FastSettings", "fast_settings"]


class FastSettings(TypedDict):
    """Collect keyword arguments of a trainer; you may add ``compile``, which is never set."""

    precision: PrecisionName
    channels_last: bool
    cuda_graph: NotRequired[CudaGraph]
    compile: NotRequired[bool]


def fast_settings(*modules: nn.Module) -> FastSettings:
    """Return the trainer settings that were measured to be fast for such networks on their device.

    Networks with convolutions get ``channels_last=True``, and ``precision="bf16"`` if the device has bf16 instructions.
    Older versions of torch cannot detect these instructions on a CPU; the precision is then ``"fp32"``, since emulated
    bf16 is several times slower. Networks without convolutions get ``"tf32"`` on CUDA and ``"fp32"`` on the CPU, since
    casting their weights takes longer than it saves. A single process on CUDA also gets ``cuda_graph="auto"``. Nothing
    was measured on MPS and XPU; there the settings are the trainer's defaults. ``compile`` is not set: see
    :doc:`/explanation/performance` for its cost and benefit. Also create the optimizers with ``fused=True``.

    Args:
        modules: the networks that are trained together, on one device.

    Returns:
        A dict of keyword arguments: ``precision``, ``channels_last``, and on CUDA in one process ``cuda_graph``.

    Raises:
        ArgumentTypeError: an argument is not a module.
        ArgumentValueError: the parameters are on several devices, or there are no parameters.

    Example:
        >>> fast_settings(nn.Linear(4, 2), nn.Linear(2, 1))
        {'precision': 'fp32', 'channels_last': False}
    """
    devices = set[torch.device]()
    convolve = False
    for module in modules:
        if not isinstance(module, nn.Module):
            raise ArgumentTypeError(f"modules holds {shown(module)}, which is not a torch.nn.Module")
        devices |= {parameter.device for parameter in module.parameters()}
        convolve = convolve or any(isinstance(part, _ConvNd) for part in module.modules())
    if len(devices) != 1:
        raise ArgumentValueError(f"modules must lie on one device, but lie on {sorted(map(str, devices))}")
    (device,) = devices
    if device.type not in ("cpu", "cuda"):
        return {"precision": "fp32", "channels_last": False}
    precision: PrecisionName = "tf32" if device.type == "cuda" and not convolve else "fp32"
    if convolve and _has_bf16(device):
        precision = "bf16"
    settings: FastSettings = {"precision": precision, "channels_last": convolve}
    if device.type == "cuda" and world_size() == 1:
        settings["cuda_graph"] = "auto"
    return settings


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
