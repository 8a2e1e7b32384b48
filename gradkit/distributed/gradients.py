"""Gradients summed over the processes, in buckets that leave while the backward pass goes on.

The buckets are the parameters from the last to the first, as the backward pass comes to them, and leave in that order
in all processes. Each is an `OrderedSum`, so what arrives is the same in all of them to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from gradkit.backend import Backend, current_backend
from gradkit.core.array import Array, backend_of_array, innermost, wrap
from gradkit.core.node import Node, capturing
from gradkit.core.operands import dtype_name
from gradkit.core.promotion import FLOATING, kind_of
from gradkit.core.reverse import GradientWatcher
from gradkit.core.values import values_of
from gradkit.distributed.buckets import Numbers, StepSums, buckets_of, sums_of
from gradkit.distributed.startup import world
from gradkit.distributed.weights import Told, Weight, weight_of
from gradkit.errors import DistributedError
from gradkit.numpy import asarray, reshape, zeros, zeros_like
from gradkit.processes import OrderedSum, World
from gradkit.transforms import value_and_grad as local_value_and_grad
from gradkit.transforms.reverse import watched_value_and_grad
from gradkit.tree import flatten, leaves, unflatten

__all__ = [
    "Beside", "SummedGradients", "started_value_and_grad", "sums_of", "value_and_grad", "weighted_sum", "wide",
]  # fmt: skip


class Beside(NamedTuple):
    """Numbers that are summed with the gradients of a step.

    Attributes
    ----------
    length : int
        How many they are.
    of : callable
        ``of(value, aux)`` computes them of a loss and its auxiliary data: a vector, as `wide` makes it.
    question : callable, optional
        Gives more of them: what the host is asked for at each step.
    answers : int
        How many it gives.
    """

    length: int
    of: Callable[[Any, Any], Array]
    question: Callable[[], Sequence[float]] | None = None
    answers: int = 0


class SummedGradients(GradientWatcher):
    """The sums of the gradients of one step, in progress.

    It is the same in a step that is being captured: then the sums begin and end where the graph is run.

    Parameters
    ----------
    parameters : sequence of Array
        What is differentiated by.
    weight : callable
        Returns what this process's gradients count for: a float, or of a program an Array; asked when the backward pass
        begins, or the first sum.
    here : World
        The processes.
    beside : Beside, optional
        What else is summed.
    """

    def __init__(
        self, parameters: Sequence[Array], weight: Callable[[], Any], here: World, beside: Beside | None = None
    ) -> None:
        self._parameters = parameters
        self._weight = weight
        self._gradients: list[Any] = [None] * len(parameters)
        self._positions: dict[Node, int] = {}
        self._buckets = list(buckets_of(parameters, here.bucket_bytes))
        self._missing = [len(bucket.positions) for bucket in self._buckets]
        self._bucket_of = {i: number for number, bucket in enumerate(self._buckets) for i in bucket.positions}
        self._here = here
        self._is_ready = False
        self._beside = beside
        self._numbers = None
        if beside is not None:
            dtype = _wide_dtype(backend_of_array(parameters[0]) if parameters else current_backend())
            self._numbers = Numbers(beside.length, dtype, beside.question, beside.answers)
        self._known: StepSums | None = None
        self._completion: Callable[[], None] | None = None
        self._know(sums_of(here).known_step(self._buckets, parameters, self._numbers))

    @property
    def begun(self) -> int:
        """How many sums have begun, one for each bucket."""
        return 0 if self._known is None else self._known.begun

    def watch(self, nodes: Sequence[Node]) -> SummedGradients:
        """Begin to watch a backward pass."""
        self._positions = {node: i for i, node in enumerate(nodes)}
        self._sums.prepare()
        return self

    def agree(self) -> None:
        """Agree with the others on what sums are made by, if that is not known: before `fun`, which may fail in one."""
        if self._known is None and capturing() is not None:
            if isinstance(self._weight, Weight):
                self._weight.agree()
            self._know(sums_of(self._here).step(self._buckets, self._parameters, self._numbers))
        elif self._known is None:
            _ = self._sums

    @property
    def _sums(self) -> StepSums:
        """The sums, once there is something to sum."""
        if not self._is_ready:
            self._weight()  # it is known where all have the same parameters; those that do not share no memory
            self._is_ready = True
            if capturing() is None:
                sums_of(self._here).complete_abandoned()
            if self._known is None:
                self._know(sums_of(self._here).step(self._buckets, self._parameters, self._numbers))
            assert self._known is not None
            if capturing() is None:
                self._completion = self._known.entering()()
        assert self._known is not None
        return self._known

    def _know(self, sums: StepSums | None) -> None:
        self._known = sums
        if sums is not None and isinstance(self._weight, Weight):
            self._weight.enter = sums.entering()

    def start(self, cotangent: Any) -> Any:
        """Return the cotangent of this process's loss in the sum of all: its weight, in place of 1."""
        array = cotangent if type(cotangent) is Array else wrap(cotangent)
        weight = self._weight()
        scaled = array * (weight.astype(dtype_name(array)) if type(weight) is Array else weight)
        return scaled if type(cotangent) is Array or scaled._node is not None else scaled._value

    def node_done(self) -> None:
        """Let what is on its way go on."""
        self._sums.advance()

    def gradient_done(self, leaf: Node, gradient: Any) -> None:
        """Put a gradient into its bucket, which leaves when it is full."""
        position = self._positions.get(leaf)
        if position is not None and position in self._bucket_of:
            self._put(position, gradient if type(gradient) is Array else wrap(gradient))

    def _put(self, position: int, gradient: Array) -> None:
        if self._gradients[position] is not None:
            return
        self._gradients[position] = gradient
        self._missing[self._bucket_of[position]] -= 1
        begun = before = self._sums.begun
        while begun < len(self._buckets) and not self._missing[begun]:
            self._sums.begin([self._gradients[i] for i in self._buckets[begun].positions])
            begun += 1
        if before and before == begun:
            self._sums.go_on()

    def finish(self, gradients: Sequence[Array] | None) -> list[Any]:
        """Wait for all sums of gradients, and return them in the order of the parameters.

        Parameters
        ----------
        gradients : sequence of Array, or None
            This process's, in which its weight is; None where it has no examples, and takes part with zeros.
        """
        return self.finish_both(gradients)[0]

    def finish_both(self, gradients: Sequence[Array] | None) -> tuple[list[Any], Sequence[Array]]:
        """Return what `finish` does, and the sums of the numbers beside: these, and the answers to the question."""
        self.send_rest(gradients)
        results: list[Any] = [None] * len(self._parameters) if gradients is None else list(gradients)
        with self.abandoned_by_errors():
            for number, bucket in enumerate(self._buckets):
                for position, part in zip(bucket.positions, self._sums.end(number), strict=True):
                    results[position] = part
            numbers = () if self._numbers is None else self._sums.end_numbers()
            self._sums.done()
        return results, numbers

    @contextmanager
    def abandoned_by_errors(self) -> Iterator[None]:
        """Note where an error ends this step inside a ``with`` block."""
        try:
            yield
        except BaseException:  # Ctrl-C: the others have begun some of these sums, or will
            if capturing() is None:
                self._gradients, self._positions = [], {}
                sums_of(self._here).abandon(self._complete)
            raise

    def _complete(self) -> None:
        """Begin and end all sums that have not; nobody has a use for them."""
        if self._completion is None:
            try:
                self._weight()
            except (DistributedError, ValueError):
                return  # so it was in all processes, and no sum has begun
            if self._known is None:
                self._known = sums_of(self._here).step(self._buckets, self._parameters, self._numbers)
            self._completion = self._known.entering()()
        self._completion()

    def _no_numbers(self) -> Array:
        """Return what a process without examples adds to the numbers."""
        assert self._numbers is not None
        if not self._parameters:
            return zeros(self._numbers.length, self._numbers.dtype)
        like = wrap(innermost(self._parameters[0]))
        return zeros_like(like, self._numbers.dtype, shape=(self._numbers.length,))

    def send_rest(self, gradients: Sequence[Array] | None) -> None:
        """Begin the sums that have not begun; `gradients` as for `finish`."""
        for i in range(len(self._parameters) - 1, -1, -1):
            if i in self._bucket_of:
                found = None if gradients is None else gradients[i]
                self._put(i, zeros_like(self._parameters[i]) if found is None else found)

    def send_numbers(self, values: Array | None) -> None:
        """Begin the sum of numbers, when all others have begun; None where this process has no examples."""
        if self._numbers is not None:
            self._sums.begin_numbers(self._no_numbers() if values is None else values)


