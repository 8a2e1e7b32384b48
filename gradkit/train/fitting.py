"""`fit`: train a model on data, in one call."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from numbers import Real
from typing import Any, Literal

import numpy as np

from gradkit import optim, random, tree
from gradkit.core import Array
from gradkit.core.operands import dtype_name
from gradkit.core.promotion import FLOATING, kind_of
from gradkit.core.values import host
from gradkit.data import split
from gradkit.data.chosen import ChosenRows
from gradkit.distributed.trees import ways_to_travel
from gradkit.errors import ShapeError
from gradkit.nn import Module
from gradkit.numpy import asarray
from gradkit.optim import DynamicLossScale
from gradkit.train.callbacks import Callback
from gradkit.train.checkpoints import Checkpoint, Folder, describe
from gradkit.train.compiled import Jit
from gradkit.train.history import History
from gradkit.train.locks import locked
from gradkit.train.objectives import Metric, metrics_for, objective_for
from gradkit.train.scaling import LossScale, ScaledOptimizer, loss_scale_for
from gradkit.train.steps import Optimizer
from gradkit.train.teams import team_of_launcher
from gradkit.train.training import Training

__all__ = ["fit"]

Pair = tuple[Any, Any]

SPLIT = 2**32 - 1
"""What is folded into the key for the split: no epoch, whose number is folded in for its order, has this one."""


def fit(
    model: Any,
    data: Pair,
    *,
    loss: str | Callable[..., Any] | None = None,
    optimizer: Optimizer | None = None,
    epochs: int = 10,
    batch_size: int = 32,
    validation: float | Pair | None = None,
    metrics: str | Metric | Sequence[str | Metric] | Mapping[str, Metric] | None = None,
    key: Array | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
    resume: bool | Literal["auto"] = "auto",
    jit: Jit = "auto",
    distributed: bool = True,
    loss_scale: LossScale = None,
) -> tuple[Any, History]:
    """Train a model, and return it with the history of its training.

    Parameters
    ----------
    model : pytree
        A model that can be called with examples, such as `gradkit.nn.MLP`. It stays as it is.
    data : pair of arrays
        The examples and their targets, with equal first axes. They are brought to the current backend once, real ones
        in the dtype of the model's parameters; a `numpy.memmap` stays on the disk and is read a minibatch at a time.
    loss : str or callable, optional
        ``"softmax_cross_entropy"``, ``"sigmoid_cross_entropy"``, ``"mse"``, ``"hinge"``, a function of ``(prediction,
        target)``, or a function of ``(model, x, y)``. By default softmax cross-entropy where the targets are integers
        (class numbers), and the mean squared error where they are real numbers.
    optimizer : Optimizer, optional
        By default ``gradkit.optim.SGD(0.1)``.
    epochs : int
        How many times the data is gone through. A run that is resumed may have more than it began with.
    batch_size : int
        Examples in a step. (The last minibatch of an epoch may be smaller.)
    validation : float or pair of arrays, optional
        Data that the model is not trained with, measured after each epoch: a pair as `data`, or which share of `data`,
        drawn at random, is kept apart for it.
    metrics : str, callable, or sequence or mapping of them, optional
        What is measured besides the loss: ``"accuracy"``, ``"binary_accuracy"``, ``"mae"``, ``"mse"``, ``"r2"``, or
        functions of ``(prediction, target)``. By default the accuracy where the loss is one for classes.
    key : Array, optional
        The random key of the split and of the order of the examples; by default the next one of `gradkit.random.seed`.
    callbacks : sequence of Callback
        Such as `gradkit.train.EarlyStopping`.
    progress : bool
        Whether to show how far training is: a line that changes, where there is a terminal (and tqdm), or else lines.
    checkpoint : path or Checkpoint, optional
        A folder for the run's state, its best model and its log; see `gradkit.train.Checkpoint` for how often.
    resume : "auto", True or False
        Whether to go on from the folder's checkpoint: where there is one, always (none is an error), or never (what is
        there is replaced).
    jit : "auto", True or False
        Whether steps run as a program, many of them a call, on backends that compile (see `gradkit.jit`). By default
        those after the first few hundred do, if the Python code of the loss, the model and the optimizer does nothing
        but compute. ``True`` has all steps run so, and takes it that the code may run once; ``False`` has each step
        run it.
    distributed : bool
        Whether processes that were started together (``mpiexec -n 4 python program.py``) train one model, each on its
        part of every minibatch. All must call `fit` with the same arguments; process 0 prints and saves. With False
        each trains a model of its own.
    loss_scale : "dynamic", float or DynamicLossScale, optional
        What the loss is multiplied by before it is differentiated, and the gradients divided by, in float32: for
        models in float16, whose small gradients would be 0. ``"dynamic"`` begins with 2**15, halves the scale and
        changes no parameter where a gradient is not finite, and doubles it after 2,000 steps without that
        (`gradkit.optim.DynamicLossScale` has other numbers); a number stays as it is.

    Returns
    -------
    model : pytree
        The trained model, after the last step.
    history : History
        What was measured, a row an epoch. Its attribute ``stopped`` says why training ended.

    Raises
    ------
    ValueError
        If an argument is out of its range, a name unknown, or the data empty or of different lengths.
    NonFiniteLossError
        If the loss becomes NaN or infinite. The last state with a loss is saved; the error has it as ``model``, and the
        ``history``.
    ResumeError
        If the folder's checkpoint is of another run: other data, another model, optimizer, key or batch size.
    FolderInUseError
        If another run is in progress in the folder.
    FileFormatError
        If the folder's files are damaged.
    OSError
        If the folder cannot be written.

    Notes
    -----
    Ctrl-C ends training after the steps at hand, saves the run and returns the model so far, with
    ``history.stopped == "interrupted"``; a second one raises KeyboardInterrupt at once. A run that was stopped or
    killed and goes on from its checkpoint computes, bit for bit, what it would have computed without a stop.

    Examples
    --------
    >>> import gradkit
    >>> from gradkit import data, nn, optim, random
    >>> model = nn.MLP(2, [16, 2], key=random.key(0))
    >>> model, history = gradkit.fit(
    ...     model, data.moons(500, key=random.key(1)), optimizer=optim.SGD(0.5, momentum=0.9), epochs=5,
    ...     validation=0.2, key=random.key(2), progress=False,
    ... )
    >>> history
    History of MLP, 82 parameters: softmax_cross_entropy by SGD
      epoch  step ... validation_loss  validation_accuracy  learning_rate  seconds
          1    13 ...
          5    65 ...
    """
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"fit: {name} must be a whole number of at least 1, got {value!r}.")
    if resume not in (True, False, "auto"):
        raise ValueError(f"fit: resume must be 'auto', True or False, got {resume!r}.")
    if jit not in (True, False, "auto"):
        raise ValueError(f"fit: jit must be 'auto', True or False, got {jit!r}.")
    scale = loss_scale_for(loss_scale)
    team = team_of_launcher() if distributed else None
    leads = team is None or team.leads
    whole = _pair(data, "data", model)
    objective = objective_for(loss, whole[1])
    measured = metrics_for(metrics, objective)
    optimizer = optim.SGD(0.1) if optimizer is None else optimizer
    _check_optimizer(optimizer)
    _check_callbacks(callbacks)
    name = f"{_size(model)}: {objective.name} by {type(optimizer).__name__}"
    for callback in callbacks:
        optimizer = callback.optimizer(optimizer)
    share = float(validation) if isinstance(validation, Real) else None
    held = None if validation is None or share is not None else _pair(validation, "validation", model)
    settings = {
        "batch_size": batch_size,
        "callbacks": [type(callback).__name__ for callback in callbacks],
        "data": _fingerprint(whole),
        "loss": objective.name,
        "metrics": list(measured),
        "optimizer": describe(optimizer),
        "validation": share if held is None else _fingerprint(held),
    }
    if scale is not None:
        settings["loss_scale"] = asdict(scale) if isinstance(scale, DynamicLossScale) else scale
        optimizer = ScaledOptimizer(optimizer, scale)
    folder = None
    if team is not None:
        own_key = None if key is None else key.tolist()
        team.check({**_facts(model), **settings, "epochs": epochs, "jit": jit, "key": own_key})
        team.refuse(len(whole[0]), batch_size)
    if checkpoint is not None and leads:
        folder = Folder(checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(checkpoint), settings)
    elif resume is True and checkpoint is None:
        raise ValueError("fit: resume=True needs checkpoint, the folder of the run to go on with.")
    with nullcontext() if folder is None else locked(folder.path):
        if folder is not None and resume is True and not folder.last.exists():
            raise FileNotFoundError(
                f"fit: resume=True, but there is no {folder.last}. With resume='auto' a run begins there."
            )
        if folder is not None and resume and folder.last.exists():
            key = folder.key(key)
        if folder is not None:
            folder.clear_partial()
        key = random.next_key() if key is None else key
        if team is not None:
            key = team.broadcast(key)
        every_steps = None if folder is None else folder.every_steps
        if team is not None:
            every_steps = team.tell(every_steps)
        train, origins = whole, None
        if share is not None:
            parts = partial(split, fraction=share, key=random.fold_in(key, SPLIT))
            train, held = _parted(whole, parts)
            origins = partial(parts, np.arange(len(whole[0])))
        training = Training(
            model,
            optimizer,
            objective,
            measured,
            train,
            held,
            batch_size,
            epochs,
            key,
            callbacks,
            folder,
            History(name),
            jit,
            team,
            every_steps,
            origins,
        )
        resumed = folder is not None and bool(resume) and training.resume()
        if team is not None:
            resumed = training.catch_up(resumed)
        if folder is not None and not resumed:
            training.begin()
        trained = training.train(progress and leads)
        if isinstance(model, Module) and any(parameter.requires_grad for parameter in model.parameters()):
            trained.requires_grad_()
        return trained, training.history


def _parted(whole: Pair, parts: Callable[[Any], tuple[Any, Any]]) -> tuple[Pair, Pair]:
    """Return two parts of the data; of what is on the disk, which rows are in them."""
    on_disk = [isinstance(array, np.memmap) for array in whole]
    numbers = np.arange(len(whole[0]))
    found = parts(tuple(numbers if stays else array for array, stays in zip(whole, on_disk, strict=True)))
    train, held = (
        tuple(
            ChosenRows(array, host(rows)) if stays else rows
            for array, stays, rows in zip(whole, on_disk, part, strict=True)
        )
        for part in found
    )
    return train, held  # type: ignore[return-value]


def _check_optimizer(optimizer: Any) -> None:
    if not all(callable(getattr(optimizer, name, None)) for name in ("init", "update")):
        raise TypeError(
            f"fit: optimizer must have init and update, such as gradkit.optim.SGD(0.1) has, got {optimizer!r}."
        )


def _check_callbacks(callbacks: Any) -> None:
    given = callbacks if isinstance(callbacks, list | tuple) else [None]
    for callback in given:
        if not isinstance(callback, Callback):
            wrong = callbacks if callback is None else callback
            raise TypeError(f"fit: callbacks must be a list of gradkit.train.Callback objects, got {wrong!r}.")


def _pair(data: Any, name: str, model: Any) -> Pair:
    """Return examples and targets, on the device; or say what is wrong with them."""
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise TypeError(f"fit: {name} must be a pair (x, y) of examples and their targets, got {_kind(data)}.")
    dtype = _parameter_dtype(model)
    x, y = (_on_device(part, dtype, f"{name}[{i}]") for i, part in enumerate(data))
    if len(x) != len(y):
        raise ShapeError(
            f"fit: {name} must have a target for each example, got {len(x):,} examples and {len(y):,} targets."
        )
    if not len(x):
        raise ValueError(f"fit: {name} is empty: x has shape {x.shape}.")
    return x, y


def _kind(value: Any) -> str:
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, tuple | list) else type(value).__name__


def _on_device(values: Any, dtype: str | None, name: str) -> Any:
    if isinstance(values, np.memmap):
        return values
    try:
        array = asarray(values)
    except TypeError as error:
        raise TypeError(f"fit: {name} must be numbers. {_remedy(values, name) or error}") from error
    if not array.ndim:
        raise ShapeError(f"fit: {name} must have a row for each example, got a single number.")
    real = kind_of(dtype_name(array)) == FLOATING
    return array.astype(dtype) if real and dtype is not None and dtype_name(array) != dtype else array


def _remedy(values: Any, name: str) -> str | None:
    """Say what to do with texts and missing values in the place of numbers."""
    flat = np.asarray(values, object).reshape(-1)
    wrong = next((value for value in flat if value is None or isinstance(value, str | bytes)), 0)
    if wrong is None:
        return "It holds None, a missing value: fill it in, or leave the row out."
    if wrong == 0:
        return None
    if name.endswith("[1]"):
        return (
            f"It holds names, such as {wrong!r}. Classes are given as integers: "
            f"names, y = numpy.unique(y, return_inverse=True)."
        )
    return f"It holds text, such as {wrong!r}. Encode it, a column of 0 and 1 for each text, or leave the column out."


def _parameter_dtype(model: Any) -> str | None:
    """Return the dtype of a model's parameters, that of the first where they differ."""
    names = (dtype_name(leaf) for leaf in tree.leaves(model) if type(leaf) is Array)
    return next((name for name in names if kind_of(name) == FLOATING), None)


