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
    parted = found.pop("parted")
    for name in ("both branches", "a loop of its own"):
        assert set(parted.pop(name)) == {"nothing"}
    assert len(parted) == 4
    for name, texts in parted.items():
        for text in texts:
            assert ", at its end, along 'i'" in text, f"{name}: {text}"
            assert f"process {count - 1}: " in text, f"{name}: {text}"
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
    ways = ["jit", "jitted cond"] if backend == "jax" else WAYS  # JAX compiles each operation for each shape
    assert_told(disagreements(3, tmp_path / "found.json", *(f"{backend}/{way}" for way in ways)), 3)


PROGRAM_OF_A_GRID = """
import gradkit, time
from gradkit import distributed, lax, numpy as jnp
from gradkit.distributed import Mesh, PartitionSpec as P, shard_map
distributed.initialize(timeout=6)
me, whole = distributed.process_index(), P()
mesh = Mesh((2, 2), ("a", "b"))
f = gradkit.jit(lambda x: {what})
shard_map(f, mesh=mesh, in_specs=whole, out_specs=whole, process_local=True)(jnp.ones(6))
distributed.barrier()
"""


@needs_mpi
@pytest.mark.long
@pytest.mark.parametrize(
    "what, lines",
    [
        (
            "lax.psum(x, 'a') if me < 2 else lax.pmax(x, 'a')",
            ["different calls", "process 1: lax.psum over 'a', float32[6]", "process 3: lax.pmax over 'a', float32[6]"],
        ),
        (
            "lax.psum(x[: 2 + me // 2], 'a')",
            ["lax.psum over 'a': the processes do not agree", "process 1: float32[2]", "process 3: float32[3]"],
        ),
        (
            "lax.psum(x, 'a' if me else 'b')",
            ["no process comes to where another waits", "process 0 waits in lax.psum over 'b'", "; all wait"],
        ),
        (
            "x if me == 1 else lax.psum(x, 'a')",
            [
                "no process comes to where another waits",
                "process 3 waits in lax.psum over 'a'",
                "0, 1, 2 wait in barrier",
            ],
        ),
        (
            "x if me else (gradkit.debug.callback(time.sleep, 20), lax.psum(x, 'a'))[1]",
            ["waited for 6 seconds. processes 1, 2, 3 wait in barrier; process 0 is not there"],
        ),
    ],
)
def test_processes_that_part_ways_along_an_axis_of_a_grid_are_told_with_their_numbers_in_the_run(what, lines):
    ended = launch(4, "-c", PROGRAM_OF_A_GRID.format(what=what))
    assert ended.status != 0
    for line in lines:
        assert line in ended.err
