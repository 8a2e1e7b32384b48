"""`Primitive`: one operation with its derivative.

A primitive is declared in one place, by family, in the smallest form that is true for it:

- `Elementwise`: one local derivative per argument;
- `Linear`: one transpose per argument, which knows the arguments by shape and dtype alone;
- `General`: one reverse rule per argument.

The rules are text over a namespace ``xp`` and run on raw arrays as well as on Arrays. A parameter of a rule whose
name begins with an underscore is not read, so the tape does not keep it; it arrives as shape and dtype alone.
"""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradkit.backend import Backend, backend_of
from gradkit.core.array import Array, wrap
from gradkit.core.namespace import PLAIN, PRIMITIVES, kernel_namespace, lifted, unbroadcast
from gradkit.core.node import Node, Trace

__all__ = ["MINUS_ONE", "ONE", "Elementwise", "General", "Linear", "Primitive", "passes_where"]

Rule = Callable[..., Any]


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


class Primitive(ABC):
    """One operation.

    Parameters
    ----------
    name : str
        The array API standard's name, if it has one.
    forward : callable, optional
        ``forward(xp, *args, **params)`` on raw arrays; by default the namespace's function of that name.
    rules : sequence of (callable or Constant or None)
        The derivative by argument position. None: no derivative.
    """

    aliases = False
    """Whether a rule may hand on the cotangent itself, or a view of it."""
    small_cotangent = False
    """Whether the rules take a cotangent that only broadcasts to the result's shape."""

    def __init__(self, name: str, forward: Rule | None, rules: Sequence[Any]) -> None:
        self.name = name
        self.forward = forward
        self.rules = tuple(rules)
        self.kernels: dict[type, Callable[..., Any]] = {}
        self.plans: dict[int, tuple[int, int]] = {}
        self.masks = tuple(self.mask_of_reads(rule) for rule in self.rules)
        PRIMITIVES[name] = self

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    # Forward

    def kernel(self, value: Any) -> Callable[..., Any]:
        """Return what computes this primitive on raw arrays like `value`: the backend's own, or the plain text."""
        kind = type(value)
        kernel = self.kernels.get(kind)
        if kernel is None:
            backend = backend_of(value)
            if backend is None:
                raise TypeError(f"{self.name} requires arrays or numbers, got {kind.__name__}: {value!r}")
            kernel = self.kernels[kind] = self.kernel_of(backend)
        return kernel

    @functools.cache  # noqa: B019 - primitives live as long as the process
    def kernel_of(self, backend: Backend) -> Callable[..., Any]:
        """Return a backend's kernel for this primitive, one object whatever type of the backend's arrays asks."""
        kernel = backend.kernels.get(self.name)
        if kernel is not None:
            return kernel
        if self.forward is not None:
            return functools.partial(self.forward, kernel_namespace(backend))
        found: Callable[..., Any] = getattr(backend.xp, self.name)
        return found

    # Derivative

    def reads(self, position: int) -> int | None:
        """Return which values the rule for `position` reads: bit 0 the result, bit i + 1 argument i. None: no rule."""
        return self.masks[min(position, len(self.masks) - 1)]

    @abstractmethod
    def mask_of_reads(self, rule: Any) -> int | None:
        """Find out which values a rule reads, from its signature."""

    def record(
        self,
        trace: Trace,
        out: Any,
        values: Sequence[Any],
        nodes: Sequence[Node | None],
        tracked: int,
        params: Mapping[str, Any],
        plain: bool,
    ) -> Array:
        """Return the result as an Array with a node, which keeps what the rules of the tracked arguments read.

        Parameters
        ----------
        trace : Trace
            The transform that records.
        out : array
            The result, as the levels below see it.
        values : sequence
            The arguments, as the levels below see them.
        nodes : sequence of (Node or None)
            The arguments' nodes at this trace.
        tracked : int
            Bit i is set where argument i has a node.
        params : mapping
            The static parameters.
        plain : bool
            Whether all values are raw.
        """
        plan = self.plans.get(tracked)
        if plan is None:
            plan = self.plans[tracked] = self.plan(len(values), tracked)
        reads, parents = plan
        if not parents:
            return wrap(out)
        if parents != tracked:
            nodes = [node if parents >> i & 1 else None for i, node in enumerate(nodes)]
        saved = [out if reads & 1 else None]
        for value, node in zip(values, nodes, strict=True):
            reads >>= 1
            saved.append(value if reads & 1 else node)
        return wrap(out, Node(trace, out.shape, out.dtype, self, nodes, saved, params, plain))

    def plan(self, arguments: int, tracked: int) -> tuple[int, int]:
        """Return what to keep, and which of the tracked arguments have a derivative, each as bits."""
        reads = parents = 0
        for position in range(arguments):
            needed = self.reads(position) if tracked >> position & 1 else None
            if needed is not None:
                reads |= needed
                parents |= 1 << position
        return reads, parents

    @abstractmethod
    def pull(self, cotangent: Any, node: Node, saved: Sequence[Any]) -> list[tuple[Node, Any]]:
        """Give each parent's share of the cotangent of `node`."""


