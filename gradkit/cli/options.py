"""What the commands share: numbers that are read from words, the backend, and the error that ends a command."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

from gradkit.backend import current_backend, set_backend

__all__ = ["CommandError", "loss_scale", "number", "sizes", "use_backend"]


class CommandError(Exception):
    """What a command was asked for cannot be done; the message says why, and what to do."""


def number(kind: type[int] | type[float], least: int, most: float = math.inf) -> Callable[[str], float]:
    """Return what reads an option's number, or tells the user what is wrong with it.

    Examples
    --------
    >>> number(int, 1)("32")
    32
    >>> number(float, 0)("-1")
    Traceback (most recent call last):
    ...
    argparse.ArgumentTypeError: expected a number of at least 0, got '-1'
    """
    expected = f"{'an integer' if kind is int else 'a number'} of at least {least}"
    if most != math.inf:
        expected += f" and at most {most}"

    def read(text: str) -> float:
        try:
            value: float = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most or value == math.inf:
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
        return value

    return read


def sizes(text: str) -> str:
    """Return the sizes of layers, with commas between them, as they are kept in a checkpoint.

    Examples
    --------
    >>> sizes("128, 64")
    '128,64'
    """
    return ",".join(str(number(int, 1)(size)) for size in text.split(",") if size.strip())


def loss_scale(text: str) -> str | float:
    """Return a loss scale: ``"dynamic"``, or a positive number.

    Examples
    --------
    >>> loss_scale("dynamic"), loss_scale("1024")
    ('dynamic', 1024.0)
    """
    if text == "dynamic":
        return text
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise argparse.ArgumentTypeError(f"expected dynamic or a positive number, got {text!r}")
    return found


def use_backend(name: str) -> None:
    """Let the backend of that name make the new arrays.

    Raises
    ------
    CommandError
        If there is none of that name, or its arrays have no axes.
    """
    try:
        set_backend(name)
    except ValueError as error:
        raise CommandError(f"argument --backend: {error}") from error
    if not current_backend().has_axes:
        raise CommandError(f"argument --backend: {name!r} holds single numbers, and tables need arrays: take 'numpy'.")