def _facts(model: Any) -> dict[str, str]:
    """Return what must be the same in all processes that train a model."""
    checksum = 0
    for leaf in tree.leaves(model):
        checksum = zlib.crc32(host(leaf).tobytes() if type(leaf) is Array else repr(leaf).encode(), checksum)
    shapes = ", ".join(f"{dtype_name(x)}{list(x.shape)}" for x in tree.leaves(model) if type(x) is Array)
    return {
        "gradkit": version("gradkit"),
        "arrays": f"travel by {ways_to_travel([x for x in tree.leaves(model) if type(x) is Array]) or 'the host'}",
        "model": f"{_size(model)} ({shapes})",
        "parameters": f"values of checksum {checksum:08x}",
    }


FINGERPRINT_ROWS = 64


def _fingerprint(arrays: Pair) -> str:
    """Tell data from others, by their shapes and some of their rows."""
    parts, checksum = [], 0
    for array in arrays:
        some = array[:: max(1, len(array) // FINGERPRINT_ROWS)]
        numbers = host(some) if type(some) is Array else np.ascontiguousarray(some)
        checksum = zlib.crc32(numbers.tobytes(), checksum)
        parts.append(f"{numbers.dtype.name}{list(array.shape)}")
    return f"{' and '.join(parts)}, {checksum:08x}"


def _size(model: Any) -> str:
    parameters = sum(leaf.size for leaf in tree.leaves(model) if type(leaf) is Array)
    return f"{type(model).__name__}, {parameters:,} parameters"
