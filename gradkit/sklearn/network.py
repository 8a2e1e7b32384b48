"""The network of an estimator: an `nn.MLP` whose parameters come from the host and go back, and its training."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import gen_batches

from gradkit import data, random, tree
from gradkit.core import Array
from gradkit.core.values import host
from gradkit.nn import MLP
from gradkit.numpy import asarray
from gradkit.numpy import sum as total
from gradkit.optim import SGD, SGDState
from gradkit.primitives.losses import plus_squares
from gradkit.sklearn.outputs import Output
from gradkit.train import Step, training_step
from gradkit.train.compiled import FEW_STEPS
from gradkit.train.programs import WINDOW, Epoch, Programs, compiles

__all__ = [
    "ACTIVATIONS", "Training", "batches", "compiled_epoch", "epoch", "make_network", "predict", "programs_for",
    "to_host", "training",
]  # fmt: skip

ACTIVATIONS = {"identity": "identity", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}
"""scikit-learn's names of activations, and gradkit's."""

MANY_STEPS = 1024
"""Steps at most of a fit from which on it is a program: fewer are eager, for compiling takes as long as those."""

ROWS_AT_ONCE = 1024
"""How many rows of a sparse matrix are made dense at a time, for predictions."""


@functools.cache
def _structure(sizes: tuple[int, ...], activation: str) -> tree.PyTreeDef:
    first, *others = sizes
    return tree.structure(MLP(first, others, ACTIVATIONS[activation], key=random.key(0), initializer="zeros"))


def make_network(arrays: Sequence[np.ndarray[Any, Any]], activation: str) -> MLP:
    """Make the network of these weights and biases, in turn, on the current backend."""
    sizes = (len(arrays[0]), *map(len, arrays[1::2]))
    network: MLP = tree.unflatten(_structure(sizes, activation), [asarray(array) for array in arrays])
    return network


def to_host(network: MLP) -> list[np.ndarray[Any, Any]]:
    """Return the weights and biases in turn, on the host, where their owner may change them."""
    return [np.require(host(leaf), requirements="W") for leaf in tree.leaves(network)]


def predict(network: MLP, output: Output, x: Any) -> np.ndarray[Any, Any]:
    """Return the predictions for rows that are on the host (or an Array already), shape (n, outputs)."""
    if not issparse(x):
        return np.require(host(output.predict(network(asarray(x)))), requirements="W")
    blocks = gen_batches(x.shape[0], ROWS_AT_ONCE)
    return np.concatenate([predict(network, output, x[block].toarray()) for block in blocks])


# Training


class Training(NamedTuple):
    """A network in training.

    Attributes
    ----------
    step : callable
        What `gradkit.train.training_step` made.
    optimizer : SGD
        That of the step.
    network : MLP
        The network after the steps so far.
    state : SGDState
        The optimizer's.
    """

    step: Step
    optimizer: SGD
    network: MLP
    state: SGDState


def training(
    network: MLP,
    output: Output,
    alpha: float,
    momentum: float,
    nesterov: bool,
    velocities: Sequence[np.ndarray[Any, Any]] | None = None,
) -> Training:
    """Begin to train a network, or go on with the velocities of an earlier training.

    scikit-learn's momentum keeps each gradient times the rate it was taken with. So the rate multiplies the loss, as
    an argument of the step, and the optimizer's own is 1.
    """
    optimizer = _optimizer(momentum, nesterov)
    state = optimizer.init(network)
    if velocities is not None:
        state = state._replace(velocity=tree.unflatten(tree.structure(network), list(map(asarray, velocities))))
    return Training(training_step(_objective(output, alpha), optimizer, has_aux=True), optimizer, network, state)


def _optimizer(momentum: float, nesterov: bool) -> SGD:
    return SGD(1.0, momentum, nesterov and momentum > 0)


def _objective(output: Output, alpha: float) -> Callable[..., tuple[Array, Array]]:
    """Return what a step descends, and beside it the loss as scikit-learn reports it."""

    def objective(
        network: MLP, rate: float | Array, x: Array, y: Array, weights: Array | None = None
    ) -> tuple[Array, Array]:
        logits = network(x)
        strength = 0.5 * alpha
        if weights is None:
            loss = output.loss(logits, y)
            strength /= x.shape[0]
        else:
            loss = total(output.losses(logits, y) * weights)
        reported = _penalize(loss, network, strength)
        descended = reported
        if output.averages_outputs and logits.shape[1] > 1:
            descended = _penalize(loss * logits.shape[1], network, strength)
        if weights is not None:
            examples = total(weights)
            reported, descended = reported / examples, descended / examples
        return descended * rate, reported

    return objective


def _penalize(loss: Array, network: MLP, strength: float) -> Array:
    """Add the squares of all weights to a loss."""
    if strength:
        for layer in network.layers:
            loss = plus_squares(loss, layer.weight, strength)
    return loss


def epoch(run: Training, rate: float, minibatches: Iterable[tuple[Array, ...]]) -> tuple[Training, float]:
    """Go through the batches once; return the training after them, and the mean loss of an example."""
    step, optimizer, network, state = run
    losses, sizes = [], []
    for batch in minibatches:
        network, state, (_, loss) = step(network, state, rate, *batch)
        losses.append(loss)
        sizes.append(batch[0].shape[0])
    # Asked for when the steps are under way: on a GPU a loss is waited for.
    summed = sum(float(loss) * size for loss, size in zip(losses, sizes, strict=True))
    return Training(step, optimizer, network, state), summed / max(sum(sizes), 1)


# Many steps in a call


@functools.lru_cache(maxsize=64)
def _programs(output: Output, alpha: float, momentum: float, nesterov: bool) -> Programs:
    """Return the programs of a step, which all fits with the same options share."""
    descend = _optimizer(momentum, nesterov)

    def step(network: MLP, state: SGDState, rate: Array, *batch: Array) -> tuple[MLP, SGDState, list[Array]]:
        network, state, (_, loss) = training_step(_objective(output, alpha), descend, has_aux=True)(
            network, state, rate, *batch
        )
        return network, state, [loss]

    return Programs(lambda rows: step)


def programs_for(run: Training, output: Output, alpha: float, steps: int) -> Programs | None:
    """Return what runs a training of at most so many steps as a program; None where its steps are eager."""
    optimizer = run.optimizer
    if steps < MANY_STEPS or not compiles(run.network):
        return None
    return _programs(output, alpha, optimizer.momentum, optimizer.nesterov)


def compiled_epoch(
    run: Training,
    programs: Programs,
    rate: float,
    arrays: tuple[Array, ...],
    size: int,
    order: np.ndarray[Any, Any],
    taken: Sequence[bool],
) -> tuple[Training, float]:
    """Go through the batches that are taken once, as `epoch` does, by programs."""
    step, optimizer, network, state = run
    rates = asarray(np.full(len(taken), rate, tree.leaves(network)[0].dtype))
    part = Epoch(arrays, asarray(order), rates, size)
    whole, rest = divmod(len(order), size)
    losses: list[float] = []
    examples = 0
    for start, stop in _stretches(taken, whole):
        examples += min(size * (stop - start), len(order) - size * start)
        if start == whole and whole > FEW_STEPS:
            (batch,) = data.minibatches(arrays, size, order=order, start=start)
            network, state, (_, loss) = step(network, state, rate, *batch)
            losses.append(float(loss) * rest)
        else:
            network, state, (column,) = programs(network, state, part, start, stop)
            losses += [loss * (size if start < whole else rest) for loss in column]
    return Training(step, optimizer, network, state), sum(losses) / max(examples, 1)


def _stretches(taken: Sequence[bool], whole: int) -> Iterator[tuple[int, int]]:
    """Yield where runs of batches that are taken begin and end, those of one size in each, as many as a call takes."""
    start = 0
    while start < len(taken):
        stop = start
        while stop < len(taken) and taken[stop] and stop - start < WINDOW and (stop < whole) == (start < whole):
            stop += 1
        if stop > start:
            yield start, stop
        start = max(stop, start + 1)


def batches(
    x: Any, others: tuple[Array, ...], size: int, order: np.ndarray[Any, Any] | None
) -> Iterable[tuple[Array, ...]]:
    """Return the batches of an epoch: of an Array, or of a sparse matrix on the host, of which each is made dense."""
    if not issparse(x):
        return data.minibatches((x, *others), size, shuffle=False, order=order)
    return _sparse_batches(x, others, size, order)


def _sparse_batches(
    x: Any, others: tuple[Array, ...], size: int, order: np.ndarray[Any, Any] | None
) -> Iterator[tuple[Array, ...]]:
    rows = x if order is None else x[order]
    dense = (asarray(rows[block].toarray()) for block in gen_batches(rows.shape[0], size))
    for first, rest in zip(dense, data.minibatches(others, size, shuffle=False, order=order), strict=True):
        yield (first, *rest)
