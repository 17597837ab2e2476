"""Tests of what a condition must look like."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ganlib import conditioning
from ganlib.conditioning import OneHot
from ganlib.conditioning._checks import check_classes, check_encoder, check_floats, encode
from ganlib.errors import ArgumentTypeError, ArgumentValueError, DTypeError, GanlibError, ShapeError


def test_a_condition_that_is_there_is_encoded():
    """A tensor is encoded."""
    assert encode(torch.tensor([0]), OneHot(2)).tolist() == [[1.0, 0.0]]


def test_a_missing_condition_is_refused():
    """None raises an error that names the argument and the encoder."""
    with pytest.raises(ArgumentValueError, match=r"condition \(=None\) is missing.*OneHot\(2\)") as caught:
        encode(None, OneHot(2))
    assert isinstance(caught.value, GanlibError)
    assert isinstance(caught.value, ValueError)


def test_a_nest_of_conditions_is_passed_on():
    """A dict or tuple is what an encoder of your own may take; it is given it as it is."""
    for condition in ((torch.tensor([0]), torch.zeros(1)), {"class": torch.tensor([0])}):
        assert encode(condition, lambda given: given) is condition


@pytest.mark.parametrize("condition", [[0, 1], (torch.tensor([0]),), {"class": 1}])
def test_a_condition_that_is_not_a_tensor_is_refused_by_our_encoders(condition):
    """Classes and floats are tensors; anything else raises an error that quotes it."""
    for check in (lambda: check_classes(condition, 2), lambda: check_floats(condition, 2, maps=False, what="vectors")):
        with pytest.raises(ArgumentTypeError, match=r"condition \(=.*\) must be a tensor") as caught:
            check()
        assert isinstance(caught.value, GanlibError)
        assert isinstance(caught.value, TypeError)


@given(st.integers(1, 5), st.lists(st.integers(-3, 8), max_size=8))
def test_classes_pass_just_where_all_are_in_range(num_classes, values):
    """Indices pass where all are in [0, num_classes); else the error quotes one that is not."""
    condition = torch.tensor(values, dtype=torch.int64)
    outside = [value for value in values if not 0 <= value < num_classes]
    if not outside:
        assert check_classes(condition, num_classes) is None
        return
    with pytest.raises(ArgumentValueError, match=rf"num_classes \(={num_classes}\)") as caught:
        check_classes(condition, num_classes)
    assert any(f"the class {value}," in str(caught.value) for value in outside)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool, torch.complex64])
def test_classes_of_another_dtype_are_refused(dtype):
    """Class indices are whole numbers; another dtype is quoted."""
    with pytest.raises(DTypeError, match=rf"condition .*{dtype}") as caught:
        check_classes(torch.zeros(2, dtype=dtype), 3)
    assert isinstance(caught.value, TypeError)


def test_classes_on_another_device_are_not_read():
    """Values are checked on the host alone, so that no device is waited for; dtype and shape always are."""
    assert check_classes(torch.empty(2, dtype=torch.int64, device="meta"), 3) is None
    with pytest.raises(ShapeError, match=r"condition \(2, 1\)"):
        check_classes(torch.empty(2, 1, dtype=torch.int64, device="meta"), 3)


def test_floats_on_another_device_are_not_read():
    """Whether floats are finite is looked at on the host alone."""
    assert check_floats(torch.empty(2, 3, device="meta"), 3, maps=False, what="vectors") is None


@given(st.lists(st.integers(0, 3), max_size=5).map(tuple), st.booleans())
def test_floats_pass_just_where_the_shape_is_right(shape, maps):
    """Vectors are (N, 2); maps (N, 2, *spatial) with at least one spatial dimension."""
    right = len(shape) >= 2 and shape[1] == 2 and (len(shape) > 2 if maps else len(shape) == 2)
    if right:
        assert check_floats(torch.zeros(shape), 2, maps=maps, what="numbers") is None
        return
    with pytest.raises(ShapeError, match="numbers of shape") as caught:
        check_floats(torch.zeros(shape), 2, maps=maps, what="numbers")
    assert f"condition {shape}" in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_floats_that_are_not_finite_are_refused(value):
    """A NaN or an infinity is refused on the host."""
    with pytest.raises(ArgumentValueError, match="condition holds vectors that are not finite"):
        check_floats(torch.tensor([[0.0, value]]), 2, maps=False, what="vectors")


NO_ENCODERS = [nn.Embedding(10, 16), 10, OneHot, None]


@pytest.mark.parametrize("encoder", NO_ENCODERS)
def test_what_is_no_encoder_is_refused(encoder):
    """A module without features, a number, a class and None raise an error that shows what was given."""
    with pytest.raises(ArgumentTypeError, match=r"encoder \(=.* must be an encoder"):
        check_encoder(encoder)


@pytest.mark.parametrize(
    "make",
    [
        lambda encoder: conditioning.ConcatLatent(nn.Linear(2, 2), encoder),
        lambda encoder: conditioning.ConcatChannels(nn.Linear(2, 2), encoder),
        lambda encoder: conditioning.ConcatFeatures(nn.Linear(2, 2), encoder, nn.Linear(2, 1)),
        lambda encoder: conditioning.Projection(nn.Linear(2, 2), encoder, 2),
        lambda encoder: conditioning.FiLM(2, encoder),
        lambda encoder: conditioning.ConditionalBatchNorm(2, encoder),
    ],
    ids=["latent", "channels", "features", "projection", "film", "batch norm"],
)
def test_every_place_for_an_encoder_looks_at_it(make):
    """Whatever takes an encoder refuses at once what is none, and takes a user's own module with features."""

    class Own(nn.Module):
        features = 2

        def forward(self, condition):
            return condition

    make(Own())
    with pytest.raises(ArgumentTypeError, match=r"encoder \(=Embedding"):
        make(nn.Embedding(10, 16))


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("module", conditioning.Unconditional),
        ("module", lambda network: conditioning.ConcatLatent(network, OneHot(3))),
        ("module", lambda network: conditioning.ConcatChannels(network, OneHot(3))),
        ("backbone", lambda network: conditioning.ConcatFeatures(network, OneHot(3), nn.Linear(1, 1))),
        ("head", lambda network: conditioning.ConcatFeatures(nn.Linear(1, 1), OneHot(3), network)),
        ("backbone", lambda network: conditioning.Projection(network, OneHot(3), 4)),
        ("backbone", lambda network: conditioning.AuxiliaryClassifierHead(network, 4, 3)),
    ],
)
def test_a_class_instead_of_a_network_is_refused(name, make):
    """By each adapter when it is created; a module, a compiled one and a function are networks."""
    with pytest.raises(
        ArgumentTypeError, match=rf"^{name} \(=.*Linear.*\) must be a network, not a class.*Linear\(\.\.\."
    ):
        make(nn.Linear)
    for other in (None, 3, "linear", [nn.Linear(1, 1)]):
        with pytest.raises(ArgumentTypeError, match=rf"^{name} \(=.*\) must be a network$"):
            make(other)
    for network in (nn.Linear(1, 1), torch.compile(nn.Linear(1, 1)), torch.relu, lambda x: x):
        make(network)
