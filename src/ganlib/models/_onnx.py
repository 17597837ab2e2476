"""A generator as one ONNX file, which programs other than torch run too."""

import copy
import importlib
import io
import json
import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._pytree import (
    TreeSpec,
    keystr,
    tree_flatten,
    tree_flatten_with_path,
    tree_leaves,
    tree_map,
    tree_unflatten,
)

from ganlib._checks import check_count, check_positive
from ganlib._files import prepare_file, write_atomically
from ganlib._random import seeded
from ganlib._sampling import count_entries
from ganlib._shown import shown
from ganlib._wrappers import plain, unwrapped
from ganlib.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    DTypeError,
    GanlibRuntimeError,
    MissingExtraError,
    ShapeError,
)
from ganlib.models._example_inputs import example_condition, latent_shape
from ganlib.protocols import Condition, Latent

__all__ = ["export_onnx"]

_TRACED = 2  # samples; torch would take a batch of 1 for a size that stays
_COMPARED = (1, 3)
_LARGEST = 2**31 - 2**20  # bytes of weights; a protobuf, which the file is, has less than 2**31


def export_onnx(
    path: str | os.PathLike[str],
    generator: nn.Module,
    latent: Latent | Tensor | None = None,
    condition: Condition = None,
    *,
    opset: int | None = None,
    tolerance: float = 1e-5,
) -> None:
    r"""Export a generator as ONNX, for any number of samples, and compare what onnxruntime makes with torch.

    The file has the inputs ``latent`` and, where the generator is conditional, ``condition``, and the output
    ``sample``. The first dimension of each is free, and is called ``batch``; the others are fixed. Of a dict of
    conditions, or a tuple of them, each is an input, by its key or index: ``condition_style``, ``condition_0``.

    A copy of the generator is exported, on the CPU and in evaluation mode, without what torch.compile,
    DistributedDataParallel or :class:`ganlib.training.EMA` put around it. The weights are in the file. Its metadata
    hold ``info`` and ``sample_range`` of the generator as JSON, where it has them.

    Before the file is written, onnxruntime runs it with 1 and 3 samples. Of a generator that draws random numbers
    itself only the shapes are compared.

    Args:
        path: the file, with the suffix ``.onnx``; written completely or not at all.
        generator: called with (latent), or (latent, condition); in float32, as onnxruntime has few layers in float64.
        latent: an example: a distribution of latents, such as ``latents.Gaussian(100)``, or latents (N, dim). None
            finds the size in the generator's ``info`` or in its layers.
        condition: an example of N conditions, a tensor or a dict or tuple of tensors. None finds what the generator's
            encoder takes; other generators are exported without a condition.
        opset: the version of ONNX's operators; None leaves it to torch.
        tolerance: the largest difference between onnxruntime's samples and torch's, as a share of the largest absolute
            value in torch's; above 0.

    Raises:
        ArgumentTypeError: the generator is not a module, has layers without a shape, or does not give one tensor; or an
            argument is of a wrong type.
        DTypeError: the generator is in half precision.
        ArgumentValueError: the path has another suffix, the file would be larger than ONNX allows (2 GB), or an example
            is needed.
        MissingExtraError: onnx, onnxscript or onnxruntime is not installed.
        GanlibRuntimeError: the generator cannot be exported, or what was exported does not give what torch gives.
        RunFolderError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> import onnxruntime
        >>> from ganlib import models
        >>> generator, _ = models.mlp_gan((1, 28, 28), latent_dim=100)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     models.export_onnx(f"{folder}/generator.onnx", generator)
        ...     session = onnxruntime.InferenceSession(f"{folder}/generator.onnx")
        >>> (sample,) = session.run(None, {"latent": torch.randn(5, 100).numpy()})
        >>> sample.shape
        (5, 1, 28, 28)

    References:
        The format: https://onnx.ai/onnx/intro; its exporter: https://docs.pytorch.org/docs/stable/onnx.html.
    """
    if not isinstance(path, str | os.PathLike):
        raise ArgumentTypeError(f"path (={shown(path)}) must be the path of a file, a str or a pathlib.Path")
    if Path(path).suffix != ".onnx":
        raise ArgumentValueError(f"path (={os.fspath(path)!r:.200}) must end in .onnx")
    if not isinstance(generator, nn.Module):
        raise ArgumentTypeError(f"generator (={shown(generator)}) must be a torch.nn.Module")
    opset = None if opset is None else check_count("opset", opset, least=1)
    tolerance = check_positive("tolerance", tolerance)
    runtime, newest = _runtime()
    if opset is not None and opset > newest:
        raise ArgumentValueError(f"opset (={shown(opset)}) must be at most {newest}, the newest of the installed onnx")
    name = type(unwrapped(generator, averages=True)).__name__
    # What torch warns of is of its own making, and what comes out is compared.
    with torch.no_grad(), seeded(0), warnings.catch_warnings(action="ignore"):
        try:
            own = copy.deepcopy(plain(generator, averages=True)).cpu().eval()
        except Exception as error:  # of sharded layers, and what a user's own may raise
            raise _cannot(name, error) from error
        dtype = _precision(own)
        inputs = _inputs(own, name, latent, condition, dtype)
        names = _names(inputs)
        expected = {n: _called(own, name, names, _batch(inputs, n)) for n in _COMPARED}
        prepare_file(Path(path))
        try:
            with _silent():
                content = _exported(own, names, _batch(inputs, _TRACED), opset)
            session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
            for n, samples in expected.items():
                feeds = dict(zip(names, map(Tensor.numpy, tree_leaves(_batch(inputs, n))), strict=True))
                (made,) = session.run(None, feeds)
                _compare(torch.from_numpy(made), *samples, tolerance)
        except Exception as error:  # of code that torch cannot trace, sizes that it fixed, operators that ONNX lacks
            raise _cannot(name, error, dtype) from error
    write_atomically(path, lambda file: file.write(content))


