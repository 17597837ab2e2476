"""Singular vectors of spectral norms."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm

__all__ = ["SpectralVectors", "spectral_vectors"]

_ITERATIONS = 15  # as in torch when it applies the norm


class SpectralVectors(NamedTuple):
    r"""Locate the singular vectors u and v of a weight W; the norm divides by :math:`u^\top W v`.

    Args:
        owner: the module with the weight: a layer, or its ParametrizationList.
        norm: the hook of ``torch.nn.utils.spectral_norm``, or the parametrization.
        holder: the module with the vectors.
        names: the names of the buffers u and v.
    """

    owner: Any
    norm: Any
    holder: nn.Module
    names: tuple[str, str]

    @property
    def vectors(self) -> tuple[Tensor, Tensor]:
        """Return the buffers u and v."""
        u, v = (self.holder.get_buffer(name) for name in self.names)
        return u, v

    def iterate(self, iterations: int = 1) -> None:
        """Update the vectors in place by power iterations."""
        u, v = self.vectors
        matrix = self._matrix()
        right = v.to(matrix.dtype)
        with torch.autocast(matrix.device.type, enabled=False):
            for _ in range(iterations):
                left = _unit(matrix.mv(right), self.norm.eps)
                right = _unit(matrix.mH.mv(left), self.norm.eps)
        u.copy_(left)
        v.copy_(right)

    def restart(self) -> None:
        """Compute the vectors of a new weight, without random numbers."""
        _, v = self.vectors
        v.copy_(torch.where(v.isfinite().all() & v.any(), v, torch.ones_like(v)))
        self.iterate(_ITERATIONS)
        if isinstance(self.norm, SpectralNorm):
            weight = self.norm.compute_weight(self.owner, do_power_iteration=False)
            setattr(self.owner, self.norm.name, weight.detach())

    def _matrix(self) -> Tensor:
        for hook in self.owner._forward_pre_hooks.values():
            if isinstance(hook, BasePruningMethod):
                hook(self.owner, ())
        if isinstance(self.norm, SpectralNorm):
            matrix = self.norm.reshape_weight_to_matrix(getattr(self.owner, f"{self.norm.name}_orig"))
        else:
            steps, owner = list(self.owner), self.owner
            names = ["original"] if owner.is_tensor else [f"original{i}" for i in range(owner.ntensors)]
            held = [getattr(owner, name) for name in names]
            for step in steps[: steps.index(self.norm)]:
                held = [step(*held)]
            matrix = self.norm._reshape_weight_to_matrix(held[0])
        return matrix.float() if matrix.dtype in (torch.float16, torch.bfloat16) else matrix


def spectral_vectors(module: nn.Module) -> list[SpectralVectors]:
    """Find the singular vectors of all spectral norms in a module; the norm of a vector has no such vectors."""
    found = []
    for part in module.modules():
        for hook in part._forward_pre_hooks.values():
            if isinstance(hook, SpectralNorm):
                found.append(SpectralVectors(part, hook, part, (f"{hook.name}_u", f"{hook.name}_v")))
        if isinstance(part, ParametrizationList):
            norms = [norm for norm in part if isinstance(norm, _SpectralNorm) and "_u" in norm._buffers]
            found += [SpectralVectors(part, norm, norm, ("_u", "_v")) for norm in norms]
    return found


def _unit(vector: Tensor, eps: float) -> Tensor:
    return vector / torch.linalg.vector_norm(vector).clamp_min_(eps)
