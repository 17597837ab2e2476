"""Batches in all their forms; one that cannot be trained on is refused by name and value, before it trains anything."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ganlib import conditioning, data, latents, losses, models, penalties, stacks, training
from ganlib.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    BatchesExhaustedError,
    DTypeError,
    GanlibError,
    ShapeError,
)
from ganlib.protocols import Batch
from tests.training.players import make_players, make_trainer, points, weights

PLAN = stacks.StackPlan((1, 8, 8), [stacks.Stage(4), stacks.Stage(8)])


def image_trainer(*, conditional: bool = True, latent_dim: int = 5, drawn: int = 5) -> training.AdversarialTrainer:
    """A small conditional DCGAN of 8x8 images with 3 classes."""
    players = models.conditional_dcgan(PLAN, latent_dim, 3) if conditional else models.dcgan(PLAN, latent_dim)
    optimizers = [torch.optim.Adam(network.parameters()) for network in players]
    return training.AdversarialTrainer(
        *players, *optimizers, loss=losses.NonSaturatingLoss(), latent=latents.Gaussian(drawn)
    )


def images(n: int = 4, size: int = 8) -> Tensor:
    """Images in [-1, 1]."""
    return torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


LABELS = torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize(
    ("batch", "error", "builtin", "words"),
    [
        ((images(size=9), LABELS), ShapeError, ValueError, r"sample \(4, 1, 9, 9\).*\(4, 1, 8, 8\)"),
        ((images()[0], LABELS[:1]), ShapeError, ValueError, r"sample \(1, 8, 8\)"),
        (((images() * 127).byte(), LABELS), DTypeError, TypeError, r"sample.*torch.uint8.* / 127\.5 - 1"),
        ((images() * 255, LABELS), ArgumentValueError, ValueError, r"sample.*sample_range is \[-1, 1\]"),
        ((images() * torch.nan, LABELS), ArgumentValueError, ValueError, "sample.*not finite.*nan"),
        ((images() / 0, LABELS), ArgumentValueError, ValueError, "sample.*not finite.*inf"),
        ((images(), torch.tensor([0, 1, 2, 3])), ArgumentValueError, ValueError, r"class 3.*num_classes \(=3\)"),
        ((images(), torch.tensor([0, -1, 2, 1])), ArgumentValueError, ValueError, "class -1"),
        ((images(), LABELS[:3]), ShapeError, ValueError, r"condition \(3,\).*4 samples"),
        ((images(), LABELS.float()), DTypeError, TypeError, "torch.int64.*torch.float32"),
        ((images(), LABELS.view(4, 1)), ShapeError, ValueError, r"condition \(4, 1\)"),
        (images(), ArgumentValueError, ValueError, "condition.*missing"),
        ((images(), None), ArgumentValueError, ValueError, "condition.*missing"),
        ((images(), [0, 1, 2, 0]), ArgumentTypeError, TypeError, "condition must be a tensor.*list holds 0"),
        ((images(), {"class": "cat"}), ArgumentTypeError, TypeError, "condition must be a tensor.*dict holds 'cat'"),
        ((images(), LABELS, LABELS), ArgumentTypeError, TypeError, r"tuple of 3.*\(sample, \(class, angle\)\)"),
        ([], ArgumentTypeError, TypeError, "list of 0"),
        (3, ArgumentTypeError, TypeError, r"a batch \(=int\) must be"),
        ((3, LABELS), ArgumentTypeError, TypeError, "sample must be a tensor, but it is a int"),
        ({"image": images()}, ArgumentValueError, ValueError, "condition.*missing"),
        (
            {"img": images(), "label": LABELS},
            ArgumentValueError,
            ValueError,
            r"sample_key \(='image'\).*'img', 'label'",
        ),
        (
            {"image": images(), "class": LABELS},
            ArgumentValueError,
            ValueError,
            r"condition_key \(='label'\) is not in the batch, whose keys are 'image', 'class'; None trains without",
        ),
        ({"image": images(), "label": LABELS[:3]}, ShapeError, ValueError, r"condition \(3,\).*4 samples"),
        ((images(0), LABELS[:0]), ShapeError, ValueError, "no samples"),
        ((torch.tensor(1.0), None), ShapeError, ValueError, "batch dimension"),
    ],
)
@pytest.mark.parametrize("after", [0, 2])
def test_a_bad_batch_trains_nothing(
    batch: Any, error: type[GanlibError], builtin: type[Exception], words: str, after: int
) -> None:
    """The error names what is wrong, and no weight or statistic has moved, for the first batch and for a later one."""
    trainer = image_trainer()
    for _ in range(after):
        trainer.train_step(iter([(images(), LABELS)]))
    before, random_before = weights(trainer), torch.get_rng_state()
    with pytest.raises(error, match=words) as caught:
        trainer.train_step(iter([batch]))
    assert isinstance(caught.value, builtin)
    assert trainer.iteration == after
    assert torch.equal(torch.get_rng_state(), random_before)
    for name, value in weights(trainer).items():
        assert torch.equal(value, before[name]), name


def test_a_latent_of_another_size_is_refused() -> None:
    """A latent that the generator cannot take is named with both sizes."""
    with pytest.raises(GanlibError, match=r"latent.*|x \(4, 10\) must hold 8"):
        image_trainer(drawn=7).train_step(iter([(images(), LABELS)]))
    with pytest.raises(ArgumentValueError, match=r"generator cannot be called with latent \(4, 7\)"):
        make_trainer(latent=latents.Gaussian(7)).train_step(iter([torch.zeros(4, 2)]))


def test_a_latent_that_is_not_a_distribution_is_refused() -> None:
    """A latent that cannot be called as one, or gives something else than n latents, is named."""
    with pytest.raises(ArgumentTypeError, match=r"latent.*cannot be called as latent\(n, device"):
        make_trainer(latent=lambda n: torch.zeros(n, 3)).train_step(iter([torch.zeros(4, 2)]))
    with pytest.raises(ArgumentValueError, match=r"latent.*gave \(3,\) for n \(=4\)"):
        make_trainer(latent=lambda n, **_: torch.zeros(3)).train_step(iter([torch.zeros(4, 2)]))


def test_labels_for_an_unconditional_network_are_refused() -> None:
    """A labelled data set and an unconditional network: the error points to Unconditional, which then works."""
    with pytest.raises(ArgumentValueError, match="Unconditional"):
        make_trainer().train_step(iter([(points(4), LABELS)]))
    wrapped = [conditioning.Unconditional(network) for network in make_players()]
    metrics = make_trainer(*wrapped).train_step(iter([(points(4), LABELS)]))
    assert metrics["generator_loss"].isfinite()


def test_a_discriminator_that_does_not_give_logits_is_refused() -> None:
    """A discriminator that returns a list is told what it may return."""

    class Listing(nn.Module):
        """Gives a list."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 1)

        def forward(self, x: Tensor) -> list[Tensor]:
            return [self.layer(x)]

    with pytest.raises(ArgumentTypeError, match="discriminator gave list"):
        make_trainer(nn.Linear(3, 2), Listing()).train_step(iter([torch.zeros(4, 2)]))


