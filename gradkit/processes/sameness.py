"""Whether arrays that are to be the same in all processes are: what each says of its own, in few bytes.

Of a large array some elements are looked at, always the same: what went wrong where it does (another key, a sum that
was forgotten) differs in nearly all of them. Floating-point numbers are compared by two sums, to four digits, since two
kinds of processors may round differently; all others by a digest of their bits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gradkit.errors import DistributedError

if TYPE_CHECKING:
    from gradkit.processes.world import World

__all__ = ["SAMPLES", "check_same", "positions", "word_of"]

SAMPLES = 1024
"""How many elements of an array are looked at."""
SLOTS = 13
"""Arrays share so many pairs of sums: they and a digest are in the bytes that travel with a word."""
CLOSE = 1e-4
"""How far apart sums of the same may be, relative to the sum of absolute values."""

Values = np.ndarray[Any, Any]


@lru_cache(maxsize=256)
def positions(size: int) -> Values:
    """Return the places that are looked at in an array of more than `SAMPLES` elements."""
    some = np.random.default_rng(size).integers(0, size, SAMPLES)  # evenly spaced ones may all be of one column
    some[0], some[-1] = 0, size - 1
    return np.sort(some)


@lru_cache(maxsize=256)
def _weights(size: int) -> Values:
    return np.cos(np.arange(size)) + 1.5  # where elements have changed places, their sum is another one


def word_of(arrays: Sequence[Values]) -> bytes:
    """Return what a process says of its arrays, flat, of no more than `SAMPLES` elements each."""
    sums, digest = np.zeros((SLOTS, 2)), hashlib.blake2b(digest_size=16)
    for i, values in enumerate(arrays):
        figures = _figures(values)
        if figures is None:
            digest.update(values.tobytes())
        else:
            sums[i % SLOTS] += figures
    return digest.digest() + sums.tobytes()


def _figures(values: Values) -> tuple[float, float] | None:
    """Return a weighted sum of numbers and that of their absolute values; None of what is no floating-point number."""
    if values.dtype.kind in "biuSUO":
        return None
    if values.dtype.kind == "c":
        values = np.stack([values.real, values.imag])
    wide = values.astype(np.float64).reshape(-1)
    if not np.isfinite(wide).all():
        wide = np.nan_to_num(wide, nan=0.5, posinf=2.0, neginf=-3.0)
    weighted = wide * _weights(wide.size)
    return float(weighted.sum()), float(np.abs(weighted).sum())


def check_same(
    here: World, given: Values, own: Sequence[Values], names: Sequence[str], message: Callable[[str], str]
) -> None:
    """Raise where the arrays of the processes are not the same.

    Parameters
    ----------
    here : World
        The processes.
    given : array of uint8
        What they said of them (`word_of`), a row each.
    own : sequence of array
        What this process said it of.
    names : sequence of str
        What they are called.
    message : callable
        Makes the error's message of the lines that list who has what.

    Raises
    ------
    DistributedError
        In all processes.
    """
    words = np.ascontiguousarray(given[:, : 16 + 16 * SLOTS])
    sums = words[:, 16:].copy().view(np.float64).reshape(here.count, SLOTS, 2)
    apart = np.abs(sums - sums[:1]).max(axis=(0, 2)) > CLOSE * sums[..., 1].max(axis=0)
    if not apart.any() and (words[:, :16] == words[:1, :16]).all():
        return
    told = here.gather_texts(json.dumps([_told(values) for values in own]), "what is not the same")
    lines = []
    for name, *said in zip(names, *map(json.loads, told), strict=True):
        groups: dict[str, list[int]] = {}
        first: list[Any] = said[0]
        if all(_is_same(first, each) for each in said):
            continue
        for process, (_, text) in zip(here.numbers, said, strict=True):
            groups.setdefault(text, []).append(process)
        lines += [
            f"  {name}, in process{'es' if len(who) > 1 else ''} {', '.join(map(str, who))}: {text}"
            for text, who in groups.items()
        ]
    if lines:
        error = DistributedError(message("\n".join(lines)))
        error.everywhere = here.is_whole
        error.told_by = here.numbers[0]
        raise error


def _told(values: Values) -> tuple[Any, str]:
    """Return what arrays are compared by, and some words about one."""
    figures = _figures(values)
    flat = values.reshape(-1)
    if flat.size <= 4:
        text = ", ".join(map(str, flat.tolist()))
    elif figures is None:
        text = f"{', '.join(map(str, flat[:3].tolist()))}, ..."
    else:
        kind = complex if flat.dtype.kind == "c" else float
        text = ", ".join(f"{kind(x):.8g}" for x in flat[:3]) + ", ..."
    return (hashlib.blake2b(values.tobytes(), digest_size=16).hexdigest() if figures is None else figures), text


def _is_same(one: Any, other: Any) -> bool:
    (first, _), (second, _) = one, other
    if isinstance(first, str):
        return bool(first == second)
    apart: float = max(abs(a - b) for a, b in zip(first, second, strict=True))
    return apart <= CLOSE * float(max(first[1], second[1]))
