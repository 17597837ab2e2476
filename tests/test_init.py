"""Tests of weight initialisation."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from ganlib import init, stacks
from ganlib.errors import GanlibError

ALL = [init.dcgan_, init.normal_, init.xavier_, init.kaiming_, init.orthogonal_]
everyone = pytest.mark.parametrize("initialise", ALL)
LAYERS = [
    lambda: nn.Linear(300, 200),
    lambda: nn.Conv1d(60, 50, 5),
    lambda: nn.Conv2d(30, 40, 5),
    lambda: nn.Conv3d(20, 30, 3),
    lambda: nn.ConvTranspose1d(60, 50, 5),
    lambda: nn.ConvTranspose2d(40, 30, 5),
    lambda: nn.ConvTranspose3d(30, 20, 3),
]
layers = pytest.mark.parametrize("make", LAYERS, ids=lambda make: type(make()).__name__)


@everyone
@layers
def test_weights_are_drawn_anew_and_biases_are_zero(initialise, make):
    """Every kind of layer gets a new weight with mean 0, and a bias of 0."""
    torch.manual_seed(0)
    layer = make()
    before = layer.weight.detach().clone()
    nn.init.ones_(layer.bias)

    assert initialise(layer) is layer
    assert not torch.equal(before, layer.weight)
    assert pytest.approx(0.0, abs=0.005) == layer.weight.mean().item()
    assert layer.bias.count_nonzero() == 0


def deviation(initialise, layer, **arguments):
    """The standard deviation of a layer's weights after initialisation."""
    torch.manual_seed(0)
    return initialise(layer, **arguments).weight.std().item()


@layers
def test_dcgan_and_normal_have_their_standard_deviation(make):
    """The weights' standard deviation is 0.02, or the one that was given."""
    for initialise in (init.dcgan_, init.normal_):
        assert pytest.approx(0.02, rel=0.03) == deviation(initialise, make())
        assert pytest.approx(0.5, rel=0.03) == deviation(initialise, make(), std=0.5)


@layers
def test_xavier_has_its_standard_deviation_and_bound(make):
    """Weights are uniform with variance gain^2 * 2 / (fan_in + fan_out)."""
    layer = make()
    places = math.prod(layer.weight.shape[2:])
    expected = 3 * math.sqrt(2 / (sum(layer.weight.shape[:2]) * places))

    assert pytest.approx(expected, rel=0.03) == deviation(init.xavier_, layer, gain=3.0)
    assert layer.weight.abs().max() <= math.sqrt(3) * expected + 1e-6


@pytest.mark.parametrize("make", LAYERS[:4], ids=lambda make: type(make()).__name__)
def test_kaiming_has_its_standard_deviation(make):
    """Weights have variance 2 / ((1 + slope^2) fan_in)."""
    layer = make()
    fan_in = layer.weight[0].numel()

    assert pytest.approx(math.sqrt(2 / fan_in), rel=0.03) == deviation(init.kaiming_, layer)
    expected = math.sqrt(2 / (1 + 0.5**2) / fan_in)
    assert pytest.approx(expected, rel=0.03) == deviation(init.kaiming_, layer, negative_slope=0.5)


@pytest.mark.parametrize("make", LAYERS[:4], ids=lambda make: type(make()).__name__)
def test_orthogonal_weights_are_orthogonal(make):
    """The matrix with a row an output has rows, or columns, that are orthogonal and of length gain."""
    matrix = init.orthogonal_(make(), gain=2.0).weight.flatten(1)
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix

    assert torch.allclose(4 * torch.eye(len(gram)), gram, atol=1e-4)


