"""What the transforms share: leaves as Arrays, argument positions, and arrays of a level as those below see them."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from gradkit.backend import backend_of, current_backend
from gradkit.core.array import Array, place_of_array, wrap
from gradkit.core.assignment import keeping_arguments
from gradkit.core.binding import PYTHON_NUMBERS, bind
from gradkit.core.graph import Variable
from gradkit.core.node import NO_PARAMS, Leaf, Node, Trace
from gradkit.core.operands import new_array
from gradkit.primitives.naming import WITHOUT_TAPE
from gradkit.tree import flatten, keystr, leaves_with_path, unflatten

__all__ = [
    "Argnums", "array_among", "as_array", "as_array_leaf", "as_arrays", "check_callable", "check_pair", "lower",
    "lowered_tree", "named_like", "node_at", "path_to", "positions_of", "replace", "run_under", "select",
    "without_tape",
]  # fmt: skip

Argnums = int | Sequence[int]
F = TypeVar("F", bound=Callable[..., Any])


def check_callable(fun: Any) -> None:
    """Raise TypeError, in JAX's words, for what is no function."""
    if not callable(fun):
        raise TypeError(f"Expected a callable value, got {fun!r}")
    if getattr(getattr(fun, "__code__", None), "co_flags", 0) & inspect.CO_GENERATOR:
        raise TypeError(f"Expected a function, got a generator function: {fun!r}")


def named_like(fun: Any) -> Callable[[F], F]:
    """Make the decorator that gives a function the name, documentation and signature of `fun`, as far as it has them.

    Any callable may be transformed: a partial function, an object with `__call__`, one whose ``__name__`` is no text.
    """
    present = [
        name
        for name in functools.WRAPPER_ASSIGNMENTS
        if name not in ("__name__", "__qualname__") or isinstance(getattr(fun, name, None), str)
    ]
    return cast("Callable[[F], F]", functools.wraps(fun, assigned=present))


def check_pair(result: Any) -> tuple[Any, Any]:
    """Return the pair (result, aux) that a function gives with ``has_aux=True``."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(f"expected the function's result with has_aux=True to be a pair (result, aux), got {result!r}")
    return result


def array_among(tree: Any) -> Array | None:
    """Return the array of a tree beside which numbers are made, if there is one.

    The first one of the current backend; of a tree whose arrays are all of others, the first one.
    """
    first = None
    for leaf in flatten(tree)[0]:
        array: Array = leaf
        if type(leaf) is not Array:
            owner = None if type(leaf) in PYTHON_NUMBERS else backend_of(leaf)
            if owner is None or owner.is_scalar(leaf):
                continue
            array = wrap(leaf)
        if place_of_array(array)[0] is current_backend():
            return array
        first = array if first is None else first
    return first


def as_arrays(leaves: Sequence[Any], others: Any = ()) -> list[Array]:
    """Return leaves as Arrays; numbers among them beside the arrays among them, or among others."""
    if all(type(leaf) is Array for leaf in leaves):
        return list(leaves)
    like = array_among((list(leaves), others))
    return [as_array(leaf, like) for leaf in leaves]


def as_array(value: Any, like: Array | None = None) -> Array:
    """Return a leaf as an Array; a number beside `like`, else on the current backend."""
    if type(value) is Array:
        return value
    if type(value) in PYTHON_NUMBERS:
        return new_array(value, like)
    owner = backend_of(value)
    if owner is None:
        if hasattr(value, "__gradkit_array__"):
            array: Array = value.__gradkit_array__()
            return array
        raise TypeError(f"{value!r} of type {type(value).__name__} is not a valid array or number")
    return new_array(value, like) if owner.is_scalar(value) else wrap(owner.admit(value, "an argument or a result"))


def as_array_leaf(value: Any, arguments: Any, others: Any = ()) -> Array:
    """Return a leaf of `arguments` as an Array; the error says where in them it is.

    A number is made beside the arrays among `arguments`, and `others`.
    """
    try:
        return value if type(value) is Array else as_array(value, array_among((arguments, others)))
    except TypeError as error:
        if backend_of(value) is not None:  # the library has said what is wrong with it
            raise
        raise TypeError(
            f"Argument {value!r} of type {type(value).__name__}{path_to(value, arguments)} is not a valid array or "
            f"number"
        ) from error


def path_to(value: Any, arguments: Any) -> str:
    """Say where in the arguments a leaf is, unless it is an argument itself."""
    for path, leaf in leaves_with_path(arguments):
        if leaf is value:
            return f" at argument{keystr(path)}" if len(path) > 1 else ""
    return ""


def without_tape(array: Array) -> Array:
    """Return a module's parameter as a plain value, which is how the transforms see it; else the array itself."""
    node: Any = array._node
    if type(node) is Variable:  # which might be one when the graph runs
        capture: Any = node.trace
        return bind(WITHOUT_TAPE, (array,), NO_PARAMS) if node in capture.parameters else array
    return wrap(array._value) if type(node) is Leaf and node.is_parameter else array


