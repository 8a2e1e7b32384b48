"""Random programs run in every way: eagerly, interpreted, by each printer; what differs, and whether it may.

Sums in another order differ by rounding, and a program may amplify that without bound: it subtracts, rounds, compares.
So the tolerances are those of single operations, and what exceeds them is judged by the program itself, run eagerly
with the noise of rounding in each operation (Monte Carlo arithmetic; Parker, 1997).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any

import numpy as np
from random_programs import arguments, random_program, wilder_arguments

import gradkit
import gradkit.numpy as jnp
from gradkit.backend import get_backend

__all__ = ["Judge", "differences", "ways"]

TOLERANCES = {"float16": 4e-3, "float32": 2e-5, "float64": 1e-12, "complex64": 2e-5, "complex128": 1e-12}
SAMPLES = 6
"""How often a program runs with noise where something differs."""
AMPLIFIED = 16
"""How many times as far as a program with noise another order of sums may be off."""


def ways(backend: str) -> list[str]:
    """Return what runs a program of a backend's arrays, by name."""
    return ["interpreter", *(printer.name for printer in get_backend(backend).printers)]


@contextmanager
def compiled_by(way: str) -> Iterator[None]:
    before = os.environ.get("GRADKIT_COMPILER")
    os.environ["GRADKIT_COMPILER"] = way
    try:
        yield
    finally:
        if before is None:
            del os.environ["GRADKIT_COMPILER"]
        else:
            os.environ["GRADKIT_COMPILER"] = before


def laid_out(x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return an array of the same numbers in memory of another order, with gaps, or with none of its own."""
    kind = generator.integers(5)
    if kind == 0:
        return np.asfortranarray(x)
    if kind == 1 and x.ndim:
        return x[::-1].copy()[::-1]
    if kind == 2 and x.ndim:
        return np.repeat(x, 3, axis=-1)[..., 1::3]
    if kind == 3:
        memory = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)  # misaligned
        memory[...] = x
        return memory
    return x


def differences(seed: int, wilder: bool, backend: str = "numpy") -> list[str]:
    """Return what a program gives otherwise in some way than eagerly; empty where all is as it should be."""
    generator = np.random.default_rng([seed, 3])
    given = wilder_arguments(seed) if wilder else arguments(seed)
    if seed % 4 == 1:
        given = [laid_out(x, generator) for x in given]
    found: list[str] = []
    with gradkit.use_backend(backend), np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("error", "gradkit could not compile")
        warnings.filterwarnings("ignore", "Some donated buffers were not usable")
        program = random_program(seed, wilder=wilder)
        try:
            expected = program(*map(jnp.asarray, given))
        except IndexError:  # on values indices are looked at
            return []
        noise = np.random.default_rng([seed, 4])
        with_noise = random_program(seed, wilder=wilder, rounded=lambda x: noisy(x, noise))
        judge = Judge(expected, lambda: with_noise(*(noisy(jnp.asarray(x), noise) for x in given)))
        donated = tuple(range(len(given))) if seed % 3 == 0 else ()
        for way in ways(backend):
            with compiled_by(way):
                jitted = gradkit.jit(lambda *args: program(*args), donate_argnums=donated)
                for _ in range(2):
                    arrays = [jnp.array(x) if donated else jnp.asarray(x) for x in given]
                    for number, out in enumerate(jitted(*arrays)):
                        if said := judge.objects(number, np.asarray(out)):
                            found.append(f"seed {seed}{', wilder' * wilder}, {way}, result {number}: {said}")
    return found


class Judge:
    """What may be given for the results of a program.

    Parameters
    ----------
    expected : sequence of Array
        What it gives eagerly.
    sample : callable
        Runs it eagerly with noise.
    """

    def __init__(self, expected: Sequence[Any], sample: Callable[[], Sequence[Any]]) -> None:
        self.expected, self._sample = list(map(np.asarray, expected)), sample

    def objects(self, number: int, found: np.ndarray) -> str:
        """Return what is wrong with a result; empty where nothing is."""
        expected = self.expected[number]
        if (found.shape, found.dtype) != (expected.shape, expected.dtype):
            return f"{found.dtype}{found.shape} and not {expected.dtype}{expected.shape}"
        tolerance = TOLERANCES.get(expected.dtype.name, 0.0)
        if np.allclose(found, expected, tolerance, tolerance, equal_nan=True):
            return ""
        # Whole numbers and truth values may differ where they are made of numbers that were rounded.
        found, expected = _real(found), _real(expected)
        samples = [_real(sample[number]) for sample in self.samples]
        spread = np.max([_distance(sample, expected) for sample in samples], axis=0) if samples else 0.0
        wrong = _distance(found, expected) > tolerance * (1 + np.abs(_finite(expected))) + AMPLIFIED * spread
        if not wrong.any():
            return ""
        place = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
        others = [float(sample[place]) for sample in samples]
        return f"at {tuple(map(int, place))} {found[place]!s} and eagerly {expected[place]!s}; with noise {others}"

    @cached_property
    def samples(self) -> list[list[np.ndarray]]:
        """The results of several runs with noise."""
        found = []
        for _ in range(SAMPLES):
            with suppress(IndexError):  # of an index that noise has moved
                found.append(list(map(np.asarray, self._sample())))
        return found


def noisy(x: Any, generator: np.random.Generator) -> Any:
    """Return numbers each of which is rounded up, down or not."""
    if x.dtype.name not in TOLERANCES:
        return x
    values = np.asarray(x)
    epsilon = np.finfo(values.dtype).eps
    # An array, where NumPy makes a scalar of one number: that is one of Python's floats, which are float32 in arrays.
    return jnp.asarray(np.asarray(values * (1 + epsilon * generator.integers(-1, 2, values.shape)), values.dtype))


def _real(x: np.ndarray) -> np.ndarray:
    x = np.stack([x.real, x.imag]) if x.dtype.kind == "c" else x
    return x.astype(np.float64)


def _finite(x: np.ndarray) -> np.ndarray:
    return np.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0)


def _distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return how far numbers are apart; NaN from NaN not at all."""
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(all="ignore"):
        apart = np.nan_to_num(np.abs(one - other), nan=np.inf)
    return np.where(same, 0.0, apart)