@everyone
@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.BatchNorm1d(4),
        lambda: nn.BatchNorm2d(4),
        lambda: nn.InstanceNorm3d(4, affine=True),
        lambda: nn.GroupNorm(2, 4),
        lambda: nn.LayerNorm(4),
    ],
    ids=lambda make: type(make()).__name__,
)
def test_norms_start_near_the_identity(initialise, make):
    """An affine norm's bias becomes 0, and its gain 1, or for DCGAN a draw around 1."""
    torch.manual_seed(0)
    norm = make()
    nn.init.constant_(norm.weight, 7.0)
    nn.init.constant_(norm.bias, 7.0)

    initialise(norm)

    assert norm.bias.count_nonzero() == 0
    if initialise is init.dcgan_:
        assert len(norm.weight.unique()) == 4
        assert torch.allclose(torch.ones(4), norm.weight, atol=0.1)
    else:
        assert torch.equal(torch.ones(4), norm.weight)


def test_dcgans_gains_are_drawn_around_one():
    """DCGAN's gains come from N(1, 0.02)."""
    torch.manual_seed(0)
    gain = init.dcgan_(nn.BatchNorm2d(20_000)).weight

    assert pytest.approx(1.0, abs=0.001) == gain.mean().item()
    assert pytest.approx(0.02, rel=0.03) == gain.std().item()


@everyone
def test_what_has_no_weight_or_bias_is_passed_over(initialise):
    """Layers without biases, and norms without gains, are no obstacle."""
    network = nn.Sequential(
        nn.Linear(4, 4, bias=False),
        nn.BatchNorm1d(4, affine=False),
        nn.GroupNorm(2, 4, affine=False),
        nn.LayerNorm(4, bias=False),
        nn.ReLU(),
    )

    assert initialise(network) is network
    assert network(torch.randn(3, 4)).isfinite().all()


@everyone
def test_embeddings_are_left_alone(initialise):
    """Embeddings keep torch's N(0, 1)."""
    embedding = nn.Embedding(5, 3)
    before = embedding.weight.detach().clone()

    assert torch.equal(before, initialise(nn.Sequential(embedding))[0].weight)


@everyone
def test_a_parametrized_weight_is_set_below_its_parametrization(initialise):
    """A weight under spectral norm gets what a plain one gets with the same random numbers."""
    plain, normalised = nn.Linear(4, 3), parametrizations.spectral_norm(nn.Linear(4, 3))

    torch.manual_seed(0)
    initialise(plain)
    torch.manual_seed(0)
    initialise(normalised)

    assert torch.equal(plain.weight, normalised.parametrizations.weight.original)


@everyone
def test_a_whole_stack_is_initialised(initialise):
    """Every layer inside of a stack is reached, and frozen statistics stay."""
    plan = stacks.StackPlan((1, 8, 6), [stacks.Stage(2), stacks.Stage(4)])
    stack = stacks.ConvTransposeStack(plan)
    before = [block.layer.weight.detach().clone() for block in stack.blocks]

    initialise(stack)

    assert all(not torch.equal(old, block.layer.weight) for old, block in zip(before, stack.blocks, strict=True))
    assert torch.equal(torch.zeros(2), stack.blocks[0].norm.running_mean)


NORMS = [nn.BatchNorm2d(2000), nn.GroupNorm(2, 2000), nn.LayerNorm(2000), nn.InstanceNorm1d(2000, affine=True)]


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: type(norm).__name__)
def test_gains_are_drawn_where_that_is_asked_for(norm):
    """With ``gains=True`` the gain of a norm has mean 0 and the given deviation, and its bias is 0; else it is 1."""
    torch.manual_seed(0)
    nn.init.constant_(norm.bias, 3.0)
    assert init.normal_(norm, 0.05, gains=True) is norm
    assert norm.weight.mean().abs() < 5 * 0.05 / math.sqrt(2000)
    assert norm.weight.std().item() == pytest.approx(0.05, rel=0.1)
    assert not norm.bias.any()
    assert (init.normal_(norm, 0.05).weight == 1).all()


