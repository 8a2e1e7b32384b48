"""Random programs give the same eagerly, interpreted, by NumPy's calls and natively."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from random_programs import arguments, random_program, wilder_arguments

import gradkit
import gradkit.numpy as jnp
from gradkit.backend import get_backend

WAYS = ["interpreter", *(printer.name for printer in get_backend("numpy").printers)]


def close(one: Any, other: Any, seed: int, way: str) -> None:
    """Compare; numbers that special ones were made of may be lost in another order of sums."""
    assert (one.shape, one.dtype) == (other.shape, other.dtype), f"{seed} {way}"
    one, other = np.asarray(one), np.asarray(other)
    if one.dtype.kind not in "fc":
        np.testing.assert_array_equal(one, other, f"{seed} {way}")
        return
    tolerance = 2e-2 if one.dtype == np.float16 else 2e-3
    np.testing.assert_allclose(one, other, tolerance, tolerance, equal_nan=True, err_msg=f"{seed} {way}")


def compare(seed: int, wilder: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with gradkit.use_backend("numpy"), np.errstate(all="ignore"):
        program = random_program(seed, wilder=wilder)
        given = [jnp.asarray(x) for x in (wilder_arguments(seed) if wilder else arguments(seed))]
        try:
            expected = program(*given)
        except IndexError:  # on values indices are looked at
            return
        for way in WAYS:
            monkeypatch.setenv("GRADKIT_COMPILER", way)
            donated = tuple(range(len(given))) if seed % 3 == 0 else ()
            jitted = gradkit.jit(lambda *args: program(*args), donate_argnums=donated)
            for _ in range(2):
                copies = [jnp.asarray(np.array(x)) for x in given] if donated else given
                for one, other in zip(jitted(*copies), expected, strict=True):
                    close(one, other, seed, way)


@pytest.mark.filterwarnings("ignore:Some donated buffers were not usable")
@pytest.mark.parametrize("seed", range(12))
def test_random_programs(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    compare(seed, False, monkeypatch)


@pytest.mark.filterwarnings("ignore:Some donated buffers were not usable")
@pytest.mark.parametrize("seed", range(12))
def test_wilder_random_programs(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    compare(seed, True, monkeypatch)


@pytest.mark.long("300 programs, compiled two ways each, take minutes")
@pytest.mark.filterwarnings("ignore:Some donated buffers were not usable")
@pytest.mark.parametrize("start", range(100, 400, 50))
def test_many_random_programs(start: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(start, start + 50):
        compare(seed, bool(seed % 2), monkeypatch)
