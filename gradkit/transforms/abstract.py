"""`eval_shape` and `make_jaxpr`: a function run on arrays without values, for its shapes or for its graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from gradkit.backend import current_backend
from gradkit.core.array import Array, wrap
from gradkit.core.assignment import keeping_arguments
from gradkit.core.capture import GraphTrace
from gradkit.core.graph import Graph, abstract_like
from gradkit.core.promotion import dtype_named
from gradkit.core.sizes import whole_numbers
from gradkit.core.stand_in import Abstract
from gradkit.transforms.arguments import as_array, as_array_leaf, as_arrays, check_callable, named_like
from gradkit.transforms.float0 import FLOAT0, is_float0
from gradkit.transforms.printing import jaxpr_text, type_text
from gradkit.tree import flatten, unflatten

__all__ = [
    "ClosedJaxpr", "ShapeDtypeStruct", "ShapedArray", "abstract_leaf", "capture", "eval_shape", "make_jaxpr",
    "typeof",
]  # fmt: skip


class ShapeDtypeStruct:
    """The shape and dtype of an array.

    Parameters
    ----------
    shape : tuple of int
        The shape.
    dtype : dtype
        The dtype.
    sharding : object, optional
        Accepted and ignored.
    weak_type : bool
        Accepted and ignored.

    Examples
    --------
    >>> import gradkit
    >>> gradkit.ShapeDtypeStruct((2, 3), "float32")
    ShapeDtypeStruct(shape=(2, 3), dtype=float32)
    """

    __slots__ = ("dtype", "shape", "sharding")

    def __init__(self, shape: Sequence[int], dtype: Any, *, sharding: Any = None, weak_type: bool = False) -> None:
        self.shape = whole_numbers(shape)
        self.dtype = dtype if dtype == FLOAT0 else dtype_named(dtype)
        self.sharding = sharding

    @classmethod
    def like(cls, x: Any) -> ShapeDtypeStruct:
        """Return the shape and dtype of an array, or of anything that has them.

        Examples
        --------
        >>> import gradkit, gradkit.numpy as jnp
        >>> gradkit.ShapeDtypeStruct.like(jnp.ones(3))
        ShapeDtypeStruct(shape=(3,), dtype=float32)
        """
        known = hasattr(x, "shape") and hasattr(x, "dtype")
        array = x if known else as_array(x)
        return cls(array.shape, array.dtype)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object: this shape has no axes")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"ShapeDtypeStruct(shape={self.shape}, dtype={self.dtype.name})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ShapeDtypeStruct):
            return NotImplemented
        return (self.shape, self.dtype) == (other.shape, other.dtype)

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype))


class ShapedArray(ShapeDtypeStruct):
    """The type of an array: what `typeof` gives."""

    __slots__ = ()
    weak_type = False

    def str_short(self, short_dtypes: bool = False) -> str:
        """Return the type as text."""
        return type_text(self) if short_dtypes else str(self)

    def __str__(self) -> str:
        return f"{self.dtype.name}[{','.join(map(str, self.shape))}]"

    def __repr__(self) -> str:
        return f"ShapedArray({self})"


def typeof(x: Any) -> ShapedArray:
    """Return the type of an array or number, inside of transforms as well: its shape and dtype.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> print(gradkit.typeof(jnp.ones((2, 3))))
    float32[2,3]
    """
    array = as_array(x)
    return ShapedArray(array.shape, array.dtype)


def eval_shape(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Compute the shapes and dtypes of a function's results without computing the function.

    Parameters
    ----------
    fun : callable
        A function of arrays or pytrees.
    *args, **kwargs
        Its arguments: arrays, or anything that has a shape and a dtype (`ShapeDtypeStruct`).

    Returns
    -------
    pytree of ShapeDtypeStruct
        Of the structure of the function's result.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> gradkit.eval_shape(jnp.matmul, gradkit.ShapeDtypeStruct((2, 3), "float32"), jnp.ones((3, 4)))
    ShapeDtypeStruct(shape=(2, 4), dtype=float32)
    """
    check_callable(fun)
    shapes: list[Any] = []

    def noting(*given: Any, **named: Any) -> Any:
        outputs, treedef = flatten(fun(*given, **named))
        arrays = [output if is_float0(output) else as_array(output) for output in outputs]
        shapes.append(unflatten(treedef, [ShapeDtypeStruct(array.shape, array.dtype) for array in arrays]))
        return [array for array in arrays if type(array) is Array]

    capture(noting, args, kwargs)
    return shapes[0]


