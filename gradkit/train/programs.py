"""Steps of training as a program: a loop over some steps of an epoch, compiled, with minibatches gathered inside.

What a program computes of a step does not depend on how many steps are in a call. So a run may group its steps as it
likes, and go on from any of them, and every bit stays the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gradkit import lax, tree
from gradkit.compiler.executables import has_printer
from gradkit.compiler.keys import key_of
from gradkit.config import config
from gradkit.core.array import Array, backend_of_array
from gradkit.core.graph import Graph
from gradkit.core.operands import dtype_name
from gradkit.core.promotion import FLOATING, kind_of
from gradkit.core.values import host
from gradkit.lax.across_processes import Across
from gradkit.lax.started_sums import OnTheWay
from gradkit.numpy import asarray, logical_and, logical_not, reshape, zeros
from gradkit.primitives.taking import take_flat
from gradkit.train.steps import RatedStep
from gradkit.train.watching import watched
from gradkit.transforms import eval_shape, jit, make_jaxpr

__all__ = ["WINDOW", "Epoch", "Part", "Programs", "compiles", "parameter_dtype"]

WINDOW = 256
"""The largest number of steps in a call."""


class Part(NamedTuple):
    """What of a minibatch this process takes.

    Attributes
    ----------
    begin, own : int
        Its first row, and how many they are.
    whole : int
        How many the minibatch has.
    """

    begin: int
    own: int
    whole: int


class Epoch(NamedTuple):
    """What the steps of an epoch read.

    Attributes
    ----------
    arrays : tuple of Array
        The examples and what belongs to them, a row each.
    order : Array of int
        The rows, in the order in which they are taken.
    rates : Array, shape (steps,)
        The learning rate of each step.
    batch_size : int
        How far apart in the order two minibatches begin.
    part : Part, optional
        What is taken of the minibatches of a call, which are all of one size. By default all of them.
    """

    arrays: tuple[Array, ...]
    order: Array
    rates: Array
    batch_size: int
    part: Part | None = None


def compiles(model: Any) -> bool:
    """Return whether steps of a model can be a program: its backend has a compiler, and nobody asked for none."""
    leaves = tree.leaves(model)
    if config.jax_disable_jit or config.jax_debug_nans or not leaves or any(type(leaf) is not Array for leaf in leaves):
        return False
    backends = {backend_of_array(leaf) for leaf in leaves}
    return len(backends) == 1 and has_printer(backends.pop())


def parameter_dtype(model: Any) -> str:
    """Return the dtype that a learning rate is handed over in: where parameters differ in theirs, the widest."""
    names = {dtype_name(leaf) for leaf in tree.leaves(model) if type(leaf) is Array}
    real = {name for name in names if kind_of(name) == FLOATING}
    return real.pop() if len(real) == 1 else "float64"


class Programs:
    """A step of training, compiled as loops over many of them.

    Parameters
    ----------
    step_of : callable
        ``step_of(rows)`` is the step for minibatches of so many rows, a `RatedStep` whose values are numbers. It is run
        on arrays without values, so that it may not look at any.
    ends : callable, optional
        ``ends(values)``, of a step's values: whether it is the last one of its call.
    """

    def __init__(self, step_of: Callable[[int], RatedStep], ends: Callable[[Sequence[Any]], Any] | None = None) -> None:
        self._step_of = step_of
        self._ends = ends
        self._captured: Graph | None = None
        self._run = jit(self._steps, static_argnums=(0, 1))

    def calls_host(self, rows: int, *arguments: Any) -> bool:
        """Return whether a step has calls of the host for their effect in it, such as `debug.print`.

        Parameters
        ----------
        rows : int
            Those of the minibatch.
        *arguments
            As the step takes them.
        """
        graph = self._captured or make_jaxpr(self._step_of(rows))(*arguments).jaxpr
        return any(
            equation.primitive.has_effect(equation.params) and not isinstance(equation.primitive, Across | OnTheWay)
            for equation in graph.equations
        )

    def effect(self, rows: int, *arguments: Any) -> tuple[str, bool]:
        """Say what a step does besides computing, if it does, and whether code that is not gradkit's is in it.

        Parameters
        ----------
        rows : int
            Those of the minibatch.
        *arguments
            As the step takes them.
        """
        capture = make_jaxpr(self._step_of(rows))
        first = capture(*arguments)  # what is imported, or computed once and kept, is so before one looks
        second, seen = watched(lambda: capture(*arguments))
        self._captured = second.jaxpr
        if not seen.effect:
            self._dtypes(rows, *arguments)
            if seen.some and not _are_same(first.jaxpr, second.jaxpr):
                return "it computes something else at each call", True
        return seen.effect, seen.some

    def _dtypes(self, rows: int, model: Any, state: Any, rate: Any, *batch: Any) -> list[Any]:
        """Return the dtypes of a step's values.

        Raises
        ------
        TypeError
            If the step gives a model or a state that is not like the one it was given.
        """
        *after, values = eval_shape(self._step_of(rows), model, state, rate, *batch)
        if not _are_alike((model, state), tuple(after)):
            raise TypeError("a step of training must return a model and an optimizer's state like those it was given")
        return [value.dtype for value in values]

    def __call__(
        self, model: Any, state: Any, epoch: Epoch, start: int, stop: int
    ) -> tuple[Any, Any, list[Sequence[float]]]:
        """Take the steps of an epoch from `start` to below `stop`, whose minibatches are all of one size.

        Returns
        -------
        tuple of (model, state, values)
            The new ones, and of each thing measured the values of the steps that were taken, on the host.
        """
        size = epoch.batch_size
        rows = min(size, epoch.order.shape[0] - start * size)
        last, model, new_state, columns = self._run(
            epoch.part or Part(0, rows, rows), size, model, state, epoch.arrays, epoch.order, epoch.rates, start, stop
        )
        taken = stop - start if last is None else int(last) - start
        return model, _numbers_as_in(state, new_state), [host(c)[:taken].tolist() for c in columns]

    def _steps(
        self,
        part: Part,
        size: int,
        model: Any,
        state: Any,
        arrays: tuple[Array, ...],
        order: Array,
        rates: Array,
        start: Any,
        stop: Any,
    ) -> Any:
        step = self._step_of(part.whole)
        dtypes = self._dtypes(part.whole, model, state, rates[0], *(array[: part.own] for array in arrays))

        def one(i: Any, carry: Any) -> tuple[Any, Sequence[Any]]:
            model, state, columns = carry
            chosen = lax.dynamic_slice_in_dim(order, i * size + part.begin, part.own)
            batch = [take_flat(array, chosen, 0) for array in arrays]
            model, state, values = step(model, state, rates[i], *batch)
            columns = [
                column.at[i - start].set(reshape(asarray(value), ()).astype(column.dtype))
                for column, value in zip(columns, values, strict=True)
            ]
            return (model, state, columns), values

        begin = (model, state, [zeros(WINDOW, dtype) for dtype in dtypes])
        ends = self._ends
        if ends is None:
            return None, *lax.fori_loop(start, stop, lambda i, carry: one(i, carry)[0], begin)

        def one_more(going: Any) -> Any:
            i, _, carry = going
            carry, values = one(i, carry)
            return i + 1, ends(values), carry

        last, _, after = lax.while_loop(
            lambda going: logical_and(going[0] < stop, logical_not(going[1])), one_more, (start, asarray(False), begin)
        )
        return last, *after


def _are_same(one: Graph, other: Graph) -> bool:
    """Return whether two graphs compute the same, with the same numbers in them."""
    (form, arrays), (other_form, others) = key_of(one), key_of(other)
    return form == other_form and all(
        host(a).tobytes() == host(b).tobytes() for a, b in zip(arrays, others, strict=True)
    )


def _are_alike(before: Any, after: Any) -> bool:
    """Return whether two pytrees have one structure, shapes and dtypes; Python's numbers may become arrays."""
    old, new = tree.leaves(before), tree.leaves(after)
    return tree.structure(before) == tree.structure(after) and all(
        tuple(b.shape) == () if isinstance(a, int | float) else (tuple(a.shape), a.dtype) == (tuple(b.shape), b.dtype)
        for a, b in zip(old, new, strict=True)
    )


def _numbers_as_in(state: Any, new: Any) -> Any:
    """Return a new state whose numbers are Python's where those of the old one are: a step count stays an int."""
    leaves, treedef = tree.flatten(new)
    return tree.unflatten(
        treedef,
        [
            type(old)(host(leaf).item()) if isinstance(old, int | float) else leaf
            for old, leaf in zip(tree.leaves(state), leaves, strict=True)
        ],
    )
