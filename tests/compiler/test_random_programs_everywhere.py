"""Random programs give the same eagerly, interpreted, by NumPy's calls and natively.

`many_programs.py` beside this file runs as many of them as it is told.
"""

from __future__ import annotations

import numpy as np
import pytest
from every_way import Judge, differences
from random_programs import arguments, random_program

import gradkit
import gradkit.numpy as jnp


@pytest.mark.parametrize("seed", range(12))
def test_random_programs(seed: int) -> None:
    assert differences(seed, wilder=False) == []


@pytest.mark.parametrize("seed", range(12))
def test_wilder_random_programs(seed: int) -> None:
    assert differences(seed, wilder=True) == []


@pytest.mark.long("300 programs, compiled two ways each, take minutes")
@pytest.mark.parametrize("start", range(100, 400, 50))
def test_many_random_programs(start: int) -> None:
    assert [said for seed in range(start, start + 50) for said in differences(seed, wilder=bool(seed % 2))] == []


def test_the_judge_objects_to_what_rounding_does_not_explain() -> None:
    seed = 3
    with gradkit.use_backend("numpy"), np.errstate(all="ignore"):
        given = arguments(seed)
        expected = list(map(np.asarray, random_program(seed)(*map(jnp.asarray, given))))
        judge = Judge(seed, False, given, expected)
        total = expected[-1]
        assert judge.objects(3, total) == ""
        assert judge.objects(3, np.nextafter(total, np.inf)) == ""
        for other in (total * 1.01 + 0.1, total * np.nan, total[None], total.astype("float16")):
            assert judge.objects(3, np.asarray(other))
