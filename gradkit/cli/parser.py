"""The words of the command line. What a command does is imported when it is run, so that ``--help`` is quick."""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gradkit.backend import ENVIRONMENT_VARIABLE
from gradkit.cli.options import loss_scale, number, sizes

__all__ = ["command_of", "make_parser"]

DATA = (
    "'digits' (scikit-learn's handwritten digits), 'moons' (two half circles of points), a CSV file with a header, an "
    ".npz file with arrays x and y, or a folder with MNIST's IDX files. A CSV file may be gzipped."
)
FOLDER = "the folder that 'gradkit train --out' wrote"
WRITTEN = """
In the folder --out are in the end:
  model.safetensors       the network, and what was learned about the data: means, scales, classes
  best.safetensors        the network's parameters after the best epoch
  checkpoint.safetensors  the run, to go on with --resume
  log.jsonl               what was measured, a JSON object for each epoch
  curves.png              the same as a picture (needs matplotlib)
"""
STATUS = "Exit status: 0 when done, 2 where an option or the data are wrong, 130 where it was interrupted (Ctrl-C)."
TRAIN_EXAMPLES = """
examples:
  gradkit train digits --out run
  gradkit train iris.csv --target species --hidden 32,16 --out run
  gradkit train houses.csv --target price --task regression --epochs 50 --out run --resume
"""
Commands = Any


