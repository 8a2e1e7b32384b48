"""Families whose members are described by how elements move: `Reduction`, `View`, `Contraction`.

What other families state in code, these state as a fact that a compiler, `lax` and the tests read: how elements are
combined and what changes nothing, which element of the argument each one of the result is, which axes are summed over.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradkit.core.batching import broadcast_sizes, broadcasting_leading, reduction
from gradkit.core.families import General, Linear
from gradkit.core.namespace import unbroadcast
from gradkit.core.primitive import Primitive, Rule
from gradkit.core.promotion import is_inexact

__all__ = ["Contraction", "LinearReduction", "Reduction", "View", "reduced_shape"]

Sizes = tuple[int, ...]

COMBINING: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda x, y: x + y,
    "multiply": lambda x, y: x * y,
    "maximum": max,
    "minimum": min,
    "logical_or": lambda x, y: bool(x) or bool(y),
    "logical_and": lambda x, y: bool(x) and bool(y),
    "logaddexp": lambda x, y: max(x, y) + math.log1p(math.exp(-abs(x - y))),
}
"""The operations that reductions may be made of, on Python's numbers."""


def reduced_shape(x: Any, *, axis: Sizes, keepdims: bool) -> Sizes:
    """Return the shape that is left when the axes `axis` are reduced."""
    if keepdims:
        return tuple(1 if a in axis else size for a, size in enumerate(x.shape))
    return tuple(size for a, size in enumerate(x.shape) if a not in axis)


class Reducing(Primitive):
    """A primitive that combines the elements along axes, in any order.

    Parameters
    ----------
    name, forward, rules
        As for every primitive; its parameters are ``axis``, a sorted tuple, and ``keepdims``.
    combine : str
        The primitive of two arguments that it combines them with.
    identity : number
        What combines with any element to that element. Infinity stands for the last number of a dtype of integers.
    mean : bool
        Whether what was combined is divided by the number of elements.
    """

    keeps_weakness = False

    def __init__(
        self,
        name: str,
        forward: Rule | None,
        rules: Sequence[Any],
        *,
        combine: str | None = None,
        identity: Any = None,
        mean: bool = False,
        **options: Any,
    ) -> None:
        here = f"{type(self).__name__}({name!r})"
        if combine is None or identity is None:
            raise TypeError(f"{here}: combine= and identity= are missing, by which elements are reduced in any order.")
        function = COMBINING.get(combine)
        if function is None:
            raise TypeError(f"{here}: combine={combine!r} is none of {', '.join(COMBINING)}.")
        for x in (False, True) if type(identity) is bool else (-2.5, 0.0, 3.0):
            if (found := function(identity, x)) != x:
                raise TypeError(f"{here}: identity={identity} is none: {combine} of it and {x} is {found}.")
        self.combine, self.identity, self.mean = combine, identity, mean
        super().__init__(name, forward, rules, **{"batch": reduction, "shape": reduced_shape, **options})

    def identity_of(self, dtype: str) -> Any:
        """Return the identity as a number of a dtype."""
        if dtype == "bool" or is_inexact(dtype) or not math.isinf(self.identity):
            return self.identity > 0 if dtype == "bool" else self.identity
        bits = int(dtype.lstrip("uint"))
        if dtype.startswith("uint"):
            return 2**bits - 1 if self.identity > 0 else 0
        return 2 ** (bits - 1) - 1 if self.identity > 0 else -(2 ** (bits - 1))


class Reduction(Reducing, General):
    """A reduction with a reverse rule, such as `max`; see `Reducing`."""


class LinearReduction(Reducing, Linear):
    """A reduction that is linear, and has a transpose; see `Reducing`."""


