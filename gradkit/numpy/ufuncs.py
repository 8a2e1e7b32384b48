"""`frompyfunc`: universal functions made of functions of numbers."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from gradkit import primitives as xp
from gradkit.core import Array
from gradkit.core.operands import require_fit
from gradkit.numpy.choosing import vectorize
from gradkit.primitives.manipulation import moveaxis
from gradkit.primitives.new_arrays import arange
from gradkit.primitives.updates import as_values
from gradkit.transforms.arguments import as_array, check_callable

__all__ = ["frompyfunc", "ufunc"]


def frompyfunc(func: Callable[..., Any], /, nin: int, nout: int, *, identity: Any = None) -> ufunc:
    """Make a universal function of a function of numbers.

    Parameters
    ----------
    func : callable
        The function, of `nin` numbers, with `nout` results.
    nin, nout : int
        How many.
    identity : number, optional
        What changes nothing, as 0 for a sum: where `reduce` starts.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> add = jnp.frompyfunc(lambda x, y: x + y, nin=2, nout=1, identity=0)
    >>> add.reduce(jnp.arange(4))
    Array(6, dtype=int32)
    >>> add.outer(jnp.arange(2), jnp.arange(3))
    Array([[0, 1, 2],
           [1, 2, 3]], dtype=int32)
    """
    return ufunc(func, nin, nout, identity=identity)


class ufunc:
    """A universal function: it broadcasts, and one of two arguments reduces.

    Parameters
    ----------
    func : callable
        A function of numbers.
    nin, nout : int
        How many arguments and results it has.
    identity : number, optional
        Where `reduce` starts.
    """

    def __init__(
        self, func: Callable[..., Any], /, nin: int, nout: int, *, name: str | None = None, identity: Any = None
    ) -> None:
        check_callable(func)
        self.nin = operator.index(nin)
        self.nout = operator.index(nout)
        self.nargs = self.nin
        self.identity = identity
        self.__name__ = name or str(getattr(func, "__name__", "ufunc"))
        self.__doc__ = func.__doc__
        self._function = vectorize(func)

    def __repr__(self) -> str:
        return f"<jnp.ufunc '{self.__name__}'>"

    def __call__(self, *args: Any, out: None = None, where: None = None) -> Any:
        """Apply the function to every element of what the arguments broadcast to."""
        for name, value in (("out", out), ("where", where)):
            if value is not None:
                raise NotImplementedError(f"{name} argument of {self!r}")
        if len(args) != self.nin:
            raise TypeError(f"{self.__name__} takes {self.nin} arguments, got {len(args)}")
        return self._function(*args)

    def reduce(
        self,
        a: Any,
        axis: int | None = 0,
        dtype: Any = None,
        out: None = None,
        keepdims: bool = False,
        initial: Any = None,
        where: Any = None,
    ) -> Array:
        """Apply the function to the elements along an axis, one after another.

        Parameters
        ----------
        a : array
            The elements.
        axis : int or None
            Along which axis; None for all, in order.
        dtype : dtype, optional
            What to convert them to before.
        out : None
            Not supported.
        keepdims : bool
            Whether the axis stays, with size 1.
        initial : number, optional
            Where to start; by default at the identity, or at the first element.
        where : array of bool, optional
            Which elements to take.

        Raises
        ------
        ValueError
            If the function has no two arguments and one result, or there is nothing to start at.
        """
        array = self._binary("reduce", a, dtype, out)
        mask = None if where is None else xp.broadcast_to(as_array(where), array.shape)
        if axis is None:
            kept = (1,) * array.ndim
            array, mask = array.reshape(-1), None if mask is None else mask.reshape(-1)
        else:
            kept = None
        rows, position = _rows(array, 0 if axis is None else axis)
        masks = None if mask is None else _rows(mask, position)[0]
        start = self.identity if initial is None else initial
        if start is None and (masks is not None or not rows.shape[0]):
            what = "with where" if masks is not None else "of no elements"
            raise ValueError(f"reduction {what}, {self!r}, has no identity: initial is needed")
        if start is None:
            carry, rows = rows[0], rows[1:]
        else:
            require_fit(rows.dtype.name, start, f"{self.__name__}.reduce")
            carry = xp.broadcast_to(as_array(start).astype(rows.dtype), rows.shape[1:])

        def step(carry: Array, element: Any) -> tuple[Array, None]:
            row, chosen = element
            new = self(carry, row).astype(carry.dtype)
            return (new if chosen is None else xp.where(chosen, new, carry)), None

        result = _scan(step, carry, (rows, masks))[0] if rows.shape[0] else carry
        if not keepdims:
            return result
        return result.reshape(kept) if kept is not None else xp.expand_dims(result, position)

    def accumulate(self, a: Any, axis: int = 0, dtype: Any = None, out: None = None) -> Array:
        """Apply the function along an axis, and give every intermediate result."""
        array = self._binary("accumulate", a, dtype, out)
        if axis is None:
            raise ValueError("accumulate does not allow multiple axes")
        rows, position = _rows(array, axis)
        if rows.shape[0] < 2:
            return array

        def step(carry: Array, row: Array) -> tuple[Array, Array]:
            new = self(carry, row).astype(carry.dtype)
            return new, new

        results = _scan(step, rows[0], rows[1:])[1]
        return moveaxis(xp.concat([rows[:1], results], axis=0), 0, position)

    def reduceat(self, a: Any, indices: Any, axis: int = 0, dtype: Any = None, out: None = None) -> Array:
        """Reduce the slices that begin at `indices`, each up to the next; one that does not rise takes one element."""
        array = self._binary("reduceat", a, dtype, out)
        starts = [int(i) for i in as_array(indices)]
        rows, position = _rows(array, axis)
        ends = [*starts[1:], rows.shape[0]]
        pieces = [self.reduce(rows[i : max(j, i + 1)], 0) for i, j in zip(starts, ends, strict=True)]
        return xp.stack(pieces, axis=position)

    def at(self, a: Any, indices: Any, b: Any = None, /, *, inplace: bool = True) -> Array:
        """Apply the function at some elements, one after another, and give the new array.

        Parameters
        ----------
        a : array
            The array.
        indices : index
            The elements; one that is named twice is changed twice.
        b : array, optional
            The second arguments.
        inplace : bool
            Has to be False: arrays are not changed.
        """
        if inplace:
            raise NotImplementedError(
                "JAX arrays are immutable: ufunc.at has no way to change its argument. Use inplace=False for a copy."
            )
        if self.nin not in (1, 2) or self.nout != 1 or (b is None) != (self.nin == 1):
            raise ValueError(f"{self!r}.at: one argument needs no b, two need one; a result is needed")
        array = as_array(a)
        positions = arange(math.prod(array.shape)).reshape(array.shape)[indices]
        if b is not None:
            b = xp.broadcast_to(as_values(array, b, f"{self.__name__}.at"), positions.shape).reshape(-1)

        def step(flat: Array, element: Any) -> tuple[Array, None]:
            position, value = element
            new = self(flat[position]) if value is None else self(flat[position], value)
            return flat.at[position].set(new.astype(flat.dtype)), None

        changed = _scan(step, array.reshape(-1), (positions.reshape(-1), b))[0]
        return xp.reshape(changed, array.shape)

    def outer(self, a: Any, b: Any, /) -> Any:
        """Apply the function to all pairs of elements."""
        if self.nin != 2:
            raise ValueError(f"outer product only supported for binary functions; {self!r} has {self.nin} arguments")
        first, second = as_array(a), as_array(b)
        return self(first.reshape((*first.shape, *(1,) * second.ndim)), second)

    def _binary(self, method: str, a: Any, dtype: Any, out: Any) -> Array:
        if self.nin != 2 or self.nout != 1:
            raise ValueError(f"{method} is only supported for functions of two arguments and one result")
        if out is not None:
            raise NotImplementedError(f"out argument of {self!r}.{method}")
        array = as_array(a)
        return array if dtype is None else array.astype(dtype)


def _rows(array: Array, axis: int) -> tuple[Array, int]:
    """Return an array with an axis moved to the front, and where that was."""
    if not -array.ndim <= axis < array.ndim:
        raise ValueError(f"axis {axis} is out of bounds for array of dimension {array.ndim}")
    return moveaxis(array, axis, 0), axis % array.ndim


def _scan(step: Callable[..., Any], carry: Any, elements: Any) -> tuple[Any, Any]:
    # late: loops bring all of lax, for the few who reduce with a function of their own
    from gradkit.lax.loops import scan

    carry, results = scan(step, carry, elements)
    return carry, results