def command_of(options: argparse.Namespace) -> Callable[[argparse.Namespace], int]:
    """Return the function that does what was asked for."""
    module, _, function = options.command.partition(":")
    command: Callable[[argparse.Namespace], int] = getattr(importlib.import_module(module), function)
    return command


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of ``gradkit`` and its commands."""
    parser = argparse.ArgumentParser(
        prog="gradkit", description="Array autograd for NumPy and CuPy: train a network, and use it.", epilog=STATUS
    )
    parser.add_argument("--version", action="version", version=f"gradkit {version('gradkit')}")
    commands = parser.add_subparsers(title="commands", required=True)
    _add_info(commands)
    _add_train(commands)
    _add_predict(commands)
    _add_evaluate(commands)
    _add_draw(commands)
    return parser


def _command(
    commands: Commands, name: str, function: str, summary: str, description: str, epilog: str = ""
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=epilog + STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(command=f"gradkit.cli.{function}", name=name)
    return command


def _add_info(commands: Commands) -> None:
    _command(
        commands,
        "info",
        "info:print_info",
        "say which backends there are and which of them can run on this machine",
        "Print each backend: whether it can run on this machine, its devices and versions, the reason\n"
        "where it cannot; and which one is in use, and why.",
    )


def _add_train(commands: Commands) -> None:
    train = _command(
        commands,
        "train",
        "train:train",
        "train a network on data",
        "Train a multilayer perceptron by stochastic gradient descent, and measure it on data kept apart.\n" + WRITTEN,
        TRAIN_EXAMPLES,
    )
    add = train.add_argument
    count, real = number(int, 1), number(float, 0)
    add("data", metavar="DATA", help=DATA)
    add("--out", type=Path, required=True, metavar="DIR", help="the folder for the model, the log and the curves")
    add("--target", metavar="COLUMN", help="of a CSV file: the column to learn")
    add(
        "--task",
        choices=("classification", "regression"),
        help="whether the target's values are classes or numbers (default: classes where they are text or whole "
        "numbers)",
    )
    add("--hidden", type=sizes, default="64", metavar="SIZES", help="hidden layers, such as 128,64 (default: 64)")
    add("--activation", default="relu", help="what follows each hidden layer (default: relu)")
    add("--epochs", type=count, default=20, metavar="N", help="passes over the training data (default: 20)")
    add("--batch-size", type=count, default=32, metavar="N", help="examples in a step (default: 32)")
    add("--learning-rate", type=real, metavar="X", help="the first one (default: 0.05, and 0.01 to learn numbers)")
    add(
        "--decay",
        choices=("cosine", "linear", "exponential", "inverse", "none"),
        default="cosine",
        help="how the rate falls: along half a cosine or on a line to 0, exponentially to a hundredth, as "
        "1/(1 + decay t) to a tenth, or not (default: cosine)",
    )
    momentum = number(float, 0, 0.999999)
    add("--momentum", type=momentum, default=0.9, metavar="X", help="from 0 to below 1 (default: 0.9)")
    add("--weight-decay", type=real, default=1e-4, metavar="X", help="of the parameters (default: 0.0001)")
    add(
        "--dtype",
        choices=("float32", "float16", "bfloat16"),
        default="float32",
        help="what the network is trained in; the model is written in float32 (default: float32)",
    )
    add(
        "--loss-scale",
        type=loss_scale,
        metavar="X",
        help="what the loss is multiplied by before it is differentiated: a number, or dynamic, for float16 "
        "(default: dynamic with float16, else none)",
    )
    add(
        "--test-share",
        type=number(float, 0, 0.9),
        default=0.2,
        metavar="X",
        help="the share of the rows that is kept apart to test with, where the data have no test part (default: 0.2)",
    )
    _add_backend(train)
    seed = number(int, -(2**63), 2**64 - 1)
    add("--seed", type=seed, default=0, metavar="N", help="of the weights, the test part and the order (default: 0)")
    _add_delimiter(train)
    older = train.add_mutually_exclusive_group()
    older.add_argument("--resume", action="store_true", help="go on with the run in the folder --out, if there is one")
    older.add_argument("--overwrite", action="store_true", help="replace the run in the folder --out, if there is one")


def _add_predict(commands: Commands) -> None:
    predict = _command(
        commands,
        "predict",
        "predict:predict",
        "apply a trained network to data",
        "Print a line of CSV for each row of the data: the predicted class or number.\n"
        "Of a CSV file the columns are taken by their names; the target need not be there.\n",
        "\nexample:\n  gradkit predict run new.csv --out predictions.csv\n",
    )
    predict.add_argument("folder", metavar="DIR", type=Path, help=FOLDER)
    predict.add_argument("data", metavar="DATA", help=DATA)
    predict.add_argument(
        "--probabilities", action="store_true", help="for classes: a column with the probability of each"
    )
    predict.add_argument("--out", type=Path, metavar="FILE", help="write there, and not to the standard output")
    _add_backend(predict)
    _add_delimiter(predict)


def _add_evaluate(commands: Commands) -> None:
    evaluate = _command(
        commands,
        "evaluate",
        "predict:evaluate",
        "measure a trained network on data",
        "Print how well the network predicts the target of the data: for classes the accuracy and the\n"
        "cross-entropy, for numbers R2, the root of the mean squared error and the mean absolute error.\n",
        "\nexample:\n  gradkit evaluate run test.csv\n",
    )
    evaluate.add_argument("folder", metavar="DIR", type=Path, help=FOLDER)
    evaluate.add_argument("data", metavar="DATA", help=DATA)
    _add_backend(evaluate)
    _add_delimiter(evaluate)


def _add_draw(commands: Commands) -> None:
    draw = _command(
        commands,
        "draw",
        "draw:draw",
        "draw a trained network's graph",
        "Draw the operations that the network computes its output by, for one example.\n",
        "\nexample:\n  gradkit draw run --out graph.png\n",
    )
    draw.add_argument("folder", metavar="DIR", type=Path, help=FOLDER)
    draw.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="where to draw to; the suffix says how: .svg, .png, .pdf or .dot (default: graph.svg or plan.svg in DIR)",
    )
    draw.add_argument(
        "--plan", action="store_true", help="draw what jit makes of it: loops, products, and the memory of arrays"
    )


def _add_backend(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--backend",
        default=os.environ.get(ENVIRONMENT_VARIABLE) or "auto",
        metavar="NAME",
        help="numpy, cupy, strict, or auto: a GPU if there is one (default: %(default)s)",
    )


def _add_delimiter(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--delimiter",
        type=lambda text: "\t" if text == r"\t" else text,
        default=",",
        metavar="C",
        help=r"the one character between a CSV file's fields; \t is a tab (default: ,)",
    )
