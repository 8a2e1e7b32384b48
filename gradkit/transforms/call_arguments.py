"""Which arguments of a jitted function are static or donated, by position and by name."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Places", "hashable", "places"]


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


def hashable(value: Any) -> Any:
    """Return a static argument, if it hashes."""
    try:
        hash(value)
    except TypeError as error:
        raise ValueError(
            f"Non-hashable static arguments are not supported. An error occurred while trying to hash an object of "
            f"type {type(value)}, {value}. The error was:\nTypeError: {error}\n"
        ) from error
    return value


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
