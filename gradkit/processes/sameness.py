"""Whether arrays that are to be the same in all processes are: what each says of its own, in few bytes.

Of a large array some elements are looked at, always the same: what went wrong where it does (another key, a sum that
was forgotten) differs in nearly all of them. Floating-point numbers are compared by three sums, to four digits, since
two kinds of processors may round differently; all others by a digest of their bits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradkit.errors import DistributedError

if TYPE_CHECKING:
    from gradkit.processes.world import World

__all__ = ["SAMPLES", "Sample", "check_same", "positions", "word_of"]

SAMPLES = 1024
"""How many elements of an array are looked at, at most."""
OF_ALL = 16 * SAMPLES
"""How many elements are looked at where there are many arrays, unless these would be less than `LEAST` of each."""
LEAST = 64
RUN = 8
"""Elements next to each other: to reach memory takes as long for one."""
SLOTS = 13
"""Arrays share so many triples of sums: they and a digest are in the bytes that travel with a word."""
CLOSE = 1e-4
"""How far apart sums of the same may be, relative to the sum of absolute values."""

Values = np.ndarray[Any, Any]

GOLDEN = (5**0.5 - 1) / 2
"""Multiples of it are spread evenly over the numbers from 0 to 1, but for whole ones."""

_SUMS = np.dtype([("size", "f8"), ("parts", "f4", 2)])
"""Of numbers: the sum of their absolute values, and two sums with signs, relative to it."""


class Sample(NamedTuple):
    """What is looked at of an array.

    Attributes
    ----------
    values : array, shape (k,)
        All elements, or some of them, on the host.
    shape : tuple of int
        That of the whole array.
    positions : array of int, optional
        Where in the array they are; None if they are all.
    """

    values: Values
    shape: tuple[int, ...]
    positions: Values | None = None

    def place(self, number: int) -> str:
        """Return in words where one of the values is in the array."""
        position = number if self.positions is None else int(self.positions[number])
        where = [int(i) for i in np.unravel_index(position, self.shape)]
        return f", element {where}" if where else ""


def most_of_each(count: int) -> int:
    """Return how many elements at most are looked at of each of some arrays."""
    return max(LEAST, min(SAMPLES, OF_ALL // max(count, 1)))


@lru_cache(maxsize=256)
def positions(size: int, most: int = SAMPLES) -> Values | None:
    """Return the places that are looked at in an array; None of one that has no more elements than that."""
    if size <= most:
        return None
    # Evenly spaced ones may all be of one column. By arithmetic alone they are the same whatever NumPy there is.
    numbers = np.arange(most // RUN)
    runs = (numbers + numbers * GOLDEN % 1.0) * (size / (most // RUN))
    some: Values = np.minimum(runs.astype(np.int64)[:, None] // RUN * RUN + np.arange(RUN), size - 1).reshape(-1)
    some[0], some[-1] = 0, size - 1
    return some


@lru_cache(maxsize=32)
def _weights(size: int) -> Values:
    """Return weights of two sums, which are other ones where elements have changed places."""
    numbers = np.arange(size) + 1.0
    return np.stack([np.cos(numbers), np.cos(numbers * 2**0.5 + 1)])


def word_of(samples: Sequence[Sample]) -> bytes:
    """Return what a process says of its arrays."""
    digest = hashlib.blake2b(digest_size=16)
    floats = []
    for sample in samples:
        numbers = _numbers(sample.values)
        if numbers is None:
            digest.update(sample.values.tobytes())
        elif numbers.size:
            floats.append(numbers)
    sums = np.zeros((3, SLOTS))
    if floats:
        numbers = _finite(np.concatenate(floats))
        starts = np.cumsum([0, *(each.size for each in floats[:-1])])
        each = np.add.reduceat(np.stack([np.abs(numbers), *(_weights(numbers.size) * numbers)]), starts, axis=1)
        for slot in range(min(SLOTS, len(floats))):
            sums[:, slot] = each[:, slot::SLOTS].sum(axis=1)
    word = np.zeros(SLOTS, _SUMS)
    word["size"] = sums[0]
    word["parts"] = (sums[1:] / np.where(sums[0] > 0, sums[0], 1.0)).T
    return digest.digest() + word.tobytes()


def _numbers(values: Values) -> Values | None:
    """Return floating-point numbers as those of float64; None of what is no floating-point number."""
    if values.dtype.kind in "biuSUO":
        return None
    if values.dtype.kind == "c":
        values = np.concatenate([values.real, values.imag])
    return values.astype(np.float64)


def _finite(numbers: Values) -> Values:
    """Return numbers, or in place of those that are not finite others."""
    return numbers if np.isfinite(numbers).all() else np.nan_to_num(numbers, nan=0.5, posinf=2.0, neginf=-3.0)


def check_same(
    here: World, given: Values, own: Sequence[Sample], names: Sequence[str], message: Callable[[str], str]
) -> None:
    """Raise where the arrays of the processes are not the same.

    Parameters
    ----------
    here : World
        The processes.
    given : array of uint8
        What they said of them (`word_of`), a row each.
    own : sequence of Sample
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
    words = np.ascontiguousarray(given[:, : 16 + SLOTS * _SUMS.itemsize])
    sums = words[:, 16:].copy().view(_SUMS)
    sizes, parts = sums["size"], sums["parts"]
    is_same = np.abs(sizes - sizes[:1]) <= CLOSE * sizes.max(axis=0)
    is_same &= (np.abs(parts - parts[:1]) <= CLOSE).all(axis=2)
    if is_same.all() and (words[:, :16] == words[:1, :16]).all():
        return
    texts = [[str(list(sample.shape)), *map(str, sample.values.tolist())] for sample in own]
    told = here.gather_texts(json.dumps(texts), "what is not the same")
    lines: list[str] = []
    for name, sample, *said in zip(names, own, *map(json.loads, told), strict=True):
        lines += _lines(name, sample, [shape for shape, *_ in said], [texts for _, *texts in said], here.numbers)
    if lines:
        error = DistributedError(message("\n".join(lines)))
        error.everywhere = here.is_whole
        error.told_by = here.numbers[0]
        raise error


def _lines(
    name: str, own: Sample, shapes: Sequence[str], said: Sequence[Sequence[str]], processes: Sequence[int]
) -> list[str]:
    """Return lines that say who has what of an array, by the element that differs most; none where it is the same."""
    if len(set(shapes)) > 1:
        return _groups(f"{name}, shape", shapes, processes)
    kind = own.values.dtype.kind
    if _numbers(own.values) is None:
        differs = [len(set(texts)) > 1 for texts in zip(*said, strict=True)]
        worst = differs.index(True) if True in differs else None
    else:
        to_number = complex if kind == "c" else float
        each = np.asarray([list(map(to_number, texts)) for texts in said]).reshape(len(said), -1)
        wide = _finite(each)
        apart = np.abs(wide - wide[:1]).max(axis=0, initial=0.0)
        limit = CLOSE * np.abs(wide).max(axis=0, initial=0.0)
        worst = int((apart - limit).argmax()) if (apart > limit).any() else None
    if worst is None:
        return []
    return _groups(f"{name}{own.place(worst)}", [texts[worst] for texts in said], processes)


def _groups(what: str, texts: Sequence[str], processes: Sequence[int]) -> list[str]:
    """Return lines that say which processes have which text."""
    groups: dict[str, list[int]] = {}
    for process, text in zip(processes, texts, strict=True):
        groups.setdefault(text, []).append(process)
    return [
        f"  {what}, in process{'es' if len(who) > 1 else ''} {', '.join(map(str, who))}: {text}"
        for text, who in groups.items()
    ]