def wide(number: Any) -> Array:
    """Return a number as its sums are taken: in float64, or float32 on JAX without its x64, which has no other."""
    array = asarray(number)
    found: Array = array.astype(_wide_dtype(backend_of_array(array)))
    return found


def _wide_dtype(backend: Backend) -> str:
    return "float64" if backend.has_dtype("float64") else "float32"


def weighted_sum(value: Any, weight: float, here: World, lane: str = "numbers") -> OrderedSum:
    """Begin the sum over the processes of a vector of numbers, times this process's weight."""
    array = asarray(value)
    backend = backend_of_array(array)
    raw = backend.xp.reshape(values_of(array, "the sum of losses"), (-1,)) * weight
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
        By the function: if another process has ended, or does not come; in all processes, if their `params` differ in
        structure, shapes or dtypes, or at the first step in their numbers: who has what.

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
    told = Told()

    def value_and_gradient(params: Any, *batch: Any) -> Any:
        here = world()
        if here.count == 1:
            return alone(params, *batch)
        rows = _rows(batch)
        # Under way while fun runs: what the processes have, and how many rows.
        weight = weight_of(rows, told, params, here)
        beside = Beside(1, lambda value, aux: reshape(wide(value) * weight(), (1,)))
        _, aux, summed = started_value_and_grad(fun, has_aux, weight, rows > 0, params, batch, here, beside)
        gradient, (total,) = summed()
        whole = total[0].astype(_dtype_of_loss(params))
        return ((whole, aux) if has_aux else whole), gradient

    return value_and_gradient


