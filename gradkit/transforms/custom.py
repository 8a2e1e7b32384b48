"""`custom_jvp`, `custom_vjp` and `custom_gradient`: functions that state their derivative themselves."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any, cast

from gradkit.core.array import Array
from gradkit.core.assignment import keeping_arguments
from gradkit.core.functions import CUSTOM_JVP, CUSTOM_VJP
from gradkit.core.operands import dtype_name
from gradkit.core.printing import describe
from gradkit.core.promotion import is_inexact
from gradkit.primitives import zeros_like
from gradkit.transforms.abstract import capture
from gradkit.transforms.arguments import as_array, as_array_leaf, as_arrays, check_callable, named_like, without_tape
from gradkit.transforms.float0 import is_float0
from gradkit.tree import broadcast_prefix, flatten, structure, unflatten
from gradkit.tree import map as tree_map

__all__ = ["custom_gradient", "custom_jvp", "custom_vjp"]


class _Custom:
    """What both kinds share: the function, and which of its arguments are not differentiated."""

    def __init__(
        self, fun: Callable[..., Any], nondiff_argnums: Sequence[int] = (), nondiff_argnames: Sequence[str] = ()
    ) -> None:
        check_callable(fun)
        named_like(fun)(cast(Any, self))
        self.fun = fun
        self.nondiff_argnums = tuple(sorted(map(operator.index, nondiff_argnums)))
        if nondiff_argnames:
            names = list(inspect.signature(fun).parameters)
            chosen = {*self.nondiff_argnums, *(names.index(name) for name in nondiff_argnames)}
            self.nondiff_argnums = tuple(sorted(chosen))

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(cast(Any, self), instance)

    @property
    def _name(self) -> str:
        return str(getattr(self.fun, "__name__", self.fun))

    def _bound_args(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """Return all arguments by position, with defaults."""
        try:
            signature = inspect.signature(self.fun)
        except ValueError:
            if kwargs:
                raise TypeError(f"{self._name}: arguments must be given by position, got {sorted(kwargs)}") from None
            return args
        found = signature.bind(*args, **kwargs)
        found.apply_defaults()
        if found.kwargs:
            raise TypeError(
                f"The following keyword arguments could not be resolved to positions: {', '.join(found.kwargs)}"
            )
        return found.args

    def _split(self, args: tuple[Any, ...]) -> tuple[list[Any], list[Any]]:
        """Return the arguments that are not differentiated, and the others."""
        fixed = [args[i] for i in self.nondiff_argnums]
        return fixed, [arg for i, arg in enumerate(args) if i not in self.nondiff_argnums]

    def _merge(self, fixed: Sequence[Any], others: Sequence[Any]) -> list[Any]:
        positions = dict(zip(self.nondiff_argnums, fixed, strict=True))
        rest = iter(others)
        return [positions[i] if i in positions else next(rest) for i in range(len(fixed) + len(others))]


class custom_jvp(_Custom):
    """A function with a forward rule of its own, which serves both modes.

    Parameters
    ----------
    fun : callable
        The function, of arrays or pytrees.
    nondiff_argnums : sequence of int
        Arguments that are not differentiated; the rule gets them first.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> @gradkit.custom_jvp
    ... def log1pexp(x):
    ...     return jnp.log(1.0 + jnp.exp(x))
    >>> @log1pexp.defjvp
    ... def log1pexp_jvp(primals, tangents):
    ...     (x,), (t,) = primals, tangents
    ...     return log1pexp(x), (1 - 1 / (1 + jnp.exp(x))) * t
    >>> gradkit.grad(log1pexp)(50.0)
    Array(1., dtype=float32)
    """

    jvp: Callable[..., Any] | None = None

    def defjvp(self, jvp: Callable[..., Any], symbolic_zeros: bool = False) -> Callable[..., Any]:
        """State the rule ``jvp(*nondiff_args, primals, tangents) -> (result, tangent)``; it is returned.

        Tangents of arguments that have none are arrays of zeros (`symbolic_zeros` is accepted and not needed).
        """
        self.jvp = jvp
        return jvp

    def defjvps(self, *jvps: Callable[..., Any] | None) -> None:
        """State a rule ``jvp(tangent, result, *primals)`` for each argument; None for no derivative."""
        if self.nondiff_argnums:
            raise TypeError("Can't use ``defjvps`` with ``nondiff_argnums``.")

        def jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
            result = self(*primals)
            total: Any = None
            for rule, tangent in zip(jvps, tangents, strict=True):
                if rule is not None:
                    share = rule(tangent, result, *primals)
                    total = share if total is None else _tree_add(total, share)
            return result, _zeros(result) if total is None else total

        self.defjvp(jvp)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        if self.jvp is None:
            raise AttributeError(f"No JVP defined for custom_jvp function {self._name} using defjvp.")
        fixed, others = self._split(self._bound_args(args, kwargs))
        leaves, in_tree = flatten(others)
        arrays = [without_tape(as_array_leaf(leaf, others, fixed)) for leaf in leaves]
        out_tree: list[Any] = []

        def function(flat: list[Any]) -> list[Any]:
            outs, tree = flatten(keeping_arguments(self.fun)(*self._merge(fixed, unflatten(in_tree, flat))))
            out_tree[:] = [tree]
            return as_arrays(outs, flat)

        def push(primals: list[Any], tangents: list[Any]) -> tuple[list[Any], list[Any]]:
            assert self.jvp is not None
            pair = keeping_arguments(self.jvp)(
                *fixed, tuple(unflatten(in_tree, primals)), tuple(unflatten(in_tree, tangents))
            )
            outs, tangents_out, tree = self._check(pair)
            out_tree[:] = [tree]
            return outs, tangents_out

        outs = CUSTOM_JVP.call(arrays, function, push)
        return unflatten(out_tree[0], outs)

    def _check(self, pair: Any) -> tuple[list[Any], list[Any], Any]:
        rule = getattr(self.jvp, "__name__", str(self.jvp))
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(
                f"Custom JVP rule {rule} for function {self._name} must produce a pair (list or tuple of length two) "
                f"representing primal and tangent outputs, but got {pair!r}."
            )
        outs, tree = flatten(pair[0])
        tangents, tangent_tree = flatten(pair[1])
        if tangent_tree != tree:
            raise TypeError(
                f"Custom JVP rule {rule} for function {self._name} must produce primal and tangent outputs with equal "
                f"container (pytree) structures, but got {tree} and {tangent_tree} respectively."
            )
        outs = [as_array(out) for out in outs]
        result = []
        for out, tangent in zip(outs, tangents, strict=True):
            if is_float0(tangent):
                result.append(zeros_like(out))
                continue
            direction = as_array(tangent, out)
            if direction.shape != out.shape or (
                dtype_name(direction) != dtype_name(out) and is_inexact(dtype_name(out)) and type(tangent) is Array
            ):
                raise TypeError(
                    f"Custom JVP rule {rule} for function {self._name} must produce primal and tangent outputs with "
                    f"equal shapes and dtypes, but got {describe(out)} for the primal output with tangent "
                    f"{describe(direction)}."
                )
            result.append(direction)
        return outs, result, tree


class custom_vjp(_Custom):
    """A function with a reverse rule of its own.

    Parameters
    ----------
    fun : callable
        The function, of arrays or pytrees.
    nondiff_argnums : sequence of int
        Arguments that are not differentiated; the backward rule gets them first.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> @gradkit.custom_vjp
    ... def clip_gradient(x):
    ...     return x
    >>> clip_gradient.defvjp(lambda x: (x, None), lambda _, g: (jnp.clip(g, -1.0, 1.0),))
    >>> gradkit.grad(lambda x: 5.0 * clip_gradient(x))(2.0)
    Array(1., dtype=float32)
    """

    fwd: Callable[..., Any] | None = None
    bwd: Callable[..., Any] | None = None

    def defvjp(
        self,
        fwd: Callable[..., Any],
        bwd: Callable[..., Any],
        symbolic_zeros: bool = False,
        optimize_remat: bool = False,
    ) -> None:
        """State the rules.

        Parameters
        ----------
        fwd : callable
            ``fwd(*args) -> (result, residuals)``.
        bwd : callable
            ``bwd(*nondiff_args, residuals, cotangent)`` gives a tuple with the cotangent of each differentiated
            argument; None stands for zeros.
        symbolic_zeros, optimize_remat : bool
            Accepted and not needed.
        """
        self.fwd = fwd
        self.bwd = bwd

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        if self.fwd is None or self.bwd is None:
            raise AttributeError(f"No VJP defined for custom_vjp function {self._name} using defvjp.")
        fixed, others = self._split(self._bound_args(args, kwargs))
        leaves, in_tree = flatten(others)
        arrays = [without_tape(as_array_leaf(leaf, others, fixed)) for leaf in leaves]
        out_tree: list[Any] = []
        residual_tree: list[Any] = []

        def function(flat: list[Any]) -> list[Any]:
            outs, tree = flatten(keeping_arguments(self.fun)(*self._merge(fixed, unflatten(in_tree, flat))))
            out_tree[:] = [tree]
            return as_arrays(outs, flat)

        def forward(flat: list[Any]) -> tuple[list[Any], list[Any]]:
            assert self.fwd is not None
            result, residuals = self._checked_pair(
                keeping_arguments(self.fwd)(*self._merge(fixed, unflatten(in_tree, flat)))
            )
            outs, tree = flatten(result)
            out_tree[:] = [tree]
            kept, spec = flatten(residuals)
            # What is no array (a function, a string) goes around the transforms.
            residual_tree[:] = [spec, [k if not _is_arraylike(k) else None for k in kept]]
            return as_arrays(outs, flat), as_arrays([k for k in kept if _is_arraylike(k)], flat)

        def backward(residuals: list[Any], cotangents: list[Any]) -> list[Any]:
            assert self.bwd is not None
            spec, others_kept = residual_tree
            found = iter(residuals)
            kept = [next(found) if other is None else other for other in others_kept]
            shares = keeping_arguments(self.bwd)(*fixed, unflatten(spec, kept), unflatten(out_tree[0], cotangents))
            return self._flat_shares(shares, others, in_tree, arrays)

        outs = CUSTOM_VJP.call(arrays, function, forward, backward)
        return unflatten(out_tree[0], outs)

    def _checked_pair(self, pair: Any) -> tuple[Any, Any]:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(
                f"Custom VJP fwd rule {getattr(self.fwd, '__name__', self.fwd)} for function {self._name} must produce "
                f"a pair (list or tuple of length two) where the first element represents the primal output and the "
                f"second element represents residuals, but got {pair!r}."
            )
        return pair[0], pair[1]

    def _flat_shares(self, shares: Any, others: list[Any], in_tree: Any, arrays: Sequence[Array]) -> list[Any]:
        rule = getattr(self.bwd, "__name__", str(self.bwd))
        if isinstance(shares, list):
            shares = tuple(shares)
        try:
            if not isinstance(shares, tuple) or len(shares) != len(others):
                raise ValueError
            flat = [
                leaf
                for share, other in zip(shares, others, strict=True)
                for leaf in ([None] * len(flatten(other)[0]) if share is None else _leaves_for(share, other))
            ]
        except ValueError as error:
            raise TypeError(
                f"Custom VJP bwd rule {rule} for function {self._name} must produce an output with the same container "
                f"(pytree) structure as the args tuple of the primal function, and in particular must produce a tuple "
                f"of length equal to the number of arguments to the primal function, but got bwd output structure "
                f"{structure(shares)} for primal input structure {in_tree}."
            ) from error
        return [
            None if share is None or is_float0(share) else self._checked_share(rule, as_array(share, array), array)
            for share, array in zip(flat, arrays, strict=True)
        ]

    def _checked_share(self, rule: str, share: Array, array: Array) -> Array:
        if is_inexact(dtype_name(array)) and share.shape != array.shape:
            raise ValueError(
                f"Custom VJP bwd rule {rule} for function {self._name} must produce an output with the same type as "
                f"the args tuple of the primal function, so of the shape of {describe(array)}, but got "
                f"{describe(share)}."
            )
        return share


def _leaves_for(share: Any, other: Any) -> list[Any]:
    """Return a cotangent's leaves, one for each leaf of the argument."""
    return broadcast_prefix(share, other)


