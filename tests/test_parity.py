"""Parity with JAX, function by function: value, reverse mode, forward mode, second order and vmap, in float64.

`python tests/parity/table.py` writes the table of it, docs/parity.md.
"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from parity.cases import CASES, DIFFERENT, WITHOUT_JAX
from parity.measure import MEASURES, difference

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_a_function_gives_what_jax_gives(case: Any, backend: Any) -> None:
    if backend.name != "numpy":
        pytest.skip(
            "the comparison with JAX is of the rules; tests/test_primitives.py and others run them on every backend"
        )
    for measure in MEASURES:
        if (case.name, measure) in WITHOUT_JAX or (case.name, measure) in DIFFERENT:
            continue
        assert difference(case, measure) is None, measure


def test_at_least_99_percent_are_equal() -> None:
    total = len(CASES) * len(MEASURES) - len(WITHOUT_JAX)
    assert len(DIFFERENT) <= 0.01 * total
    names = {case.name for case in CASES}
    assert {name for name, _ in (*DIFFERENT, *WITHOUT_JAX)} <= names
    assert all(DIFFERENT.values())


def test_nothing_is_listed_that_is_equal() -> None:
    by_name = {case.name: case for case in CASES}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert [key for key in DIFFERENT if difference(by_name[key[0]], key[1]) is None] == []
