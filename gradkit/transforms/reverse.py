"""`grad`, `value_and_grad`, `vjp`: reverse mode over functions of pytrees, with JAX's signatures.

Each call makes a trace with a level of its own, wraps the arguments that are differentiated, runs the function, and
walks the nodes back. Levels keep nested calls apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import get_ident
from typing import Any

from gradkit.backend import NOTHING, REAL
from gradkit.core import Array, ReverseTrace
from gradkit.core.array import backend_of_array, dtype_as_stored, lie_together, raw, wrap
from gradkit.core.assignment import handed_over
from gradkit.core.binding import PYTHON_NUMBERS
from gradkit.core.graph import abstract_like, zeros_of
from gradkit.core.node import Ended, Leaf, Node
from gradkit.core.operands import cast as cast_array
from gradkit.core.operands import dtype_name
from gradkit.core.printing import describe
from gradkit.core.promotion import COMPLEX, is_inexact, kind_of
from gradkit.core.residuals import Outline, Record
from gradkit.core.reverse import GradientWatcher
from gradkit.core.stand_in import STAND_INS, Abstract
from gradkit.errors import DeviceMismatchError
from gradkit.primitives.creation import ones_like, zeros_like
from gradkit.pytrees.registry import register
from gradkit.transforms.arguments import (
    Argnums,
    as_array,
    as_array_leaf,
    as_arrays,
    check_callable,
    check_pair,
    lower,
    lowered_tree,
    named_like,
    node_at,
    path_to,
    positions_of,
    replace,
    run_under,
    select,
    without_tape,
)
from gradkit.transforms.float0 import is_float0, zeros_of_float0
from gradkit.tree import flatten, structure, unflatten

__all__ = ["grad", "value_and_grad", "vjp", "watched_value_and_grad"]

_new = object.__new__


def grad(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """Make the function that computes the gradient of `fun`.

    Parameters
    ----------
    fun : callable
        A function of arrays, numbers or pytrees of them, with a scalar result (with `has_aux`, a pair of the scalar
        and anything else).
    argnums : int or sequence of int
        Which positional arguments to differentiate with respect to.
    has_aux : bool
        Whether `fun` returns a pair, whose second element is passed through.
    holomorphic : bool
        Whether `fun` is a holomorphic function: its differentiated arguments and its result are complex then.
    allow_int : bool
        Whether integer and bool leaves are allowed; their gradient is zero, of their shape and of dtype float0, which
        `jvp` takes as a tangent.

    Returns
    -------
    callable
        Takes what `fun` takes and returns the gradient, of the structure of the argument (a tuple for a sequence of
        `argnums`); with `has_aux` a pair of the gradient and the auxiliary data.

    Raises
    ------
    TypeError
        By the returned function: if a differentiated leaf is an integer, or the result is no floating scalar.

    Examples
    --------
    >>> import gradkit
    >>> gradkit.grad(lambda x: x ** 3)(2.0)
    Array(12., dtype=float32)
    >>> gradkit.grad(gradkit.grad(lambda x: x ** 3))(2.0)
    Array(12., dtype=float32)
    """
    differentiated = value_and_grad(fun, argnums, has_aux, holomorphic, allow_int)

    @named_like(fun)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, result = differentiated(*args, **kwargs)
        return (result, value[1]) if has_aux else result

    return gradient


def value_and_grad(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """Make the function that computes both `fun` and its gradient.

    Parameters
    ----------
    fun, argnums, has_aux, holomorphic, allow_int
        As for `grad`.

    Returns
    -------
    callable
        Takes what `fun` takes and returns the pair (value, gradient), where with `has_aux` the value is itself the
        pair (scalar, auxiliary data).

    Examples
    --------
    >>> import gradkit
    >>> gradkit.value_and_grad(lambda x: x * x)(3.0)
    (Array(9., dtype=float32), Array(6., dtype=float32))
    """
    return watched_value_and_grad(fun, None, argnums, has_aux, holomorphic, allow_int)


def watched_value_and_grad(
    fun: Callable[..., Any],
    watch: Callable[[Sequence[Node]], GradientWatcher] | None,
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """Make what `value_and_grad` makes, and let somebody watch the backward pass.

    Parameters
    ----------
    fun, argnums, has_aux, holomorphic, allow_int
        As for `grad`.
    watch : callable, optional
        Given the nodes of the differentiated leaves, in their order, before the backward pass (None for those that have
        none): returns what is told of it.
    """
    check_callable(fun)
    positions = positions_of(argnums)
    first_alone = type(argnums) is int and argnums == 0

    @named_like(fun)
    def value_and_gradient(*args: Any, **kwargs: Any) -> Any:
        chosen = args[:1] if first_alone and args else select(args, positions, argnums)
        values, treedef = flatten(chosen[0] if first_alone else chosen)
        trace = ReverseTrace()
        tracers = _tracers(trace, values, holomorphic, allow_int, chosen, (args, kwargs))
        tree = unflatten(treedef, tracers)
        given = (tree, *args[1:]) if first_alone else replace(args, positions, tree)
        arguments = handed_over[get_ident()]  # as `keeping_arguments` does
        arguments.append((given, kwargs))
        try:
            result = fun(*given, **kwargs)
        finally:
            arguments.pop()
            trace.level = Ended(trace.number)  # as `end` does
        auxiliary = None
        if has_aux:
            result, auxiliary = check_pair(result)
            auxiliary = lowered_tree(auxiliary, trace)
        value, node = _scalar(result, trace, holomorphic)
        watcher = None if watch is None else watch([tracer._node for tracer in tracers])  # type: ignore[misc]
        one = _one(value) if watcher is None else watcher.start(_one(value))
        gradients = {} if node is None else trace.backward([(node, one)], watcher=watcher)
        if type(result) is not Array and hasattr(result, "__gradkit_array__"):
            value = unflatten(structure(result), [value])
        gradient = unflatten(treedef, _gradients(tracers, gradients))
        if type(argnums) is int and not first_alone:
            (gradient,) = gradient
        return ((value, auxiliary) if has_aux else value), gradient

    return value_and_gradient


def vjp(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """Compute a function and its pullback, which maps a cotangent of the result to cotangents of the arguments.

    Parameters
    ----------
    fun : callable
        A function of arrays or pytrees that returns an array or pytree (with `has_aux`, a pair of it and anything).
    *primals : pytree
        The arguments.
    has_aux : bool
        Whether `fun` returns auxiliary data beside its result.

    Returns
    -------
    tuple
        ``(result, pullback)``, or ``(result, pullback, auxiliary)``. The pullback can be called any number of times.

    Raises
    ------
    ValueError
        By the pullback: if the cotangent's structure, shape or dtype is not that of the result.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> y, pullback = gradkit.vjp(jnp.sin, 0.0)
    >>> pullback(1.0)
    (Array(1., dtype=float32),)
    """
    check_callable(fun)
    values, treedef = flatten(primals)
    trace = ReverseTrace()
    tracers = _tracers(trace, values, holomorphic=None, allow_int=True, chosen=primals)
    result, auxiliary = run_under(trace, fun, unflatten(treedef, tracers), has_aux)
    outputs, out_tree = flatten(result)
    outputs = as_arrays(outputs, tracers)
    record = Record(trace, [node_at(output, trace) for output in outputs], [node_at(t, trace) for t in tracers])
    values_out = [lower(output, trace) for output in outputs]
    signature = Signature(treedef, out_tree, list(map(abstract_like, tracers)), list(map(abstract_like, values_out)))
    return (unflatten(out_tree, values_out), Pullback(record, signature), *auxiliary)


@dataclass(frozen=True, eq=False)
class Signature:
    """The structure of a pullback's function: its arguments and results."""

    in_tree: Any
    out_tree: Any
    arguments: list[Abstract]
    results: list[Abstract]


