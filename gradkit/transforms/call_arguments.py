"""Which arguments of a jitted function are static or donated, by position and by name."""

from __future__ import annotations

import dataclasses
import inspect
import math
import operator
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Fixed", "Places", "places", "static_argument"]

Fixed = tuple[tuple[int | str, Hashable, Any], ...]
"""The static arguments: position or name, what tells apart values that are equal, value."""

NAN = math.nan


@dataclass(frozen=True)
class Places:
    """Positions and names of arguments; where the function's signature is known each follows from the other.

    Attributes
    ----------
    positions : tuple of int
        Positions; negative ones count from the end of what a call gives.
    names : frozenset of str
        Names.
    """

    positions: tuple[int, ...]
    names: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.positions or self.names)

    def among(self, count: int) -> tuple[int, ...]:
        """Return the positions in a call of `count` positional arguments, in order."""
        if not self.positions or (self.positions[0] >= 0 and self.positions[-1] < count):
            return self.positions
        return tuple(sorted({position % count for position in self.positions if -count <= position < count}))


def places(fun: Callable[..., Any], argnums: Any, argnames: Any, what: str) -> Places:
    """Check the positions and names that a user gave, as ``static_argnums`` and ``static_argnames`` or the like."""
    positions, names = _numbers(argnums, f"{what}_argnums"), _words(argnames, f"{what}_argnames")
    try:
        parameters = list(inspect.signature(fun).parameters.values())
    except (TypeError, ValueError):  # a builtin, which says nothing of its parameters
        return Places(tuple(sorted({*positions})), frozenset(names))
    by_position = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        unknown = [name for name in names if name not in {p.name for p in parameters}]
        if unknown:
            raise ValueError(
                f"Jitted function has invalid argnames {set(unknown)} in {what}_argnames. Function does not take these "
                f"args. Valid names: {[p.name for p in parameters]}"
            )
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if not variadic and any(not -len(by_position) <= p < len(by_position) for p in positions):
        raise ValueError(
            f"Jitted function has {what}_argnums={positions}, but only accepts {len(by_position)} positional arguments."
        )
    if not positions and not names:
        return Places((), frozenset())
    found = {by_position.index(name) for name in names if name in by_position}
    named = {
        by_position[p] for p in positions if -len(by_position) <= p < len(by_position) and not (variadic and p < 0)
    }
    return Places(tuple(sorted({*positions, *found})), frozenset({*names, *named}))


def static_argument(place: int | str, value: Any) -> tuple[int | str, Hashable, Any]:
    """Return a static argument as it stands in a signature, if it hashes."""
    try:
        hash(value)
    except TypeError as error:
        raise ValueError(
            f"Non-hashable static arguments are not supported. An error occurred while trying to hash an object of "
            f"type {type(value)}, {value}. The error was:\nTypeError: {error}\n"
        ) from error
    if type(value) is float and value != value:
        value = NAN  # which is equal to itself as long as it is one object
    return place, _meaning(value), value


def _meaning(value: Any) -> Hashable:
    """Return what tells a static argument from others that are equal: 1, 1.0 and True are, and 0.0 and -0.0 are."""
    kind: Any = type(value)
    if isinstance(value, float | complex):
        return kind, repr(value)
    if isinstance(value, tuple):
        return kind, tuple(map(_meaning, value))
    if isinstance(value, frozenset):
        return kind, frozenset((part, _meaning(part)) for part in value)
    if dataclasses.is_dataclass(kind):
        return kind, tuple(_meaning(getattr(value, field.name)) for field in dataclasses.fields(value) if field.compare)
    return kind  # type: ignore[no-any-return]


def _numbers(value: Any, name: str) -> tuple[int, ...]:
    try:
        numbers: Sequence[Any] = (value,) if not isinstance(value, Sequence) and value is not None else value or ()
        return tuple(map(operator.index, numbers))
    except TypeError as error:
        raise TypeError(f"jit: {name} must be an int or a sequence of ints, got {value!r}") from error


def _words(value: Any, name: str) -> tuple[str, ...]:
    words = (value,) if isinstance(value, str) else tuple(value or ())
    if not all(isinstance(word, str) for word in words):
        raise TypeError(f"jit: {name} must be a str or a sequence of strs, got {value!r}")
    return words