class Split(nn.Module):
    """A user's network that gives each of two encoders a column of the condition."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.one, self.other = conditioning.OneHot(2), conditioning.OneHot(5)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Encode the columns apart."""
        return self.layer(torch.cat([x, self.one(condition[:, 0]), self.other(condition[:, 1])], 1))


def test_encoders_inside_a_users_network_may_take_a_part_of_the_condition() -> None:
    """Only encoders that are given the whole condition look at it beforehand."""
    trainer = make_trainer(Split(nn.Linear(3 + 7, 2)), Split(nn.Linear(2 + 7, 1)))
    pairs = torch.stack([torch.arange(4) % 2, torch.arange(4)], 1)
    assert trainer.train_step(iter([(points(4), pairs)]))["generator_loss"].isfinite()
    with pytest.raises(ArgumentValueError, match="class 2"):
        trainer.train_step(iter([(points(4), pairs + 1)]))


def test_encoders_of_conditional_norms_look_at_labels_beforehand() -> None:
    """The labels for a stack with conditional norms are checked, as an adapter's are."""
    generator = stacks.ConvTransposeStack(
        PLAN,
        top_channels=2,
        norm=lambda channels: conditioning.ConditionalBatchNorm(channels, conditioning.OneHot(3)),
    )
    discriminator = conditioning.Unconditional(nn.Sequential(nn.Flatten(), nn.Linear(64, 1)))
    trainer = make_trainer(generator, discriminator, latent=latents.Gaussian(8))
    trainer.check_conditions(LABELS)
    with pytest.raises(ArgumentValueError, match="class 3"):
        trainer.check_conditions(LABELS + 1)