class Pullback:
    """The pullback of `vjp`: a function, and a pytree, whose leaves are the values that the backward pass reads."""

    __slots__ = ("_parts", "record", "signature")

    def __init__(self, record: Record, signature: Signature, parts: tuple[list[Array], Outline] | None = None) -> None:
        self.record = record
        self.signature = signature
        self._parts = parts

    def __call__(self, cotangent: Any) -> Any:
        """Return the arguments' cotangents for that of the result."""
        form = self.signature
        given, given_tree = flatten(cotangent)
        if given_tree != form.out_tree:
            raise ValueError(
                f"unexpected tree structure. The argument to a VJP function returned by vjp must match the pytree "
                f"structure of the function's result, {form.out_tree}, got {given_tree}."
            )
        shares = self.record.pull([_cotangent(seed, wrap(out)) for seed, out in zip(given, form.results, strict=True)])
        found = [_zeros_like(arg) if s is None else s for s, arg in zip(shares, form.arguments, strict=True)]
        return unflatten(form.in_tree, [s if type(s) is Array or is_float0(s) else wrap(s) for s in found])

    def take_apart(self) -> tuple[list[Array], tuple[Signature, Outline]]:
        """Return the values that it keeps, and the rest."""
        if self._parts is None:
            self._parts = self.record.take_apart()
        values, outline = self._parts
        return values, (self.signature, outline)


register(
    Pullback,
    Pullback.take_apart,
    lambda rest, values: Pullback(rest[1].fill(list(values)), rest[0], (list(values), rest[1])),
)


# Arguments


def _tracers(
    trace: ReverseTrace,
    values: Sequence[Any],
    holomorphic: bool | None,
    allow_int: bool,
    chosen: Any,
    others: Any = (),
) -> list[Array]:
    """Return the arguments' leaves as inputs of the trace: complex ones if `holomorphic`, real ones if not, or any."""
    tracers = []
    for value in values:
        if type(value) is Array and ((node := value._node) is None or (type(node) is Leaf and node.is_parameter)):
            # The plain case: a real array that is no part of another trace.
            inner = value._value
            if not holomorphic and inner.dtype in REAL.get(type(inner), NOTHING):
                tracer: Array = _new(Array)  # as `wrap` does
                tracer._value = inner
                tracer._node = Leaf(trace, inner.shape, inner.dtype)
                tracers.append(tracer)
                continue
        tracers.append(_tracer(trace, value, holomorphic, allow_int, chosen, others))
    return tracers