def started_value_and_grad(
    fun: Callable[..., Any],
    has_aux: bool,
    weight: Callable[[], Any],
    has_rows: bool,
    params: Any,
    batch: Sequence[Any],
    here: World,
    beside: Beside | None = None,
) -> tuple[Any, Any, Callable[[], tuple[Any, Sequence[Array]]]]:
    """Return this process's loss and auxiliary data (None without rows), and what waits for the sums of all.

    All have begun then. They are the gradient, and the numbers beside.
    """
    values, treedef = flatten(params)
    summed = SummedGradients([asarray(value) for value in values], weight, here, beside)
    value, aux, own = None, None, None
    with summed.abandoned_by_errors():
        summed.agree()
        if has_rows:
            result, gradient = watched_value_and_grad(fun, summed.watch, has_aux=has_aux)(params, *batch)
            value, aux = result if has_aux else (result, None)
            own = leaves(gradient)
        summed.send_rest(own)
        if beside is not None:
            summed.send_numbers(beside.of(value, aux) if has_rows else None)

    def ended() -> tuple[Any, Sequence[Array]]:
        gradients, numbers = summed.finish_both(own)
        return unflatten(treedef, gradients), numbers

    return value, aux, ended


def _dtype_of_loss(params: Any) -> str:
    """Return the dtype of a loss, as far as one can tell without one: that of the first parameter."""
    names = (dtype_name(asarray(leaf)) for leaf in leaves(params))
    return next((name for name in names if kind_of(name) == FLOATING), "float32")


def _rows(batch: Any) -> int:
    """Return how many examples a batch has; one where it has no arrays."""
    return next((int(leaf.shape[0]) for leaf in leaves(batch) if getattr(leaf, "shape", ())), 1)
