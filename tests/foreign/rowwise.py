"""Functions of the rows of a table, for every library of the array API standard."""

from __future__ import annotations

from typing import Any


def namespace(x: Any) -> Any:
    """Return the namespace of an array."""
    return x.__array_namespace__()


def standardized(table: Any) -> Any:
    """Return the columns with mean 0 and standard deviation 1."""
    xp = namespace(table)
    centered = table - xp.mean(table, axis=0, keepdims=True)
    return centered / xp.sqrt(xp.mean(centered * centered, axis=0, keepdims=True))


def softmax(table: Any) -> Any:
    """Return each row's exponentials, divided by their sum."""
    xp = namespace(table)
    powers = xp.exp(table - xp.max(table, axis=1, keepdims=True))
    return powers / xp.sum(powers, axis=1, keepdims=True)


def distances(a: Any, b: Any) -> Any:
    """Return the Euclidean distance of each row of `a` to each of `b`."""
    xp = namespace(a)
    difference = a[:, None, :] - b[None, :, :]
    return xp.sqrt(xp.sum(difference * difference, axis=-1))


def mean_as_a_number(table: Any) -> float:
    """Return the mean of all elements as a Python number: on a GPU it waits for it."""
    return float(namespace(table).mean(table))
