"""Train a conditional GAN (Mirza and Osindero, 2014, arXiv:1411.1784) on a class, on tags, or on a description.

    python examples/cgan.py train --data mnist --root DIR --download --epochs 30 --out runs/cgan
    python examples/cgan.py train --data fashion-mnist --root DIR --download --loss non-saturating --out runs/fashion
    python examples/cgan.py train --condition tags --data digits --minutes 4 --out runs/tags
    python examples/cgan.py train --condition text --data digits --minutes 4 --out runs/text
    python examples/cgan.py sample --run runs/cgan --labels 3 1 4 --count 8 --out digits.png
    python examples/cgan.py sample --run runs/tags --tags loop "straight stroke" --out asked.png
    python examples/cgan.py sample --run runs/text --text "a ring on an upright stroke" --out asked.png

Both networks get the condition concatenated to their input: [z, y] and [x, y]. A class is one-hot, as in the paper.
Tags are multi-hot. A description is a fixed vector: its bag of words, or a row of your own table (``--vectors``). A
class without a description uses its name. ``final.gif`` shows samples of the trained generator for changing latents.
"""

import argparse
import hashlib
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from _command_line import add_train_options, fill_in, limits, speed
from _conditions import bags_of_words, multi_hot, print_unknown, tag_table, text_table
from _data import open_data, with_conditions
from _drawing import add_sample_options, draw, draw_samples, enlargement, grid, load, save_animation
from _evaluation import MONITOR, evaluation
from _plumbing import RunFile, Summary, describe, finish, make_loader, run_main
from torch import Tensor

from ganlib import conditioning, distributed, latents, losses, models, penalties, training, viz
from ganlib.errors import ArgumentValueError

SCRIPT, RUN = "cgan", "runs/cgan"
HIDDEN, DISCRIMINATOR_HIDDEN = [128, 256, 512], [256, 128]
LOSSES: dict[str, Any] = {"minimax": losses.MinimaxLoss, "non-saturating": losses.NonSaturatingLoss}
DEFAULTS = {"batch_size": 64, "lr": 1e-3}


def train(arguments: argparse.Namespace) -> None:
    """Train, and write the files of a run (docs/how-to/stop_and_resume.rst), and ``final.gif``."""
    fill_in(arguments, DEFAULTS)
    for word, needs in (("tags", "tags"), ("vectors", "text")):
        if getattr(arguments, word) is not None and arguments.condition != needs:
            raise ArgumentValueError(f"--{word} needs --condition {needs}, not {arguments.condition}")
    torch.manual_seed(arguments.seed)
    dataset = open_data(arguments)
    classes = list(dataset.classes)
    encoder: Any = conditioning.OneHot(len(classes))
    table, words = torch.arange(len(classes)), list[str]()
    if arguments.condition == "tags":
        words, table = tag_table(arguments.data, classes, arguments.tags)
        encoder = conditioning.TagEmbedding(len(words), 32)
    elif arguments.condition == "text":
        words, table = text_table(arguments.data, classes, arguments.vectors)
        encoder = conditioning.VectorEmbedding(table.shape[1], 32)
    told = {"classes": classes, "words": words, "table": table.tolist()}
    digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]  # short, since people read run.json
    what = {**describe(arguments, SCRIPT, "condition", "loss"), "conditions": digest}
    run, run_file, summary = arguments.out, RunFile(arguments.out, what), Summary(resume=arguments.resume)
    run_file.check()
    loader = make_loader(arguments, with_conditions(dataset, table))

    generator, discriminator = models.mlp_gan(
        loader.samples.shape[1:],
        arguments.latent_dim,
        HIDDEN,
        discriminator_hidden=DISCRIMINATOR_HIDDEN,
        encoder=encoder,
        norm="batch",
    )
    generator.to(arguments.device)
    discriminator.to(arguments.device)
    adam = partial(torch.optim.Adam, lr=arguments.lr, betas=(0.5, 0.999), fused=True)
    latent = latents.Gaussian(arguments.latent_dim)
    trainer = training.AdversarialTrainer(
        generator,
        discriminator,
        adam(generator.parameters()),
        adam(discriminator.parameters()),
        loss=LOSSES[arguments.loss](),
        latent=latent,
        penalties=[penalties.R1(1.0, every=16)],
        **speed(arguments, generator, discriminator),
    )

    # One row for each class, with the same ten latents.
    columns = latent(10, generator=torch.Generator().manual_seed(arguments.seed))
    ema = training.EMA(generator, decay=0.999)
    measures = evaluation(arguments, ema.module, latent, table=table)
    training.fit(
        trainer,
        loader,
        **limits(arguments, epochs=30),
        resume=arguments.resume,
        callbacks=[
            ema,
            *measures,
            training.CSVLogger(run / "metrics.csv", mean=True),
            viz.SampleGrid(
                ema.module,
                run / "samples",
                latent=columns.repeat(len(classes), 1),
                condition=table.repeat_interleave(len(columns), dim=0),
                columns=len(columns),
                scale=enlargement(loader.samples.shape[-1], max(len(columns), len(classes))),
            ),
            viz.TrainingGif(run / "training.gif", run / "samples"),
            viz.LossCurves(run / "losses.png", against="epoch"),
            training.Checkpoint(run, every=arguments.checkpoint_every, monitor=MONITOR if measures else None),
            run_file,
            training.ProgressBar(),
            summary,
        ],
    )
    finish(run, ema.module, {**what, **told, **summary.end}, "final.gif")
    if distributed.rank() == 0:
        ema.module.eval()
        noise = latent(20 * len(table), generator=torch.Generator().manual_seed(arguments.seed)).to(arguments.device)
        frames = [draw(ema.module, some, table.to(arguments.device)) for some in noise.chunk(20)]
        save_animation([grid(frame, len(table)) for frame in frames], run / "final.gif")


