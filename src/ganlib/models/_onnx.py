"""Export a generator to ONNX, for programs other than torch."""

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

_TRACED = 2  # samples; torch would fix the batch size if it were 1
_COMPARED = (1, 3)
_LARGEST = 2**31 - 2**20  # bytes of weights; the file is a protobuf, which must be smaller than 2**31


def export_onnx(
    path: str | os.PathLike[str],
    generator: nn.Module,
    latent: Latent | Tensor | None = None,
    condition: Condition = None,
    *,
    opset: int | None = None,
    tolerance: float = 1e-5,
) -> None:
    """Export a generator to ONNX, for any batch size, and compare the output of onnxruntime with torch.

    The file has the inputs ``latent`` and, if the generator is conditional, ``condition``, and the output ``sample``.
    The first dimension of each is dynamic, and is called ``batch``; the others are fixed. If the condition is a dict or
    a tuple, each of its tensors is an input, named by its key or index: ``condition_style``, ``condition_0``.

    A copy of the generator is exported, on the CPU and in evaluation mode. Wrappers (``torch.compile``,
    ``DistributedDataParallel``, :class:`ganlib.training.EMA`) are removed first. The file contains the weights. Its
    metadata contain ``info`` and ``sample_range`` of the generator as JSON, if it has them.

    Before the file is written, onnxruntime runs it with 1 and 3 samples. If the generator itself draws random numbers,
    only the shapes are compared.

    Args:
        path: the file, with the suffix ``.onnx``. It is written completely or not at all.
        generator: called with (latent), or (latent, condition). Use float32, since onnxruntime has few layers in
            float64.
        latent: an example: a distribution of latents, such as ``latents.Gaussian(100)``, or latents (N, dim). None
            takes the size from the generator's ``info`` or layers.
        condition: an example of N conditions: a tensor, or a dict or tuple of tensors. None makes an example from the
            generator's encoders; other generators are exported without a condition.
        opset: version of the ONNX operator set. None lets torch choose.
        tolerance: largest allowed difference between the samples of onnxruntime and torch, relative to the largest
            absolute value of torch's samples; above 0.

    Raises:
        ArgumentTypeError: if the generator is not a module, has layers without a shape, or does not return one tensor;
            or if an argument has a wrong type.
        DTypeError: if the generator is in half precision.
        ArgumentValueError: if the path has another suffix, the file would be larger than ONNX allows (2 GB), or an
            example is missing.
        MissingExtraError: if onnx, onnxscript or onnxruntime is not installed.
        GanlibRuntimeError: if the generator cannot be exported, or the exported samples differ from torch's.
        RunFolderError: if the file cannot be written.

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
        The format: https://onnx.ai/onnx/intro/. The exporter: https://docs.pytorch.org/docs/stable/onnx.html.
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
    # Hide torch's warnings: they are about the exporter itself, and the results are compared below.
    with torch.no_grad(), seeded(0), warnings.catch_warnings(action="ignore"):
        try:
            own = copy.deepcopy(plain(generator, averages=True)).cpu().eval()
        except Exception as error:  # sharded layers, or any error of the user's module
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
        except Exception as error:  # code that torch cannot trace, fixed sizes, operators that ONNX lacks
            raise _cannot(name, error, dtype) from error
    write_atomically(path, lambda file: file.write(content))


def _runtime() -> tuple[Any, int]:
    """Return onnxruntime, if all packages are installed, and the newest version of the operators."""
    try:
        packages: list[Any] = [importlib.import_module(package) for package in ("onnx", "onnxscript", "onnxruntime")]
        return packages[-1], packages[0].defs.onnx_opset_version()
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f'{error.name} is not installed, which export_onnx needs: pip install "ganlib[onnx]"'
        ) from error


def _precision(generator: nn.Module) -> torch.dtype:
    """Return the dtype of the weights, after a check that the file can store them."""
    tensors = generator.state_dict()
    for name, tensor in tensors.items():
        if is_lazy(tensor):
            raise ArgumentTypeError(f"generator has {name}, which has no shape yet: call the generator once")
    if sum(tensor.nbytes for tensor in tensors.values()) > _LARGEST:
        raise ArgumentValueError(
            "generator has more than 2 GB of weights, which one ONNX file cannot store: use torch.onnx.export with "
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
    """Return examples of latents and conditions, on the CPU and in the dtype of the weights."""
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
            raise ArgumentTypeError(
                f"latent (={shown(latent)}) must be a distribution of latents, or a tensor of latents"
            )
        latent = latent(n)
    condition = example_condition(generator, n) if condition is None else condition
    inputs: tuple[Any, ...] = (latent,) if condition is None else (latent, condition)
    for argument, value in zip(("latent", "condition"), inputs, strict=False):
        tensors = [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
        if any(tensor.ndim == 0 for tensor in tensors):
            raise ShapeError(f"{argument} () must have a first dimension for the samples")
        if count_entries(argument, value) == 0:
            raise ShapeError(f"{argument} must hold an example, but is empty")
        if any(tensor.is_meta for tensor in tensors):
            raise ArgumentValueError(f"{argument} (={shown(value)}) must have values, but is on the meta device")
    return tree_map(lambda tensor: tensor.detach().cpu().to(dtype if tensor.is_floating_point() else None), inputs)


def _batch(inputs: tuple[Any, ...], n: int) -> tuple[Any, ...]:
    """Return n samples of each input; the examples repeat if there are fewer."""
    return tree_map(lambda tensor: tensor[torch.arange(n) % len(tensor)], inputs)


def _names(inputs: tuple[Any, ...]) -> list[str]:
    """Return the names of the file's inputs."""
    names = [
        argument + re.sub(r"\W+", "_", keystr(path)).rstrip("_")
        for argument, value in zip(("latent", "condition"), inputs, strict=False)
        for path, _ in tree_flatten_with_path(value)[0]
    ]
    if len({*names}) < len(names):
        raise ArgumentValueError(f"condition has keys that make two inputs of one name: {', '.join(names)}")
    return names