class ClosedJaxpr:
    """A captured function, in JAX's words: its graph, and the arrays that it uses beside its arguments.

    Attributes
    ----------
    jaxpr : Graph
        The graph: `inputs`, `constants`, `equations`, `outputs`.
    consts : list of Array
        The arrays that it uses beside its arguments.
    in_tree, out_tree : PyTreeDef
        The structures of the function's arguments and result.
    """

    def __init__(self, jaxpr: Graph, in_tree: Any, out_tree: Any) -> None:
        self.jaxpr = jaxpr
        self.in_tree = in_tree
        self.out_tree = out_tree

    @property
    def consts(self) -> list[Array]:
        """The arrays that the function uses beside its arguments."""
        return [value for _, value in self.jaxpr.constants]

    literals = consts

    @property
    def in_avals(self) -> list[ShapeDtypeStruct]:
        """The shapes and dtypes of the arguments' leaves."""
        return [ShapeDtypeStruct(v.shape, v.dtype) for v in self.jaxpr.inputs]

    @property
    def out_avals(self) -> list[ShapeDtypeStruct]:
        """The shapes and dtypes of the results' leaves."""
        return [ShapeDtypeStruct(v.shape, v.dtype) for v in self.jaxpr.outputs]

    @property
    def eqns(self) -> list[Any]:
        """The operations, in order."""
        return self.jaxpr.equations

    def __call__(self, *args: Any) -> Any:
        """Run the operations on arrays."""
        leaves, _ = flatten((args, {}))
        return unflatten(self.out_tree, self.jaxpr.run(as_arrays(leaves)))

    def __repr__(self) -> str:
        return jaxpr_text(self.jaxpr)


def make_jaxpr(
    fun: Callable[..., Any], static_argnums: int | Sequence[int] = (), axis_env: Any = None, return_shape: bool = False
) -> Callable[..., Any]:
    """Make the function that captures the graph of `fun`.

    Parameters
    ----------
    fun : callable
        A function of arrays or pytrees.
    static_argnums : int or sequence of int
        Arguments that are no arrays: their values are part of the graph.
    axis_env : None
        Not supported.
    return_shape : bool
        Whether to return the shapes of the result as well.

    Returns
    -------
    callable
        Takes `fun`'s arguments, or anything with their shapes and dtypes, and returns a `ClosedJaxpr`, which prints in
        JAX's text form.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> gradkit.make_jaxpr(lambda x: jnp.sin(x) * 2.0)(1.0)
    { lambda ; a:f32[]. let b:f32[] = sin a; c:f32[] = mul b 2.0:f32[] in (c,) }
    """
    check_callable(fun)
    if axis_env is not None:
        raise TypeError("make_jaxpr: axis_env is not supported; name the axis by gradkit.vmap(..., axis_name=...)")
    static = {static_argnums} if isinstance(static_argnums, int) else set(static_argnums)

    @named_like(fun)
    def captured(*args: Any, **kwargs: Any) -> Any:
        dynamic = [arg for i, arg in enumerate(args) if i not in static]

        def of_dynamic(*given: Any, **named: Any) -> Any:
            rest = iter(given)
            return fun(*(arg if i in static else next(rest) for i, arg in enumerate(args)), **named)

        jaxpr = capture(of_dynamic, dynamic, kwargs)
        if not return_shape:
            return jaxpr
        return jaxpr, unflatten(jaxpr.out_tree, jaxpr.out_avals)

    return captured


def capture(fun: Callable[..., Any], args: Sequence[Any], kwargs: Any) -> ClosedJaxpr:
    """Run a function on arrays without values, and return its graph."""
    leaves, in_tree = flatten((tuple(args), dict(kwargs)))
    out_tree: list[Any] = []

    def flat_function(*flat: Any) -> list[Array]:
        given, named = unflatten(in_tree, flat)
        outputs, tree = flatten(keeping_arguments(fun)(*given, **named))
        out_tree.append(tree)
        # A graph has whole numbers without value for what is of float0, as JAX has.
        return [
            wrap(current_backend().xp.zeros(o.shape, dtype=current_backend().xp.bool)) if is_float0(o) else as_array(o)
            for o in outputs
        ]

    graph = GraphTrace().run(flat_function, [abstract_leaf(leaf, args, kwargs) for leaf in leaves])
    return ClosedJaxpr(graph, in_tree, out_tree[0])


def abstract_leaf(leaf: Any, arguments: Any, others: Any = ()) -> Abstract:
    """Return what stands for an argument's leaf: an array, or what has a shape and a dtype."""
    if type(leaf) is Abstract:
        return leaf
    if type(leaf) is not Array and hasattr(leaf, "shape") and hasattr(leaf, "dtype") and not hasattr(leaf, "__array__"):
        backend = current_backend()
        return Abstract(tuple(leaf.shape), dtype_named(leaf.dtype), backend, backend.devices[0])
    return abstract_like(as_array_leaf(leaf, arguments, others))
