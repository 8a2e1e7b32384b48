"""Products of vectors and matrices of all kinds, and `einsum`: functions of `matmul` and the multiplication."""

from __future__ import annotations

import collections
import math
import operator
import string
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gradkit.core import Array
from gradkit.core.operands import as_array, dtype_name, of_one_dtype
from gradkit.core.precision import products_with
from gradkit.core.promotion import dtype_named, summed_in
from gradkit.errors import ShapeError
from gradkit.numpy.arguments import promote_args, refuse_out
from gradkit.numpy.preferred import in_preferred, refuse_sharding
from gradkit.primitives.axes import axis_of
from gradkit.primitives.elementwise import conj, multiply, subtract
from gradkit.primitives.linalg import dot, matmul
from gradkit.primitives.manipulation import (
    astype,
    broadcast_to,
    expand_dims,
    moveaxis,
    permute_dims,
    reshape,
    squeeze,
    stack,
)
from gradkit.primitives.reductions import sum as sum_over

__all__ = ["cross", "diagonal", "einsum", "einsum_path", "inner", "kron", "matvec", "outer", "trace", "vdot", "vecmat"]


def inner(a: Any, b: Any, *, precision: Any = None, preferred_element_type: Any = None) -> Array:
    """Return the sums of products along the last axes: of shape ``a.shape[:-1] + b.shape[:-1]``.

    `preferred_element_type` is the dtype of the result; `precision` is as for `matmul`.
    """
    return in_preferred("inner", _inner, (a, b), preferred_element_type, precision)


def _inner(a: Any, b: Any) -> Array:
    x, y = promote_args("inner", a, b)
    if not x.ndim or not y.ndim:
        return multiply(x, y)
    if x.shape[-1] != y.shape[-1]:
        raise ShapeError(f"inner: a and b must have the same size along the last axis, got {x.shape} and {y.shape}")
    rows, columns = (reshape(part, (math.prod(part.shape[:-1]), part.shape[-1])) for part in (x, y))
    return reshape(matmul(rows, columns.T), (*x.shape[:-1], *y.shape[:-1]))


def outer(a: Any, b: Any, out: None = None) -> Array:
    """Return the products of all pairs of elements, as a matrix of shape ``(a.size, b.size)``.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.outer(jnp.asarray([1.0, 2.0]), jnp.asarray([3.0, 4.0]))
    Array([[3., 4.],
           [6., 8.]], dtype=float32)
    """
    refuse_out(out, "outer")
    x, y = promote_args("outer", a, b)
    return multiply(reshape(x, (-1, 1)), reshape(y, (1, -1)))


def vdot(a: Any, b: Any, *, precision: Any = None, preferred_element_type: Any = None) -> Array:
    """Return ``sum(conj(a) * b)`` over all elements; the options are those of `inner`."""
    return in_preferred("vdot", _vdot, (a, b), preferred_element_type, precision)


def _vdot(a: Any, b: Any) -> Array:
    x, y = promote_args("vdot", a, b)
    return dot(conj(reshape(x, (-1,))), reshape(y, (-1,)))


def matvec(x1: Any, x2: Any, /) -> Array:
    """Multiply matrices (..., m, n) with vectors (..., n); leading axes broadcast."""
    x, y = promote_args("matvec", x1, x2)
    if x.ndim < 2 or y.ndim < 1 or x.shape[-1] != y.shape[-1]:
        raise ShapeError(f"matvec requires x1 (..., m, n) and x2 (..., n), got {x.shape} and {y.shape}")
    return squeeze(matmul(x, expand_dims(y, axis=-1)), axis=-1)


def vecmat(x1: Any, x2: Any, /) -> Array:
    """Multiply the conjugates of vectors (..., n) with matrices (..., n, m); leading axes broadcast."""
    x, y = promote_args("vecmat", x1, x2)
    if x.ndim < 1 or y.ndim < 2 or x.shape[-1] != y.shape[-2]:
        raise ShapeError(f"vecmat requires x1 (..., n) and x2 (..., n, m), got {x.shape} and {y.shape}")
    return squeeze(matmul(conj(expand_dims(x, axis=-2)), y), axis=-2)


def kron(a: Any, b: Any) -> Array:
    """Return Kronecker's product: each element of `a` times the whole of `b`, in its place."""
    x, y = promote_args("kron", a, b)
    rank = max(x.ndim, y.ndim)
    left = (1,) * (rank - x.ndim) + x.shape
    right = (1,) * (rank - y.ndim) + y.shape
    product = multiply(
        reshape(x, tuple(n for size in left for n in (size, 1))),
        reshape(y, tuple(n for size in right for n in (1, size))),
    )
    return reshape(product, tuple(n * m for n, m in zip(left, right, strict=True)))


