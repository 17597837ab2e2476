"""Tests of the plan."""

import copy
import dataclasses
import pickle
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganlib import models, stacks
from ganlib.errors import ArgumentTypeError, GanlibError, PlanError
from ganlib.stacks import StackPlan, Stage
from tests import strategies

MNIST = StackPlan((1, 28, 28), [Stage(64), Stage(128), Stage(256, kernel_size=7, stride=1, padding=0)])


def test_the_plan_of_the_design():
    """The plan for MNIST passes 28, 14, 7 and 1, and needs no output padding."""
    assert MNIST.shapes == ((1, 28, 28), (64, 14, 14), (128, 7, 7), (256, 1, 1))
    assert MNIST.kernel_sizes == ((4, 4), (4, 4), (7, 7))
    assert MNIST.strides == ((2, 2), (2, 2), (1, 1))
    assert MNIST.paddings == ((1, 1), (1, 1), (0, 0))
    assert MNIST.output_paddings == ((0, 0), (0, 0), (0, 0))


@given(strategies.plans())
def test_shapes_obey_the_formulas_in_both_directions(plan):
    """Upwards m = floor((n + 2p - k) / s) + 1, and downwards n = (m - 1) s - 2p + k + o with 0 <= o < s."""
    for stage in range(len(plan.stages)):
        for d in range(plan.spatial_dims):
            n, m = plan.shapes[stage][1 + d], plan.shapes[stage + 1][1 + d]
            k, s, p = plan.kernel_sizes[stage][d], plan.strides[stage][d], plan.paddings[stage][d]
            o = plan.output_paddings[stage][d]
            assert (n + 2 * p - k) // s + 1 == m
            assert (m - 1) * s - 2 * p + k + o == n
            assert 0 <= o < s


@given(strategies.plans())
def test_attributes_describe_the_shapes(plan):
    """The ends of the shapes, the dimensions and the channels are what the arguments say."""
    assert plan.image_shape == plan.shapes[0]
    assert plan.top_shape == plan.shapes[-1]
    assert plan.spatial_dims == len(plan.image_shape) - 1
    assert plan.top_is_flat == (set(plan.top_shape[1:]) == {1})
    assert plan.channels() == (plan.image_shape[0], *[stage.channels for stage in plan.stages])
    assert plan.channels(7, 9) == (7, *[stage.channels for stage in plan.stages[:-1]], 9)


@given(strategies.plans(), st.data())
def test_a_kernel_too_large_for_its_stage_names_the_stage(plan, data):
    """Where the padded sizes are below the kernel's the error names the stage and quotes kernel and sizes."""
    index = data.draw(st.integers(0, len(plan.stages) - 1))
    dimension = data.draw(st.integers(0, plan.spatial_dims - 1))
    kernel_size = list(plan.kernel_sizes[index])
    kernel_size[dimension] = plan.shapes[index][1 + dimension] + 2 * plan.paddings[index][dimension] + 1
    stages = list(plan.stages)
    stages[index] = dataclasses.replace(stages[index], kernel_size=tuple(kernel_size))

    with pytest.raises(PlanError) as caught:
        StackPlan(plan.image_shape, stages)

    assert f"stages[{index}] " in str(caught.value)
    assert str(tuple(kernel_size)) in str(caught.value)
    assert str(plan.shapes[index][1:]) in str(caught.value)


@given(
    st.lists(st.integers(-1, 9), min_size=0, max_size=5),
    st.lists(st.builds(Stage, *[st.integers(-1, 6)] * 4), max_size=3),
)
def test_any_whole_numbers_make_a_plan_or_a_plan_error(image_shape, stages):
    """Whatever numbers are given, the plan has sizes of at least 1 everywhere, or is refused."""
    try:
        shapes = StackPlan(image_shape, stages).shapes
    except PlanError:
        shapes = None
    if shapes is None:
        with pytest.raises(PlanError, match="stage|image_shape"):
            StackPlan(image_shape, stages)
    else:
        assert min(min(shape) for shape in shapes) >= 1


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (Stage(0), r"stages\[1\] .*channels \(=0\)"),
        (Stage(2.5), r"stages\[1\] .*channels \(=2\.5\)"),
        (Stage(4, kernel_size=0), r"stages\[1\] .*kernel_size \(=0\)"),
        (Stage(4, kernel_size=(3, 3, 3)), r"stages\[1\] .*kernel_size \(=\(3, 3, 3\)\).*2 of them"),
        (Stage(4, kernel_size=2.5), r"stages\[1\] .*kernel_size \(=2\.5\)"),
        (Stage(4, stride=0), r"stages\[1\] .*stride \(=0\)"),
        (Stage(4, stride=(1, -1)), r"stages\[1\] .*stride \(=\(1, -1\)\)"),
        (Stage(4, stride=None), r"stages\[1\] .*stride \(=None\)"),
        (Stage(4, padding=-1), r"stages\[1\] .*padding \(=-1\)"),
        (Stage(4, padding="same"), r"stages\[1\] .*padding \(='same'\)"),
        (64, r"stages\[1\] \(=64\) must be a Stage"),
    ],
)
def test_a_bad_stage_is_named(stage, message):
    """A stage with a value that it cannot have raises an error naming the stage, the argument and the value."""
    with pytest.raises(PlanError, match=message) as caught:
        StackPlan((1, 8, 8), [Stage(4), stage])
    assert isinstance(caught.value, GanlibError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("image_shape", [(), (1,), (1, 2, 3, 4, 5), (0, 8, 8), (1, 8, -8), (1, 8.0, 8), 28])
def test_a_bad_image_shape_is_refused(image_shape):
    """An image_shape that is not (C, *spatial) with one to three spatial dimensions is named and quoted."""
    with pytest.raises(PlanError, match="image_shape") as caught:
        StackPlan(image_shape, [Stage(4)])
    assert str(image_shape) in str(caught.value)


@pytest.mark.parametrize("stages", [(), Stage(4), None])
def test_a_plan_without_stages_is_refused(stages):
    """There must be a sequence of at least one stage."""
    with pytest.raises(PlanError) as caught:
        StackPlan((1, 8, 8), stages)
    assert f"stages (={stages})" in str(caught.value)


@pytest.mark.parametrize("name", ["image_channels", "top_channels"])
def test_channels_below_one_are_refused(name):
    """Replaced channels below 1 raise an error that names them."""
    with pytest.raises(PlanError, match=rf"{name} \(=0\)"):
        MNIST.channels(**{name: 0})


def test_a_plan_is_frozen():
    """Neither a plan nor a stage can be changed after it was made."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        MNIST.image_shape = (3, 28, 28)
    with pytest.raises(dataclasses.FrozenInstanceError):
        MNIST.stages[0].channels = 3


@given(strategies.plans())
def test_plans_are_values(plan):
    """A plan made again, copied or pickled is equal, with equal hash and shapes."""
    for twin in (StackPlan(list(plan.image_shape), list(plan.stages)), copy.deepcopy(plan)):
        assert plan == twin
        assert hash(plan) == hash(twin)
        assert plan.shapes == twin.shapes
    assert plan.shapes == pickle.loads(pickle.dumps(plan)).shapes


def test_the_networks_of_a_plan_refuse_what_is_no_plan():
    """A shape in the place of a plan is named, with what to give instead."""
    for make in (stacks.ConvStack, stacks.ConvTransposeStack, stacks.UNet, partial(models.dcgan, latent_dim=8)):
        with pytest.raises(ArgumentTypeError, match=r"plan \(=\(1, 28, 28\)\) must be a StackPlan"):
            make((1, 28, 28))