def _tracer(
    trace: ReverseTrace, value: Any, holomorphic: bool | None, allow_int: bool, chosen: Any, others: Any
) -> Array:
    """Return an argument's leaf as an input of the trace."""
    array = value if type(value) is Array else as_array_leaf(value, chosen, others)
    array = without_tape(array)
    inner = array._value if array._node is None else array
    dtype = dtype_as_stored(inner)
    name = dtype_name(array)
    if not is_inexact(name):
        if not allow_int:
            raise TypeError(
                f"grad requires real- or complex-valued inputs (input dtype that is a sub-dtype of np.inexact), but "
                f"got {name}{path_to(value, chosen)}. If you want to use Boolean- or integer-valued inputs, use "
                f"vjp or set allow_int to True; to differentiate, convert the value to a float."
            )
        # An integer does not move by small steps: it is no input of the trace, and its gradient is zero.
        return array
    if kind_of(name) != COMPLEX and holomorphic:
        raise TypeError(
            f"grad with holomorphic=True requires inputs with complex dtype, but got {name}"
            f"{path_to(value, chosen)}. Leave holomorphic out, or convert the input to complex64."
        )
    return wrap(inner, Leaf(trace, tuple(inner.shape), dtype))


# Results


def _scalar(result: Any, trace: ReverseTrace, holomorphic: bool) -> tuple[Array, Node | None]:
    if type(result) is Array:
        inner, node = result._value, result._node
        real = not holomorphic and inner.shape == () and inner.dtype in REAL.get(type(inner), NOTHING)
        if real and node is not None and node.trace is trace:
            return wrap(inner), node
    else:
        try:
            result = as_array(result)
        except TypeError as error:
            raise TypeError(f"Gradient only defined for scalar-output functions. Output was {result!r}.") from error
    if result._value.shape != ():
        raise TypeError(f"Gradient only defined for scalar-output functions. Output had shape: {result.shape}.")
    node = node_at(result, trace)
    value = lower(result, trace)
    name = dtype_name(value)
    if holomorphic and kind_of(name) != COMPLEX:
        raise TypeError(f"grad with holomorphic=True requires outputs with complex dtype, but got {name}.")
    if not is_inexact(name) or (kind_of(name) == COMPLEX and not holomorphic):
        remedy = (
            "For holomorphic differentiation, pass holomorphic=True."
            if is_inexact(name)
            else "For differentiation of functions with integer outputs, use vjp directly."
        )
        raise TypeError(
            f"grad requires real-valued outputs (output dtype that is a sub-dtype of np.floating), but got {name}. "
            f"{remedy}"
        )
    return value, node


def _one(value: Array) -> Any:
    inner = raw(value)
    return ones_like(value) if type(inner) in STAND_INS else backend_of_array(value).one_like(inner)


def _cotangent(seed: Any, value: Array) -> Any:
    if is_float0(seed) and seed.shape == value.shape and not is_inexact(dtype_name(value)):
        return None  # whole numbers do not move
    array = as_array(seed, value)
    if type(seed) not in PYTHON_NUMBERS and not lie_together(array, value):
        raise DeviceMismatchError(
            f"the argument to a VJP function must be where the function's result is: got {describe(array)}, but "
            f"expected {describe(value)}. Move it with gradkit.device_put(x, y.device)."
        )
    if type(seed) in PYTHON_NUMBERS and value.shape == ():
        array = cast_array(array, dtype_name(value))
    if array.shape != value.shape or (dtype_name(array) != dtype_name(value) and is_inexact(dtype_name(value))):
        raise ValueError(
            f"unexpected shape or dtype for argument to VJP function: got {describe(array)}, but expected "
            f"{describe(value)} because the corresponding output of the differentiated function is that."
        )
    return array._value if array._node is None else array


def _zeros_like(form: Abstract) -> Any:
    """Return the cotangent of an argument that nothing depends on: of float0 for whole numbers, as `jvp` takes it."""
    return zeros_of(form) if is_inexact(form.dtype.name) else zeros_of_float0(form.shape)


def _gradients(tracers: Sequence[Array], gradients: dict[Node, Any]) -> list[Any]:
    """Return what the backward pass found for the inputs; zeros where nothing reached one."""
    results: list[Any] = []
    for tracer in tracers:
        found = gradients.get(tracer._node)  # type: ignore[arg-type]
        if found is None:
            if not is_inexact(dtype_name(tracer)):
                results.append(zeros_of_float0(tracer.shape))
                continue
            found = zeros_like(tracer)
        if type(found) is Array:
            results.append(found)
        else:
            result: Array = _new(Array)  # as `wrap` does
            result._value = found
            result._node = None
            results.append(result)
    return results
