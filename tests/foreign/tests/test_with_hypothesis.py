"""The functions on random tables, on every backend."""

from __future__ import annotations

from typing import Any

import rowwise
from hypothesis import given, settings
from hypothesis import strategies as st

from gradkit.testing import assert_close

numbers = st.floats(-10, 10, width=32)


@settings(max_examples=10, deadline=None)
@given(rows=st.lists(st.tuples(numbers, numbers), min_size=1, max_size=4))
def test_softmax_sums_to_one(xp: Any, rows: list[tuple[float, float]]) -> None:
    found = rowwise.softmax(xp.asarray(rows, dtype=xp.float32))
    assert_close(xp.sum(found, axis=1), 1.0, rtol=1e-5)
