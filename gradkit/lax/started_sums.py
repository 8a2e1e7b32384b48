"""Sums over processes in two operations, between which a program goes on: one begins a sum, another waits for it.

They are operations of a graph as others are, so a compiled program has them in the midst of its native code. What is on
its way is in a `StartedSums`, a parameter of all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from gradkit.backend import Backend
from gradkit.core import MultipleResults
from gradkit.core.array import Array
from gradkit.core.graph import bind_where_captured
from gradkit.core.promotion import dtype_named
from gradkit.core.stand_in import Abstract
from gradkit.errors import ConcretizationTypeError
from gradkit.processes import SMALL, OrderedSum, World

__all__ = ["OnTheWay", "StartedSums", "ask", "numbers_like"]


class StartedSums:
    """Sums over the processes that are on their way, one after another in one lane.

    A step of training begins some, numbered from 0 on, and then waits for all; the next step begins with 0 again.

    Parameters
    ----------
    here : World
        The processes.
    lane : str
        What they travel in.
    call : str
        Whose they are, for messages.
    small : int
        As for `OrderedSum`; 0 where there are several at a time.
    """

    def __init__(self, here: World, lane: str, call: str, small: int = SMALL) -> None:
        self._here = here
        self._lane = lane
        self._call = call
        self._small = small
        self._sums: list[OrderedSum] = []
        self._collected = 0

    def begin(self, number: int, values: Array) -> Array:
        """Begin a sum, and return what stands for it until it is there.

        Parameters
        ----------
        number : int
            How many have been begun in this step.
        values : Array, shape (m,)
            This process's. Their memory is read until the sum is there.
        """
        (token,) = bind_where_captured(_begin, (values,), {"sums": self, "number": number})
        return token  # type: ignore[no-any-return]

    def go_on(self, token: Array) -> None:
        """Let what is on its way go on, without waiting; `token` is that of the newest sum."""
        bind_where_captured(_go_on, (token,), {"sums": self})

    def end(self, number: int, values: Array, token: Array, shapes: Sequence[tuple[int, ...]]) -> Sequence[Array]:
        """Wait for a sum, all of which have been begun, and return its parts, one after another of these shapes."""
        return bind_where_captured(_end, (values, token), {"sums": self, "number": number, "shapes": tuple(shapes)})

    def enter(self, forms: Sequence[tuple[int, str, Backend]]) -> Callable[[], None]:
        """Begin a step of a program, of sums of such sizes, dtypes and backends.

        Returns
        -------
        callable
            Begins, with zeros, what the step has not begun when this is called, and waits for all of its sums.
        """
        self._restart()
        of_step = self._sums

        def complete() -> None:
            if self._sums is not of_step:
                return  # the step is over: another one has begun
            for size, dtype, backend in forms[len(self._sums) :]:
                raw = backend.xp.zeros(size, dtype=backend.raw_dtype_named(dtype))
                self.send(len(self._sums), raw, backend)
            if self._sums:
                self.receive(len(self._sums) - 1)

        return complete

    # What the operations do

    def send(self, number: int, values: Any, backend: Backend) -> None:
        """Begin a sum of a raw array."""
        if number == 0:
            self._restart()
        self.advance()
        transport = self._here.transport(backend, self._lane)
        # The last thing done here: where an error ends a step, those that have begun are those that are noted.
        self._sums.append(OrderedSum(values, backend, transport, self._here.count, self._call, small=self._small))

    def _restart(self) -> None:
        while self._collected < len(self._sums):  # nobody has waited for them: an error has ended the step
            self._collect()
        if self._sums:
            self._sums, self._collected = [], 0

    def advance(self) -> None:
        """Begin the second movements of those whose first one has arrived, in the order of the sums."""
        while self._collected < len(self._sums) and self._sums[self._collected].exchanged():
            self._collect()

    def receive(self, number: int) -> Any:
        """Wait for a sum."""
        while self._collected < len(self._sums):
            self._collect()  # waits for its first movement
        return self._sums[number].result()

    def _collect(self) -> None:
        self._sums[self._collected].collect()
        self._collected += 1


def ask(question: Callable[[], Sequence[float]], count: int, at: Array) -> Array:
    """Ask the host for numbers, at each run of a program.

    Parameters
    ----------
    question : callable
        Gives them.
    count : int
        How many they are.
    at : Array
        The question is asked when this is there.

    Returns
    -------
    Array, shape (count,)
        Of the dtype of `at`.
    """
    (answer,) = bind_where_captured(_ask, (at,), {"question": question, "count": count})
    return answer  # type: ignore[no-any-return]


class OnTheWay(MultipleResults):
    """An operation on sums that are on their way. It has no derivative: what is summed is one already."""

    distinct = True
    calls_host = True
    lends = True

    def __init__(self, name: str, run: Callable[..., Any], forms: Callable[..., Any]) -> None:
        super().__init__(name, run, (None,), batch=_refuse, leaf=True)
        self._forms = forms

    def abstract(self, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """Return stand-ins for the results."""
        backend, device = self.place(args, params)
        return tuple(
            Abstract(shape, dtype_named(dtype), backend, device) for shape, dtype in self._forms(*args, **params)
        )

    def has_effect(self, params: Mapping[str, Any]) -> bool:
        """Return that it does something beside computing results: it meets others."""
        return True

    def reads_and_parents(self, tracked: int) -> tuple[int, int]:
        """Reach all nodes: a graph asks here whether to differentiate, and has to come to the refusal of `record`."""
        return 0, tracked

    def is_linear_in(self, bits: int) -> bool:
        """Return whether it is linear: nobody is to transpose it."""
        return not bits

    def record(self, trace: Any, out: Any, values: Any, nodes: Any, tracked: int, params: Any, plain: bool) -> Any:
        """Refuse to be differentiated."""
        raise _refusal()

    def push(self, out: Any, args: Any, tangents: Any, params: Mapping[str, Any]) -> Any:
        """Refuse to be differentiated."""
        if any(t is not None for t in tangents):
            raise _refusal()
        return None


def _refusal() -> ConcretizationTypeError:
    return ConcretizationTypeError(
        "the sum of gradients: a transform (grad, jvp, ...) follows them, and its derivative would be lost here "
        "without a word. Differentiate twice inside of the loss, or use gradkit.lax.psum under shard_map, which has "
        "derivatives."
    )


def _refuse(primitive: Any, values: Any, axes: Any, size: int, params: Any) -> Any:
    raise NotImplementedError(f"{primitive.name}: sums over processes that are on their way cannot be batched.")


def numbers_like(xp: Any, like: Any, values: Any, dtype: str) -> Any:
    """Return numbers as a raw array, where another one is."""
    backend = xp.backend
    return backend.xp.asarray(values, dtype=backend.raw_dtype_named(dtype), device=backend.device_of(like))


def _run_begin(xp: Any, values: Any, *, sums: StartedSums, number: int) -> tuple[Any]:
    sums.send(number, values, xp.backend)
    return (numbers_like(xp, values, number, "int32"),)


def _run_go_on(xp: Any, token: Any, *, sums: StartedSums) -> tuple[()]:
    sums.advance()
    return ()


def _run_end(
    xp: Any, values: Any, token: Any, *, sums: StartedSums, number: int, shapes: Sequence[tuple[int, ...]]
) -> tuple[Any, ...]:
    whole, begin, parts = sums.receive(number), 0, []
    for shape in shapes:
        end = begin + prod(shape)
        parts.append(xp.backend.xp.reshape(whole[begin:end], shape))
        begin = end
    return tuple(parts)


def _run_ask(xp: Any, at: Any, *, question: Callable[[], Sequence[float]], count: int) -> tuple[Any]:
    return (numbers_like(xp, at, list(question()), xp.backend.dtype_name(at)),)


_begin = OnTheWay("process_begin_sum", _run_begin, lambda values, **_: [((), "int32")])
_go_on = OnTheWay("process_go_on", _run_go_on, lambda token, **_: [])
_end = OnTheWay(
    "process_end_sum",
    _run_end,
    lambda values, token, *, shapes, **_: [(shape, values.dtype.name) for shape in shapes],
)
_ask = OnTheWay("process_ask", _run_ask, lambda at, count, **_: [((count,), at.dtype.name)])