def test_a_growing_generator_may_change_the_shape() -> None:
    """The networks are tried again on samples of a new shape, so that a user's generator may grow with them."""
    generator = nn.Linear(3, 2)
    trainer = make_trainer(nn.Sequential(generator), nn.Sequential(nn.Linear(2, 1)))
    trainer.train_step(iter([points(4)]))
    with pytest.raises(ShapeError, match=r"sample \(4, 3\)"):
        trainer.train_step(iter([torch.zeros(4, 3)]))
    trainer.generator[0], trainer.discriminator[0] = nn.Linear(3, 3), nn.Linear(3, 1)
    trainer.train_step(iter([torch.zeros(4, 3)]))
    assert trainer.iteration == 2


def test_conditions_of_a_whole_data_set_are_checked_before_training() -> None:
    """Fit looks at all the labels of a TensorLoader, where a later batch would hold the bad one."""
    labels = torch.zeros(40, dtype=torch.int64)
    labels[-1] = 9
    loader = data.TensorLoader(TensorDataset(images(40), labels), 4)
    trainer = image_trainer()
    with pytest.raises(ArgumentValueError, match="class 9"):
        training.fit(trainer, loader, iterations=20)
    assert trainer.iteration == 0


def test_a_data_loader_of_labelled_images_trains() -> None:
    """A plain DataLoader's lists of two tensors are batches."""
    loader = DataLoader(TensorDataset(images(12), torch.arange(12) % 3), 4, shuffle=True)
    trainer = image_trainer()
    training.fit(trainer, loader, epochs=2)
    assert trainer.iteration == 6


def trained(batch: Any, **options: Any) -> dict[str, Tensor]:
    """The weights of the image trainer's networks after a step on a batch."""
    torch.manual_seed(0)
    networks = models.conditional_dcgan(PLAN, 5, 3)
    trainer = make_trainer(*networks, latent=latents.Gaussian(5), **options)
    trainer.train_step(iter([batch]))
    return weights(trainer)


@pytest.mark.parametrize(
    ("batch", "options"),
    [
        ({"image": images(), "label": LABELS}, {}),
        ({"label": LABELS, "image": images(), "path": ["a.png"] * 4}, {}),
        ({"pixels": images(), "label": LABELS}, {"sample_key": "pixels"}),
        ({"pixels": images(), "digit": LABELS, "label": "unused"}, {"sample_key": "pixels", "condition_key": "digit"}),
        ([images(), LABELS], {}),
        (Batch(images(), LABELS), {}),
    ],
)
def test_a_dict_of_sample_and_condition_trains_as_a_tuple_does(batch: Any, options: dict[str, str]) -> None:
    """The two keys are those that the trainer was given; other keys are passed over."""
    expected = trained((images(), LABELS))
    for name, value in trained(batch, **options).items():
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize(
    ("batch", "options"),
    [
        ({"image": points()}, {}),
        ({"image": points(), "label": None}, {}),
        ({"image": points(), "label": LABELS}, {"condition_key": None}),
        ({"image": points()}, {"condition_key": None}),
        ({"x": points(), "path": ["a"]}, {"sample_key": "x", "condition_key": None}),
    ],
)
def test_a_dict_may_have_samples_alone(batch: Any, options: dict[str, Any]) -> None:
    """A dict with the samples alone, and one whose condition is None or not asked for, trains without conditions."""
    trainer = make_trainer(**options)
    assert trainer.train_step(batch)["generator_loss"].isfinite()


def test_a_key_that_was_named_must_be_there() -> None:
    """Where the user has named a key of conditions, a dict without it is refused, with the keys that it has."""
    with pytest.raises(ArgumentValueError, match=r"condition_key \(='digit'\) is not in the batch.* 'image'; None"):
        make_trainer(condition_key="digit").train_step({"image": points()})


