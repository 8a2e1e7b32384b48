"""``gradkit train``: from data to a folder with a trained model."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from typing import Any

from gradkit import current_backend, default_backend, nn, optim, random, tree
from gradkit.cli.measures import measures
from gradkit.cli.models import MODEL, About, Model, Scaling, save_model
from gradkit.cli.options import CommandError, use_backend
from gradkit.cli.sources import CLASSIFICATION, REGRESSION, Asked, Source, check_learnable, hint, read_source
from gradkit.core.values import host
from gradkit.data.files import HostArray
from gradkit.data.replacing import clear_partial
from gradkit.distributed import initialize
from gradkit.errors import DamagedRunError, MissingDependencyError, NonFiniteLossError, ResumeError
from gradkit.optim.schedules import Schedule
from gradkit.processes import world_of_launcher
from gradkit.train import Checkpoint, History, fit
from gradkit.train.checkpoints import BEST, LAST, LOG
from gradkit.train.locks import LOCK, locked
from gradkit.train.training import INTERRUPTED

__all__ = ["train"]

DECAYS: dict[str, Callable[[float, int], float | Schedule]] = {
    "cosine": lambda rate, steps: optim.cosine_decay(rate, steps),
    "exponential": lambda rate, steps: optim.exponential_decay(rate, steps, 0.01),
    "inverse": lambda rate, steps: optim.inverse_time_decay(rate, steps / 9),
    "linear": lambda rate, steps: optim.linear_decay(rate, 0.0, steps),
    "none": lambda rate, _: rate,
}
"""Learning rates over a run of so many steps."""

LEARNING_RATES = {CLASSIFICATION: 0.05, REGRESSION: 0.01}
"""The first rates: a squared error is steeper than a cross-entropy."""
LOSS_UNITS = {CLASSIFICATION: "nats", REGRESSION: "of the target's variance"}
CURVES = "curves.png"
SETTINGS = (
    "activation batch_size decay epochs hidden learning_rate momentum seed target task test_share weight_decay"
).split()
"""The options that a run cannot change when it is resumed."""
IF_GIVEN = {"dtype": "float32", "loss_scale": None}
"""Those of them that a run does not speak of where they are these: older runs do not know them."""


def train(options: argparse.Namespace) -> int:
    """Train a network, and write it with its log and its curves; of processes started together, the first one does."""
    use_backend(options.backend)
    here = world_of_launcher()
    leads = here is None or here.index == 0
    with ExitStack() as held:
        if not leads:
            held.enter_context(redirect_stdout(held.enter_context(open(os.devnull, "w"))))
            held.enter_context(redirect_stderr(sys.stdout))
        if here is not None and here.count > 1:
            initialize()  # before there are arrays: each process gets a GPU of its own, where it computes on one
        return _train(options, held, leads)


def _train(options: argparse.Namespace, folder_held: ExitStack, leads: bool) -> int:
    activation = _activation(options.activation)
    _check_dtype(options.dtype)
    if options.loss_scale is None and options.dtype == "float16":
        options.loss_scale = "dynamic"
    if leads:
        _check_folder(options)
    source = read_source(options.data, Asked(options.target, options.task, options.delimiter))
    if options.target is not None and source.target != options.target:
        raise CommandError(f"argument --target: {options.data} has no columns with names; leave the option out.")
    check_learnable(source)
    if options.task is None and (note := hint(source)) is not None:
        print(f"gradkit train: note: {note}", file=sys.stderr)
    task = REGRESSION if source.classes is None else CLASSIFICATION
    if options.learning_rate is None:
        options.learning_rate = LEARNING_RATES[task]
    init_key, split_key, fit_key = random.split(random.key(options.seed), 3)
    (x, y), (x_test, y_test) = _parts(source, options.test_share, split_key)
    title, names, classes, measured = source.title, source.names, source.classes, source.measured
    target, origin = source.target, source.origin
    del source  # the parts are copies: of a large table there is no room for both
    inputs = Scaling.of(x, origin) if measured else Scaling.none(x.shape[1])
    outputs = Scaling.of(y) if classes is None else Scaling.none(1)
    inputs.apply(x, origin)
    targets = [outputs.apply(part) if classes is None else part for part in (y, y_test)]

    hidden = [int(size) for size in options.hidden.split(",") if size]
    widths = [x.shape[1], *hidden, y.shape[1] if classes is None else len(classes)]
    network = nn.MLP(widths[0], widths[1:], activation=activation, key=init_key, dtype=options.dtype)
    print(network)
    steps = options.epochs * -(-len(x) // options.batch_size)
    optimizer = optim.SGD(
        DECAYS[options.decay](options.learning_rate, steps), options.momentum, weight_decay=options.weight_decay
    )
    if leads:
        _take_folder(options, folder_held)
    try:
        network, history = fit(
            network,
            (x, targets[0]),
            loss="mse" if classes is None else "softmax_cross_entropy",
            metrics="r2" if classes is None else "accuracy",
            optimizer=optimizer,
            epochs=options.epochs,
            batch_size=options.batch_size,
            validation=(inputs.apply(x_test.copy(), origin), targets[1]),
            key=fit_key,
            checkpoint=Checkpoint(options.out, settings=_settings(options)),
            resume="auto" if options.resume else False,
            loss_scale=options.loss_scale,
        )
    except ResumeError as error:
        raise CommandError(_put_in_words(error)) from error
    except DamagedRunError as error:
        raise CommandError(
            f"{error.fault} Put an older file back, or begin anew: --overwrite in the place of --resume."
        ) from error
    except NonFiniteLossError as error:
        stopped = error.history.stopped if isinstance(error.history, History) else error
        raise CommandError(
            f"{stopped}. Begin anew (--overwrite) with a smaller --learning-rate than {options.learning_rate}."
        ) from error
    network = tree.map(lambda leaf: leaf.astype("float32"), network)
    if history.stopped == INTERRUPTED:
        print(f"gradkit train: interrupted; --resume goes on from {options.out}", file=sys.stderr)
        return 130

    if not leads:
        return 0
    about = About(title, task, widths, activation, _list(names), target, _list(classes))
    model = Model(network, inputs, outputs, about)
    path = save_model(options.out, model)
    drawn = _draw(history, title, task, widths, options)
    seconds = history["seconds"][-1]
    took = "" if seconds is None else f"{seconds:.1f} s "
    print(f"{took}on {default_backend()} by {current_backend().name}; model in {path}{drawn}")
    print(f"test {measures(model, x_test, origin, y_test)}")
    return 0


def _list(values: tuple[str, ...] | None) -> list[str] | None:
    return None if values is None else list(values)


def _activation(name: str) -> str:
    try:
        nn.MLP(1, [1], activation=name)
    except ValueError as error:
        raise CommandError(f"argument --activation: {error}") from error
    return name


def _check_dtype(name: str) -> None:
    try:
        current_backend().raw_dtype_named(name)
    except (TypeError, MissingDependencyError) as error:
        raise CommandError(f"argument --dtype: {error}") from error


def _check_folder(options: argparse.Namespace) -> None:
    """Raise where the folder holds a run that nobody wants to lose, or cannot be made or written."""
    folder = options.out
    for name in (MODEL, CURVES, LAST, BEST, LOG, LOCK):
        if (folder / name).is_dir():
            raise CommandError(
                f"argument --out: {folder / name} is a folder, where a run writes a file of that name. Take it away, "
                f"or give another --out."
            )
    present = [name for name in (MODEL, LAST) if (folder / name).exists()]
    if present and not (options.resume or options.overwrite):
        state = "a finished run" if MODEL in present else "a run that was stopped"
        raise CommandError(
            f"argument --out: {folder} holds {state} ({present[0]}). --resume goes on with it, --overwrite replaces "
            f"it, or give another folder."
        )
    above = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not above.is_dir():
        raise CommandError(f"argument --out: {above} is no folder.")
    if not os.access(above, os.W_OK):
        raise CommandError(f"argument --out: the folder {above} cannot be written.")


def _take_folder(options: argparse.Namespace, held: ExitStack) -> None:
    """Make the folder this run's alone."""
    _make_folder(options)
    held.enter_context(locked(options.out))
    _check_folder(options)  # a run may have ended there in the meantime
    clear_partial(options.out, [MODEL])
    if not options.resume:
        # Nobody is to take an older run's model for that of this one, should it be stopped.
        for name in (MODEL, CURVES):
            (options.out / name).unlink(missing_ok=True)


