"""What `digits.py` and `mnist.py` share: options, and a run of `gradkit.fit` that ends in a picture of its curves."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from picturing import OUTPUT

import gradkit
from gradkit import Array, nn, optim
from gradkit.errors import BackendNotInstalledError, BackendUnusableError, FileFormatError, ResumeError
from gradkit.train import Checkpoint

Pair = tuple[Array, Array]


@dataclass(frozen=True)
class Defaults:
    """What an example trains with unless it is told otherwise."""

    hidden: str
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    out: str


def parser(description: str, defaults: Defaults) -> argparse.ArgumentParser:
    """Return the parser of the options that the examples share."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = result.add_argument
    count, rate = number(int, 1), number(float, 0)
    backend = os.environ.get("GRADKIT_BACKEND") or "auto"
    add("--backend", default=backend, help="numpy, cupy, strict, or auto: a GPU if there is one (default: %(default)s)")
    add("--epochs", type=count, default=defaults.epochs, help="passes over the training data (default: %(default)s)")
    add("--hidden", type=sizes, default=defaults.hidden, help="hidden layers, such as 64,64 (default: %(default)s)")
    add("--batch-size", type=count, default=defaults.batch_size, help="examples in a step (default: %(default)s)")
    add("--learning-rate", type=rate, default=defaults.learning_rate, help="the first one (default: %(default)s)")
    add("--weight-decay", type=rate, default=defaults.weight_decay, help="of SGD (default: %(default)s)")
    add(
        "--seed",
        type=number(int, -(2**63), 2**64 - 1),
        default=0,
        help="of weights, split and batches (default: %(default)s)",
    )
    folder = f"folder for curves and checkpoint (default: examples/output/{defaults.out})"
    add("--out", type=Path, default=OUTPUT / defaults.out, help=folder)
    add("--save-every", type=number(int, 0), default=0, help="steps between checkpoints; 0: an epoch (default: 0)")
    add("--resume", action="store_true", help="go on from the checkpoint in the folder --out, if there is one")
    return result


def number(kind: type[int] | type[float], least: int, most: float = math.inf) -> Callable[[str], float]:
    """Return what reads an option's number, or tells the user what is wrong with it."""
    expected = f"{'an integer' if kind is int else 'a number'} of at least {least}"
    if most != math.inf:
        expected += f" and at most {most}"

    def read(text: str) -> float:
        try:
            value: float = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most or value == math.inf:
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
        return value

    return read


def sizes(text: str) -> str:
    """Return the sizes of layers, with commas between them, as they are kept in a checkpoint."""
    return ",".join(str(number(int, 1)(size)) for size in text.split(",") if size)


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Return the options of this process, with its backend in use and its folder made."""
    options = parser.parse_args()
    try:
        gradkit.set_backend(options.backend)
        options.out.mkdir(parents=True, exist_ok=True)
    except (ValueError, BackendNotInstalledError, BackendUnusableError) as error:
        parser.error(f"argument --backend: {error}")
    except OSError as error:
        parser.error(f"argument --out: {error}")
    return options


def run(data: str, options: argparse.Namespace, train: Pair, test: Pair) -> None:
    """Train a network on the data of that name, and write checkpoints and curves."""
    x, y = train
    init_key, data_key = gradkit.random.split(gradkit.random.key(options.seed))
    widths = [x.shape[1], *(int(size) for size in options.hidden.split(",") if size), int(y.max()) + 1]
    model = nn.MLP(widths[0], widths[1:], activation="relu", key=init_key)
    print(model)
    steps = len(gradkit.data.minibatches(train, options.batch_size, data_key))  # in an epoch
    # The decay of the learning rate: down to 0 along half a cosine.
    schedule = optim.cosine_decay(options.learning_rate, decay_steps=options.epochs * steps)
    settings = {name: getattr(options, name) for name in SETTINGS}
    try:
        model, history = gradkit.fit(
            model,
            train,
            optimizer=optim.SGD(schedule, momentum=0.9, weight_decay=options.weight_decay),
            epochs=options.epochs,
            batch_size=options.batch_size,
            validation=test,
            key=data_key,
            checkpoint=Checkpoint(options.out, options.save_every or steps, settings),
            resume="auto" if options.resume else False,
        )
    except FileFormatError as error:
        sys.exit(str(error))
    except ResumeError as error:
        sys.exit(told(error))
    if history.stopped == "interrupted":
        sys.exit(130)
    history.name = f"{data}: {'-'.join(map(str, widths))}, ReLU, SGD with momentum and cosine decay"
    print(history)
    picture = options.out / "curves.png"
    history.plot(picture, units={"loss": "nats"})
    seconds, accuracy = history["seconds"][-1] or 0.0, history["validation_accuracy"][-1] or 0.0
    print(f"{seconds:.1f} s on {gradkit.default_backend()} by {gradkit.current_backend().name}; curves in {picture}")
    print(f"test accuracy {accuracy:.2%}, test error {1 - accuracy:.2%} ({len(test[1]):,} examples)")


SETTINGS = ("batch_size", "epochs", "hidden", "learning_rate", "seed", "weight_decay")
"""The options that a run cannot change when it is resumed."""


def told(error: ResumeError) -> str:
    """Say in the words of the options how a checkpoint is of another run."""
    if error.name not in SETTINGS:
        return f"{error} Give another --out."
    option = f"--{error.name.replace('_', '-')}"
    difference = f"is of a run with {option} {error.found}, this one has {option} {error.given}"
    return f"{error.path} {difference}. Give the same options to resume it, or another --out."