def test_gains_leave_the_draw_of_weights_as_it_is():
    """What is no norm is drawn from N(0, std) with and without ``gains``."""
    for gains in (False, True):
        network = init.normal_(nn.Sequential(nn.Linear(300, 200), nn.BatchNorm1d(200)), 0.1, gains=gains)
        assert network[0].weight.std().item() == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize(
    ("options", "builtin", "message"),
    [({"std": -0.1}, ValueError, r"std \(=-0.1\)"), ({"gains": 0.02}, TypeError, r"gains \(=0.02\)")],
)
def test_wrong_arguments_of_normal_are_named(options, builtin, message):
    """A negative deviation, and a number in place of a switch, are errors of ours with their value."""
    with pytest.raises(builtin, match=message) as caught:
        init.normal_(nn.Linear(1, 1), **options)
    assert isinstance(caught.value, GanlibError)


class Twice(nn.Module):
    """A parametrization with an inverse."""

    def forward(self, x):
        """Double it."""
        return 2 * x

    def right_inverse(self, x):
        """Halve it."""
        return x / 2


class Absolute(nn.Module):
    """A parametrization without an inverse."""

    def forward(self, x):
        """Take absolute values."""
        return x.abs()


class Refusing(Twice):
    """A parametrization whose inverse fails when it is asked again."""

    refuses = False

    def right_inverse(self, x):
        """Return it, or fail."""
        if self.refuses:
            raise ValueError("no such weight")
        return x


def _parametrized(*parametrizations):
    def put(layer):
        for make in parametrizations:
            parametrize.register_parametrization(layer, "weight", make())
        return layer

    return put


def _pruned(layer):
    return prune.custom_from_mask(layer, "weight", torch.arange(layer.weight.numel()).view_as(layer.weight) % 3 != 0)


def _pruned_twice(layer):
    return prune.custom_from_mask(_pruned(layer), "weight", torch.ones_like(layer.weight).triu())


def _pruned_below(layer):
    direction = nn.utils.weight_norm(layer).weight_v
    prune.custom_from_mask(layer, "weight_v", torch.ones_like(direction))
    return layer


EXACT = {
    "weight norm": parametrizations.weight_norm,
    "weight norm of all": lambda layer: parametrizations.weight_norm(layer, dim=None),
    "weight norm, a hook": nn.utils.weight_norm,
    "weight norm, a hook of dim 1": lambda layer: nn.utils.weight_norm(layer, dim=1),
    "with an inverse": _parametrized(Twice),
    "without an inverse": _parametrized(Absolute),
    "pruned": _pruned,
    "pruned twice": _pruned_twice,
    "pruned below weight norm": _pruned_below,
    "orthogonal": parametrizations.orthogonal,
    "compiled": lambda layer: torch.compile(layer, backend="eager"),
    "several devices": nn.DataParallel,
    "frozen": lambda layer: layer.requires_grad_(False),
    "channels last": lambda layer: layer.to(memory_format=torch.channels_last),
}
SPECTRAL = {
    "a parametrization": parametrizations.spectral_norm,
    "a hook": nn.utils.spectral_norm,
    "over weight norm": lambda layer: parametrizations.spectral_norm(parametrizations.weight_norm(layer)),
    "twice": lambda layer: parametrizations.spectral_norm(parametrizations.spectral_norm(layer)),
    "over pruning": lambda layer: _spectral_over_pruning(layer),
    "of the second dimension": lambda layer: parametrizations.spectral_norm(layer, dim=1),
}
INPUTS = {nn.Linear: (5, 6), nn.Conv2d: (5, 2, 7, 7), nn.ConvTranspose1d: (5, 4, 7)}
FORMED = [lambda: nn.Linear(6, 6), lambda: nn.Conv2d(2, 6, 3), lambda: nn.ConvTranspose1d(4, 6, 3)]
formed = pytest.mark.parametrize("make", FORMED, ids=lambda make: type(make()).__name__)
hooks = pytest.mark.filterwarnings("ignore:`torch.nn.utils.(weight|spectral)_norm` is deprecated")


