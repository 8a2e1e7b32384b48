"""Sums of gradients in memory that processes share: the numbers of messages, to the last bit, whoever comes late."""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import shared_memory_program
from launched import launch, needs_mpi

import gradkit
import gradkit.numpy as jnp
from gradkit import optim
from gradkit.backend.plan import Call
from gradkit.compiler.executables import executable_of
from gradkit.distributed.buckets import buckets_of
from gradkit.distributed.gradients import SummedGradients, sums_of
from gradkit.lax import shared_sums
from gradkit.lax.started_sums import StartedSums
from gradkit.processes import shared_memory
from gradkit.transforms.reverse import watched_value_and_grad

PROGRAM = Path(shared_memory_program.__file__)
HOWS = ("eager", "native", "numpy", "interpreter")

needs_memory = pytest.mark.skipif(sys.platform != "linux", reason="memory without a name is Linux's")


def together(path, count, *words, **variables):
    ended = launch(count, PROGRAM, path / "found.json", *words, **variables)
    assert ended.status == 0, ended.err
    return json.loads((path / "found.json").read_text())


def alone():
    """Return the parameters of one process after each step, as arrays."""
    with gradkit.use_backend("numpy"):
        tree, optimizer = shared_memory_program.parameters(), optim.SGD(0.1, momentum=0.5)
        state, found = optimizer.init(tree), []
        for step in range(shared_memory_program.STEPS):
            gradient = gradkit.grad(shared_memory_program.loss)(
                tree, *map(jnp.asarray, shared_memory_program.rows(step))
            )
            tree, state = optimizer.update(tree, gradient, state)
            found.append([np.asarray(leaf) for leaf in gradkit.tree.leaves(tree)])
    return found


@needs_mpi
@needs_memory
@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.long), pytest.param(4, marks=pytest.mark.long)])
def test_shared_memory_gives_what_messages_give_to_the_last_bit(count, tmp_path):
    found = together(tmp_path, count)
    assert found["shares"]
    sent = together(tmp_path, count, GRADKIT_SHARED_MEMORY="0")
    assert not sent["shares"]
    for how in HOWS:
        assert found[how] == sent[how], how
    assert found["same everywhere"]
    assert sent["same everywhere"]
    for how in HOWS:
        for told, arrays in zip(found[how], alone(), strict=True):
            for leaf, expected in zip(told, arrays, strict=True):
                values = np.frombuffer(bytes.fromhex(leaf), expected.dtype).reshape(expected.shape)
                rtol = {"float16": 1e-2, "bfloat16": 3e-2}.get(expected.dtype.name, 2e-5)
                wide = "complex128" if expected.dtype.kind == "c" else "float64"
                np.testing.assert_allclose(values.astype(wide), expected.astype(wide), rtol=rtol, atol=2e-6)


@needs_mpi
@needs_memory
def test_where_one_process_can_share_no_memory_all_send_messages(tmp_path):
    found = together(tmp_path, 2, "one without")
    assert not found["shares"]
    assert found["same everywhere"]
    assert len(found["eager"]) == shared_memory_program.STEPS


@needs_mpi
@pytest.mark.parametrize("shares", ["1", "0"])
@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.long)])
@pytest.mark.parametrize("how", ["eager", "native", "interpreter"])
def test_errors_in_the_middle_of_steps_that_all_catch_leave_the_next_sums_right(how, count, shares, tmp_path):
    words = ["errors"] if how == "eager" else ["errors", "compiled"]
    printer = {} if how == "eager" else {"GRADKIT_COMPILER": how}
    found = together(tmp_path, count, *words, GRADKIT_SHARED_MEMORY=shares, **printer)
    assert found["caught"] == 14
    assert found["same everywhere"]
    leaves = [np.frombuffer(bytes.fromhex(leaf), np.float32) for step in found["gradients"] for leaf in step]
    assert len(leaves) == len(found["expected"]) == 26 * 4
    for leaf, expected in zip(leaves, found["expected"], strict=True):
        np.testing.assert_allclose(leaf, expected, rtol=1e-3, atol=1e-4)


@needs_mpi
@pytest.mark.parametrize("shares", [pytest.param("1", marks=pytest.mark.long), "0"])
@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.long)])
def test_errors_in_the_middle_of_the_programs_of_fit_leave_the_sums_of_the_next_fit_right(count, shares, tmp_path):
    found = together(tmp_path, count, "errors", "fit", GRADKIT_SHARED_MEMORY=shares)
    assert found["caught"] == 3
    assert found["same everywhere"]
    leaves = [np.frombuffer(bytes.fromhex(leaf), np.float32) for fit in found["gradients"] for leaf in fit]
    assert len(leaves) == len(found["expected"]) == 3 * 8
    for leaf, expected in zip(leaves, found["expected"], strict=True):
        np.testing.assert_allclose(leaf, expected, rtol=1e-4, atol=1e-5)


