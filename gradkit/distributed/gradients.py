"""Gradients summed over the processes, in buckets that leave while the backward pass goes on.

The buckets are the parameters from the last to the first, as the backward pass comes to them, and leave in that order
in all processes. Each is an `OrderedSum`, so what arrives is the same in all of them to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

from gradkit.backend import Backend
from gradkit.backend.transport import Transport
from gradkit.core.array import Array, backend_of_array, wrap
from gradkit.core.node import Node
from gradkit.core.operands import dtype_name
from gradkit.core.promotion import FLOATING, is_inexact, kind_of
from gradkit.core.reverse import GradientWatcher
from gradkit.core.values import values_of
from gradkit.distributed.startup import world
from gradkit.numpy import asarray
from gradkit.processes import OrderedSum, World
from gradkit.transforms import value_and_grad as local_value_and_grad
from gradkit.transforms.reverse import watched_value_and_grad
from gradkit.tree import flatten, leaves, unflatten

__all__ = ["Share", "SummedGradients", "value_and_grad", "weighted_sum"]

CALL = "the sum of gradients"


class Share(NamedTuple):
    """How much of a minibatch is this process's.

    Attributes
    ----------
    own, whole : int
        Its examples, and those of all.
    """

    own: int
    whole: int

    @property
    def weight(self) -> float:
        """What a mean over its examples counts for in the mean over all."""
        return self.own / self.whole


class _Bucket:
    """Some of the gradients, all of one dtype and place, that travel together."""

    def __init__(self, positions: Sequence[int], shapes: Sequence[tuple[int, ...]], backend: Backend) -> None:
        self.positions = positions
        self.missing = len(positions)
        self.sum: OrderedSum | None = None
        self.is_collected = False
        self._shapes = shapes
        self._backend = backend

    def send(self, gradients: Sequence[Any], weight: float, transport: Transport, count: int) -> None:
        """Put the gradients together, times this process's weight, and begin their sum."""
        xp = self._backend.xp
        flat = [xp.reshape(gradient, (-1,)) for gradient in gradients]
        joined = (xp.concat(flat) if len(flat) > 1 else flat[0]) * weight
        self.sum = OrderedSum(joined, self._backend, transport, count, CALL, small=0)

    def results(self) -> Iterator[tuple[int, Any]]:
        """Wait for the sums, and give each with its position."""
        assert self.sum is not None
        whole, begin = self.sum.result(), 0
        for position, shape in zip(self.positions, self._shapes, strict=True):
            end = begin + prod(shape)
            yield position, wrap(self._backend.xp.reshape(whole[begin:end], shape))
            begin = end


class SummedGradients(GradientWatcher):
    """The sums of the gradients of one step, in progress.

    Parameters
    ----------
    parameters : sequence of Array
        What is differentiated by.
    weight : callable
        Returns what this process's gradients count for; asked when the first bucket leaves.
    here : World
        The processes.

    Attributes
    ----------
    sent : int
        How many buckets have left so far.
    """

    def __init__(self, parameters: Sequence[Array], weight: Callable[[], float], here: World) -> None:
        self._parameters = parameters
        self._weight = weight
        self._here = here
        self._gradients: list[Any] = [None] * len(parameters)
        self._positions: dict[Node, int] = {}
        self._buckets = list(_buckets(parameters, here.bucket_bytes))
        self._bucket_of = {i: bucket for bucket in self._buckets for i in bucket.positions}
        self.sent = 0
        self._collected = 0

    def watch(self, nodes: Sequence[Node]) -> SummedGradients:
        """Begin to watch a backward pass."""
        self._positions = {node: i for i, node in enumerate(nodes)}
        return self

    def node_done(self) -> None:
        """Let what is on its way go on."""
        self._advance()

    def gradient_done(self, leaf: Node, gradient: Any) -> None:
        """Put a gradient into its bucket, which leaves when it is full."""
        position = self._positions.get(leaf)
        if position is not None and position in self._bucket_of:
            self._put(position, gradient)

    def _put(self, position: int, gradient: Any) -> None:
        if self._gradients[position] is not None:
            return
        self._gradients[position] = gradient
        self._bucket_of[position].missing -= 1
        while self.sent < len(self._buckets) and not self._buckets[self.sent].missing:
            bucket = self._buckets[self.sent]
            first = backend_of_array(self._parameters[bucket.positions[0]])
            transport = self._here.transport(first, "gradients")
            bucket.send([self._gradients[i] for i in bucket.positions], self._weight(), transport, self._here.count)
            self.sent += 1
        self._advance()

    def _advance(self) -> None:
        """Begin the second movements of those whose first one has arrived, in the order of the buckets."""
        while self._collected < self.sent:
            bucket = self._buckets[self._collected]
            assert bucket.sum is not None
            if not bucket.sum.exchanged():
                break
            bucket.sum.collect()
            self._collected += 1

    def finish(self, gradients: Sequence[Array] | None) -> list[Any]:
        """Wait for all sums, and return them in the order of the parameters.

        Parameters
        ----------
        gradients : sequence of Array, or None
            This process's; None where it has no examples, and takes part with zeros.
        """
        for i in range(len(self._parameters) - 1, -1, -1):
            if i in self._bucket_of:
                parameter = self._parameters[i]
                found = None if gradients is None else gradients[i]
                self._put(i, values_of(_zeros_like(parameter) if found is None else found, CALL))
        results: list[Any] = [None] * len(self._parameters) if gradients is None else list(gradients)
        while self._collected < len(self._buckets):
            bucket = self._buckets[self._collected]
            assert bucket.sum is not None
            bucket.sum.collect()  # waits for its first movement
            self._collected += 1
        for bucket in self._buckets:
            for position, value in bucket.results():
                results[position] = value
        return results