def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Array:
    """Return the cross products of vectors with 2 or 3 elements.

    Parameters
    ----------
    a, b : array
        The vectors along `axisa` and `axisb`; the other axes broadcast. A missing third element is 0.
    axisa, axisb, axisc : int
        Where the vectors are in `a`, in `b` and in the result.
    axis : int, optional
        All three of them.

    Returns
    -------
    Array
        Of two vectors with 2 elements the third element of the product alone, without the axis.
    """
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = promote_args("cross", a, b)
    x, y = moveaxis(x, axisa, -1), moveaxis(y, axisb, -1)
    if x.shape[-1] not in (2, 3) or y.shape[-1] not in (2, 3):
        raise ValueError(f"cross: vectors must have 2 or 3 elements, got {x.shape[-1]} and {y.shape[-1]}")
    a0, a1, b0, b1 = x[..., 0], x[..., 1], y[..., 0], y[..., 1]
    third = subtract(multiply(a0, b1), multiply(a1, b0))
    if x.shape[-1] == y.shape[-1] == 2:
        return third
    if x.shape[-1] == 2:
        b2 = y[..., 2]
        first, second = multiply(a1, b2), -multiply(a0, b2)
    elif y.shape[-1] == 2:
        a2 = x[..., 2]
        first, second = -multiply(a2, b1), multiply(a2, b0)
    else:
        a2, b2 = x[..., 2], y[..., 2]
        first = subtract(multiply(a1, b2), multiply(a2, b1))
        second = subtract(multiply(a2, b0), multiply(a0, b2))
    return moveaxis(stack([first, second, third], axis=-1), -1, axisc)


def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """Return diagonals: along two axes, which the result lacks; it has the elements of a diagonal along its last.

    Parameters
    ----------
    a : array
        Of at least 2 dimensions.
    offset : int
        Which diagonal: positive ones are above the main one.
    axis1, axis2 : int
        The axes of the matrices' rows and columns.
    """
    array = as_array(a, "diagonal")
    if array.ndim < 2:
        raise ValueError(f"diagonal requires an array of at least two dimensions, got shape {array.shape}")
    axes = axis_of(axis1, array.ndim, "diagonal"), axis_of(axis2, array.ndim, "diagonal")
    if axes[0] == axes[1]:
        raise ValueError(f"axis1 and axis2 cannot be the same, got {axis1} and {axis2}")
    offset = operator.index(offset)
    matrices = moveaxis(array, axes, (-2, -1))
    n, m = matrices.shape[-2:]
    count = max(0, min(n, m - offset) if offset >= 0 else min(n + offset, m))
    start = offset if offset >= 0 else -offset * m
    index = slice(start, start + (count - 1) * (m + 1) + 1, m + 1) if count else slice(0, 0)
    return reshape(matrices, (*matrices.shape[:-2], n * m))[..., index]


def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: None = None) -> Array:
    """Return the sums of diagonals; see `diagonal` for the parameters."""
    refuse_out(out, "trace")
    return sum_over(diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)


# Einstein's summation convention


def einsum(
    subscripts: Any,
    /,
    *operands: Any,
    out: None = None,
    optimize: Any = "auto",
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: None = None,
) -> Array:
    """Sum products of elements by the names of the operands' axes.

    Parameters
    ----------
    subscripts : str
        A letter for each axis of each operand, operands separated by commas: ``"ij,jk->ik"``. Behind the arrow are the
        axes of the result; without an arrow they are those that occur once, in alphabetical order. An ellipsis stands
        for any further axes, which broadcast. Instead, the operands may be given each with a list of integers behind
        it, ``einsum(x, [0, 1], y, [1, 2], [0, 2])``.
    *operands : array
        The arrays. An axis that occurs twice in one of them means its diagonal.
    out : None
        Not supported.
    optimize : str, bool or list of tuple
        In which order several operands are multiplied pair by pair, as `numpy.einsum_path` finds it; False: from left
        to right.
    precision : object
        How exactly products of float32 are computed: see `gradkit.default_matmul_precision`.
    preferred_element_type : dtype, optional
        The dtype of the result, and of the sums where it holds what the factors hold.
    out_sharding : None
        Not supported.

    Returns
    -------
    Array

    Raises
    ------
    ValueError
        If the subscripts do not fit the operands.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> x = jnp.asarray([[1.0, 2.0], [3.0, 4.0]])
    >>> jnp.einsum("ij,j->i", x, jnp.asarray([1.0, 10.0])), jnp.einsum("ii", x)
    (Array([21., 43.], dtype=float32), Array(5., dtype=float32))
    """
    refuse_out(out, "einsum")
    refuse_sharding(out_sharding, "einsum")
    if precision is not None:
        with products_with(precision, "einsum"):
            return einsum(subscripts, *operands, optimize=optimize, preferred_element_type=preferred_element_type)
    names, result, values = _parse(subscripts, operands)
    arrays = promote_args("einsum", *values)
    _check_sizes(names, arrays)
    dtype = dtype_name(arrays[0]) if preferred_element_type is None else dtype_named(preferred_element_type).name
    sums = summed_in(dtype_name(arrays[0]), dtype)
    arrays = list(of_one_dtype(arrays, sums))
    terms = list(zip(names, arrays, strict=True))
    for pair in _path(names, result, arrays, optimize):
        chosen = [terms.pop(i) for i in sorted(pair, reverse=True)][::-1]
        rest = set(result).union(*(name for name, _ in terms))
        terms.append(_contract(chosen, rest))
    name, array = _sum_out(*terms[0], set(result))
    array = permute_dims(array, tuple(name.index(letter) for letter in result)) if name != result else array
    return astype(array, dtype)