def _called(generator: nn.Module, name: str, names: list[str], inputs: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
    """Return two outputs of torch; they differ if the generator itself draws random numbers."""
    try:
        samples = generator(*inputs), generator(*inputs)
    except Exception as error:  # a generator can raise any error for other inputs
        given = [f"{each} {_form(tensor)}" for each, tensor in zip(names, tree_leaves(inputs), strict=True)]
        raise ArgumentValueError(
            f"generator (={name}) cannot be called with {' and '.join(given)}; give examples as latent and condition "
            f"({type(error).__name__}: {error!s:.300})"
        ) from error
    if not isinstance(samples[0], Tensor):
        raise ArgumentTypeError(f"generator (={name}) must give one tensor, but gives a {type(samples[0]).__name__}")
    if not samples[0].isfinite().all():
        raise ArgumentValueError(
            f"generator (={name}) makes NaN or infinity, which cannot be compared: check its weights and the examples"
        )
    return samples


def _form(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)}" + ("" if tensor.is_floating_point() else f" of {tensor.dtype}")


@contextmanager
def _silent() -> Iterator[None]:
    """Silence the logs and prints of torch and onnxscript; a failure becomes one error."""
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
    """Return the content of the file."""
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
    """Call a generator with separate tensors; the exporter takes a dict at the end for keyword arguments."""

    def __init__(self, generator: nn.Module, nest: TreeSpec) -> None:
        super().__init__()
        self.generator = generator
        self.nest = nest

    def forward(self, *tensors: Tensor) -> Any:
        """Call the generator."""
        return self.generator(*tree_unflatten(tensors, self.nest))


def _compare(actual: Tensor, expected: Tensor, again: Tensor, tolerance: float) -> None:
    """Raise a ValueError unless the samples of onnxruntime equal those of torch."""
    if actual.shape != expected.shape:
        raise ValueError(f"onnxruntime returns samples {tuple(actual.shape)}, and torch {tuple(expected.shape)}")
    largest = tolerance * expected.abs().max()
    difference = (actual - expected).abs().max()
    if (again - expected).abs().max() <= largest < difference or not difference.isfinite():
        raise ValueError(
            f"onnxruntime's samples differ from torch's by up to {difference:.2g}, with tolerance (={tolerance:g}): "
            f"at most {largest:.2g} is allowed"
        )


def _cannot(name: str, error: BaseException, dtype: torch.dtype | None = None) -> GanlibRuntimeError:
    """Return the error that states the cause, without the long advice of torch."""
    while error.__cause__ is not None:
        error = error.__cause__
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    advice = ""
    if dtype == torch.float64:
        advice = "; onnxruntime has few layers in float64: export generator.float()"
    elif "INVALID_ARGUMENT" in reason and "Expected:" in reason:
        advice = "; its forward fixes the size of a batch: write x.shape[0] in place of len(x) or int(x.shape[0])"
    return GanlibRuntimeError(f"generator (={name}) cannot be exported: {reason:.400}{advice}")
