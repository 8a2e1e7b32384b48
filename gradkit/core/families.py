"""The families of primitives, by the smallest form in which a derivative is true.

- `Elementwise`: one local derivative per argument;
- `Linear`: one transpose per argument, which knows the arguments by shape and dtype alone;
- `General`: one reverse rule per argument (`core.several_results` has that with several results).

Both modes follow from that one form. The rules are text over a namespace ``xp`` and run on raw arrays as well as on
Arrays. A parameter of a rule whose name begins with an underscore is not read, so the tape does not keep it; it arrives
as shape and dtype alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, cast

from gradkit.core.array import dtype_as_stored, wrap
from gradkit.core.batching import broadcast_shape, elementwise
from gradkit.core.binding import bind
from gradkit.core.namespace import PLAIN, as_bound, bound, lift, unbroadcast
from gradkit.core.node import Leaf, Node
from gradkit.core.primitive import Primitive, Rule
from gradkit.core.promotion import is_complex
from gradkit.core.reverse import ReverseTrace

__all__ = ["MINUS_ONE", "ONE", "Elementwise", "General", "Linear", "PassesWhere", "passes_where"]


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