def _spectral_over_pruning(layer):
    parametrizations.spectral_norm(layer)
    original = layer.parametrizations.weight.original
    prune.custom_from_mask(layer.parametrizations.weight, "original", torch.ones_like(original))
    return layer


def _output(layer, inputs):
    torch.manual_seed(3)
    return layer.eval()(torch.randn(inputs))


@everyone
@formed
@pytest.mark.parametrize("form", EXACT)
@hooks
def test_it_acts_as_if_it_had_been_called_before_a_form_was_applied(initialise, make, form):
    """A layer computes the same whether it was initialized before or after: with the same seed, the same outputs."""
    first, last = make(), make()
    inputs = INPUTS[type(first)]
    torch.manual_seed(1)
    first = EXACT[form](initialise(first))
    last = EXACT[form](last)
    torch.manual_seed(1)
    assert initialise(last) is last
    torch.testing.assert_close(_output(first, inputs), _output(last, inputs), rtol=1e-4, atol=1e-6)
    (last(torch.randn(inputs)).sum() if form != "frozen" else torch.zeros((), requires_grad=True)).backward()


@everyone
def test_several_parametrizations_give_the_drawn_weight(initialise):
    """The drawn weight goes through the inverses of all of them, and through one without inverse as it is."""
    for makes, function in (((Twice, Twice, Twice), lambda x: x), ((Absolute, Twice), torch.abs)):
        plain, layer = nn.Linear(6, 6), _parametrized(*makes)(nn.Linear(6, 6))
        for module in (plain, layer):
            torch.manual_seed(1)
            initialise(module)
        torch.testing.assert_close(layer.weight, function(plain.weight))


@everyone
@pytest.mark.parametrize("form", SPECTRAL)
@pytest.mark.parametrize("mode", [True, False])
@hooks
def test_a_spectral_norm_divides_by_the_norm_of_the_new_weight(initialise, form, mode):
    """What a layer computes with is the drawn weight over its largest singular value, in both modes, at once."""
    norms = []
    for make in FORMED[:2]:
        plain, layer = make(), SPECTRAL[form](make()).train(mode)
        for seed in range(5):
            for module in (plain, layer):
                torch.manual_seed(seed)
                initialise(module)
            with torch.no_grad():
                layer.eval()(torch.randn(INPUTS[type(plain)]))
                weight = layer.weight.flatten(1) if "second" not in form else layer.weight.transpose(0, 1).flatten(1)
                drawn = plain.weight.flatten(1) if "second" not in form else plain.weight.transpose(0, 1).flatten(1)
            torch.testing.assert_close(weight / weight.norm(), drawn / drawn.norm(), rtol=1e-3, atol=1e-5)
            norms.append(torch.linalg.matrix_norm(weight, 2).item())
            layer.train(mode)
    assert min(norms) > 0.999
    assert sum(norms) / len(norms) < 1.03  # after 15 iterations, as where torch applies the norm
    assert max(norms) < 1.2


def test_vectors_of_a_spectral_norm_that_were_lost_are_found_again():
    """NaN, as after a training that diverged, and zeros, in the vectors do not stay."""
    for value in (float("nan"), 0.0):
        layer = parametrizations.spectral_norm(nn.Linear(9, 5))
        for vector in layer.parametrizations.weight[0].buffers():
            vector.fill_(value)
        assert torch.linalg.matrix_norm(init.xavier_(layer).eval().weight, 2).item() == pytest.approx(1, rel=0.1)


OTHERS = {
    "bilinear": (lambda: nn.Bilinear(3, 4, 5), ["weight"]),
    "LSTM": (lambda: nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2), None),
    "GRU": (lambda: nn.GRU(3, 4), None),
    "RNN": (lambda: nn.RNN(3, 4, bias=False), None),
    "LSTM cell": (lambda: nn.LSTMCell(3, 4), None),
    "GRU cell": (lambda: nn.GRUCell(3, 4), None),
    "RNN cell": (lambda: nn.RNNCell(3, 4), None),
    "attention": (lambda: nn.MultiheadAttention(4, 2), ["in_proj_weight", "out_proj.weight"]),
    "attention of other dimensions": (
        lambda: nn.MultiheadAttention(4, 2, kdim=3, vdim=5),
        ["q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight"],
    ),
}


