"""The keys of calls that leave their key out: one sequence for the process, which `seed` starts anew."""

from __future__ import annotations

import os
import threading

from gradkit.core import Array
from gradkit.random.keys import fold_in, key_of_words, words_of_seed

__all__ = ["next_key", "seed"]


class KeySequence:
    """The keys that a root key gives for 0, 1, 2, ...

    The root is kept as two numbers and not as an array, so the sequence is the same on every backend. Until `seed` is
    called it comes from the operating system's entropy.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._root = _entropy()
        self._count = 0
        self._seeded = False

    def seed(self, root: tuple[int, int]) -> None:
        """Begin again with another root."""
        with self._lock:
            self._root, self._count, self._seeded = root, 0, True

    def take(self) -> tuple[tuple[int, int], int]:
        """Return the root and the number of the next key, which nobody else gets."""
        with self._lock:
            count = self._count
            self._count += 1
            return self._root, count

    def after_fork(self) -> None:
        """Free a forked process of a lock that a thread of its parent held, and of the parent's entropy."""
        self._lock = threading.Lock()
        if not self._seeded:
            self._root = _entropy()


def _entropy() -> tuple[int, int]:
    drawn = os.urandom(8)
    return int.from_bytes(drawn[:4]), int.from_bytes(drawn[4:])


_sequence = KeySequence()
if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_sequence.after_fork)


def seed(seed: int) -> None:
    """Start the sequence of keys for calls that leave ``key`` out, such as ``nn.MLP(3, [4, 4, 1])``.

    Without it the sequence starts from the operating system's entropy, and every run is another one. There is one
    sequence for the process; threads share it, and each key is given out once.

    Parameters
    ----------
    seed : int
        Any integer of 64 bits, as in `key`.

    Raises
    ------
    TypeError
        If `seed` is no integer.

    Examples
    --------
    >>> import gradkit
    >>> gradkit.random.seed(0)
    >>> gradkit.random.next_key()
    Array([1797259609, 2579123966], dtype=uint32)
    """
    _sequence.seed(words_of_seed(seed, "seed"))


def next_key() -> Array:
    """Return the next key of the sequence that `seed` starts, on the current backend."""
    root, count = _sequence.take()
    return fold_in(key_of_words(*root), count)