class Angled(nn.Module):
    """A user's network that is told a class and an angle, in a dict, a tuple, or a tuple inside a dict."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layer, self.encoder = nn.Linear(inputs + 4, outputs), nn.Embedding(3, 3)
        self.met: list[Any] = []

    def forward(self, x: Tensor, condition: Any) -> Tensor:
        """Encode both."""
        self.met.append(condition)
        parts = condition.values() if isinstance(condition, dict) else condition
        label, angle = next(iter(parts)) if len(parts) == 1 else parts
        return self.layer(torch.cat([x, self.encoder(label), angle.unsqueeze(1)], 1))


ANGLES = torch.linspace(0, 1, 4)
NESTED: dict[str, Any] = {
    "a dict": {"class": LABELS, "angle": ANGLES},
    "a tuple": (LABELS, ANGLES),
    "a list": [LABELS, ANGLES],
    "a tuple in a dict": {"both": (LABELS, ANGLES)},
}


def angled_trainer(**options: Any) -> training.AdversarialTrainer:
    """A trainer of two such networks, which begin with the same weights each time."""
    torch.manual_seed(0)
    return make_trainer(Angled(3, 2), Angled(2, 1), **options)


@pytest.mark.parametrize(
    "options", [{}, {"joint_pass": True}, {"reuse_fakes": True}, {"penalties": [penalties.R1(1.0)]}]
)
@pytest.mark.parametrize("condition", NESTED.values(), ids=NESTED)
def test_conditions_may_be_nested(condition: Any, options: dict[str, Any]) -> None:
    """A dict, a tuple and a list of conditions train to the same weights; a list reaches the networks as a tuple."""
    results = []
    for one in (condition, NESTED["a dict"]):
        trainer = angled_trainer(**options)
        for _ in range(3):
            trainer.train_step((points(4), one))
        results.append(weights(trainer))
        assert not any(isinstance(met, list) for met in trainer.generator.met + trainer.discriminator.met)
    assert all(torch.equal(value, results[1][name]) for name, value in results[0].items())


@pytest.mark.parametrize("joint_pass", [False, True])
@pytest.mark.parametrize("reuse_fakes", [False, True])
def test_conditions_of_the_fakes_may_be_nested(joint_pass: bool, reuse_fakes: bool) -> None:
    """The fakes of each update have the conditions that were drawn for them, the real samples those of the batch."""
    drawn = []

    def draw(n: int) -> Any:
        drawn.append({"class": torch.full((n,), len(drawn) % 3), "angle": torch.rand(n)})
        return drawn[-1]

    trainer = angled_trainer(fake_conditions=draw, joint_pass=joint_pass, reuse_fakes=reuse_fakes)
    trainer.train_step((points(4), NESTED["a dict"]))
    assert len(drawn) == 3 - reuse_fakes  # the dry run, and both updates, unless they share the fakes
    told = [{name: value.tolist() for name, value in met.items()} for met in trainer.discriminator.met[1:]]
    real = {name: value.tolist() for name, value in NESTED["a dict"].items()}
    fakes = [{name: value.tolist() for name, value in one.items()} for one in drawn[1:]]
    together = {name: real[name] + fakes[0][name] for name in real}
    assert told == [*([together] if joint_pass else [real, fakes[0]]), fakes[-1]]


@pytest.mark.parametrize("condition", [(LABELS, ANGLES[:3]), {"class": LABELS[:3], "angle": ANGLES}, (LABELS[:3],) * 2])
def test_each_condition_has_one_entry_for_each_sample(condition: Any) -> None:
    """A part of a nested condition that is too short is refused, for the first batch and for a later one."""
    trainer = angled_trainer()
    for _ in range(2):
        with pytest.raises(ShapeError, match=r"condition \(3,\) must have one entry for each of the 4 samples"):
            trainer.train_step((points(4), condition))
        trainer.train_step((points(4), NESTED["a dict"]))
    with pytest.raises(ShapeError, match=r"condition \(\) must have one entry"):
        trainer.train_step((points(4), (LABELS, torch.tensor(0.5))))


def test_other_keys_of_a_later_condition_are_refused_before_training() -> None:
    """A condition of another structure than before is tried on the networks first, and explained."""

    class Keyed(Angled):
        """Asks for its keys."""

        def forward(self, x: Tensor, condition: Any) -> Tensor:
            """Take both by name."""
            return super().forward(x, (condition["class"], condition["angle"]))

    trainer = make_trainer(Keyed(3, 2), Keyed(2, 1))
    trainer.train_step((points(4), NESTED["a dict"]))
    before = weights(trainer)
    with pytest.raises(ArgumentValueError, match=r"generator cannot be called with .*'digit': \(4,\).*: 'class'"):
        trainer.train_step((points(4), {"digit": LABELS, "angle": ANGLES}))
    assert all(torch.equal(value, before[name]) for name, value in weights(trainer).items())


@pytest.mark.parametrize("as_dict", [False, True])
def test_what_a_data_loader_makes_of_nested_conditions_trains(as_dict: bool) -> None:
    """torch's collate makes lists of tuples; both kinds of data set train through a plain DataLoader."""

    class Turned(torch.utils.data.Dataset[Any]):
        """Points with a class and an angle."""

        def __len__(self) -> int:
            return 12

        def __getitem__(self, index: int) -> Any:
            condition = (index % 3, float(index))
            return {"image": points(12)[index], "label": condition} if as_dict else (points(12)[index], condition)

    def collate(members: list[Any]) -> Any:
        batch = torch.utils.data.default_collate(members)
        label, angle = batch["label"] if as_dict else batch[1]
        assert isinstance(batch["label"] if as_dict else batch[1], list)
        condition = [label, angle.float()]
        return batch | {"label": condition} if as_dict else [batch[0], condition]

    trainer = angled_trainer()
    training.fit(trainer, DataLoader(Turned(), 4, shuffle=True, collate_fn=collate), epochs=2)
    assert trainer.iteration == 6


