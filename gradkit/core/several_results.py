"""Operations with several results: primitives that have them, and whole functions that the tape has as one operation.

On the tape such an operation has a node, and each of its results has one that hands its cotangent over to it: so the
operation's own rule is given all of them, as `Parts`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradkit.backend import backend_of
from gradkit.core.array import Array, as_wrapped, dtype_as_stored, wrap
from gradkit.core.families import General
from gradkit.core.namespace import as_bound, bound, namespace_of
from gradkit.core.node import NO_PARAMS, Node, Trace
from gradkit.core.primitive import Primitive
from gradkit.core.promotion import is_inexact

__all__ = ["CALL", "PART", "MultipleResults", "Parts", "Recorded", "record_call"]


class Parts(dict[int, Any]):
    """The cotangents of the results of one operation with several, by position; those that are missing are zero."""

    shape = None

    @property
    def dtype(self) -> Any:
        """The dtype of one of them, as what it is says it."""
        return next(iter(self.values())).dtype

    def __add__(self, other: Parts) -> Parts:
        result = Parts(self)
        for position, cotangent in other.items():
            present = result.get(position)
            # The operator of the Array: a library's own may not know what an Array is.
            if present is None:
                result[position] = cotangent
            else:
                result[position] = cotangent + present if type(cotangent) is Array else present + cotangent
        return result


class Recorded(Primitive):
    """What stands in a node of the tape and is never bound."""

    has_kernels = False

    def mask_of_reads(self, rule: Any) -> int | None:
        """Say that it reads nothing."""
        return 0

    def push(self, out: Any, args: Sequence[Any], tangents: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """Refuse: forward mode never meets it."""
        raise AssertionError(f"{self.name} is recorded, never bound")


class Part(Recorded):
    """One result of an operation with several: it hands its cotangent to the operation's node."""

    def pull(self, cotangent: Any, node: Node, saved: Sequence[Any]) -> list[tuple[Node, Any]]:
        """Give the operation this result's cotangent, at its full shape."""
        if cotangent.shape != node.shape:
            cotangent = namespace_of(cotangent).broadcast_to(cotangent, node.shape)
        parent = node.parents[0]
        assert parent is not None
        return [(parent, Parts({node.params["position"]: cotangent}))]


PART = Part("part", None, (None,))


def _with_parts(trace: Trace, joint: Node, outs: Sequence[Any], follow: Sequence[bool]) -> tuple[Array, ...]:
    """Return the results of the operation that `joint` stands for as Arrays; those that `follow` have a node each."""
    return tuple(
        wrap(o, Node(trace, o.shape, dtype_as_stored(o), PART, (joint,), (), {"position": i}, joint.plain))
        if follows and _is_inexact_value(o)
        else as_wrapped(o)
        for i, (o, follows) in enumerate(zip(outs, follow, strict=True))
    )


def _is_inexact_value(value: Any) -> bool:
    if type(value) is Array:
        return is_inexact(value.dtype.name)
    backend = backend_of(value)
    return backend is not None and is_inexact(backend.dtype_name(value))


class MultipleResults(General):
    """A primitive with several results.

    A reverse rule is ``rule(xp, cotangents, results, *args, **params)``, with tuples of all of them.
    """

    keeps_weakness = False
    multiple_results = True

    def kernel(self, value: Any) -> Callable[..., Any]:
        """Return what computes it; `kernels` stays empty, since the fast path of `bind` is for one result."""
        backend = backend_of(value)
        if backend is None:
            raise TypeError(f"{self.name} requires arrays or numbers, got {type(value).__name__}: {value!r}")
        return self.kernel_of(backend)

    def record(
        self,
        trace: Trace,
        out: Any,
        values: Sequence[Any],
        nodes: Sequence[Node | None],
        tracked: int,
        params: Mapping[str, Any],
        plain: bool,
    ) -> Any:
        """Return the results as Arrays with nodes, which share the operation's own."""
        reads, parents = self.reads_and_parents(tracked)
        if trace.is_linear:
            parents = tracked
        if not parents:
            return tuple(map(as_wrapped, out))
        nodes = [node if parents >> i & 1 else None for i, node in enumerate(nodes)]
        saved: list[Any] = [out]
        for value, node in zip(values, nodes, strict=True):
            reads >>= 1
            saved.append(value if reads & 1 else node)
        joint = Node(trace, None, None, self, nodes, saved, params, plain)  # type: ignore[arg-type]
        return _with_parts(trace, joint, out, [True] * len(out))

    def pull(self, cotangent: Any, node: Node, saved: Sequence[Any]) -> list[tuple[Node, Any]]:
        """Run each reverse rule on the cotangents of all results."""
        outs, args = saved[0], saved[1:]
        xp = namespace_of(next(iter(cotangent.values())))
        if not node.plain or any(type(value) is Array for value in cotangent.values()):
            xp = bound()
            outs = tuple(map(as_bound, outs))
            args = [as_bound(value) for value in args]
            cotangent = {position: as_bound(value) for position, value in cotangent.items()}
        given = tuple(cotangent[i] if i in cotangent else xp.zeros_like(out) for i, out in enumerate(outs))
        return [
            (parent, self.rule(position)(xp, given, outs, *args, **node.params))
            for position, parent in enumerate(node.parents)
            if parent is not None
        ]


class Call(Recorded):
    """A whole function as one operation of the tape: its node saves the function's own pullback and what that needs."""

    def pull(self, cotangent: Any, node: Node, saved: Sequence[Any]) -> list[tuple[Node, Any]]:
        """Run the pullback on the cotangents of all results; None stands for a zero."""
        pullback, *residuals = saved
        shares = pullback(cotangent, residuals)
        return [(parent, share) for parent, share in zip(node.parents, shares, strict=True) if share is not None]  # type: ignore[misc]


CALL = Call("call", None, (None,))


def record_call(
    trace: Trace,
    outs: Sequence[Any],
    follow: Sequence[bool],
    parents: Sequence[Node],
    pullback: Callable[[Parts, list[Any]], Sequence[Any]],
    residuals: Sequence[Any] = (),
) -> tuple[Array, ...]:
    """Record a function's results as one operation.

    Parameters
    ----------
    trace : Trace
        The transform that records.
    outs : sequence of Array
        The results, as the levels below see them.
    follow : sequence of bool
        Which of them depend on the parents. The others are constants to this level: marked as followed, a value that a
        rule multiplies a tangent with would seem to be a tangent itself, and could not be read.
    parents : sequence of Node
        What they depend on.
    pullback : callable
        ``pullback(parts, residuals)`` gives a cotangent (or None) for each parent, for the `Parts` of the results'
        cotangents.
    residuals : sequence
        What it needs: arrays, and records of operations (`core.residuals`).
    """
    values = [o._value if o._node is None else o for o in outs]
    if not parents:
        return tuple(map(as_wrapped, values))
    joint = Node(trace, None, None, CALL, parents, (pullback, *residuals), NO_PARAMS, False)  # type: ignore[arg-type]
    return _with_parts(trace, joint, values, follow)