def _zeros_like(parameter: Array) -> Array:
    return wrap(values_of(parameter, CALL) * 0)


def _buckets(parameters: Sequence[Array], bucket_bytes: int) -> Iterator[_Bucket]:
    """Divide parameters into buckets, from the last to the first."""
    positions: list[int] = []
    kind: Any = None
    size = 0

    def full() -> _Bucket:
        shapes = [tuple(parameters[i].shape) for i in positions]
        return _Bucket(tuple(positions), shapes, backend_of_array(parameters[positions[0]]))

    for i in range(len(parameters) - 1, -1, -1):
        parameter = parameters[i]
        if not is_inexact(dtype_name(parameter)):
            continue  # whole numbers do not move
        own = backend_of_array(parameter).name, str(parameter.device), dtype_name(parameter)
        if positions and (own != kind or size >= bucket_bytes):
            yield full()
            positions, size = [], 0
        kind = own
        positions.append(i)
        size += parameter.nbytes
    if positions:
        yield full()


def weighted_sum(value: Any, weight: float, here: World, lane: str = "numbers") -> OrderedSum:
    """Begin the sum over the processes of a vector of numbers, times this process's weight."""
    array = asarray(value)
    backend = backend_of_array(array)
    raw = backend.xp.reshape(values_of(array, CALL), (-1,)) * weight
    return OrderedSum(raw, backend, here.transport(backend, lane), here.count, "the sum of losses")


def value_and_grad(fun: Callable[..., Any], has_aux: bool = False) -> Callable[..., Any]:
    """Make the function that computes a loss and its gradient on the minibatch that all processes share.

    It is `gradkit.value_and_grad` for a loop of one's own, whose minibatches are `distributed.minibatches`. The
    gradients of the processes are summed while the backward pass goes on.

    Parameters
    ----------
    fun : callable
        ``fun(params, *batch)``, the mean of something over the examples of a batch: the leaves of `batch` have a row
        for each. (With `has_aux`, a pair of it and anything.)
    has_aux : bool
        Whether `fun` returns auxiliary data beside the loss. They are this process's own; None where it has no example.

    Returns
    -------
    callable
        Takes what `fun` takes, each process its part of the batch, and returns the loss and the gradient of the whole
        batch: the same in all processes, to the last bit. A process whose part is empty (the last batch of an epoch may
        have fewer rows than there are processes) takes part without calling `fun`.

    Raises
    ------
    DistributedError
        By the function: if another process has ended, or does not come.

    Examples
    --------
    >>> import gradkit
    >>> from gradkit import data, distributed, nn, random
    >>> model = nn.MLP(2, [3], key=random.key(0))
    >>> loss = distributed.value_and_grad(lambda model, x, y: nn.softmax_cross_entropy(model(x), y))
    >>> for x, y in distributed.minibatches(data.moons(100, key=random.key(1)), 50, key=random.key(2)):
    ...     value, gradient = loss(model, x, y)
    >>> type(gradient).__name__
    'MLP'
    """
    alone = local_value_and_grad(fun, has_aux=has_aux)

    def value_and_gradient(params: Any, *batch: Any) -> Any:
        here = world()
        if here.count == 1:
            return alone(params, *batch)
        rows = _rows(batch)
        asked = weighted_sum(asarray([float(rows)], dtype="float32"), 1.0, here)  # on its way while fun runs
        known: list[float] = []

        def weight() -> float:
            if not known:
                known.append(rows / float(asked.result()[0]))
            return known[0]

        value, aux, gradient = summed_value_and_grad(fun, has_aux, weight, rows > 0, params, batch)
        number = asarray(0.0 if value is None else value).astype("float64")
        total = asarray(weighted_sum(number, weight(), here).result()[0])
        whole = total.astype(_dtype_of_loss(params))
        return ((whole, aux) if has_aux else whole), gradient

    return value_and_gradient


def summed_value_and_grad(
    fun: Callable[..., Any],
    has_aux: bool,
    weight: Callable[[], float],
    has_rows: bool,
    params: Any,
    batch: Sequence[Any],
) -> tuple[Any, Any, Any]:
    """Return this process's loss and auxiliary data (None without rows), and the weighted sum of all gradients."""
    values, treedef = flatten(params)
    sums = SummedGradients([asarray(value) for value in values], weight, world())
    if not has_rows:
        return None, None, unflatten(treedef, sums.finish(None))
    result, gradient = watched_value_and_grad(fun, sums.watch, has_aux=has_aux)(params, *batch)
    value, aux = result if has_aux else (result, None)
    return value, aux, unflatten(treedef, sums.finish(leaves(gradient)))


def _dtype_of_loss(params: Any) -> str:
    """Return the dtype of a loss, as far as one can tell without one: that of the first parameter."""
    names = (dtype_name(asarray(leaf)) for leaf in leaves(params))
    return next((name for name in names if kind_of(name) == FLOATING), "float32")


def _rows(batch: Any) -> int:
    """Return how many examples a batch has; one where it has no arrays."""
    return next((int(leaf.shape[0]) for leaf in leaves(batch) if getattr(leaf, "shape", ())), 1)
