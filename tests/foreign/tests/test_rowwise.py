"""The functions on every backend."""

from __future__ import annotations

import threading
import unittest
from typing import Any

import numpy as np
import pytest
import rowwise

import gradkit
from gradkit.testing import (
    assert_close,
    assert_equal,
    assert_less,
    assert_same_on_every_backend,
    check_grads,
    check_jit,
)


def test_standardized(xp: Any, table: Any, backend: Any, device: Any) -> None:
    found = rowwise.standardized(table)
    assert found.device == device
    assert device.backend == backend.name
    assert_close(xp.mean(found, axis=0), [0.0, 0.0, 0.0], atol=1e-6)
    assert_close(xp.std(found, axis=0), 1.0)


def test_softmax_of_every_dtype(xp: Any, dtype: Any) -> None:
    rows = rowwise.softmax(xp.asarray([[1.0, 2.0], [1e4, -1e4]], dtype=dtype))
    assert rows.dtype == dtype
    assert_close(xp.sum(rows, axis=1), xp.ones(2, dtype=dtype))
    assert_less(-1e-9, 1.0)


@pytest.mark.parametrize("n", [1, 3])
def test_gradients(table: Any, n: int) -> None:
    check_grads(lambda t: rowwise.distances(t, t[:n] + 10.0), (table,), order=1)
    check_jit(rowwise.softmax, (table,))


def test_the_same_everywhere() -> None:
    assert_same_on_every_backend(rowwise.standardized, gradkit.numpy.asarray([[1.0, 2.0], [3.0, 5.0]]))


@pytest.mark.no_transfer
def test_nothing_moves(table: Any) -> None:
    rowwise.distances(table, rowwise.softmax(table))


@pytest.mark.no_transfer
@pytest.mark.xfail_backend("strict:1", reason="it asks for a number", raises=gradkit.errors.TransferError, strict=True)
def test_a_number_moves(table: Any) -> None:
    rowwise.mean_as_a_number(table)


def test_threads(xp: Any, device: Any) -> None:
    found = []
    threads = [threading.Thread(target=lambda: found.append(xp.asarray(np.ones(2)).device)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [device] * 4


def test_a_session_s_table(xp: Any, large_table: Any) -> None:
    assert_equal(large_table[0] + xp.zeros(3), [0.0, 1.0, 2.0])


@pytest.mark.backends("numpy")
def test_only_numpy(backend: Any) -> None:
    assert backend.name == "numpy"


@pytest.mark.parametrize("backend", ["strict", "numpy"])
def test_their_own_parameter(xp: Any, backend: str) -> None:
    assert xp.ones(2).device.backend == backend


@pytest.mark.skip_backend("postgres")
def test_the_projects_own_mark(database: str) -> None:
    assert database == "sqlite"


class TestOnce(unittest.TestCase):
    """pytest runs these once."""

    def test_it(self) -> None:
        for name in ("numpy", "strict"):
            with self.subTest(name), gradkit.use_backend(name):
                assert rowwise.mean_as_a_number(gradkit.numpy.ones((2, 2))) == 1.0