def test_one_batch_is_as_good_as_an_iterator_of_one() -> None:
    """``train_step(batch)`` does what ``train_step(iter([batch]))`` does, for each form of a batch."""
    for batch in (points(), (points(),), [points(), None], {"image": points()}, Batch(points())):
        results = []
        for given in (batch, iter([batch])):
            torch.manual_seed(0)
            trainer = make_trainer()
            metrics = trainer.train_step(given)
            results.append(weights(trainer) | metrics)
        assert all(torch.equal(value, results[1][name]) for name, value in results[0].items())


@pytest.mark.parametrize("options", [{"discriminator_steps": 2}, {"accumulate_grad_batches": 3}])
def test_one_batch_is_not_enough_where_an_iteration_draws_several(options: dict[str, int]) -> None:
    """Then the error says how many are needed, and no iteration is counted."""
    trainer = make_trainer(**options)
    ((name, value),) = options.items()
    with pytest.raises(BatchesExhaustedError, match=rf"{name} \(={value}\)"):
        trainer.train_step(points())
    assert trainer.iteration == 0


def test_the_dry_run_moves_no_random_numbers_and_no_statistics() -> None:
    """Where the first batch is refused late, by the discriminator, nothing has moved in conditions or norms."""

    def draw(n: int) -> Tensor:
        return torch.randint(3, (n,))

    generator = conditioning.ConcatLatent(nn.Sequential(nn.Linear(3 + 3, 2), nn.BatchNorm1d(2)), conditioning.OneHot(3))
    trainer = make_trainer(generator, conditioning.Unconditional(nn.Linear(5, 1)), fake_conditions=draw)
    before, state = weights(trainer), torch.get_rng_state()
    with pytest.raises(ArgumentValueError, match="discriminator cannot be called"):
        trainer.train_step((points(4), LABELS))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in weights(trainer).items())


def test_conditions_of_the_fakes_are_checked_too() -> None:
    """A function that draws classes which an encoder does not know is found before any update."""
    networks = models.conditional_dcgan(PLAN, 5, 3)
    trainer = make_trainer(
        *networks, latent=latents.Gaussian(5), fake_conditions=lambda n: torch.full((n,), 3, dtype=torch.int64)
    )
    before = weights(trainer)
    with pytest.raises(ArgumentValueError, match=r"class 3.*num_classes \(=3\)"):
        trainer.train_step((images(), LABELS))
    assert all(torch.equal(value, before[name]) for name, value in weights(trainer).items())


def with_inference(tensor: Tensor) -> Tensor:
    """The same, made in inference mode."""
    with torch.inference_mode():
        return tensor + 0


class Own(torch.Tensor):
    """A subclass."""