def _mask(parameters: Sequence[str], first_bit: int) -> int:
    """Return the bits of those parameters whose names do not begin with an underscore."""
    return sum(1 << i for i, name in enumerate(parameters, first_bit) if not name.startswith("_"))


def _positional(rule: Rule) -> list[str]:
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in inspect.signature(rule).parameters.values() if p.kind in positional]


class Elementwise(Primitive):
    """A primitive that works element by element, on operands that broadcast.

    A rule is a *local derivative* ``rule(xp, result, *args)``, `ONE`, `MINUS_ONE`, `passes_where` or None. The
    framework multiplies it with the cotangent and sums over what was broadcast.
    """

    small_cotangent = True

    def __init__(self, name: str, forward: Rule | None, rules: Sequence[Any]) -> None:
        super().__init__(name, forward, rules)
        self.aliases = any(type(rule) is Constant for rule in self.rules)

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
            xp, cotangent, saved = lifted(cotangent, saved)
        shares = []
        for position, parent in enumerate(node.parents):
            if parent is not None:
                rule = self.rules[position]
                if type(rule) is Constant:
                    share = cotangent if rule is ONE else -cotangent
                elif type(rule) is PassesWhere:
                    share = xp.masked(cotangent, rule.condition(xp, *saved))
                else:
                    share = cotangent * rule(xp, *saved)
                if parent.shape != node.shape:
                    share = unbroadcast(xp, share, node.shape, parent.shape)
                shares.append((parent, share))
        return shares


class Linear(Primitive):
    """A primitive that is linear in each argument that has a rule.

    A rule is a *transpose* ``rule(xp, cotangent, *args, **params)``. Its own argument arrives as shape and dtype alone;
    so does any other whose name begins with an underscore.
    """

    def __init__(
        self,
        name: str,
        forward: Rule | None,
        rules: Sequence[Any],
        small_cotangent: bool = False,
        aliases: bool = True,
    ) -> None:
        super().__init__(name, forward, rules)
        self.small_cotangent = small_cotangent
        self.aliases = aliases

    def mask_of_reads(self, rule: Any) -> int | None:
        """Find out which arguments a transpose reads; the result is never among them."""
        return None if rule is None else _mask(_positional(rule)[2:], 1)

    def pull(self, cotangent: Any, node: Node, saved: Sequence[Any]) -> list[tuple[Node, Any]]:
        """Run each transpose."""
        xp = PLAIN.get(type(cotangent)) if node.plain else None
        if xp is None:
            xp, cotangent, saved = lifted(cotangent, saved)
        if not self.small_cotangent and cotangent.shape != node.shape:
            cotangent = xp.broadcast_to(cotangent, node.shape)
        args = saved[1:]
        params = node.params
        return [
            (parent, self.rules[position](xp, cotangent, *args, **params))
            for position, parent in enumerate(node.parents)
            if parent is not None
        ]


class General(Primitive):
    """A primitive with a reverse rule ``rule(xp, cotangent, result, *args, **params)`` for each argument."""

    def mask_of_reads(self, rule: Any) -> int | None:
        """Find out which values a reverse rule reads."""
        return None if rule is None else _mask(_positional(rule)[2:], 0)

    def pull(self, cotangent: Any, node: Node, saved: Sequence[Any]) -> list[tuple[Node, Any]]:
        """Run each reverse rule."""
        xp = PLAIN.get(type(cotangent)) if node.plain else None
        if xp is None:
            xp, cotangent, saved = lifted(cotangent, saved)
        if cotangent.shape != node.shape:
            cotangent = xp.broadcast_to(cotangent, node.shape)
        params = node.params
        return [
            (parent, self.rules[position](xp, cotangent, *saved, **params))
            for position, parent in enumerate(node.parents)
            if parent is not None
        ]
