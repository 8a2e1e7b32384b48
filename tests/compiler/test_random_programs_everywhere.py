"""Random programs give the same eagerly, interpreted, and by each printer: NumPy's calls, native code, PyTorch's calls.

`many_programs.py` beside this file runs as many of them as it is told.
"""

from __future__ import annotations

import numpy as np
import pytest
from every_way import Judge, differences

SEEDS = [*range(6), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(6, 12))]


@pytest.mark.parametrize("seed", SEEDS)
def test_random_programs(seed: int) -> None:
    assert differences(seed, wilder=False) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_wilder_random_programs(seed: int) -> None:
    assert differences(seed, wilder=True) == []


@pytest.mark.long("300 programs, compiled two ways each, take minutes")
@pytest.mark.parametrize("start", range(100, 400, 50))
def test_many_random_programs(start: int) -> None:
    assert [said for seed in range(start, start + 50) for said in differences(seed, wilder=bool(seed % 2))] == []


def test_the_judge_objects_to_what_rounding_does_not_explain() -> None:
    expected = [np.asarray([1.0, 100.0], "float32"), np.asarray([3, 4]), np.asarray([np.nan, np.inf])]
    moved = [np.asarray([1.0, 100.5], "float32"), np.asarray([3, 5]), np.asarray([np.nan, np.inf])]
    judge = Judge(expected, iter([expected, moved] * 9).__next__)
    for number, same in enumerate(expected):
        assert judge.objects(number, same) == ""
    # What noise moves may move, and nothing else.
    assert judge.objects(0, np.asarray([1.00001, 103], "float32")) == ""
    assert judge.objects(1, np.asarray([3, 6])) == ""
    for number, others in enumerate([
        [[1.001, 100], [1, 120], [np.nan, 100], [1, np.inf]], [[4, 4], [3, 40]], [[0, np.inf], [np.nan, -np.inf]],
    ]):  # fmt: skip
        for other in others:
            assert judge.objects(number, np.asarray(other, expected[number].dtype))
    assert judge.objects(0, expected[0][:1])
    assert judge.objects(0, expected[0].astype("float64"))


@pytest.mark.parametrize("wilder", [False, True])
@pytest.mark.parametrize(
    "seed", [*range(20, 24), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(24, 60))]
)
def test_random_programs_of_tensors(seed: int, wilder: bool) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'gradkit[torch]'")
    assert differences(seed, wilder, "torch") == []