class View(Linear):
    """A primitive each element of whose result is an element of its argument.

    Its transpose and its batches follow from the index map and its text, unless better ones are stated.

    Parameters
    ----------
    name, forward, rules
        As for every primitive. By default the transpose adds each element's cotangent where the element came from.
    index : callable
        ``index(at, shape, **params)``: which element of an argument of that shape is the result's element at `at`.
    shape : callable
        ``shape(x, **params)``, the result's shape.
    example : tuple
        The shape of an argument and the parameters of a call, on which the declaration is tried.
    copies : bool
        Whether the result has memory of its own. By default it may share its argument's.
    """

    is_view = True

    def __init__(
        self,
        name: str,
        forward: Rule | None,
        rules: Sequence[Any] | None = None,
        *,
        index: Callable[..., Sequence[int]] | None = None,
        example: tuple[Sizes, Mapping[str, Any]] | None = None,
        copies: bool = False,
        **options: Any,
    ) -> None:
        here = f"{type(self).__name__}({name!r})"
        if index is None or example is None or "shape" not in options:
            raise TypeError(f"{here}: index=, shape= and example= belong to a view: see CONTRIBUTING.md.")
        self.index, self.example = index, example
        shape, params = example
        for at in itertools.product(*map(range, options["shape"](_Shaped(shape), **params))):
            element = tuple(index(at, shape, **params))
            if len(element) != len(shape) or not all(0 <= p < n for p, n in zip(element, shape, strict=True)):
                raise TypeError(
                    f"{here}: it is no view: its element {at} would be the element {element} of an argument of shape "
                    f"{shape} (parameters {dict(params)})."
                )
        if rules is None:
            rules = (functools.partial(_scatter, self),)
            options.setdefault("hands_on", False)
        super().__init__(name, forward, rules, **{"shares_memory": not copies, **options})


class Contraction(Linear):
    """A primitive that multiplies two arrays and sums over axes.

    Parameters
    ----------
    name, forward, rules
        As for every primitive. By default the transposes are the contractions with the letters exchanged.
    subscripts : str
        As for `numpy.einsum`: ``"...ij,...jk->...ik"``. Axes of ``...`` are batches and broadcast.
    """

    def __init__(
        self,
        name: str,
        subscripts: str,
        forward: Rule | None = None,
        rules: Sequence[Any] | None = None,
        **options: Any,
    ) -> None:
        here = f"{type(self).__name__}({name!r})"
        self.subscripts = subscripts
        self.operands, self.result = _letters(here, subscripts)
        derived = tuple(self._transpose(position) for position in range(2))
        if rules is not None:
            self._check(here, rules, derived)
        text = self._text if forward is None and not options.get("leaf") else forward
        super().__init__(
            name,
            text,
            derived if rules is None else rules,
            **{"shape": self._shape, "batch": broadcasting_leading if "..." in subscripts else None, "hands_on": False}
            | options,
        )

    def _text(self, xp: Any, x: Any, y: Any) -> Any:
        return contracted(xp, self.operands, self.result, (x, y))

    def _shape(self, x: Any, y: Any) -> Sizes:
        sizes: dict[str, int] = {}
        leads = []
        for letters, array in zip(self.operands, (x, y), strict=True):
            own = letters.removeprefix("...")
            lead = len(array.shape) - len(own)
            leads.append(tuple(array.shape[:lead]))
            sizes.update(zip(own, array.shape[lead:], strict=True))
        return (*broadcast_sizes(leads), *(sizes[letter] for letter in self.result.removeprefix("...")))

    def _transpose(self, position: int) -> Rule:
        own, other = self.operands[position], self.operands[1 - position]

        def first(xp: Any, g: Any, x: Any, y: Any) -> Any:
            share = contracted(xp, (self.result, other), own, (g, y))
            return unbroadcast(xp, share, share.shape, x.shape)

        def second(xp: Any, g: Any, x: Any, y: Any) -> Any:
            share = contracted(xp, (self.result, other), own, (g, x))
            return unbroadcast(xp, share, share.shape, y.shape)

        return second if position else first

    def _check(self, here: str, rules: Sequence[Any], derived: Sequence[Rule]) -> None:
        """Compare the stated transposes with those that follow from the letters, on small arrays."""
        letters = sorted(set("".join(self.operands)) - {"."})
        args = []
        for number, operand in enumerate(self.operands):
            lead = (2 - number,) if operand.startswith("...") else ()
            shape = (*lead, *(2 + letters.index(letter) for letter in operand.removeprefix("...")))
            args.append(np.reshape(np.arange(1, 1 + math.prod(shape)), shape))  # of integers, which need no BLAS
        shape = self._shape(*args)
        g = np.reshape(np.arange(1, 1 + math.prod(shape)), shape)
        for position, (stated, right) in enumerate(zip(rules, derived, strict=True)):
            expected = right(np, g, *args)
            try:
                found = stated(np, g, *args)
            except (TypeError, ValueError, IndexError, AttributeError) as error:
                found, reason = None, f"it raises {type(error).__name__}: {error}"
            else:
                reason = f"it gives an array of shape {np.shape(found)}"
            if found is None or found.shape != expected.shape or not np.allclose(found, expected):
                raise TypeError(
                    f"{here}: the transpose for argument {position} does not fit {self.subscripts!r}: {reason}, and "
                    f"the letters give one of shape {expected.shape} with other elements."
                )


