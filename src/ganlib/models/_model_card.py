"""Write the model card of a generator: its inputs and outputs, code to generate samples, and its info."""

import json
import re
import zlib
from collections.abc import Iterator, Mapping
from math import prod
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn

from ganlib import latents, viz
from ganlib._shown import shown
from ganlib._warning import warn_user
from ganlib.conditioning import ClassEmbedding, OneHot, TagEmbedding, VectorEmbedding
from ganlib.errors import GanlibError
from ganlib.models._example_inputs import ENCODERS, latent_shape
from ganlib.models._sample import sample

__all__ = ["is_unedited", "model_card"]

_LATENTS: dict[str, Any] = {"gaussian": latents.Gaussian, "uniform": latents.Uniform}
_MARK = "<!-- Written by ganlib. models.push_to_hub replaces this file, unless it was edited. Checksum: "
_WIDTH = 1024  # pixels of an image of samples
_LONGEST = 500  # characters of a value
_MOST = 20  # values of a dict that get one row each

_CARD = """\
---
{metadata}
---

# {name}

This is the generator of a GAN, for [ganlib](https://github.com/ganlib/ganlib). It generates {what}.
{image}
{facts}

## Generate samples

```console
pip install git+https://github.com/ganlib/ganlib
pip install "ganlib[hub]"
```

```python
{code}
```
{held}
"""


class _Drawn(NamedTuple):
    """Store samples, their image, and the code that generates them."""

    latent: Any
    samples: Tensor
    image: Image.Image | None
    code: list[str]


def model_card(
    hub: Any, repo_id: str, generator: nn.Module, info: Mapping[str, Any], *, rebuilt: bool
) -> tuple[str, Image.Image | None]:
    """Return the text of the card, and its image of samples, or None if samples cannot be generated.

    Args:
        hub: the package huggingface_hub.
        repo_id: the repository that the code in the card loads from.
        generator: the generator in the file.
        info: the info in the file.
        rebuilt: whether the file has a recipe; otherwise the code needs a module.
    """
    encoder = next((part for part in generator.modules() if isinstance(part, ENCODERS)), None)
    drawn = _draw(generator, info, encoder)
    image = None if drawn is None else drawn.image
    shape: tuple[int, ...] = () if drawn is None else drawn.samples.shape[1:]
    of_images = image is not None and len(shape) == 3
    kind = type(generator).__name__
    load = f'generator = models.from_hub("{repo_id}")'
    if not rebuilt:
        load = f"module = ...  # a new {kind}, whose code is not in this repository\n{load[:-1]}, module)"
    terms = info.get("license") if isinstance(info.get("license"), str) else None
    given = {name: value for name, value in info.items() if name != "license" or terms is None}
    metadata = hub.ModelCardData(
        library_name="ganlib",
        license=terms and terms.lower(),  # license names of the Hub are in lower case
        pipeline_tag="unconditional-image-generation" if of_images and encoder is None else None,
        tags=["gan", "pytorch"],
    )
    text = _CARD.format(
        metadata=metadata.to_yaml().strip(),
        name=repo_id.rpartition("/")[2],
        what=f"images of {shape[-1]} x {shape[-2]} pixels" if of_images else "samples",
        image="" if image is None else "\n![Samples](samples.png)\n",
        facts=_table(_facts(generator, encoder, drawn)),
        code=_with_imports("\n".join([load, *([] if drawn is None else drawn.code)])),
        held=f"\n## Info\n\n`generator.info` contains:\n\n{_table(given)}\n" if given else "",
    )
    return f"{text}{_MARK}{zlib.crc32(text.encode())} -->\n", image


def is_unedited(card: str) -> bool:
    """Return whether a card is unchanged since ``model_card`` wrote it."""
    text, mark, end = card.rpartition(_MARK)
    return bool(mark) and end.strip() == f"{zlib.crc32(text.encode())} -->"


def _facts(generator: nn.Module, encoder: Any, drawn: _Drawn | None) -> dict[str, Any]:
    facts = dict[str, Any]()
    if drawn is not None:
        ends: Any = getattr(generator, "sample_range", None)
        facts["latent"] = f"(N, {drawn.latent.dim}), {type(drawn.latent).__name__}"
        facts |= {} if encoder is None else {"condition": _condition(encoder, 1)[2]}
        facts["sample"] = f"(N, {', '.join(map(str, drawn.samples.shape[1:]))})"
        facts["sample"] += "" if ends is None else f", from {ends[0]:g} to {ends[1]:g}"
    count = sum(parameter.numel() for parameter in generator.parameters())
    return facts | {"network": f"{type(generator).__name__}, {count:,} parameters"}


