"""JSON that comes from a file, checked before it is used: what it is made of, and of which sizes.

A check is a function of a value and of what to call it, which raises ValueError for a value that is none of its kind.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

__all__ = ["Check", "anything", "each", "keyed", "maybe", "number", "one_of", "parse", "record", "text", "whole"]

Check = Callable[[Any, str], None]

LONGEST_SHOWN = 40


def parse(source: str, constants: bool = False) -> Any:
    """Return what a text of JSON stands for.

    Parameters
    ----------
    source : str
        The text.
    constants : bool
        Whether NaN and Infinity, which Python writes, are numbers.

    Raises
    ------
    ValueError
        If it is no JSON, is nested too deeply, or an object has a name twice.

    Examples
    --------
    >>> parse('{"a": 1, "a": 2}')
    Traceback (most recent call last):
    ...
    ValueError: the name 'a' is there twice
    """
    try:
        return json.loads(
            source, object_pairs_hook=_object, parse_constant=CONSTANTS.__getitem__ if constants else _refuse
        )
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


CONSTANTS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the name {_short(name)} is there twice")
        found[name] = value
    return found


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


# Checks


def anything(value: Any, what: str) -> None:
    """Accept any value."""


def text(value: Any, what: str) -> None:
    """Accept a string."""
    if not isinstance(value, str):
        _fail(value, what, "a text")


def whole(least: int = 0, most: int = 2**63 - 1) -> Check:
    """Return the check of a whole number between bounds; True and 1.0 are none."""

    def check(value: Any, what: str) -> None:
        if type(value) is not int or not least <= value <= most:
            _fail(value, what, f"a whole number from {least:,} to {most:,}")

    return check


def number(least: float = -math.inf, finite: bool = False) -> Check:
    """Return the check of a number; True is none. NaN is one unless it must be finite."""

    def check(value: Any, what: str) -> None:
        if type(value) not in (int, float) or value < least or (finite and not abs(value) < math.inf):
            _fail(value, what, "a finite number" if finite else "a number")

    return check


def one_of(*known: Any) -> Check:
    """Return the check of some strings or None."""

    def check(value: Any, what: str) -> None:
        if not isinstance(value, str | None) or value not in known:
            _fail(value, what, " or ".join(map(repr, known)))

    return check


def maybe(check: Check) -> Check:
    """Return the check that takes None as well."""
    return lambda value, what: None if value is None else check(value, what)


def each(check: Check, least: int = 0, most: int | None = None) -> Check:
    """Return the check of a list, of its length and each of its elements."""

    def check_all(value: Any, what: str) -> None:
        if not isinstance(value, list) or len(value) < least or (most is not None and len(value) > most):
            length = (
                "" if not least and most is None else f" of {least:,}" if least == most else f" of at least {least:,}"
            )
            _fail(value, what, f"a list{length}")
        for i, element in enumerate(value):
            check(element, f"{what}[{i}]")

    return check_all


def keyed(check: Check) -> Check:
    """Return the check of an object with any names, whose values are of one kind."""

    def check_all(value: Any, what: str) -> None:
        if not isinstance(value, dict):
            _fail(value, what, "an object")
        for name, element in value.items():
            check(element, f"{what}[{_short(name)}]")

    return check_all


def record(fields: Mapping[str, Check], defaults: Mapping[str, Any] | None = None) -> Check:
    """Return the check of an object with these names and no others; those with a default may be missing."""
    known = defaults or {}

    def check_all(value: Any, what: str) -> None:
        if not isinstance(value, dict):
            _fail(value, what, "an object")
        for name in (*value, *fields):
            if name not in fields:
                raise ValueError(f"{what or 'it'} has an unknown field {_short(name)}")
            if name in value:
                fields[name](value[name], f"{what}[{name!r}]" if what else name)
            elif name not in known:
                raise ValueError(f"{what or 'it'} has no field {name!r}")

    return check_all


def _fail(value: Any, what: str, expected: str) -> NoReturn:
    raise ValueError(f"{what or 'it'} is {_short(value)}, expected {expected}")


def _short(value: Any) -> str:
    """Show a value; of a list or object, which may be nested to any depth, the length alone."""
    if isinstance(value, list | dict):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value):,}"
    if isinstance(value, int) and value.bit_length() > 1000:
        return f"a number of {value.bit_length():,} bits"
    shown = repr(value)
    return shown if len(shown) <= LONGEST_SHOWN else shown[:LONGEST_SHOWN] + "..."