def _is_arraylike(value: Any) -> bool:
    return type(value) in (bool, int, float, complex) or hasattr(value, "dtype")


def _zeros(result: Any) -> Any:
    leaves, treedef = flatten(result)
    return unflatten(treedef, [zeros_like(leaf) for leaf in leaves])


def _tree_add(a: Any, b: Any) -> Any:
    return tree_map(operator.add, a, b)


def custom_gradient(fun: Callable[..., Any]) -> Any:
    """Make a function with a reverse rule of a function that returns its result and its pullback.

    Parameters
    ----------
    fun : callable
        ``fun(*args) -> (result, pullback)``, where ``pullback(cotangent)`` gives the arguments' cotangents (for one
        argument, its cotangent).

    Examples
    --------
    >>> import gradkit
    >>> @gradkit.custom_gradient
    ... def f(x):
    ...     return x ** 2, lambda g: g * x
    >>> gradkit.grad(f)(3.0)
    Array(3., dtype=float32)
    """
    check_callable(fun)

    @custom_vjp
    def wrapped(*args: Any) -> Any:
        return fun(*args)[0]

    def fwd(*args: Any) -> Any:
        result, pullback = fun(*args)
        # What it closes over is kept as arrays: in a graph the backward pass is another one.
        captured = capture(pullback, (result,), {})
        return result, (captured.consts, _Opaque((captured, len(args))))

    def bwd(residuals: Any, cotangent: Any) -> Any:
        constants, opaque = residuals
        captured, count = opaque.value
        leaves = captured.jaxpr.closed().run(as_arrays([*constants, *flatten(cotangent)[0]]))
        shares = unflatten(captured.out_tree, leaves)
        return shares if isinstance(shares, tuple | list) and count != 1 else (shares,)

    wrapped.defvjp(fwd, bwd)
    return named_like(fun)(lambda *args: wrapped(*args))


class _Opaque:
    """Holds a function among residuals; a leaf of its own kind."""

    def __init__(self, value: Any) -> None:
        self.value = value