def _make_folder(options: argparse.Namespace) -> None:
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"argument --out: {error}") from error


def _parts(source: Source, share: float, key: Any) -> tuple[tuple[HostArray, HostArray], tuple[HostArray, HostArray]]:
    """Return the rows to train with and those to test with."""
    if source.test is not None:
        return (source.x, source.y), source.test
    rows = len(source.x)
    n_test = round(rows * share)
    if not 0 < n_test < rows:
        raise CommandError(
            f"argument --test-share: {share} of {rows:,} rows is {n_test}; there must be rows to train with and rows "
            f"to test with."
        )
    order = host(random.permutation(key, rows))
    train, test = order[: rows - n_test], order[rows - n_test :]
    return (source.x[train], source.y[train]), (source.x[test], source.y[test])


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    more = [name for name, usual in IF_GIVEN.items() if getattr(options, name) != usual]
    return {name: getattr(options, name) for name in (*SETTINGS, *more)}


def _put_in_words(error: ResumeError) -> str:
    """Say in the words of the command line how a run differs from the one that is to be resumed."""
    remedy = "Give the same options to resume it, another --out, or --overwrite in the place of --resume to begin anew."
    option = f"--{error.name.replace('_', '-')}"
    options = (*SETTINGS, *IF_GIVEN)
    if error.name in options and error.detail:
        return f"{error.path} does not say which {option} its run has, this one has {option} {error.given}. {remedy}"
    if error.name in options:
        return f"{error.path} is of a run with {option} {error.found}, this one has {option} {error.given}. {remedy}"
    if error.detail:
        # What the error of `load` says of its argument is of no use here.
        detail = re.sub(r" `like` must have .*", "", error.detail).replace("`like`", "this run")
        return f"{detail} {remedy}"
    return f"{error.path} is of a run with another {error.name} ({error.found}; this one has {error.given}). {remedy}"


def _draw(history: History, title: str, task: str, widths: list[int], options: argparse.Namespace) -> str:
    network = "-".join(map(str, widths))
    history.name = f"{title}: {network}, {options.activation}, SGD with {options.decay} decay"
    path = options.out / CURVES
    try:
        history.plot(path, units={"loss": LOSS_UNITS[task]})
    except MissingDependencyError as error:
        return f"; no curves: {error}"
    return f", curves in {path}"
