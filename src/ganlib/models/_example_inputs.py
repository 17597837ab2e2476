"""Find the inputs of a generator from its layers."""

from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from ganlib.conditioning import ClassEmbedding, ConcatLatent, OneHot, TagEmbedding, Unconditional, VectorEmbedding
from ganlib.stacks import ConvTransposeStack

__all__ = ["ENCODERS", "example_condition", "latent_shape"]

ENCODERS = OneHot, ClassEmbedding, TagEmbedding, VectorEmbedding


def latent_shape(generator: Any) -> tuple[int, ...] | None:
    """Return the shape of one latent, or None if the layers do not determine it."""
    if isinstance(generator, Unconditional):
        return latent_shape(generator.module)
    if isinstance(generator, ConcatLatent):
        joined = latent_shape(generator.module)
        flat = joined is not None and len(joined) == 1 and joined[0] > generator.encoder.features
        return (joined[0] - generator.encoder.features,) if joined and flat else None
    if isinstance(generator, nn.Sequential):
        # Layers without weights, such as a norm of the latent, do not change its size.
        first = next((part for part in generator if isinstance(part, nn.Unflatten) or [*part.parameters()]), None)
        return latent_shape(first)
    if isinstance(generator, ConvTransposeStack):
        return (prod(generator.in_shape),)
    if isinstance(generator, nn.Unflatten):
        return (prod(generator.unflattened_size),)
    in_features, in_shape = (getattr(generator, name, None) for name in ("in_features", "in_shape"))
    return (in_features,) if isinstance(in_features, int) else in_shape if isinstance(in_shape, tuple) else None


def example_condition(generator: nn.Module, n: int) -> Tensor | None:
    """Draw conditions for the generator's encoders, or return None without encoders or with different kinds of them."""
    if isinstance(generator, Unconditional):
        return None
    encoders: list[Any] = [module for module in generator.modules() if isinstance(module, ENCODERS)]
    kinds = {_kind(encoder) for encoder in encoders}
    if len(kinds) != 1:
        return None
    kind, size = kinds.pop()
    if kind == "classes":
        return torch.randint(size, (n,))
    return (torch.rand if kind == "tags" else torch.randn)(n, size)


def _kind(encoder: Any) -> tuple[str, int]:
    if isinstance(encoder, OneHot | ClassEmbedding):
        return "classes", encoder.num_classes
    return ("tags", encoder.num_tags) if isinstance(encoder, TagEmbedding) else ("vectors", encoder.in_features)
