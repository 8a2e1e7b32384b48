"""What programs keep from call to call is bounded, all of them together; results that are held are nobody else's."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit.backend import get_backend

SIZE = 250_000


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> int:
    from gradkit.backend import kept_memory

    bytes_kept = 8 * SIZE * 4
    monkeypatch.setattr(kept_memory, "LIMIT", bytes_kept)
    return bytes_kept


def functions(count: int) -> list[Any]:
    """Return compiled functions, each with temporary memory and results."""
    form = gradkit.ShapeDtypeStruct((SIZE,), np.float32)
    return [gradkit.jit(lambda x, i=i: jnp.cumsum(jnp.sin(x) + i) - x).lower(form).compile() for i in range(count)]


@pytest.mark.parametrize("printer", [printer.name for printer in get_backend("numpy").printers])
def test_programs_that_run_once_keep_no_more_than_the_limit(
    printer: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADKIT_COMPILER", printer)
    with gradkit.use_backend("numpy"):
        compiled, x = functions(12), jnp.ones(SIZE)
        gc.collect()
        tracemalloc.start()
        try:
            for i, f in enumerate(compiled * 2):
                found = f(x)
                assert float(found[0]) == pytest.approx(np.sin(1.0) + i % 12 - 1, rel=1e-5)
            del found
            gc.collect()
            kept = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
    assert 0 < kept < 1.2 * limit


def test_results_that_are_held_outlive_what_is_forgotten(limit: int) -> None:
    with gradkit.use_backend("numpy"):
        compiled, x = functions(6), jnp.ones(SIZE)
        held = [f(x + i) for f in compiled for i in range(3)]
        expected = [np.array(found) for found in held]
        for f in compiled:
            f(-x)
        for found, numbers in zip(held, expected, strict=True):
            np.testing.assert_array_equal(np.asarray(found), numbers)


@pytest.mark.long("a program is optimized 150 times")
def test_compiling_gives_back_what_it_takes() -> None:
    machine = pytest.importorskip("gradkit_numpy.native.machine")
    if (reason := machine.why_unusable()) is not None:
        pytest.skip(reason)
    with gradkit.use_backend("numpy"), pytest.MonkeyPatch.context() as patch:
        texts: list[str] = []
        make = machine._object_of
        patch.setenv("GRADKIT_CACHE", "off")
        patch.setattr(machine, "_object_of", lambda text: (texts.append(text), make(text))[1])
        gradkit.jit(lambda x: jnp.sin(x) * 3.25 + jnp.cos(x + 1.75))(jnp.ones(7))
    for _ in range(50):
        make(texts[0])
    before = resident()
    for _ in range(100):
        make(texts[0])
    assert resident() - before < 4 << 20  # 10 MiB where passes are not given back


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    gc.collect()
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096
    except OSError:
        pytest.skip("this system does not say how much memory a process has")