@needs_mpi
@pytest.mark.parametrize(
    "count, shares, how",
    [
        (3, "1", "compiled"),
        *(
            pytest.param(count, shares, how, marks=pytest.mark.long)
            for count, shares, how in itertools.product((2, 3), "01", ("eager", "compiled"))
            if (count, shares, how) != (3, "1", "compiled")
        ),
    ],
)
def test_steps_that_are_interrupted_while_processes_wait_leave_the_next_sums_right(count, shares, how, tmp_path):
    found = together(tmp_path, count, "errors", "waits", how, GRADKIT_SHARED_MEMORY=shares)
    assert found["same everywhere"]
    assert all(gradient is not None for gradient in found["gradients"])
    leaves = [np.frombuffer(bytes.fromhex(leaf), np.float32) for step in found["gradients"] for leaf in step]
    assert len(leaves) == len(found["expected"]) == 41 * 3
    for leaf, expected in zip(leaves, found["expected"], strict=True):
        np.testing.assert_allclose(leaf, expected, rtol=1e-3, atol=1e-4)


@needs_memory
def test_what_has_the_number_of_another_process_is_not_waited_for():
    reads, writes = os.pipe()
    os.close(writes)
    told = [os.getpid(), reads, "00" * 16]
    found = []
    # Nobody writes to this pipe, so to open it for reading would take for ever.
    opening = threading.Thread(target=lambda: found.append(shared_memory._opened(told, 64)), daemon=True)
    opening.start()
    opening.join(20)
    os.close(reads)
    assert found == [None]


class Barrier:
    def Test(self):
        return True


class Communicator:
    Ibarrier = Barrier


class Pair:
    """A world of two processes on one machine, of which the other one's memory is what a test writes there."""

    index, count, bucket_bytes = 0, 2, 1
    is_on_one_machine = True

    def __init__(self):
        self.belongings = {}

    def lane(self, name):
        return Communicator(), Communicator()

    def wait_until(self, done, call):
        assert done()


@pytest.fixture
def pair(monkeypatch):
    """The world, and for each kind of model the other process's arrays, that of the last parameter first."""
    theirs = []

    def memories(here, forms, call):
        arrays = [[np.zeros(shape, dtype) for shape, dtype in forms] for _ in range(here.count)]
        theirs.append(arrays[1])
        return arrays

    monkeypatch.setattr(shared_sums, "shared_memories", memories)
    with gradkit.use_backend("numpy"):
        yield Pair(), theirs


def stepped(here, params, x):
    sums = SummedGradients(list(params), lambda: 0.5, here)
    _, gradient = watched_value_and_grad(lambda params, x: jnp.sum(jnp.tanh(x @ params[0]) @ params[1]), sums.watch)(
        params, x
    )
    return [p - 0.1 * g for p, g in zip(params, sums.finish(gradient), strict=True)]


@pytest.mark.parametrize("printer", ["native", "numpy"])
def test_a_program_makes_gradients_where_others_read_them_and_adds_up_in_its_update(printer, pair, monkeypatch):
    monkeypatch.setenv("GRADKIT_COMPILER", printer)
    here, theirs = pair
    rng = np.random.default_rng(0)
    params = tuple(jnp.asarray(rng.normal(size=size).astype("float32")) for size in ((40, 30), (30, 20)))
    x = jnp.asarray(rng.normal(size=(8, 40)).astype("float32"))
    program = gradkit.jit(lambda params, x: stepped(here, params, x))
    own = gradkit.grad(lambda params: jnp.sum(jnp.tanh(x @ params[0]) @ params[1]))(params)
    for step in range(3):
        if step:
            for array in theirs[0]:
                array[...] = rng.normal(size=array.shape)
        found = program(params, x)
        for i, (after, before, mine) in enumerate(zip(found, params, own, strict=True)):
            other = theirs[0][len(params) - 1 - i] if step else 0.0  # from the last one to the first
            np.testing.assert_allclose(after, before - 0.1 * (0.5 * mine + other), rtol=1e-5, atol=1e-6)
    lowered = program.trace(params, x)
    plan = executable_of(lowered.jaxpr.jaxpr).plan
    calls = {node.name: node for node in plan.nodes if isinstance(node, Call)}
    made = [node.operands[i].buffer for node in plan.nodes if isinstance(node, Call) for i in node.made_in]
    assert len(made) == len(params)
    assert all(plan.memory[buffer] in plan.arguments for buffer in made)
    assert not calls["process_wait_for_writers"].copied
    assert not any(
        plan.memory.get(buffer) is not None
        and isinstance(plan.memory[buffer], int)
        and buffer.shape in ((40, 30), (30, 20))
        for buffer in plan.memory
    )


