"""`Primitive`: one operation with its derivative, and `bind`, which runs it under the transforms in progress.

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
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradkit.backend import Backend, backend_of
from gradkit.core.array import Array, describe, wrap
from gradkit.core.node import Node, Trace, recording
from gradkit.errors import DeviceMismatchError, ShapeError

__all__ = [
    "MINUS_ONE",
    "ONE",
    "PRIMITIVES",
    "Elementwise",
    "General",
    "KernelNamespace",
    "Linear",
    "Primitive",
    "bind",
    "evaluate",
    "namespace_of",
    "passes_where",
]

Rule = Callable[..., Any]

PRIMITIVES: dict[str, Primitive] = {}
KERNEL_ERRORS = (TypeError, ValueError, IndexError, RuntimeError)
"""What an array library raises when operands do not fit."""


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


class Primitive:
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

    def mask_of_reads(self, rule: Any) -> int | None:
        """Find out which values a rule reads, from its signature."""
        raise NotImplementedError

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

    def pull(self, cotangent: Any, node: Node, saved: Sequence[Any]) -> list[tuple[Node, Any]]:
        """Give each parent's share of the cotangent of `node`."""
        raise NotImplementedError


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


# Running a primitive


def bind(primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Array:
    """Run a primitive under the highest transform among its arguments, or evaluate it where there is none.

    Parameters
    ----------
    primitive : Primitive
        The operation.
    args : sequence
        Arrays, raw arrays of one backend, or Python numbers, of dtypes that the operation takes as they are.
    params : mapping
        The static parameters.
    """
    # The plain case in one pass: raw values of one backend, and at most one transform, whose nodes they carry.
    values: list[Any] = []
    nodes: list[Node | None] = []
    trace: Trace | None = None
    tracked = 0
    for position, arg in enumerate(args):
        if type(arg) is Array:
            values.append(arg._value)
            node = arg._node
            nodes.append(node)
            if node is not None:
                if trace is None:
                    trace = node.trace
                elif node.trace is not trace:
                    return bind_at_highest_level(primitive, args, params)
                tracked |= 1 << position
        else:
            values.append(arg)
            nodes.append(None)
    kernels = primitive.kernels
    kernel = kernels.get(type(values[0]))
    if kernel is None:
        return bind_at_highest_level(primitive, args, params)
    for value in values:
        kind = type(value)
        if kernels.get(kind) is not kernel and kind not in PYTHON_NUMBERS:
            return bind_at_highest_level(primitive, args, params)
    try:
        out = kernel(*values, **params)
    except KERNEL_ERRORS as error:
        raise explain(primitive, values, error) from error
    if trace is None or not (trace.level or recording()):
        return wrap(out)
    return primitive.record(trace, out, values, nodes, tracked, params, True)


def bind_at_highest_level(primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Array:
    """Run a primitive under the highest transform among its arguments: what `bind` does in general."""
    trace: Trace | None = None
    for arg in args:
        if type(arg) is Array:
            node = arg._node
            if node is not None and (trace is None or node.trace.level > trace.level):
                trace = node.trace
    if trace is None or (trace.level == 0 and not recording()):
        return wrap(evaluate(primitive, args, params))
    return trace.process(primitive, args, params)


def evaluate(primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
    """Compute a primitive on raw arrays, or on Arrays that no transform follows; give a raw array."""
    raws = [arg._value if type(arg) is Array else arg for arg in args]
    kernel = None
    for value in raws:
        if type(value) not in PYTHON_NUMBERS:
            found = primitive.kernel(value)
            if kernel is not None and found is not kernel:
                raise explain(primitive, raws, None)
            kernel = found
    if kernel is None:
        raise TypeError(f"{primitive.name} requires at least one array, got {', '.join(map(repr, args))}")
    try:
        return kernel(*raws, **params)
    except KERNEL_ERRORS as error:
        raise explain(primitive, raws, error) from error


PYTHON_NUMBERS = frozenset({int, float, bool, complex})


def explain(primitive: Primitive, args: Sequence[Any], error: Exception | None) -> Exception:
    """Find out why operands do not fit: two backends, two devices, or shapes; else give the library's own error."""
    arrays = [arg for arg in args if type(arg) not in PYTHON_NUMBERS]
    owners = [backend_of(array) for array in arrays]
    places = {str(owner.device(array)) for owner, array in zip(owners, arrays, strict=True) if owner is not None}
    if len(places) > 1:
        what = " and ".join(describe(array) for array in arrays)
        return DeviceMismatchError(
            f"{primitive.name} got arrays in different places: {what}. Data never moves by itself: move one with "
            f"gradkit.device_put(x, y.device)."
        )
    shapes = [tuple(array.shape) for array in arrays]
    if isinstance(primitive, Elementwise) and not _broadcast(shapes):
        return ShapeError(
            f"{primitive.name} got incompatible shapes for broadcasting: {', '.join(map(str, shapes))}. Axes match "
            f"from the right, and sizes must be equal or 1."
        )
    if error is None:
        return TypeError(f"{primitive.name} got arguments that no backend takes together: {args}")
    kind = next(kind for kind in KERNEL_ERRORS if isinstance(error, kind))
    return kind(f"{primitive.name}({', '.join(map(describe, arrays))}): {error}")


def _broadcast(shapes: Sequence[tuple[int, ...]]) -> bool:
    longest = max(map(len, shapes))
    padded = [(1,) * (longest - len(shape)) + shape for shape in shapes]
    return all(len({size for size in sizes if size != 1}) <= 1 for sizes in zip(*padded, strict=True))


# What rules run on


class KernelNamespace:
    """A backend's functions for rules on raw arrays: its kernel of each primitive, then its array-API namespace."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.library = backend.xp
        """The namespace alone, for a forward rule that calls the function of its own name."""

    def __getattr__(self, name: str) -> Any:
        primitive = PRIMITIVES.get(name)
        found = getattr(self.library, name) if primitive is None else primitive.kernel_of(self.backend)
        setattr(self, name, found)
        return found


@functools.cache
def kernel_namespace(backend: Backend) -> KernelNamespace:
    """Return the one kernel namespace of a backend."""
    return KernelNamespace(backend)


PLAIN: dict[type, KernelNamespace] = {}
"""By the type of a raw array, once one has been seen: the namespace that rules on it use."""

_bound: list[Any] = []


def set_bound_namespace(namespace: Any) -> None:
    """Say which module holds the bound primitives: what rules run on when their values are Arrays."""
    _bound.append(namespace)


def namespace_of(value: Any) -> Any:
    """Return the namespace that rules use on values like `value`."""
    kind = type(value)
    if kind is Array:
        return _bound[0]
    xp = PLAIN.get(kind)
    if xp is None:
        backend = backend_of(value)
        if backend is None:
            raise TypeError(f"expected an array of a known backend, got {kind.__name__}: {value!r}")
        xp = PLAIN[kind] = kernel_namespace(backend)
    return xp


def lifted(cotangent: Any, saved: Sequence[Any]) -> tuple[Any, Any, Sequence[Any]]:
    """Return the namespace that a rule runs on, and its operands: all raw, or all Arrays where one of them is."""
    if type(cotangent) is not Array and not any(type(value) is Array for value in saved):
        return namespace_of(cotangent), cotangent, saved
    return _bound[0], as_bound(cotangent), [as_bound(value) for value in saved]


def as_bound(value: Any) -> Any:
    """Return a raw array as an Array; numbers, and nodes that stand for what was not kept, as they are."""
    return wrap(value) if backend_of(value) is not None else value


def unbroadcast(xp: Any, cotangent: Any, shape: tuple[int, ...], target: tuple[int, ...]) -> Any:
    """Sum a cotangent of a result of `shape` over the axes along which an argument of shape `target` was broadcast.

    The cotangent may be smaller than `shape` as long as it broadcasts to it; so may the result be, as to `target`.
    """
    lead = len(shape) - len(target)
    missing = len(shape) - cotangent.ndim
    factor = 1
    axes = []
    for axis, size in enumerate(shape):
        if size != 1 and (axis < lead or target[axis - lead] == 1):
            if axis < missing or cotangent.shape[axis - missing] == 1:
                factor *= size
            else:
                axes.append(axis - missing)
    if axes:
        cotangent = xp.sum(cotangent, axis=tuple(axes), keepdims=True)
    surplus = cotangent.ndim - len(target)
    if surplus > 0:
        cotangent = xp.reshape(cotangent, cotangent.shape[surplus:])
    return cotangent if factor == 1 else cotangent * factor