# Argument positions


def positions_of(argnums: Argnums) -> tuple[int, ...]:
    """Return `argnums` as a tuple of ints."""
    numbers = argnums if isinstance(argnums, Sequence) else (argnums,)
    try:
        return tuple(operator.index(number) for number in numbers)
    except TypeError as error:
        raise TypeError(f"argnums: expected an int or a sequence of ints, got {argnums!r}") from error


def select(args: tuple[Any, ...], positions: tuple[int, ...], argnums: Argnums) -> tuple[Any, ...]:
    """Return the arguments at those positions."""
    needed = max((p + 1 if p >= 0 else -p for p in positions), default=0)
    if needed > len(args):
        raise TypeError(
            f"differentiating with respect to argnums={argnums} requires at least {needed} positional arguments to be "
            f"passed by the caller, but got only {len(args)} positional arguments."
        )
    if len(positions) > 1 and len({position % len(args) for position in positions}) < len(positions):
        raise ValueError(
            f"argnums: expected different positions, got {argnums}, which for {len(args)} positional arguments names "
            f"one of them twice"
        )
    return tuple(args[position] for position in positions)


def replace(args: tuple[Any, ...], positions: tuple[int, ...], new: Sequence[Any]) -> tuple[Any, ...]:
    """Return the arguments with those at `positions` replaced."""
    if positions == (0,):
        return (new[0], *args[1:])
    result = list(args)
    for position, value in zip(positions, new, strict=True):
        result[position] = value
    return tuple(result)


# Results


def run_under(trace: Trace, fun: Callable[..., Any], args: Sequence[Any], has_aux: bool) -> tuple[Any, tuple[Any, ...]]:
    """Run a function, end its trace, and return the result and a tuple of the auxiliary data, or of nothing."""
    try:
        result = keeping_arguments(fun)(*args)
    finally:
        trace.end()
    if not has_aux:
        return result, ()
    result, auxiliary = check_pair(result)
    return result, (lowered_tree(auxiliary, trace),)


def node_at(array: Any, trace: Trace) -> Node | None:
    """Return what a trace knows about an array, or None where it does not follow it."""
    node = array._node if type(array) is Array else None
    return node if node is not None and node.trace is trace else None


def lower(array: Array, trace: Trace) -> Array:
    """Return an array as the levels below the trace see it."""
    if node_at(array, trace) is None:
        return array
    value = array._value
    return value if type(value) is Array else wrap(value)


def lowered_tree(tree: Any, trace: Trace) -> Any:
    """Return a tree whose arrays are those that the levels below the trace see."""
    if type(tree) is Array:
        return lower(tree, trace)
    leaves, treedef = flatten(tree)
    return unflatten(treedef, [lower(leaf, trace) if type(leaf) is Array else leaf for leaf in leaves])
