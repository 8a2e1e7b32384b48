"""Processes that come to different collectives inside of functions are told apart, however the functions are run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from launched import launch, needs_mpi

PROGRAM = Path(__file__).with_name("disagreeing_program.py")
WAYS = ["eager", "jit", "scan", "jitted scan", "cond", "jitted cond", "vmap", "grad", "jitted grad"]


def said_of(name):
    """Return how the error has to call what one process came to."""
    own = name.split()[0]
    return own if own in ("barrier", "all_reduce", "broadcast", "value_and_grad") else f"lax.{own} over 'i'"


def disagreements(count, path, *hows):
    ended = launch(count, PROGRAM, path, *hows, timeout=300)
    assert ended.status == 0, ended.err
    return json.loads(path.read_text())


def assert_told(found, count):
    for how, rows in found.items():
        assert len(rows) >= 13 * 14 / 2
        for one, other, text in rows:
            where = f"{how}: {one} and {other}: {text}"
            first, *lines = text.splitlines()
            own, theirs = said_of(one), said_of(other)
            if own == theirs:
                assert first == f"{own}: the processes do not agree, and they must:", where
            else:
                assert first.startswith("the processes have come to different calls"), where
            most = "process 0" if count == 2 else f"processes {', '.join(map(str, range(count - 1)))}"
            for line, processes, call in zip(lines, [most, f"process {count - 1}"], [own, theirs], strict=False):
                assert line.startswith(f"  {processes}: " + ("" if own == theirs else call)), where
                assert "(disagreeing_program.py:" in line, where


@needs_mpi
def test_each_pair_of_different_collectives_is_told_apart(tmp_path):
    assert_told(disagreements(2, tmp_path / "found.json", "numpy/eager", "numpy/jitted cond"), 2)


@needs_mpi
@pytest.mark.long
@pytest.mark.parametrize("backend", ["numpy", "strict", "jax"])
def test_each_pair_is_told_apart_however_functions_are_run(backend, tmp_path):
    if backend == "jax":
        pytest.importorskip("jax")
    assert_told(disagreements(3, tmp_path / "found.json", *(f"{backend}/{way}" for way in WAYS)), 3)
