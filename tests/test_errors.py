"""Tests of the tree of errors."""

import inspect

import pytest

from ganlib import errors

TREE = {
    "ArgumentValueError": (errors.GanlibError, ValueError),
    "ShapeError": (errors.ArgumentValueError, ValueError),
    "PlanError": (errors.ArgumentValueError, ValueError),
    "ArgumentTypeError": (errors.GanlibError, TypeError),
    "DTypeError": (errors.ArgumentTypeError, TypeError),
    "MissingExtraError": (errors.GanlibError, ImportError),
    "GanlibRuntimeError": (errors.GanlibError, RuntimeError),
    "BatchesExhaustedError": (errors.GanlibRuntimeError, RuntimeError),
    "DataError": (errors.GanlibRuntimeError, RuntimeError),
    "CheckpointError": (errors.GanlibRuntimeError, RuntimeError),
    "RunFolderError": (errors.GanlibRuntimeError, OSError),
    "TrainingDivergedError": (errors.GanlibRuntimeError, RuntimeError),
}
everyone = pytest.mark.parametrize("name", TREE)


def test_the_tree_is_whole():
    """Every error of the module is public, and has its place in the tree."""
    defined = {name for name, value in vars(errors).items() if inspect.isclass(value)}

    assert {*TREE, "GanlibError"} == defined == set(errors.__all__)


@everyone
def test_an_error_is_ours_and_a_built_in(name):
    """Whoever catches GanlibError, the parent or the built-in catches the error with its message."""
    for catches in (errors.GanlibError, *TREE[name]):
        with pytest.raises(catches, match="dim") as caught:
            raise getattr(errors, name)("dim (=0) must be at least 1")
        assert str(caught.value) == "dim (=0) must be at least 1"


@everyone
def test_an_error_is_of_one_built_in_kind(name):
    """Errors of values, of types and of running are not each other."""
    kinds = {
        kind for kind in (ValueError, TypeError, ImportError, RuntimeError) if issubclass(getattr(errors, name), kind)
    }

    assert len(kinds) == 1


def test_the_drawing_shows_the_tree():
    """The module's docstring draws every error, below its parent and with its built-in where that is new."""
    lines = errors.__doc__.splitlines()
    drawn = {name: next(i for i, line in enumerate(lines) if f"─ {name} " in line) for name in TREE}
    for name, (parent, built_in) in TREE.items():
        if parent is not errors.GanlibError:
            above = [other for other in drawn if drawn[other] < drawn[name] and TREE[other][0] is errors.GanlibError]
            assert parent.__name__ == above[-1]
        if not issubclass(parent, built_in):
            assert f"{name} ({built_in.__name__})" in lines[drawn[name]]
