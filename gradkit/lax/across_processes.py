"""Primitives across processes: each runs the same program, and all come to each of these operations in one order.

A process differentiates the sum of what all processes compute, as each element of a batch does under `vmap`: what one
sends to others gets back the cotangents that they have. So all are linear, and come in pairs, each the transpose of the
other; `sums` is its own. Two pairs move between what each process has for itself and what is the same in all of them:
`vary` and `sum_to_same`, `own_part` and `gather_to_same`. Their cotangents are not summed over copies of the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradkit.backend import Backend, HostMemory, MessageMemory
from gradkit.core import General, Linear
from gradkit.core.array import Array
from gradkit.core.batching import moved_to_front, same_shape
from gradkit.core.binding import bind
from gradkit.core.namespace import PRIMITIVES
from gradkit.processes import OrderedSum, ProcessAxis, sum_of_all

if TYPE_CHECKING:
    from gradkit.processes import Subject

__all__ = [
    "Across",
    "agree",
    "exchange",
    "gather",
    "gather_to_same",
    "maxima",
    "minima",
    "own_part",
    "send",
    "sum_and_scatter",
    "sum_to_same",
    "sums",
    "vary",
]  # fmt: skip


RESULT = "the result of shard_map or pmap"
GRADIENT = "the gradient of what shard_map or pmap has in all processes"

Pairs = tuple[tuple[int, int], ...]
"""Of processes: which sends to which."""


class Across:
    """What they share: a compiler neither merges, moves nor drops one, for others wait for it."""

    distinct = True
    lends = True
    meets = True
    """Whether something travels."""

    def has_effect(self, params: Mapping[str, Any]) -> bool:
        """Return that it does something beside computing results: it meets others."""
        return True


class _Linear(Across, Linear):
    """A linear operation across processes. Of one process the result may be the argument."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options, leaf=True, shares_memory=True)