def _draw(generator: nn.Module, info: Mapping[str, Any], encoder: Any) -> _Drawn | None:
    """Generate samples, if the latents are known."""
    own = latent_shape(generator)
    size = None if own is None else prod(own)
    told = {name: info[name] for name in ("latent_dim", "latent") if name in info}
    dim, kind = told.get("latent_dim", size), told.get("latent", "gaussian")
    if dim is None:
        return None
    try:
        if not isinstance(kind, str) or kind not in _LATENTS:
            raise ValueError("latent must be 'gaussian' or 'uniform'")
        if isinstance(own, tuple) and len(own) == 1 and isinstance(dim, int) and dim > own[0]:  # maybe a huge one
            raise ValueError(f"its layers take latents of size {size}")
        return _draw_from(_LATENTS[kind](dim), generator, info, encoder)
    except Exception as error:  # a generator can raise any error for other inputs
        if told:
            said = ", ".join(f"info[{name!r}] (={shown(value)})" for name, value in told.items())
            reason = " ".join(f"{error}".split())
            warn_user(
                f"there is no image of samples, because the {type(generator).__name__} cannot generate with "
                f"{said}: {reason:.300}"
            )
        return None


def _draw_from(latent: Any, generator: nn.Module, info: Mapping[str, Any], encoder: Any) -> _Drawn:
    options: dict[str, Any] = {"seed": 0} | ({"batch_norm": "sample"} if info.get("batch_norm") == "sample" else {})
    shape = next(sample(generator, latent, 1, condition=_condition(encoder, 1)[0], **options)).sample.shape
    columns = min(8, max(2, _WIDTH // shape[-1]))
    condition, condition_code, _ = _condition(encoder, columns)
    n = columns**2 if condition is None else len(condition)
    samples = next(sample(generator, latent, n, condition=condition, **options)).sample
    named = f"{n}" if condition is None else "condition=condition"
    code = [
        f"latent = latents.{latent!r}",
        *([] if condition is None else [f"condition = {condition_code}"]),
        f"samples = next(models.sample(generator, latent, {named}, {_arguments(options)})).sample",
    ]
    layout: dict[str, Any] = {"columns": columns}
    if len(shape) > 3 and shape[-1] <= 32:  # plots of signals are large enough
        layout["scale"] = 64 // shape[-1]
    if (ends := getattr(generator, "sample_range", None)) not in (None, (-1.0, 1.0)):
        layout["sample_range"] = ends
    try:
        image = viz.image_grid(samples, **layout)
    except GanlibError:  # the samples are not images
        return _Drawn(latent, samples, None, code)
    code.append(f'viz.image_grid(samples, {_arguments(layout)}).save("samples.png")')
    return _Drawn(latent, samples, image, code)


def _with_imports(code: str) -> str:
    used = ", ".join(name for name in ("latents", "models", "viz") if f"{name}." in code)
    return ("import torch\n" if "torch." in code else "") + f"from ganlib import {used}\n\n{code}"


def _condition(encoder: Any, columns: int) -> tuple[Tensor | None, str, str]:
    """Return conditions for some rows of samples, the code that makes them, and a description."""
    rows = columns + columns // 4  # ten rows of digits
    if isinstance(encoder, OneHot | ClassEmbedding):
        rows = min(rows, encoder.num_classes)
        code = f"torch.arange({rows}).repeat_interleave({columns})  # {columns} of each class"
        words = f"class indices (N,), int64 from 0 to {encoder.num_classes - 1}"
        return torch.arange(rows).repeat_interleave(columns), code, words
    if isinstance(encoder, TagEmbedding):
        rows = min(rows, encoder.num_tags)
        code = f"torch.eye({rows}, {encoder.num_tags}).repeat_interleave({columns}, dim=0)  # {columns} of each tag"
        words = f"multi-hot tags (N, {encoder.num_tags})"
        return torch.eye(rows, encoder.num_tags).repeat_interleave(columns, dim=0), code, words
    if isinstance(encoder, VectorEmbedding):
        size = columns**2, encoder.in_features
        return torch.zeros(size), f"torch.zeros{size}  # yours", f"vectors (N, {encoder.in_features})"
    return None, "", ""


def _arguments(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items()).replace("'", '"')


def _table(values: Mapping[str, Any]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in _rows(values))])


def _rows(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        key = _plain(str(name)) or repr(name)
        if isinstance(value, Mapping) and 0 < len(value) <= _MOST:
            yield from ((f"{key}.{inner}", text) for inner, text in _rows(value))
        else:
            yield key, _plain(", ".join(map(_cell, value)) if isinstance(value, list | tuple) else _cell(value))


def _cell(value: Any) -> str:
    nested = isinstance(value, Mapping | list | tuple)
    return json.dumps(value, ensure_ascii=False, default=str) if nested else str(value)


def _plain(text: str) -> str:
    """Escape a text so that Markdown shows it unchanged."""
    text = " ".join(text.split())
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return re.sub(r"[\\`*<>|\[\]~$&]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", text)