class _Shaped:
    """An argument of which a shape rule reads the shape."""

    def __init__(self, shape: Sizes) -> None:
        self.shape, self.ndim = shape, len(shape)


def _scatter(view: View, xp: Any, g: Any, x: Any, **params: Any) -> Any:
    """Add each element of a cotangent where it came from, which the view of positions says."""
    size = math.prod(x.shape)
    positions = xp.reshape(xp.arange(size, dtype=xp.int64, device=xp.device_of(g)), x.shape)
    sources = getattr(xp, view.name)(positions, **params)
    flat = xp.scatter_add(xp.reshape(g, (-1,)), xp.reshape(sources, (-1,)), axis=0, size=size)
    return xp.reshape(flat, x.shape)


def _letters(here: str, subscripts: str) -> tuple[tuple[str, str], str]:
    """Return the letters of both operands and of the result."""
    left, arrow, result = subscripts.replace(" ", "").partition("->")
    operands = left.split(",")
    known = set("".join(operand.removeprefix("...") for operand in operands))
    wanted = result.removeprefix("...")
    if not arrow or len(operands) != 2 or not all(letter.isalpha() for letter in known):
        raise TypeError(f"{here}: subscripts {subscripts!r} are not of the form '...ij,...jk->...ik'.")
    if not set(wanted) <= known or any(len(set(word)) < len(word) for word in (wanted, *_own(operands))):
        raise TypeError(f"{here}: subscripts {subscripts!r} have a letter twice in a term, or in the result alone.")
    for own, other in (_own(operands), _own(operands)[::-1]):
        if not set(own) <= set(other) | set(wanted):
            raise TypeError(f"{here}: subscripts {subscripts!r} sum over an axis that one operand alone has.")
    if any(word.startswith("...") for word in operands) != result.startswith("..."):
        raise TypeError(f"{here}: subscripts {subscripts!r} have batches ('...') on one side of the arrow alone.")
    return (operands[0], operands[1]), result


def _own(operands: Sequence[str]) -> list[str]:
    return [operand.removeprefix("...") for operand in operands]


def contracted(xp: Any, operands: Sequence[str], result: str, arrays: Sequence[Any]) -> Any:
    """Multiply arrays and sum over the letters that the result lacks: the definition, with every product in memory."""
    wanted = result.removeprefix("...")
    letters = wanted + "".join(sorted(set("".join(_own(operands))) - set(wanted)))
    product = None
    for own, array in zip(_own(operands), arrays, strict=True):
        lead = array.ndim - len(own)
        order = sorted(range(len(own)), key=lambda i, own=own: letters.index(own[i]))  # type: ignore[misc]
        moved = xp.permute_dims(array, (*range(lead), *(lead + i for i in order)))
        sizes = tuple(array.shape[lead + own.index(letter)] if letter in own else 1 for letter in letters)
        aligned = xp.reshape(moved, (*array.shape[:lead], *sizes))
        product = aligned if product is None else product * aligned
    assert product is not None
    summed = tuple(range(product.ndim - len(letters) + len(wanted), product.ndim))
    return xp.sum(product, axis=summed, keepdims=False) if summed else product
