"""Losses: numbers that say how far predictions are from what they should be. Each is the mean over the examples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradkit.core import Array
from gradkit.core.array import innermost, is_followed_outside, is_unseen, wrap
from gradkit.core.operands import as_operand, cast, dtype_name, require_inexact
from gradkit.core.promotion import is_inexact
from gradkit.core.stand_in import Abstract
from gradkit.core.values import host
from gradkit.errors import ShapeError
from gradkit.nn.activations import log_softmax
from gradkit.numpy import argmax, asarray, mean
from gradkit.numpy import sum as total
from gradkit.primitives import relu
from gradkit.primitives.losses import mean_label_cross_entropy, mean_square, softplus

__all__ = ["accuracy", "hinge", "mse", "sigmoid_cross_entropy", "softmax_cross_entropy"]


def mse(prediction: Any, target: Any) -> Array:
    """Return the mean squared error, mean((prediction - target)**2).

    Parameters
    ----------
    prediction, target : array
        Of the same shape: nothing is broadcast.

    Returns
    -------
    Array, shape ()

    Raises
    ------
    ShapeError
        If the shapes differ.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> mse(jnp.asarray([1.0, 2.0]), jnp.asarray([1.0, 4.0]))
    Array(2., dtype=float32)
    """
    if type(prediction) is not Array or type(target) is not Array:
        prediction, target = _array(prediction, "prediction", "mse"), _array(target, "target", "mse")
    if prediction._value.shape != target._value.shape or 0 in prediction._value.shape:
        _same_shape("mse", "prediction", prediction, "target", target)
    return mean_square(prediction, target)


def softmax_cross_entropy(logits: Any, labels: Any) -> Array:
    """Return the mean over the examples of the cross-entropy between softmax(logits) and the labels.

    Parameters
    ----------
    logits : array of float, shape (..., classes)
        Unnormalized log probabilities, of any size: the loss is stable.
    labels : array
        Integers of shape (...), from 0 to classes - 1; or probabilities (one-hot or soft), of the shape of `logits`.

    Returns
    -------
    Array, shape ()
        mean(logsumexp(logits) - logits[label]), or with probabilities mean(-sum(labels * log_softmax(logits))).

    Raises
    ------
    TypeError
        If labels of shape (...) are not integers.
    ValueError
        If a label is out of range, there are no examples, or the shapes do not fit. (Labels on a GPU are not read on
        the host, which would stop it: there one out of range makes the loss NaN.)

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> softmax_cross_entropy(jnp.asarray([[2.0, 0.0], [0.0, 0.0]]), jnp.asarray([0, 1]))
    Array(0.4100376, dtype=float32)
    """
    scores = require_inexact(_array(logits, "logits", "softmax_cross_entropy"))
    answers = _array(labels, "labels", "softmax_cross_entropy")
    if scores.ndim == 0 or scores.size == 0:
        raise ShapeError(
            f"softmax_cross_entropy: logits must have shape (..., classes) and at least one example, got shape "
            f"{scores.shape}"
        )
    if answers.shape == scores.shape and (scores.ndim > 1 or is_inexact(dtype_name(answers))):
        weights = cast(answers, dtype_name(scores)) if dtype_name(answers) != dtype_name(scores) else answers
        return mean(total(weights * -log_softmax(scores), axis=-1))
    if answers.shape != scores.shape[:-1]:
        raise ShapeError(
            f"softmax_cross_entropy: labels must be integers of shape {scores.shape[:-1]}, one for each row of logits "
            f"{scores.shape}, or probabilities of the shape of logits; got shape {answers.shape}"
        )
    if not dtype_name(answers).startswith(("int", "uint")):
        raise TypeError(
            f"softmax_cross_entropy: labels of shape {answers.shape} must be integers (class numbers), got dtype "
            f"{answers.dtype}. Convert them with labels.astype('int32'), or give one row of probabilities per example."
        )
    _check_labels(answers, scores.shape[-1])
    return mean_label_cross_entropy(scores, answers)


def _check_labels(labels: Array, classes: int) -> None:
    """Raise where a label is out of range; labels on a GPU are not copied to look at them."""
    value = innermost(labels)  # whole batches under `vmap`
    if (
        type(value) is Abstract
        or is_followed_outside(labels)
        or labels.device.platform != "cpu"
        or not math.prod(value.shape)
    ):
        return
    seen = host(wrap(value)) if type(value) is not np.ndarray else value
    smallest, largest = seen.min(), seen.max()
    if smallest < 0 or largest >= classes:
        worst = smallest if smallest < 0 else largest
        position = np.unravel_index(int((seen == worst).argmax()), seen.shape)
        where = ", ".join(map(str, position))
        way_out = "Renumber the labels" + (f", or give the model {largest + 1} outputs." if smallest >= 0 else ".")
        raise ValueError(
            f"softmax_cross_entropy: labels[{where}] is {worst}, and logits have {classes} classes: labels must be "
            f"from 0 to {classes - 1}. {way_out}"
        )


def sigmoid_cross_entropy(logits: Any, labels: Any) -> Array:
    """Return the mean cross-entropy between sigmoid(logits) and labels in [0, 1].

    Parameters
    ----------
    logits : array of float
        Log odds, of any size: the loss is stable.
    labels : array of float, int or bool
        Probabilities from 0 to 1, of the shape of `logits`.

    Returns
    -------
    Array, shape ()
        mean(log(1 + exp(logits)) - labels * logits).

    Raises
    ------
    ValueError
        If the shapes differ, there are no examples, or a label is not from 0 to 1. (Labels on a GPU are not looked
        at.)

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> sigmoid_cross_entropy(jnp.asarray([0.0, 1e4]), jnp.asarray([1.0, 1.0]))
    Array(0.3465736, dtype=float32)
    """
    scores = require_inexact(_array(logits, "logits", "sigmoid_cross_entropy"))
    answers = _array(labels, "labels", "sigmoid_cross_entropy")
    _same_shape("sigmoid_cross_entropy", "logits", scores, "labels", answers)
    if answers.device.platform == "cpu" and answers._node is None and not is_unseen(answers):
        seen = host(answers)
        if not (seen.min() >= 0 and seen.max() <= 1):
            wrong = seen[~((seen >= 0) & (seen <= 1))][0]
            raise ValueError(
                f"sigmoid_cross_entropy: labels must be from 0 to 1, got {wrong}. Labels of -1 and 1 become so by "
                f"(labels + 1) / 2."
            )
    return mean(softplus(scores) - cast(answers, dtype_name(scores)) * scores)


def hinge(scores: Any, labels: Any) -> Array:
    """Return the mean hinge loss, mean(max(0, 1 - labels * scores)).

    Parameters
    ----------
    scores : array of float
        The model's outputs.
    labels : array
        -1 or 1 each, of the shape of `scores`.

    Returns
    -------
    Array, shape ()

    Raises
    ------
    ValueError
        If the shapes differ, there are no examples, or a label is neither -1 nor 1. (Labels on a GPU are not looked
        at.)

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> hinge(jnp.asarray([2.0, 0.5]), jnp.asarray([1, 1]))
    Array(0.25, dtype=float32)
    """
    margins = require_inexact(_array(scores, "scores", "hinge"))
    answers = _array(labels, "labels", "hinge")
    _same_shape("hinge", "scores", margins, "labels", answers)
    if answers.device.platform == "cpu" and answers._node is None and not is_unseen(answers):
        seen = host(answers)
        wrong = (seen != 1) & (seen != -1)
        if wrong.any():
            raise ValueError(
                f"hinge: labels must be -1 or 1, got {seen[wrong][0]}. Labels of 0 and 1 become so by 2 * labels - 1."
            )
    return mean(relu(1 - cast(answers, dtype_name(margins)) * margins))


def accuracy(logits: Any, labels: Any) -> Array:
    """Return the share of examples whose largest logit is at the label.

    Parameters
    ----------
    logits : array, shape (..., classes)
        The model's outputs.
    labels : array
        Integers of shape (...), or one-hot rows of the shape of `logits`.

    Returns
    -------
    Array of float, shape ()

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> accuracy(jnp.asarray([[2.0, 0.0], [3.0, 1.0]]), jnp.asarray([0, 1]))
    Array(0.5, dtype=float32)
    """
    scores, answers = _array(logits, "logits", "accuracy"), _array(labels, "labels", "accuracy")
    if scores.ndim == 0 or scores.size == 0:
        raise ShapeError(
            f"accuracy: logits must have shape (..., classes) and at least one example, got shape {scores.shape}"
        )
    if answers.shape == scores.shape:
        answers = argmax(answers, axis=-1)
    if answers.shape != scores.shape[:-1]:
        raise ShapeError(
            f"accuracy: labels must have shape {scores.shape[:-1]}, one for each row of logits {scores.shape}, got "
            f"{answers.shape}"
        )
    return mean(cast(argmax(scores, axis=-1) == answers, "float32"))


def _array(value: Any, name: str, caller: str) -> Array:
    if isinstance(value, list | tuple | np.ndarray):
        return asarray(value)
    operand = as_operand(value, f"{caller} ({name})")
    return operand if type(operand) is Array else asarray(operand)


def _same_shape(caller: str, first_name: str, first: Array, second_name: str, second: Array) -> None:
    if first.shape != second.shape:
        raise ShapeError(
            f"{caller}: {first_name} and {second_name} must have the same shape, got {first.shape} and {second.shape}. "
            f"Nothing is broadcast here: reshape one, for example {second_name}.reshape({first.shape})."
        )
    if first.size == 0:
        raise ShapeError(f"{caller}: the mean over no elements is undefined, got {first_name} of shape {first.shape}")