class _General(Across, General):
    """An extremum over processes. Of one process it is the argument."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options, leaf=True, shares_memory=True)


def _apply(name: str, x: Any, axis: ProcessAxis, **params: Any) -> Any:
    """Run one of them on what a rule is given: a raw array, or an Array that a transform follows."""
    primitive = PRIMITIVES[name]
    params = {"axis": axis, **params}
    return bind(primitive, (x,), params) if type(x) is Array else primitive.kernel(x)(x, **params)


def _transposed(name: str) -> Callable[..., Any]:
    return lambda xp, g, _x, *, axis: _apply(name, g, axis)


def _same_axis(primitive: Any, values: Any, axes: Any, size: int, params: Any) -> tuple[Any, Any]:
    """Run on a batch as on any array."""
    return bind(primitive, values, params), axes[0]


def _behind_first(primitive: Any, values: Any, axes: Any, size: int, params: Any) -> tuple[Any, Any]:
    """Run on a batch: of the argument, the result or both the first axis is that of the processes."""
    x = moved_to_front(values[0], axes[0])
    if primitive.takes_stack:
        x = _swapped(x)
    out = bind(primitive, (x,), params)
    return (out, 1) if primitive.gives_stack else (out, 0)


def _swapped(x: Array) -> Array:
    """Return an array with its first two axes exchanged: a batch of stacks as a stack of batches."""
    permute: Array = PRIMITIVES["permute_dims"](x, axes=(1, 0, *range(2, x.ndim)))
    return permute


class _Visit(NamedTuple):
    """How one comes to an operation: what all say of it, and the memory by which small arrays come along."""

    subject: Subject
    memory: MessageMemory | None


@lru_cache(maxsize=4096)
def _visit(
    call: str, axis: str, dtype: str, shape: tuple[int, ...], perm: Pairs | None, size: int, backend: Backend
) -> _Visit:
    from gradkit.processes.meetings import ROOM, subject  # late: one process needs neither JSON nor hashes

    memory = backend.message_memory()
    about = f"{dtype}[{', '.join(map(str, shape))}]"
    if perm is not None:
        about += f", perm={list(perm)}"
    if not isinstance(memory, HostMemory):
        about += f", by {backend.travel()}"
    is_small = size <= ROOM and isinstance(memory, HostMemory)
    return _Visit(subject(f"{call} over {axis!r}", about), memory if is_small else None)


def _met(backend: Backend, x: Any, axis: ProcessAxis, call: str, perm: Pairs | None = None) -> Any:
    """Meet the others at an operation, and return the arrays of all, flat, where they are small; else None.

    Small ones come with the words by which all see that they are at the same operation, with arrays of one shape and
    dtype. Larger ones wait for these.
    """
    shape = tuple(x.shape)
    size = prod(shape) * backend.dtype_of(x).itemsize
    visit = _visit(call, axis.name, backend.dtype_name(x), shape, perm, size, backend)
    if visit.memory is None:
        axis.world.open(visit.subject).given()
        return None
    given = axis.world.open(visit.subject, visit.memory.sent(x).tobytes()).given()
    return visit.memory.array(np.ascontiguousarray(given[:, :size]), (axis.size, prod(shape)), x)


def _flat(xp: Any, x: Any) -> Any:
    return xp.backend.xp.reshape(x, (-1,))


def _sum_for(call: str) -> Callable[..., Any]:
    def forward(xp: Any, x: Any, *, axis: ProcessAxis) -> Any:
        return _combined(xp, x, axis, call, sum_of_all(xp.backend))

    return forward


def _combined(xp: Any, x: Any, axis: ProcessAxis, call: str, combine: Any) -> Any:
    here, backend = axis.world, xp.backend
    if here.count == 1:
        return x
    found = _met(backend, x, axis, call)
    if found is None:
        transport = here.transport(backend, "calls")
        whole = OrderedSum(_flat(xp, x), backend, transport, here.count, f"{call} over {axis.name!r}", combine)
        found = whole.result()
    else:
        found = combine(found)
    return backend.xp.reshape(found, tuple(x.shape))


def _extremum(name: str) -> Callable[..., Any]:
    def forward(xp: Any, x: Any, *, axis: ProcessAxis) -> Any:
        return _combined(xp, x, axis, f"lax.p{name}", lambda values: getattr(xp.backend.xp, name)(values, axis=0))

    return forward


def _gather_for(call: str) -> Callable[..., Any]:
    def forward(xp: Any, x: Any, *, axis: ProcessAxis) -> Any:
        here, backend = axis.world, xp.backend
        if here.count == 1:
            return backend.xp.reshape(x, (1, *x.shape))
        found = _met(backend, x, axis, call)
        if found is None:
            transport = here.transport(backend, "calls")
            found = transport.collect(_flat(xp, x), f"{call} over {axis.name!r}").result()
        return backend.xp.reshape(found, (here.count, *x.shape))

    return forward


def _exchanged(xp: Any, x: Any, axis: ProcessAxis, call: str, perm: Pairs | None = None) -> Any:
    """Send row i of an array to process i, and return what all have sent here."""
    here, backend = axis.world, xp.backend
    if here.count == 1:
        return x
    found = _met(backend, x, axis, call, perm)
    rows = (here.count, prod(x.shape) // here.count)
    if found is None:
        transport = here.transport(backend, "calls")
        moved = transport.exchange(backend.xp.reshape(x, rows), f"{call} over {axis.name!r}").result()
    else:
        moved = backend.asarray(backend.xp.reshape(found, (here.count, *rows))[:, here.index, ...])
    return backend.xp.reshape(moved, tuple(x.shape))


def _exchange(xp: Any, x: Any, *, axis: ProcessAxis) -> Any:
    return _exchanged(xp, x, axis, "lax.all_to_all")


def _sum_and_scatter(xp: Any, x: Any, *, axis: ProcessAxis) -> Any:
    moved = _exchanged(xp, x, axis, "lax.psum_scatter")
    total = moved[0, ...]
    for i in range(1, axis.size):  # in the order of the processes, as all sums
        total = total + moved[i, ...]
    return xp.backend.asarray(total)


def _own_part(xp: Any, x: Any, *, axis: ProcessAxis) -> Any:
    return xp.backend.asarray(x[axis.world.index, ...])


def _send(xp: Any, x: Any, *, axis: ProcessAxis, perm: Pairs) -> Any:
    here, backend = axis.world, xp.backend
    own = backend.xp
    targets = [target for source, target in perm if source == here.index]
    sources = [source for source, target in perm if target == here.index]
    parts = own.stack([x if i in targets else own.zeros_like(x) for i in range(here.count)])
    moved = _exchanged(xp, parts, axis, "lax.ppermute", perm)
    return backend.asarray(moved[sources[0], ...]) if sources else own.zeros_like(x)


def _one_less(x: Any, *, axis: ProcessAxis) -> tuple[int, ...]:
    return tuple(x.shape[1:])


def _one_more(x: Any, *, axis: ProcessAxis) -> tuple[int, ...]:
    return (axis.size, *x.shape)


def _declare(
    name: str,
    forward: Any,
    transpose: str,
    shape: Any = same_shape,
    takes_stack: bool = False,
    gives_stack: bool = False,
) -> _Linear:
    stacked = takes_stack or gives_stack
    batch = _behind_first if stacked else _same_axis
    primitive = _Linear(name, forward, (_transposed(transpose),), batch=batch, shape=shape)
    primitive.takes_stack = takes_stack  # type: ignore[attr-defined]
    primitive.gives_stack = gives_stack  # type: ignore[attr-defined]
    return primitive


def _identity(xp: Any, x: Any, *, axis: ProcessAxis) -> Any:
    return x


sums = _declare("process_sum", _sum_for("lax.psum"), "process_sum")
sum_to_same = _declare("process_sum_to_same", _sum_for(GRADIENT), "process_vary")
vary = _declare("process_vary", _identity, "process_sum_to_same")
gather = _declare(
    "process_gather", _gather_for("lax.all_gather"), "process_sum_and_scatter", _one_more, gives_stack=True
)
sum_and_scatter = _declare("process_sum_and_scatter", _sum_and_scatter, "process_gather", _one_less, takes_stack=True)
own_part = _declare("process_own_part", _own_part, "process_gather_to_same", _one_less, takes_stack=True)
gather_to_same = _declare(
    "process_gather_to_same", _gather_for(RESULT), "process_own_part", _one_more, gives_stack=True
)
exchange = _declare("process_exchange", _exchange, "process_exchange", takes_stack=True, gives_stack=True)
vary.meets = own_part.meets = False
agree = _Linear(
    "process_agree",
    _identity,
    (lambda xp, g, _x, *, axis: _apply("process_vary", g, axis) / axis.size,),
    batch=_same_axis,
    shape=same_shape,
)
agree.meets = False
send = _Linear(
    "process_send",
    _send,
    (lambda xp, g, _x, *, axis, perm: _apply("process_send", g, axis, perm=tuple((t, s) for s, t in perm)),),
    batch=_same_axis,
    shape=same_shape,
)


def _pull_extremum(xp: Any, g: Any, y: Any, x: Any, *, axis: ProcessAxis) -> Any:
    # Equal ones share the gradient, as along an axis of an array.
    chosen = xp.astype(x == y, x.dtype)
    return chosen * (_apply("process_sum", g, axis) / _apply("process_sum", chosen, axis))


def _push_extremum(xp: Any, tangents: Any, y: Any, x: Any, *, axis: ProcessAxis) -> Any:
    chosen = xp.astype(x == y, x.dtype)
    return _apply("process_sum", chosen * tangents[0], axis) / _apply("process_sum", chosen, axis)


maxima, minima = (
    _General(f"process_{name}", _extremum(name), (_pull_extremum,), _push_extremum, batch=_same_axis, shape=same_shape)
    for name in ("max", "min")
)