def einsum_path(subscripts: Any, /, *operands: Any, optimize: Any = "greedy") -> tuple[list[Any], str]:
    """Return the order in which `einsum` multiplies, and a description of it, as `numpy.einsum_path` does."""
    names, result, values = _parse(subscripts, operands)
    stand_ins = [np.broadcast_to(0.0, np.shape(value)) for value in values]
    path, description = np.einsum_path(f"{','.join(names)}->{result}", *stand_ins, optimize=_strategy(optimize))
    return list(path[1:]), description


def _parse(subscripts: Any, operands: Sequence[Any]) -> tuple[list[str], str, list[Any]]:
    """Return a letter for each axis of each operand, those of the result, and the operands."""
    values: list[Any]
    if isinstance(subscripts, str):
        text, values = subscripts.replace(" ", ""), list(operands)
    else:
        text, values = _from_integers([subscripts, *operands])
    values = [value if hasattr(value, "shape") else as_array(value, "einsum") for value in values]
    terms, arrow, result = text.partition("->")
    names = terms.split(",")
    if len(names) != len(values):
        raise ValueError(f"einsum: {subscripts!r} names {len(names)} operands, got {len(values)}")
    strange = set(text) - set(string.ascii_letters) - set("->,.")
    if strange or any(
        name.count(".") not in (0, 3) or ("." in name and "..." not in name) for name in [*names, result]
    ):
        raise ValueError(f"einsum: subscripts must be letters and ellipses, got {subscripts!r}")
    spare = [letter for letter in string.ascii_letters if letter not in text]
    ranks = [value.ndim - len(name.replace("...", "")) for name, value in zip(names, values, strict=True)]
    for name, value, rank in zip(names, values, ranks, strict=True):
        if rank < 0 or (rank and "..." not in name):
            raise ValueError(f"einsum: {name!r} does not name the axes of an operand of shape {value.shape}")
    longest = max([rank for name, rank in zip(names, ranks, strict=True) if "..." in name], default=0)
    ellipsis = "".join(spare[:longest])
    names = [name.replace("...", ellipsis[longest - rank :]) for name, rank in zip(names, ranks, strict=True)]
    if arrow:
        result = result.replace("...", ellipsis)
    else:
        counts = collections.Counter(terms.replace(".", "").replace(",", ""))
        result = ellipsis + "".join(sorted(letter for letter, count in counts.items() if count == 1))
    if len(set(result)) != len(result) or not set(result) <= set("".join(names)):
        raise ValueError(f"einsum: the result's axes {result!r} must each be one of the operands', named once")
    return names, result, values


def _from_integers(arguments: Sequence[Any]) -> tuple[str, list[Any]]:
    """Return the subscripts in letters, and the operands, of ``x, [0, 1], y, [1, 2], [0, 2]``."""
    given = list(arguments)
    result = given.pop() if len(given) % 2 else None
    lists = given[1::2] if result is None else [*given[1::2], result]
    numbers = sorted({item for axes in lists for item in axes if item is not Ellipsis})
    if len(numbers) > len(string.ascii_letters):
        raise ValueError(f"einsum: at most {len(string.ascii_letters)} axes have names, got {len(numbers)}")
    letters = dict(zip(numbers, string.ascii_uppercase + string.ascii_lowercase, strict=False))

    def term(axes: Any) -> str:
        return "".join("..." if item is Ellipsis else letters[item] for item in axes)

    text = ",".join(map(term, given[1::2]))
    return text if result is None else f"{text}->{term(result)}", given[::2]