def _runtime() -> tuple[Any, int]:
    """Onnxruntime, where all packages are there, and the newest version of the operators."""
    try:
        packages: list[Any] = [importlib.import_module(package) for package in ("onnx", "onnxscript", "onnxruntime")]
        return packages[-1], packages[0].defs.onnx_opset_version()
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f'{error.name} is not installed, which export_onnx needs: pip install "ganlib[onnx]"'
        ) from error


def _precision(generator: nn.Module) -> torch.dtype:
    """The precision of the weights, which the file must be able to hold."""
    tensors = generator.state_dict()
    for name, tensor in tensors.items():
        if is_lazy(tensor):
            raise ArgumentTypeError(f"generator has {name}, which has no shape yet: call the generator once")
    if sum(tensor.nbytes for tensor in tensors.values()) > _LARGEST:
        raise ArgumentValueError(
            "generator has more than 2 GB of weights, which one ONNX file cannot hold: use torch.onnx.export with "
            "external_data=True"
        )
    dtypes = {tensor.dtype: name for name, tensor in tensors.items() if tensor.is_floating_point()}
    for dtype, name in dtypes.items():
        if dtype.itemsize < 4:
            raise DTypeError(
                f"generator has {name} in {dtype}, in which torch and onnxruntime round differently: export "
                "generator.float()"
            )
    return next(iter(dtypes), torch.float32)


def _inputs(generator: nn.Module, name: str, latent: Any, condition: Any, dtype: torch.dtype) -> tuple[Any, ...]:
    """Examples of latents and conditions, on the CPU and in the precision of the weights."""
    n = max(_COMPARED)
    if latent is None:
        info: Any = getattr(generator, "info", None)
        dim = info.get("latent_dim") if isinstance(info, Mapping) else None
        shape = (dim,) if isinstance(dim, int) else latent_shape(generator)
        if shape is None:
            raise ArgumentValueError(
                "latent (=None) must be an example, such as latents.Gaussian(100): neither the info nor the layers of "
                f"this {name} say what it takes"
            )
        latent = torch.randn(n, *shape)
    elif not isinstance(latent, Tensor):
        if isinstance(latent, type) or not callable(latent):
            raise ArgumentTypeError(f"latent (={shown(latent)}) must be a distribution of latents, or a tensor of them")
        latent = latent(n)
    condition = example_condition(generator, n) if condition is None else condition
    inputs: tuple[Any, ...] = (latent,) if condition is None else (latent, condition)
    for argument, value in zip(("latent", "condition"), inputs, strict=False):
        tensors = [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
        if any(tensor.ndim == 0 for tensor in tensors):
            raise ShapeError(f"{argument} () must have a first dimension, that of the samples")
        if count_entries(argument, value) == 0:
            raise ShapeError(f"{argument} must hold an example, but is empty")
        if any(tensor.is_meta for tensor in tensors):
            raise ArgumentValueError(f"{argument} (={shown(value)}) must hold values, but is on the meta device")
    return tree_map(lambda tensor: tensor.detach().cpu().to(dtype if tensor.is_floating_point() else None), inputs)


def _batch(inputs: tuple[Any, ...], n: int) -> tuple[Any, ...]:
    """N of each, which repeat where there are fewer."""
    return tree_map(lambda tensor: tensor[torch.arange(n) % len(tensor)], inputs)


def _names(inputs: tuple[Any, ...]) -> list[str]:
    """The names of the file's inputs."""
    names = [
        argument + re.sub(r"\W+", "_", keystr(path)).rstrip("_")
        for argument, value in zip(("latent", "condition"), inputs, strict=False)
        for path, _ in tree_flatten_with_path(value)[0]
    ]
    if len({*names}) < len(names):
        raise ArgumentValueError(f"condition has keys that make two inputs of one name: {', '.join(names)}")
    return names


def _called(generator: nn.Module, name: str, names: list[str], inputs: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
    """What torch makes, twice; the two differ where a generator draws random numbers itself."""
    try:
        samples = generator(*inputs), generator(*inputs)
    except Exception as error:  # whatever a generator raises where the examples are not what it takes
        given = [f"{each} {_form(tensor)}" for each, tensor in zip(names, tree_leaves(inputs), strict=True)]
        raise ArgumentValueError(
            f"generator (={name}) cannot be called with {' and '.join(given)}; give examples as latent and condition "
            f"({type(error).__name__}: {error!s:.300})"
        ) from error
    if not isinstance(samples[0], Tensor):
        raise ArgumentTypeError(f"generator (={name}) must give one tensor, but gives a {type(samples[0]).__name__}")
    if not samples[0].isfinite().all():
        raise ArgumentValueError(
            f"generator (={name}) makes NaN or infinity, which cannot be compared: look at its weights and the examples"
        )
    return samples


def _form(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)}" + ("" if tensor.is_floating_point() else f" of {tensor.dtype}")


@contextmanager
def _silent() -> Iterator[None]:
    """A context in which torch and onnxscript neither log nor print: what fails becomes one error."""
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in ("torch", "onnxscript")]
    levels = [(logger, logger.level) for logger in map(logging.getLogger, {*names, "torch", "onnxscript"})]
    for logger, _ in levels:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    finally:
        for logger, level in levels:
            logger.setLevel(level)


