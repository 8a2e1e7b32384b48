"""The families of primitives, by the smallest form in which a derivative is true.

- `Elementwise`: one local derivative per argument;
- `Linear`: one transpose per argument, which knows the arguments by shape and dtype alone;
- `General`: one reverse rule per argument; `MultipleResults` is that with several results.

Both modes follow from that one form. The rules are text over a namespace ``xp`` and run on raw arrays as well as on
Arrays. A parameter of a rule whose name begins with an underscore is not read, so the tape does not keep it; it arrives
as shape and dtype alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from gradkit.backend import backend_of
from gradkit.core.array import Array, as_wrapped, dtype_as_stored, wrap
from gradkit.core.batching import broadcast_shape, elementwise
from gradkit.core.binding import bind
from gradkit.core.namespace import PLAIN, as_bound, bound, lift, namespace_of, unbroadcast
from gradkit.core.node import NO_PARAMS, Leaf, Node, Trace
from gradkit.core.primitive import Primitive, Rule
from gradkit.core.promotion import is_complex, is_inexact
from gradkit.core.reverse import ReverseTrace

__all__ = [
    "MINUS_ONE", "ONE", "Elementwise", "General", "Linear", "MultipleResults", "Parts", "passes_where",
    "record_call",
]  # fmt: skip


class Constant:
    """A local derivative that is the same everywhere."""

    __slots__ = ("value",)

    def __init__(self, value: int) -> None:
        self.value = value


ONE = Constant(1)
MINUS_ONE = Constant(-1)


class PassesWhere:
    """A local derivative that is 1 where a condition holds and 0 elsewhere."""

    __slots__ = ("condition",)

    def __init__(self, condition: Rule) -> None:
        self.condition = condition


def passes_where(condition: Rule) -> PassesWhere:
    """State a local derivative of 1 where `condition` holds and 0 elsewhere.

    It selects and does not multiply: what is infinite or NaN behind a 0 stays behind it.
    """
    return PassesWhere(condition)


def _mask(parameters: Sequence[str], first_bit: int) -> int:
    """Return the bits of those parameters whose names do not begin with an underscore."""
    return sum(1 << i for i, name in enumerate(parameters, first_bit) if not name.startswith("_"))


def _positional(rule: Rule) -> list[str]:
    code = getattr(rule, "__code__", None)
    if code is not None and not hasattr(rule, "__wrapped__"):
        return list(code.co_varnames[: code.co_argcount])  # `signature` takes fifty times as long
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in inspect.signature(rule).parameters.values() if p.kind in positional]


def _sum(shares: Sequence[Any]) -> Any:
    total = None
    for share in shares:
        total = share if total is None else total + share
    return total


class Elementwise(Primitive):
    """A primitive that works element by element, on operands that broadcast.

    A rule is a *local derivative* ``rule(xp, result, *args)``, `ONE`, `MINUS_ONE`, `passes_where` or None. Reverse mode
    multiplies it with the cotangent and sums over what was broadcast; forward mode multiplies it with the tangent.
    """

    small_cotangent = True
    broadcasts = True

    def __init__(self, name: str, forward: Rule | None, rules: Sequence[Any], **options: Any) -> None:
        super().__init__(name, forward, rules, **{"batch": elementwise, "shape": broadcast_shape, **options})
        self.hands_on = any(type(rule) is Constant for rule in self.rules)
        self.is_unary = len(self.rules) == 1 and inspect.isfunction(self.rules[0])

    def mask_of_reads(self, rule: Any) -> int | None:
        """Find out which values a local derivative reads."""
        if rule is None:
            return None
        if type(rule) is Constant:
            return 0
        return _mask(_positional(rule.condition if type(rule) is PassesWhere else rule)[1:], 0)

    def pull(self, cotangent: Any, node: Node, saved: Sequence[Any]) -> list[tuple[Node, Any]]:
        """Multiply the cotangent with each local derivative."""
        xp = PLAIN.get(type(cotangent)) if node.plain else None
        if xp is None:
            xp, cotangent, saved = lift(cotangent, saved)
        elif (kernel := xp.kernel(self.pull_kernel)) is not None:
            return kernel(cotangent, node, saved)  # type: ignore[no-any-return]
        if self.is_unary:
            return [(node.parents[0], cotangent * self.rules[0](xp, *saved))]  # type: ignore[list-item]
        shares = []
        shape = node.shape
        for parent, rule in zip(node.parents, self.rules, strict=False):
            if parent is not None:
                if type(rule) is Constant:
                    share = cotangent if rule is ONE else -cotangent
                elif type(rule) is PassesWhere:
                    share = xp.masked(cotangent, rule.condition(xp, *saved))
                else:
                    share = cotangent * rule(xp, *saved)
                if parent.shape != shape:
                    share = unbroadcast(xp, share, shape, parent.shape)
                shares.append((parent, share))
        return shares

    def push(self, out: Any, args: Sequence[Any], tangents: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """Multiply each tangent with its local derivative."""
        xp = bound()
        total = _sum(
            [
                self._product(xp, tangent, self.rules[position], out, args)
                for position, tangent in enumerate(tangents)
                if tangent is not None and self.rules[position] is not None
            ]
        )
        if total is None:
            return None
        if is_complex(total.dtype) and not is_complex(out.dtype):
            total = xp.real(total)
        return xp.broadcast_to(total, out.shape)

    def _product(self, xp: Any, tangent: Any, rule: Any, out: Any, args: Sequence[Any]) -> Any:
        if type(rule) is Constant:
            return tangent if rule is ONE else -tangent
        if type(rule) is PassesWhere:
            return xp.masked(tangent, rule.condition(xp, out, *args))
        return tangent * rule(xp, out, *args)


class Linear(Primitive):
    """A primitive that is linear in each argument that has a rule.

    A rule is a *transpose* ``rule(xp, cotangent, *args, **params)``. Its own argument arrives as shape and dtype alone;
    so does any other whose name begins with an underscore. Forward mode is the primitive itself.
    """

    jointly = False
    """Whether it is linear in all its arguments together (`concat`), rather than in each alone (`matmul`)."""

    def __init__(
        self,
        name: str,
        forward: Rule | None,
        rules: Sequence[Any],
        small_cotangent: bool = False,
        hands_on: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(name, forward, rules, **options)
        self.small_cotangent = small_cotangent
        self.hands_on = hands_on

    def mask_of_reads(self, rule: Any) -> int | None:
        """Find out which arguments a transpose reads; the result is never among them."""
        return None if rule is None else _mask(_positional(rule)[2:], 1)

    def reads(self, position: int) -> int | None:
        """Return which arguments the transpose for `position` reads: never its own."""
        mask = super().reads(position)
        return None if mask is None else mask & ~(2 << position)

    def pull(self, cotangent: Any, node: Node, saved: Sequence[Any]) -> list[tuple[Node, Any]]:
        """Run each transpose."""
        xp = PLAIN.get(type(cotangent)) if node.plain else None
        if xp is None:
            xp, cotangent, saved = lift(cotangent, saved)
        if not self.small_cotangent and cotangent.shape != node.shape:
            cotangent = xp.broadcast_to(cotangent, node.shape)
        args = saved[1:]
        params = node.params
        return [
            (parent, self.rules[position](xp, cotangent, *args, **params))
            for position, parent in enumerate(node.parents)
            if parent is not None
        ]

    def push(self, out: Any, args: Sequence[Any], tangents: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """Run the primitive on the tangents."""
        linear = [t if self.rule(i) is not None else None for i, t in enumerate(tangents)]
        if self.jointly and any(t is not None for t in linear):
            zeros = bound().zeros_like
            return bind(self, [zeros(a) if t is None else t for a, t in zip(args, linear, strict=True)], params)
        return _sum(
            [
                bind(self, [*args[:position], tangent, *args[position + 1 :]], params)
                for position, tangent in enumerate(linear)
                if tangent is not None
            ]
        )


class General(Primitive):
    """A primitive with a reverse rule ``rule(xp, cotangent, result, *args, **params)`` for each argument.

    A reverse rule is linear in the cotangent, so forward mode is its transpose, and that is what transposing the rule
    itself gives (Townsend, "A new trick for calculating Jacobian vector products", 2017). Where a formula of its own is
    better, `forward_rule` states it: ``forward_rule(xp, tangents, result, *args, **params)``, with None for the tangent
    of an argument that has none.
    """

    before = 3  # xp, the cotangent and the result

    def __init__(
        self, name: str, forward: Rule | None, rules: Sequence[Any], forward_rule: Rule | None = None, **options: Any
    ) -> None:
        super().__init__(name, forward, rules, **options)
        self.forward_rule = forward_rule

    def mask_of_reads(self, rule: Any) -> int | None:
        """Find out which values a reverse rule reads."""
        return None if rule is None else _mask(_positional(rule)[2:], 0)

    def pull(self, cotangent: Any, node: Node, saved: Sequence[Any]) -> list[tuple[Node, Any]]:
        """Run each reverse rule."""
        xp = PLAIN.get(type(cotangent)) if node.plain else None
        if xp is None:
            xp, cotangent, saved = lift(cotangent, saved)
        elif (kernel := xp.kernel(self.pull_kernel)) is not None:
            return kernel(cotangent, node, saved)  # type: ignore[no-any-return]
        if cotangent.shape != node.shape:
            cotangent = xp.broadcast_to(cotangent, node.shape)
        params = node.params
        return [
            (parent, self.rules[position](xp, cotangent, *saved, **params))
            for position, parent in enumerate(node.parents)
            if parent is not None
        ]

    def push(self, out: Any, args: Sequence[Any], tangents: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """Run the forward rule, or transpose the reverse rules."""
        linear = [t if self.rule(i) is not None else None for i, t in enumerate(tangents)]
        if all(t is None for t in linear):
            return None
        if self.forward_rule is not None:
            return self.forward_rule(bound(), linear, out, *args, **params)
        return self._push_by_transpose(out, args, linear, params)

    def _push_by_transpose(
        self, out: Any, args: Sequence[Any], tangents: Sequence[Any], params: Mapping[str, Any]
    ) -> Any:
        xp = bound()
        trace = ReverseTrace()
        outs = out if self.multiple_results else (out,)
        seeds = [wrap((zero := xp.zeros_like(o))._value, Leaf(trace, zero.shape, dtype_as_stored(zero))) for o in outs]
        roots = []
        for position, tangent in enumerate(tangents):
            if tangent is not None:
                seed = tuple(seeds) if self.multiple_results else seeds[0]
                share = self.rule(position)(xp, seed, out, *args, **params)
                if share.shape != tangent.shape:
                    share = xp.broadcast_to(share, tangent.shape)
                if share._node is not None and share._node.trace is trace:
                    roots.append((share._node, tangent))
        trace.end()
        found = trace.backward(roots)
        results = [found.get(cast(Node, seed._node)) for seed in seeds]
        results = [None if result is None else as_bound(result) for result in results]
        return tuple(results) if self.multiple_results else results[0]


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