def _check_sizes(names: Sequence[str], arrays: Sequence[Array]) -> None:
    sizes: dict[str, int] = {}
    for name, array in zip(names, arrays, strict=True):
        for letter, size in zip(name, array.shape, strict=True):
            if size != 1 and sizes.setdefault(letter, size) != size:
                raise ValueError(f"einsum: the axes named {letter!r} have sizes {sizes[letter]} and {size}")


def _strategy(optimize: Any) -> Any:
    if isinstance(optimize, str):
        return optimize if optimize in ("greedy", "optimal") else "greedy"
    if isinstance(optimize, list | tuple):
        return ["einsum_path", *(item for item in optimize if item != "einsum_path")]
    return "optimal" if optimize is True else optimize


def _path(names: Sequence[str], result: str, arrays: Sequence[Array], optimize: Any) -> Iterator[tuple[int, ...]]:
    """Yield which of the operands that are left to multiply next; the product comes last."""
    if len(names) <= 2:
        yield tuple(range(len(names)))
    elif optimize is False:
        yield (0, 1)
        for left in range(len(names) - 2, 0, -1):
            yield (0, left)
    else:
        stand_ins = [np.broadcast_to(0.0, array.shape) for array in arrays]
        path, _ = np.einsum_path(f"{','.join(names)}->{result}", *stand_ins, optimize=_strategy(optimize))
        yield from path[1:]


def _contract(terms: Sequence[tuple[str, Array]], kept: set[str]) -> tuple[str, Array]:
    """Multiply terms, from left to right, and sum over the axes that nothing else names."""
    first, *others = terms
    for i, other in enumerate(others):
        first = _multiply(first, other, kept.union(*(name for name, _ in others[i + 1 :])))
    return _sum_out(*first, kept)


def _multiply(left: tuple[str, Array], right: tuple[str, Array], kept: set[str]) -> tuple[str, Array]:
    """Multiply two terms as matrices: shared axes are batches where they are kept, else they are summed over."""
    left, right = _sum_out(*left, kept | set(right[0])), _sum_out(*right, kept | set(left[0]))
    (left_name, x), (right_name, y) = _without_ones(left, right), _without_ones(right, left)
    shared = [letter for letter in left_name if letter in right_name]
    batch = [letter for letter in shared if letter in kept]
    inner_axes = [letter for letter in shared if letter not in kept]
    rows = [letter for letter in left_name if letter not in right_name]
    columns = [letter for letter in right_name if letter not in left_name]
    size_of = dict(zip(left_name + right_name, x.shape + y.shape, strict=True)).__getitem__

    def arranged(name: str, array: Array, *groups: list[str]) -> Array:
        order = tuple(map(name.index, (*batch, *groups[0], *groups[1])))
        shape = (*map(size_of, batch), *[math.prod(map(size_of, group)) for group in groups])
        return reshape(permute_dims(array, order) if order != tuple(range(len(order))) else array, shape)

    if inner_axes:
        product = matmul(arranged(left_name, x, rows, inner_axes), arranged(right_name, y, inner_axes, columns))
    else:
        product = multiply(arranged(left_name, x, rows, []), arranged(right_name, y, [], columns))
    name = "".join([*batch, *rows, *columns])
    return name, reshape(product, tuple(map(size_of, name)))


def _without_ones(term: tuple[str, Array], other: tuple[str, Array]) -> tuple[str, Array]:
    """Drop axes of size 1 that are longer in the other term: they broadcast."""
    name, array = term
    sizes = dict(zip(other[0], other[1].shape, strict=True))
    ones = [i for i, letter in enumerate(name) if array.shape[i] == 1 and sizes.get(letter, 1) != 1]
    if not ones:
        return term
    return "".join(letter for i, letter in enumerate(name) if i not in ones), squeeze(array, axis=tuple(ones))


def _sum_out(name: str, array: Array, kept: set[str]) -> tuple[str, Array]:
    """Take the diagonals of axes that occur twice, and sum over those that are not kept."""
    for letter in [letter for letter, count in collections.Counter(name).items() if count > 1]:
        while name.count(letter) > 1:
            first = name.index(letter)
            second = name.index(letter, first + 1)
            array = _diagonal_of(array, first, second)
            name = name[:first] + name[first + 1 : second] + name[second + 1 :] + letter
    axes = tuple(i for i, letter in enumerate(name) if letter not in kept)
    if axes:
        array = sum_over(array, axis=axes, dtype=array.dtype)
        name = "".join(letter for letter in name if letter in kept)
    return name, array


def _diagonal_of(array: Array, first: int, second: int) -> Array:
    """Return the diagonal along two axes, of which one may have size 1 and broadcast."""
    n, m = array.shape[first], array.shape[second]
    if n != m:
        size = max(n, m)
        array = broadcast_to(array, tuple(size if i in (first, second) else k for i, k in enumerate(array.shape)))
    return diagonal(array, 0, first, second)