def _exported(generator: nn.Module, names: list[str], inputs: tuple[Any, ...], opset: int | None) -> bytes:
    """The content of the file."""
    batch = torch.export.Dim("batch")
    leaves, nest = tree_flatten(inputs)
    program: Any = torch.onnx.export(
        _Flat(generator, nest),
        tuple(leaves),
        dynamo=True,
        verbose=False,
        opset_version=opset,
        input_names=names,
        output_names=["sample"],
        dynamic_shapes=(tuple({0: batch} for _ in leaves),),
    )
    for name in ("info", "sample_range"):
        if (value := getattr(generator, name, None)) is not None:
            program.model.metadata_props[name] = json.dumps(value)
    if opset not in (None, program.model.opset_imports[""]):
        raise ValueError(f"opset (={opset}) cannot be had, but {program.model.opset_imports['']} can")
    return program.model_proto.SerializeToString()


class _Flat(nn.Module):
    """A generator that is given its tensors one by one; the exporter takes a dict at the end for named arguments."""

    def __init__(self, generator: nn.Module, nest: TreeSpec) -> None:
        super().__init__()
        self.generator = generator
        self.nest = nest

    def forward(self, *tensors: Tensor) -> Any:
        """Call the generator."""
        return self.generator(*tree_unflatten(tensors, self.nest))


def _compare(actual: Tensor, expected: Tensor, again: Tensor, tolerance: float) -> None:
    """Raise a ValueError unless the samples of onnxruntime are those of torch."""
    if actual.shape != expected.shape:
        raise ValueError(f"onnxruntime makes samples {tuple(actual.shape)}, and torch {tuple(expected.shape)}")
    largest = tolerance * expected.abs().max()
    difference = (actual - expected).abs().max()
    if (again - expected).abs().max() <= largest < difference or not difference.isfinite():
        raise ValueError(
            f"onnxruntime's samples differ from torch's by up to {difference:.2g}, with tolerance (={tolerance:g}) by "
            f"up to {largest:.2g} at most"
        )


def _cannot(name: str, error: BaseException, dtype: torch.dtype | None = None) -> GanlibRuntimeError:
    """The error that says what was in the way; torch puts long advice around it."""
    while error.__cause__ is not None:
        error = error.__cause__
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    advice = ""
    if dtype == torch.float64:
        advice = "; onnxruntime has few layers in float64: export generator.float()"
    elif "INVALID_ARGUMENT" in reason and "Expected:" in reason:
        advice = "; its forward fixes the size of a batch: write x.shape[0] in place of len(x) or int(x.shape[0])"
    return GanlibRuntimeError(f"generator (={name}) cannot be exported: {reason:.400}{advice}")