@everyone
@pytest.mark.parametrize("kind", OTHERS)
def test_recurrent_bilinear_and_attention_layers_are_drawn(initialise, kind):
    """Their weights are new, and their biases 0."""
    make, names = OTHERS[kind]
    module = make()
    before = copy.deepcopy(module.state_dict())
    initialise(module)
    drawn = {name for name, value in module.state_dict().items() if "bias" not in name}
    assert names is None or drawn == {*names}
    for name, value in module.state_dict().items():
        if name in drawn:
            assert not torch.isclose(value, before[name], atol=1e-7).any()
        else:
            assert not value.any()


def test_each_gate_and_projection_is_a_matrix_of_its_own():
    """Orthogonal weights are orthogonal gate by gate, and the three projections of an attention are too."""
    lstm, attention = init.orthogonal_(nn.LSTM(4, 4)), init.orthogonal_(nn.MultiheadAttention(4, 2))
    matrices = [*lstm.weight_hh_l0.chunk(4), *lstm.weight_ih_l0.chunk(4), *attention.in_proj_weight.chunk(3)]
    assert len(matrices) == 11
    for matrix in matrices:
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(4), atol=1e-5, rtol=0)


@everyone
@pytest.mark.parametrize("norm", [nn.RMSNorm, lambda n: nn.SyncBatchNorm(n), nn.LayerNorm])
def test_gains_and_biases_below_parametrizations_are_set(initialise, norm):
    """A gain becomes 1, or a draw around 1, and a bias 0, also where they are computed from something else."""
    layer = norm(50)
    parametrize.register_parametrization(layer, "weight", Twice())
    if getattr(layer, "bias", None) is not None:
        parametrizations.weight_norm(layer, "bias")
    initialise(layer)
    assert layer.weight.mean().item() == pytest.approx(1, abs=0.02)
    assert getattr(layer, "bias", None) is None or not layer.bias.any()


@everyone
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_float32_rounded(initialise, dtype):
    """A module in half precision gets the draw of one in float32, rounded."""
    wide, narrow = nn.Sequential(nn.Linear(9, 5), nn.BatchNorm1d(5)), nn.Sequential(nn.Linear(9, 5), nn.BatchNorm1d(5))
    for module in (wide, narrow.to(dtype)):
        torch.manual_seed(0)
        initialise(module)
    assert all(torch.equal(a.to(dtype), b) for a, b in zip(wide.parameters(), narrow.parameters(), strict=True))


@everyone
def test_modules_of_shapes_alone_take_no_numbers(initialise):
    """Under ``torch.device("meta")`` nothing is drawn, and the random state stays."""
    state = torch.random.get_rng_state()
    with torch.device("meta"):
        assert initialise(parametrizations.weight_norm(nn.Linear(3, 2))).weight.is_meta
    assert torch.equal(state, torch.random.get_rng_state())


def _unknown():
    layer = nn.Linear(2, 2)
    weight = layer.weight
    del layer.weight
    layer.weight_orig, layer.weight = weight, weight.detach()
    layer.register_forward_pre_hook(lambda module, _: setattr(module, "weight", 2 * module.weight_orig))
    return nn.Sequential(layer)


def _refusing():
    layer = nn.Linear(2, 2)
    parametrize.register_parametrization(layer, "weight", Refusing())
    layer.parametrizations.weight[0].refuses = True
    return layer


def _inference():
    with torch.inference_mode():
        return nn.Linear(2, 2)