KINDS: dict[str, Any] = {
    "bool": lambda x: x > 0,
    "uint8": lambda x: x.byte(),
    "int64": lambda x: x.long(),
    "half": lambda x: x.half(),
    "bfloat16": lambda x: x.bfloat16(),
    "double": lambda x: x.double(),
    "float8": lambda x: x.to(torch.float8_e4m3fn),
    "complex": lambda x: x.to(torch.complex64),
    "quantized": lambda x: torch.quantize_per_tensor(x.float(), 0.1, 0, torch.qint8),
    "sparse": lambda x: x.to_sparse(),
    "compressed": lambda x: x.to_sparse_csr() if x.ndim == 2 else x.to_sparse(),
    "mkldnn": lambda x: x.to_mkldnn() if x.is_floating_point() else x.to_sparse(),
    "meta": lambda x: x.to("meta"),
    "nested": lambda x: torch.nested.nested_tensor([*x.reshape(len(x), -1)]),
    "jagged": lambda x: torch.nested.nested_tensor([*x.reshape(len(x), -1)], layout=torch.jagged),
    "with a gradient": lambda x: x.requires_grad_() if x.is_floating_point() else x,
    "with a graph": lambda x: x.requires_grad_() * 1.0 if x.is_floating_point() else x,
    "of inference mode": with_inference,
    "parameter": lambda x: nn.Parameter(x, requires_grad=x.is_floating_point()),
    "subclass": lambda x: x.as_subclass(Own),
    "not contiguous": lambda x: x.t().contiguous().t() if x.ndim == 2 else x.repeat_interleave(2)[::2],
    "expanded": lambda x: x[:, :1].expand(x.shape) if x.ndim == 2 else x[:1].expand(x.shape),
    "array": lambda x: x.numpy(),
    "list": lambda x: x.tolist(),
    "list of tensors": lambda x: [*x],
    "empty": lambda x: x[:0],
    "scalar": lambda x: x.flatten()[0],
    "nan": lambda x: x * torch.nan,
    "none": lambda x: None,
    "text": lambda x: ["a"] * len(x),
}


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_any_kind_trains_or_is_refused(kind: str, conditional: bool) -> None:
    """Nothing else: no error of torch's, and no weight that has changed where there is an error."""
    torch.manual_seed(0)
    if conditional:
        encoder = conditioning.OneHot(3)
        networks = [
            conditioning.ConcatLatent(nn.Linear(inside + 3, made), encoder) for inside, made in ((3, 2), (2, 1))
        ]
        given: Any = points(4), LABELS.clone()
    else:
        networks = [nn.Linear(3, 2), nn.Linear(2, 1)]
        given = (points(4),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls some of them prototypes
        batch = (*given[:-1], KINDS[kind](given[-1]))
    trainer = make_trainer(*networks, penalties=[penalties.R1()])
    before = weights(trainer)
    try:
        trainer.train_step(batch)
    except GanlibError:
        after = weights(trainer)
        assert all(torch.equal(after[name], before[name]) for name in before)
    else:
        assert all(weight.isfinite().all() for weight in weights(trainer).values())


def test_nothing_flows_back_into_the_data() -> None:
    """A sample with a graph is one without."""
    data_set = points(4).requires_grad_()
    make_trainer().train_step(data_set * 1.0)
    assert data_set.grad is None


def test_conditions_that_are_nan_are_refused() -> None:
    """As samples are, in networks without an encoder too; an infinite number may be a mask."""

    class Joined(nn.Linear):
        """Joins a vector to what it is given."""

        def forward(self, x: Tensor, condition: Tensor) -> Tensor:
            """Without what is infinite."""
            return super().forward(torch.cat([x, condition.isfinite() * 1.0], 1))

    trainer = make_trainer(Joined(5, 2), Joined(4, 1))
    trainer.train_step((points(4), torch.full((4, 2), -torch.inf)))
    with pytest.raises(ArgumentValueError, match="condition holds NaN"):
        trainer.train_step((points(4), torch.full((4, 2), torch.nan)))


def test_the_error_of_a_batch_of_many_keys_is_short() -> None:
    """Of a thousand keys the first are named."""
    with pytest.raises(ArgumentValueError, match="whose keys are 0, 1, ") as caught:
        training.fit(make_trainer(), [dict.fromkeys(range(1000), points())], iterations=1)
    assert len(str(caught.value)) < 300