@pytest.mark.parametrize("printer", ["native", "numpy", "interpreter"])
@pytest.mark.parametrize("later", ["step", "scan", "choice"])
def test_a_gradient_that_is_read_after_the_next_step_of_a_program_is_kept(later, printer, pair, monkeypatch):
    monkeypatch.setenv("GRADKIT_COMPILER", printer)
    here, _ = pair
    params = tuple(jnp.asarray(np.random.default_rng(i).normal(size=(9, 9)).astype("float32")) for i in range(2))
    x = jnp.asarray(np.random.default_rng(2).normal(size=(4, 9)).astype("float32"))

    def loss(params, x):
        return jnp.sum(jnp.tanh(x @ params[0]) @ params[1])

    def gradients(params, x):
        sums = SummedGradients(list(params), lambda: 0.5, here)
        return sums.finish(watched_value_and_grad(loss, sums.watch)(params, x)[1])

    def two(params, x):
        first = gradients(params, x)
        if later == "step":
            second = gradients(params, x * 3)
        elif later == "scan":
            second, _ = gradkit.lax.scan(lambda _, x: (gradients(params, x), None), list(params), jnp.stack([x, x * 3]))
        else:
            second = gradkit.lax.cond(
                jnp.sum(x) < jnp.inf, lambda x: gradients(params, x * 3), lambda x: list(params), x
            )
        return [p - 0.1 * a - 0.2 * b for p, a, b in zip(params, first, second, strict=True)]

    first, second = (gradkit.grad(loss)(params, x * factor) for factor in (1, 3))
    program = gradkit.jit(two)
    for _ in range(2):
        for found, p, a, b in zip(program(params, x), params, first, second, strict=True):
            np.testing.assert_allclose(found, p - 0.1 * 0.5 * a - 0.2 * 0.5 * b, rtol=1e-4, atol=1e-5)


def test_gradients_of_eager_steps_are_in_memory_of_their_own(pair):
    here, _ = pair
    params = (jnp.ones((3, 2)), jnp.ones((2, 2)))
    sums = SummedGradients(list(params), lambda: 1.0, here)
    kept = sums.finish([jnp.full((3, 2), 2.0), jnp.full((2, 2), 3.0)])
    again = SummedGradients(list(params), lambda: 1.0, here)
    again.finish([jnp.full((3, 2), 7.0), jnp.full((2, 2), 8.0)])
    np.testing.assert_array_equal(kept[0], np.full((3, 2), 2.0))
    np.testing.assert_array_equal(kept[1], np.full((2, 2), 3.0))


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float8_e4m3fn", "float32"])
@pytest.mark.parametrize("shares", [True, False])
def test_gradients_of_few_bits_are_summed_in_their_own_dtype(name, shares, pair, monkeypatch):
    here, theirs = pair
    if not shares:
        monkeypatch.setattr(shared_sums, "shared_memories", lambda *_: None)
        monkeypatch.setattr(StartedSums, "send", lambda self, number, values, backend: self._sums.append(values))
        monkeypatch.setattr(StartedSums, "advance", lambda self: None)
        monkeypatch.setattr(StartedSums, "_restart", lambda self: self._sums.clear())
        monkeypatch.setattr(StartedSums, "receive", lambda self, number: self._sums[number] * 2)
    params = [jnp.asarray([1.0, 2.0]).astype(name), jnp.asarray(0.5).astype(name)]
    x = jnp.asarray([[0.5, 1.0]]).astype(name)
    for _ in range(2):
        sums = SummedGradients(params, lambda: 0.5, here)
        _, gradient = watched_value_and_grad(lambda params, x: jnp.sum(x * params[0]) * params[1], sums.watch)(
            params, x
        )
        found = sums.finish(gradient)
        for array in theirs[0] if shares else ():
            array[...] = 1
    assert [array.dtype.name for array in found] == [name, name]
    first, second = (np.asarray(array).astype("float64") for array in found)
    own = np.array([0.125, 0.25]), np.array(1.25)
    expected = [mine + 1 if shares else 2 * mine for mine in own]
    np.testing.assert_allclose(first, expected[0], rtol=0.07)
    np.testing.assert_allclose(second, expected[1], rtol=0.07)


def test_memory_is_made_once_for_one_kind_of_model(pair):
    here, theirs = pair
    for _ in range(3):
        for shape in ((3, 2), (4, 2)):
            SummedGradients([jnp.ones(shape)], lambda: 1.0, here).finish([jnp.ones(shape)])
    assert len(theirs) == 2
    assert sums_of(here) is sums_of(here)
    assert [bucket.shapes for bucket in buckets_of([jnp.ones((3, 2))], 1)] == [((3, 2),)]