REFUSED = {
    "a hook of another library": (_unknown, TypeError, r"weight of 0 \(=Linear\).*not of torch"),
    "a lazy layer": (lambda: nn.Sequential(nn.ReLU(), nn.LazyConv2d(2, 3)), ValueError, r"weight of 1 \(=LazyConv2d\)"),
    "a lazy norm": (lambda: nn.LazyBatchNorm2d(), ValueError, r"weight of LazyBatchNorm2d .* no shape yet"),
    "the meta device": (lambda: nn.Linear(2, 2, device="meta"), ValueError, "weight of Linear .* meta device"),
    "an inverse that fails": (_refusing, TypeError, "weight of ParametrizedLinear .*no such weight"),
    "inference mode": (_inference, TypeError, "weight of Linear .*[Ii]nference"),
    "integers": (lambda: nn.Linear(2, 2).requires_grad_(False).to(torch.float8_e4m3fn), None, ""),
    "a tensor": (lambda: torch.zeros(2), TypeError, r"module \(=tensor"),
    "a list": (lambda: [nn.Linear(2, 2)], TypeError, r"module \(=\[Linear"),
    "a class": (lambda: nn.Linear, TypeError, r"module \(=<class"),
}


@everyone
@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_what_cannot_be_drawn_is_named(initialise, case):
    """It is an error of ours that names the layer; 8-bit floats are drawn in float32 and rounded, as halves are."""
    make, builtin, message = REFUSED[case]
    if builtin is None:
        assert initialise(make()).weight.float().std() > 0
        return
    with pytest.raises(builtin, match=message) as caught:
        initialise(make())
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "0.1", True, None, torch.tensor(0.1)])
@everyone
def test_each_number_is_checked(initialise, value):
    """A deviation, gain or slope that is no finite number is an error of ours; only a slope may be negative."""
    if initialise is init.kaiming_ and value == -1:
        assert initialise(nn.Linear(2, 2), value).weight.isfinite().all()
        return
    with pytest.raises(ValueError, match=r"(std|gain|negative_slope) \(=.*must be a finite number") as caught:
        initialise(nn.Linear(2, 2), value)
    assert isinstance(caught.value, GanlibError)


@everyone
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_numbers_of_numpy_are_numbers(initialise, kind):
    """They draw what Python's draw."""
    results = []
    for value in (0.5, kind(0.5)):
        torch.manual_seed(0)
        results.append(initialise(nn.Linear(4, 4), value).weight)
    assert torch.equal(*results)


def test_a_deviation_of_0_cannot_be_under_a_spectral_norm():
    """A weight of zeros has no direction: named, where weight norm takes it."""
    assert not init.normal_(parametrizations.weight_norm(nn.Linear(3, 3)), 0.0).weight.any()
    with pytest.raises(ValueError, match=r"std \(=0.0\) must be above 0"):
        init.normal_(parametrizations.spectral_norm(nn.Linear(3, 3)), 0.0)


def test_a_module_without_any_known_layer_is_warned_of_once():
    """Weights of a module's own stay; where torch's layers are with them, or nothing is to draw, that is no mistake."""

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3, 3))

    with pytest.warns(UserWarning, match=r"module \(=Own\) stays as it is") as caught:
        init.dcgan_(Own())
    assert len(caught) == 1
    for module in (nn.Sequential(Own(), nn.Linear(2, 2)), nn.ReLU(), nn.Embedding(2, 2), nn.PReLU(), nn.Identity()):
        init.dcgan_(module)


@everyone
def test_weights_of_our_own_networks_are_those_of_a_plain_draw(initialise):
    """Networks with spectral norm have the weights, and leave the random state, that they have without it."""
    plan = stacks.StackPlan((1, 8, 6), [stacks.Stage(2), stacks.Stage(4)])
    plain, normed = stacks.ConvStack(plan), stacks.ConvStack(plan, spectral_norm=True)
    states = []
    for network in (plain, normed):
        torch.manual_seed(0)
        initialise(network)
        states.append(torch.rand(3))
    assert torch.equal(*states)
    for one, other in zip(plain.blocks, normed.blocks, strict=True):
        assert torch.equal(one.layer.weight, other.layer.parametrizations.weight.original)
