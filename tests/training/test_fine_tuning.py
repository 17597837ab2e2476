"""Fine-tuning: what is frozen does not change, and the rest trains on, also after a resume and over processes."""

import itertools

import pytest
import torch
from torch import nn

from ganlib import augment, latents, losses, models, penalties, stacks, training

PLAN = stacks.StackPlan((1, 8, 8), [stacks.Stage(4), stacks.Stage(6), stacks.Stage(8)])
OPTIONS = {
    "plain": {},
    "clipped": {"max_grad_norm": 0.1},
    "reused fakes": {"reuse_fakes": True},
    "a penalty": {"penalties": [penalties.R1(weight=1.0)]},
    "accumulated": {"accumulate_grad_batches": 2, "discriminator_steps": 2},
    "half precision": {"precision": "bf16"},
    "augmented": {"augment": augment.DiffAugment("color,translation")},
}


def make_trainer(path=None, *, held=True, optimizer=torch.optim.AdamW, **options):
    """A trainer of saved networks, whose discriminator's first two blocks are frozen, in its optimizer or not."""
    torch.manual_seed(0)
    generator, discriminator = models.dcgan(PLAN, 4, discriminator_norm="none", spectral_norm=True)
    if path is not None:
        models.save_generator(path / "generator", generator)
        models.save_discriminator(path / "discriminator", discriminator)
        generator = models.load_generator(path / "generator", train=True)
        discriminator = models.load_discriminator(path / "discriminator", train=True)
    for block in frozen_blocks(discriminator):
        block.requires_grad_(False)
    trained = [p for p in discriminator.parameters() if held or p.requires_grad]
    return training.AdversarialTrainer(
        generator,
        discriminator,
        optimizer(generator.parameters(), lr=1e-2),
        optimizer(trained, lr=1e-2),
        loss=losses.LeastSquaresLoss(),
        latent=latents.Gaussian(4),
        **options,
    )


def frozen_blocks(discriminator):
    """The blocks next to the image."""
    return discriminator[0].blocks[:2]


def parameters(discriminator):
    """The parameters that are frozen, and the others."""
    everything = list(discriminator.parameters())
    frozen = [p for block in frozen_blocks(discriminator) for p in block.parameters()]
    others = [p for p in everything if all(p is not one for one in frozen)]
    assert len(frozen) == 4
    assert len(others) == 2
    return frozen, others


def train(trainer, iterations, callbacks=(), *, resume=False):
    """A few iterations on the same batches."""
    torch.manual_seed(1)
    batches = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(2)).mul(2).sub(1).split(8)
    training.fit(trainer, batches, iterations=iterations, callbacks=callbacks, resume=resume)
    return trainer


@pytest.mark.parametrize("held", [True, False], ids=["in the optimizer", "not in it"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_frozen_layers_do_not_change(tmp_path, options, held):
    """Not by a bit, whether the optimizer holds them or not, also with weight decay; all others do."""
    trainer = make_trainer(tmp_path, held=held, **options)
    frozen, others = parameters(trainer.discriminator)
    before = [p.detach().clone() for p in (*frozen, *others)]
    train(trainer, 3)
    assert all(map(torch.equal, frozen, before))
    assert not any(map(torch.equal, others, before[len(frozen) :]))
    assert all(p.grad is None and not p.requires_grad for p in frozen)


def test_it_does_not_matter_whether_the_optimizer_holds_them(tmp_path):
    """Both ways train the same, to the bit."""
    states = [train(make_trainer(tmp_path, held=held), 4).discriminator.state_dict() for held in (True, False)]
    assert all(map(torch.equal, *(state.values() for state in states)))


def test_loaded_networks_train_as_those_that_were_saved(tmp_path):
    """A file, its recipe, and the vectors of spectral norm lose nothing."""
    one, other = make_trainer(), make_trainer(tmp_path)
    for network in ("generator", "discriminator"):
        states = [getattr(train(trainer, 4), network).state_dict() for trainer in (one, other)]
        assert all(map(torch.equal, *(state.values() for state in states)))


@pytest.mark.parametrize("held", [True, False])
def test_a_resume_is_exact(tmp_path, held):
    """A run with frozen layers goes on as if it had not been stopped; what is frozen is said by the code."""
    whole = train(make_trainer(held=held), 6)
    train(make_trainer(held=held), 3, [training.Checkpoint(tmp_path)])
    resumed = train(make_trainer(held=held), 6, [training.Checkpoint(tmp_path)], resume=True)
    assert resumed.iteration == 6
    assert all(map(torch.equal, whole.discriminator.state_dict().values(), resumed.discriminator.state_dict().values()))
    assert all(not p.requires_grad for p in parameters(resumed.discriminator)[0])


def test_layers_can_be_unfrozen(tmp_path):
    """Where the optimizer holds them, they train from then on."""
    trainer = train(make_trainer(tmp_path), 2)
    frozen, _ = parameters(trainer.discriminator)
    before = [p.detach().clone() for p in frozen]
    trainer.discriminator.requires_grad_(True)
    train(trainer, 4)
    assert not any(map(torch.equal, frozen, before))


def frozen_over_ranks():
    """The frozen parameters before and after, and the others after."""
    trainer = make_trainer(max_grad_norm=0.1)
    frozen, others = parameters(trainer.discriminator)
    before = [p.detach().clone() for p in frozen]
    torch.manual_seed(int(torch.distributed.get_rank()))
    for _ in range(3):
        trainer.train_step(2 * torch.rand(4, 1, 8, 8) - 1)
    return before, [p.detach() for p in frozen], [p.detach() for p in others]


def test_over_processes(two_ranks):
    """Frozen layers stay, and the others are the same on both."""
    results = two_ranks(frozen_over_ranks)
    for before, after, others in results:
        assert all(map(torch.equal, before, after))
        assert all(map(torch.equal, others, results[0][2]))


def test_an_average_of_a_loaded_generator_is_a_generator(tmp_path):
    """It averages what is trained on, and is saved as any other."""
    trainer = make_trainer(tmp_path)
    ema = training.EMA(trainer.generator, decay=0.5)
    train(trainer, 3, [ema])
    models.save_generator(tmp_path / "tuned", ema)
    loaded = models.load_generator(tmp_path / "tuned")
    pairs = itertools.zip_longest(loaded.parameters(), ema.module.parameters())
    assert all(torch.equal(one, other) for one, other in pairs)
    assert isinstance(loaded, nn.Module)
