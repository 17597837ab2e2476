"""Ways to export a module with a free batch size, and how far what they give is from torch."""

import warnings
from itertools import product
from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.utils._pytree import tree_leaves

__all__ = ["BATCHES", "TORCH_26", "WAYS", "assert_exports", "several"]

TORCH_26 = torch.__version__.startswith("2.6.")
BATCHES = (1, 3, 64)
DIMENSIONS = {"named": lambda: Dim("batch"), "dynamic": lambda: Dim.DYNAMIC, "auto": lambda: Dim.AUTO}
WAYS = [*product(("strict", "not strict", "onnx"), DIMENSIONS)]


def several(inputs: tuple[Tensor, ...], n: int) -> tuple[Tensor, ...]:
    """N of the examples."""
    return tuple(tensor[torch.arange(n) % len(tensor)] for tensor in inputs)


def assert_exports(module: nn.Module, inputs: tuple[Tensor, ...], way: str, dimension: str) -> None:
    """What is exported with two samples gives what torch gives, for other numbers of samples too."""
    if way == "onnx" and TORCH_26:
        pytest.skip("torch 2.6 cannot export batch norm and other layers to ONNX with the onnxscript of today")
    module.eval()
    with torch.no_grad():
        made = _exported(module, inputs, way, dimension)
        for n in BATCHES:
            some = several(inputs, n)
            expected, actual = _tensors(module(*some)), _tensors(made(*some))
            assert [tensor.shape for tensor in expected] == [tensor.shape for tensor in actual]
            for one, other in zip(expected, actual, strict=True):
                assert one.isfinite().all()
                assert (one - other).abs().max() <= 1e-5 * max(1, one.abs().max())


def _exported(module: nn.Module, inputs: tuple[Tensor, ...], way: str, dimension: str) -> Any:
    batch = DIMENSIONS[dimension]()
    shapes = tuple({0: batch} for _ in inputs)
    with warnings.catch_warnings(action="ignore"):
        if way != "onnx":
            return torch.export.export(
                module, several(inputs, 2), dynamic_shapes=shapes, strict=way == "strict"
            ).module()
        program: Any = torch.onnx.export(module, several(inputs, 2), dynamo=True, verbose=False, dynamic_shapes=shapes)
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    names = [each.name for each in session.get_inputs()]
    return lambda *some: [
        torch.from_numpy(array)
        for array in session.run(None, dict(zip(names, (tensor.numpy() for tensor in some), strict=True)))
    ]


def _tensors(output: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(output) if leaf is not None]
