"""Hypothesis strategies that several rooms' tests draw from."""

from math import prod

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import nn

from ganlib import conditioning, stacks

settings.register_profile("ganlib", deadline=None, max_examples=50)
settings.load_profile("ganlib")

_LARGEST_SIZE = {1: 12, 2: 12, 3: 7}

seeds = st.integers(0, 2**31 - 1)
spatial_dims = st.integers(1, 3)
shapes = st.lists(st.integers(1, 3), min_size=1, max_size=4).map(tuple)


def normals(shape, dtype=torch.float32):
    """Normally distributed tensors of one shape."""
    return seeds.map(lambda seed: torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype))


@st.composite
def logits(draw, largest=1e4, shape=None, dtype=torch.float32):
    """Logits of any shape between -largest and largest."""
    shape = draw(shapes) if shape is None else shape
    number = st.floats(-largest, largest, width=32)
    return torch.tensor(draw(st.lists(number, min_size=prod(shape), max_size=prod(shape))), dtype=dtype).view(shape)


@st.composite
def _one_or_one_per_dimension(draw, sizes):
    """One number a dimension, drawn from the strategies; written as an int where they are equal, every other time."""
    drawn = tuple(draw(size) for size in sizes)
    return drawn[0] if len(set(drawn)) == 1 and draw(st.booleans()) else drawn


@st.composite
def stages(draw, sizes):
    """Stages that take samples of these spatial sizes."""
    padding = draw(_one_or_one_per_dimension([st.integers(0, 2)] * len(sizes)))
    paddings = (padding,) * len(sizes) if isinstance(padding, int) else padding
    kernels = [st.integers(1, min(5, n + 2 * p)) for n, p in zip(sizes, paddings, strict=True)]
    kernel_size = draw(_one_or_one_per_dimension(kernels))
    stride = draw(_one_or_one_per_dimension([st.integers(1, 4)] * len(sizes)))
    return stacks.Stage(draw(st.integers(1, 4)), kernel_size, stride, padding)


def image_shapes(dims=spatial_dims):
    """Image shapes (C, *spatial), mostly not square."""
    return dims.flatmap(
        lambda d: st.tuples(st.integers(1, 3), *[st.integers(1, _LARGEST_SIZE[d])] * d),
    )


@st.composite
def plans(draw, dims=spatial_dims, image_shape=None):
    """Plans that can be made: any kernel, stride and padding, one to three stages."""
    image_shape = draw(image_shapes(dims)) if image_shape is None else image_shape
    drawn, sizes = [], image_shape[1:]
    for _ in range(draw(st.integers(1, 3))):
        drawn.append(draw(stages(sizes)))
        sizes = stacks.StackPlan(image_shape, drawn).top_shape[1:]
    return stacks.StackPlan(image_shape, drawn)


def encoded_class(n, spatial=()):
    """A learned encoder of classes and n classes."""
    return conditioning.ClassEmbedding(3, 2), torch.arange(n) % 3


def encoded_one_hot(n, spatial=()):
    """The one-hot encoder and n classes."""
    return conditioning.OneHot(3), (torch.arange(n) + 1) % 3


def encoded_tags(n, spatial=()):
    """An encoder of tags and n sets of them."""
    return conditioning.TagEmbedding(4, 2), (torch.arange(4 * n) % 3 == 0).float().view(n, 4)


def encoded_vectors(n, spatial=()):
    """An encoder of vectors and n of them."""
    return conditioning.VectorEmbedding(5, 3), torch.linspace(-1, 1, 5 * n).view(n, 5)


def encoded_maps(n, spatial=()):
    """The encoder of maps and n of them."""
    return conditioning.Maps(2), torch.linspace(-1, 1, 2 * n * prod(spatial)).view(n, 2, *spatial)


FLAT_CONDITIONS = {
    "class": encoded_class,
    "one-hot": encoded_one_hot,
    "tags": encoded_tags,
    "vectors": encoded_vectors,
}
"""Kinds of condition without places: each a function from N to (encoder, condition)."""

ALL_CONDITIONS = {**FLAT_CONDITIONS, "maps": encoded_maps}
"""All kinds: each a function from N and spatial sizes to (encoder, condition)."""


def conditions(n, kinds=tuple(ALL_CONDITIONS), spatial=(2, 3)):
    """Pairs of an encoder and n conditions for it, of any kind."""
    return st.sampled_from(kinds).map(lambda kind: ALL_CONDITIONS[kind](n, spatial))


class Recorder(nn.Module):
    """A network that keeps what it was called with and gives back its first argument."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list = []

    def forward(self, *arguments):
        """Record the call."""
        self.calls.append(arguments)
        return arguments[0]
