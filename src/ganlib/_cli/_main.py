"""Parse the command line."""

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ganlib import __version__
from ganlib._cli._draw import DEFAULT, draw, sample
from ganlib._cli._examples import copy_examples, demo, scripts, train
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError

__all__ = ["main"]

_NAME = "python -m ganlib"
_EXAMPLES = """
  python -m ganlib draw 2026 --out number.png       draw a number, with a pretrained generator
  python -m ganlib demo                             train a generator for three minutes, and draw samples
  python -m ganlib train --data mnist --download --out runs/mnist
  python -m ganlib sample --run runs/mnist --labels 3 1 4 --out digits.png
  python -m ganlib evaluate runs/mnist --data mnist --metrics fid kid prdc
  python -m ganlib examples                         copy the example scripts and the notebooks into a folder
"""


def main(options: Sequence[str] | None = None) -> None:
    """Run a command; errors of ganlib and of the system are printed without a traceback.

    Args:
        options: the arguments after ``python -m ganlib``. None takes them from the command line.

    Raises:
        SystemExit: 2 for a wrong option or argument, 1 for another error, 130 for Ctrl-C.
    """
    words = sys.argv[1:] if options is None else list(options)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may lack characters of a file name
            stream.reconfigure(errors="backslashreplace")
    try:
        if words[:1] == ["train"]:  # the script parses its options
            train(words[1:])
            return
        if words[:1] == ["evaluate"]:
            from ganlib._cli._evaluate import evaluate  # imports torchmetrics, which takes seconds

            evaluate(words[1:])
            return
        parser = _parser()
        arguments = parser.parse_args(words)
        if arguments.command is None:
            parser.print_help()
        else:
            arguments.do(arguments)
    except (GanlibError, OSError) as error:
        print(f"{_NAME}: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ArgumentValueError | ArgumentTypeError) else 1)
    except KeyboardInterrupt:
        print(f"\n{_NAME}: stopped", file=sys.stderr)
        sys.exit(130)  # the exit status of a shell for Ctrl-C


def _parser() -> argparse.ArgumentParser:
    with scripts() as load:
        numbers = load("_command_line")  # all command lines parse numbers in the same way
    parser = argparse.ArgumentParser(
        prog=_NAME,
        description=f"Generate images with a trained GAN, or train one.\n{_EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ganlib {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    own = "default: %(default)s"

    command = commands.add_parser("draw", help="draw a number in handwriting")
    command.add_argument("number", metavar="NUMBER", help="digits from 0 to 9")
    _add_drawing(command, numbers, out="number.png")
    command.set_defaults(do=lambda arguments: draw(arguments.run, arguments.number, arguments.seed, arguments.out))

    command = commands.add_parser("demo", help="train a generator for a few minutes, and draw samples")
    minutes, folder = f"minutes of training ({own})", f"folder of the run ({own})"
    command.add_argument("--minutes", type=numbers.above_zero, default=3, metavar="M", help=minutes)
    command.add_argument("--out", type=Path, default=Path("runs/demo"), metavar="DIR", help=folder)
    command.set_defaults(do=lambda arguments: demo(arguments.minutes, arguments.out))

    # main() handles these two; they are here for the list of commands.
    commands.add_parser("train", help="train a conditional DCGAN; options: python -m ganlib train --help")
    commands.add_parser("evaluate", help="evaluate a generator; options: python -m ganlib evaluate --help")

    command = commands.add_parser("sample", help="draw samples of classes")
    labels = "numbers of the classes (default: all)"
    command.add_argument("--labels", type=numbers.label, nargs="+", metavar="N", help=labels)
    command.add_argument("--count", type=numbers.whole, default=10, metavar="N", help=f"samples of each class ({own})")
    _add_drawing(command, numbers, out="samples.png")
    command.set_defaults(
        do=lambda arguments: sample(arguments.run, arguments.labels, arguments.count, arguments.seed, arguments.out)
    )

    command = commands.add_parser("examples", help="copy the example scripts and the notebooks into a new folder")
    default = Path("ganlib-examples")
    command.add_argument("folder", type=Path, nargs="?", default=default, metavar="DIR", help=f"new folder ({own})")
    command.set_defaults(do=lambda arguments: copy_examples(arguments.folder))
    return parser


def _add_drawing(command: argparse.ArgumentParser, numbers: Any, *, out: str) -> None:
    own = "default: %(default)s"
    which = "the folder of a run, the file of a generator, or the name of a pretrained generator"
    command.add_argument("--run", metavar="RUN", help=f"{which}: mnist_cdcgan or mnist_cdcgan64 (default: {DEFAULT})")
    command.add_argument("--seed", type=numbers.seed, default=0, metavar="S", help=f"seed of the latents ({own})")
    command.add_argument("--out", type=Path, default=Path(out), metavar="X.png", help=f"output image ({own})")
