"""What is fastest on the device that is there."""

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
    """Keywords of a trainer; ``compile`` is never set, and may be added."""

    precision: PrecisionName
    channels_last: bool
    cuda_graph: NotRequired[CudaGraph]
    compile: NotRequired[bool]


def fast_settings(*modules: nn.Module) -> FastSettings:
    """Return the settings of a trainer that were measured to be fast for such networks on their device.

    Networks with convolutions get ``precision="bf16"`` where the device has instructions for it (older releases of
    torch cannot tell of a CPU, which then keeps ``"fp32"``: emulated, it is several times slower), and
    ``channels_last=True``. Others stay in ``"fp32"``, and on CUDA in ``"tf32"``: to cast their weights would take
    longer than it saves. On CUDA a single process gets ``cuda_graph="auto"`` too. Nothing was measured on MPS and XPU,
    where they are the trainer's defaults: ``"fp32"``, and no other layout. The page on performance in the docs says
    what these bring, and what ``compile`` costs and brings beyond them. Make the optimizers with ``fused=True`` too.

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