def sample(arguments: argparse.Namespace) -> None:
    """Write ``count`` samples of each class, of a set of tags, or of a description."""
    generator: Any = load(arguments.run, SCRIPT)
    draw_samples(arguments, generator, latents.Gaussian(generator.info["latent_dim"]), asked(arguments, generator.info))


def asked(arguments: argparse.Namespace, info: Any) -> Tensor:
    """Return the conditions that the command line requests."""
    for word in ("tags", "text"):
        if getattr(arguments, word) is not None and info["condition"] != word:
            raise ArgumentValueError(f"--{word} needs a run with --condition {word}; this one has {info['condition']}")
    if arguments.tags is not None:
        return multi_hot([arguments.tags], info["words"])
    if arguments.text is not None:
        if not info["words"]:
            raise ArgumentValueError("--text needs words, but this run was trained with --vectors: pass --labels")
        print_unknown(arguments.text, info["words"])
        return bags_of_words([arguments.text], info["words"])
    labels = range(len(info["classes"])) if arguments.labels is None else arguments.labels
    wrong = [label for label in labels if not 0 <= label < len(info["table"])]
    if wrong:
        raise ArgumentValueError(f"--labels holds class {wrong[0]}, but there are {len(info['table'])} classes")
    return torch.tensor([info["table"][label] for label in labels])


def main(options: Sequence[str] | None = None) -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("train", help="train a generator")
    add_train_options(command, out=RUN, data="digits")
    command.add_argument(
        "--loss", choices=LOSSES, default="minimax", help="the paper uses minimax (default: %(default)s)"
    )
    command.add_argument(
        "--condition", choices=["class", "tags", "text"], default="class", help="(default: %(default)s)"
    )
    command.add_argument("--tags", type=Path, metavar="FILE.csv", help="tags of the classes: rows class,tag,tag")
    command.add_argument(
        "--vectors", type=Path, metavar="FILE", help="vectors of the classes: .npy or .csv with one row for each class"
    )
    command.set_defaults(do=train)
    command = commands.add_parser("sample", help="draw samples from a trained generator")
    add_sample_options(command, run=RUN, labels=True, count=10)
    command.add_argument("--tags", nargs="+", metavar="TAG", help="draw samples with all of these tags")
    command.add_argument("--text", metavar="WORDS", help="draw samples for this description")
    command.set_defaults(do=sample)
    arguments = parser.parse_args(options)
    arguments.do(arguments)


if __name__ == "__main__":
    run_main(main)
