"""What `digits.py` and `mnist.py` share: options, the training loop, checkpoints, and the picture of the curves."""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import gradkit
from gradkit import Array, nn, optim
from gradkit.errors import BackendNotInstalledError, BackendUnusableError, FileFormatError, TreeMismatchError

Pair = tuple[Array, Array]
State = dict[str, Any]


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
    add("--out", type=Path, default=Path(defaults.out), help="folder for curves and checkpoint (default: %(default)s)")
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


def loss_and_accuracy(model: nn.MLP, x: Array, y: Array) -> tuple[Array, Array]:
    """Return the loss to differentiate, and the accuracy beside it."""
    logits = model(x)
    return nn.softmax_cross_entropy(logits, y), nn.accuracy(logits, y)


step = gradkit.value_and_grad(loss_and_accuracy, has_aux=True)


def run(data: str, options: argparse.Namespace, train: Pair, test: Pair) -> None:
    """Train a network on the data of that name, and write checkpoints and curves."""
    x, y = train
    init_key, data_key = gradkit.random.split(gradkit.random.key(options.seed))
    widths = [x.shape[1], *(int(size) for size in options.hidden.split(",") if size), int(y.max()) + 1]
    model = nn.MLP(widths[0], widths[1:], activation="relu", key=init_key)
    steps = options.epochs * len(gradkit.data.minibatches(train, options.batch_size, data_key))
    # The decay of the learning rate: down to 0 along half a cosine.
    schedule = optim.cosine_decay(options.learning_rate, decay_steps=steps)
    optimizer = optim.SGD(schedule, momentum=0.9, weight_decay=options.weight_decay)

    checkpoint = options.out / "checkpoint.safetensors"
    # All that a run is: what a checkpoint holds, and what the loop goes on from.
    state: State = {
        "model": model,
        "optimizer": optimizer.init(model),
        "key": data_key,
        "epoch": 0,
        "batch": 0,
        "sums": np.zeros(3),  # of this epoch: loss, right answers, examples
        "history": np.full((options.epochs, 4), np.nan),  # by epoch: training loss and accuracy, test loss and accuracy
        "settings": settings_of(options),
    }
    saved = None  # the last checkpoint of this run
    if options.resume and checkpoint.exists():
        state, saved = resumed(checkpoint, state), checkpoint
    print(state["model"])

    started = time.perf_counter()
    while state["epoch"] < options.epochs:
        saved = train_epoch(state, optimizer, train, options, checkpoint, saved)
        loss, accuracy, examples = state["sums"]
        test_loss, test_accuracy = loss_and_accuracy(state["model"], *test)
        tested = optim.check_finite(test_loss, state["optimizer"].step, saved), test_accuracy.item()
        state["history"][state["epoch"]] = loss / examples, accuracy / examples, *tested
        state.update(epoch=state["epoch"] + 1, batch=0, sums=np.zeros(3))
        gradkit.save(checkpoint, state)
        saved = checkpoint
    seconds = time.perf_counter() - started

    history = state["history"]
    for epoch, (loss, accuracy, test_loss, test_accuracy) in enumerate(history, 1):
        trained = f"loss {loss:.4f}  accuracy {accuracy:7.2%}"
        print(f"epoch {epoch:3d}  {trained}  test loss {test_loss:.4f}  test accuracy {test_accuracy:.2%}")
    picture = options.out / "curves.png"
    network = "-".join(map(str, widths))
    draw_curves(picture, f"{data}: {network}, ReLU, SGD with momentum and cosine decay", history)
    print(f"{seconds:.1f} s on {gradkit.default_backend()} by {gradkit.current_backend().name}; curves in {picture}")
    print(f"test accuracy {test_accuracy:.2%}, test error {1 - test_accuracy:.2%} ({len(test[1]):,} examples)")


def train_epoch(
    state: State,
    optimizer: optim.SGD,
    train: Pair,
    options: argparse.Namespace,
    checkpoint: Path,
    saved: Path | None,
) -> Path | None:
    """Go through what is left of an epoch's minibatches, and return the last checkpoint. `state` is kept up to date."""
    epoch_key = gradkit.random.fold_in(state["key"], state["epoch"])
    batches = gradkit.data.minibatches(train, options.batch_size, epoch_key, start=state["batch"])
    title = f"epoch {state['epoch'] + 1}/{options.epochs}"
    with tqdm(batches, title, state["batch"] + len(batches), initial=state["batch"], disable=None) as bar:
        for x, y in bar:
            taken = state["optimizer"].step
            (loss, accuracy), gradients = step(state["model"], x, y)
            value = optim.check_finite(loss, taken, saved)
            # Here and not after the update: a checkpoint is good where its parameters have a loss.
            if options.save_every and taken and taken % options.save_every == 0:
                gradkit.save(checkpoint, state)
                saved = checkpoint
            state["model"], state["optimizer"] = optimizer.update(state["model"], gradients, state["optimizer"])
            state["sums"] = state["sums"] + np.asarray([value * len(y), accuracy.item() * len(y), len(y)])
            state["batch"] += 1
            total, right, seen = state["sums"]
            rate = optimizer.learning_rate(taken)
            bar.set_postfix(
                loss=f"{total / seen:.4f}", accuracy=f"{right / seen:.2%}", rate=f"{rate:.4f}", refresh=False
            )
    return saved


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options that a run cannot change when it is resumed."""
    return {
        name: getattr(options, name)
        for name in ("batch_size", "epochs", "hidden", "learning_rate", "seed", "weight_decay")
    }


def resumed(checkpoint: Path, state: State) -> State:
    """Return the state in a checkpoint, or stop where it is that of another run."""
    try:
        stored = gradkit.load(checkpoint)
    except FileFormatError as error:
        sys.exit(str(error))
    for name, value in state["settings"].items():
        found = stored.get(f"['settings']['{name}']")
        if found != value:
            option = name.replace("_", "-")
            sys.exit(
                f"{checkpoint} is of a run with --{option} {found}, this one has --{option} {value}. Give the same "
                f"options to resume it, or another --out."
            )
    try:
        loaded: State = gradkit.load(checkpoint, like=state)
    except TreeMismatchError as error:  # of other data
        sys.exit(f"{error} Give another --out.")
    print(f"resuming from {checkpoint}: epoch {loaded['epoch'] + 1}, batch {loaded['batch'] + 1}")
    loaded["history"] = loaded["history"].copy()
    return loaded


def draw_curves(path: Path, title: str, history: np.ndarray[Any, Any]) -> None:
    """Draw loss and accuracy by epoch, so that black and white tells the curves apart as well."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    epochs = np.arange(1, len(history) + 1)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    figure.suptitle(title)
    left.set(xlabel="epoch", ylabel="cross-entropy (nats)", yscale="log", title="loss")
    right.set(xlabel="epoch", ylabel="right answers", title="accuracy")
    right.yaxis.set_major_formatter(PercentFormatter(1.0))
    for column, axes in enumerate((left, right)):
        axes.plot(epochs, history[:, column], "k-o", markersize=3, label="training")
        axes.plot(epochs, history[:, column + 2], "--s", color="0.5", markersize=3, label="test")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)
