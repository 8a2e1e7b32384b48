"""Several processes whose steps are a program: the numbers of eager steps, the same bits however they are grouped."""

from __future__ import annotations

import json
from pathlib import Path

import compiled_program
import numpy as np
import pytest
import training_program
from launched import launch, needs_mpi
from test_buckets import Clock, Transport, World
from test_training_together import assert_same_curves

import gradkit
import gradkit.numpy as jnp
from gradkit import nn, optim, random
from gradkit.train.objectives import metrics_for, objective_for
from gradkit.train.teams import Team

PROGRAM = Path(compiled_program.__file__)
COUNT = 2


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    path = tmp_path_factory.mktemp("compiled") / "found.json"
    ended = launch(COUNT, PROGRAM, path)
    assert ended.status == 0, ended.err
    return json.loads(path.read_text())


def alone(**options):
    with gradkit.use_backend("numpy"):
        return training_program.fit(**options)


@needs_mpi
def test_compiled_steps_of_several_processes_have_the_curves_of_one(found):
    assert_same_curves(found["one at a time"]["rows"], alone(epochs=3)["rows"])
    assert_same_curves(found["native"]["rows"], alone(epochs=1)["rows"])
    assert_same_curves(found["memory"]["rows"], alone(epochs=3, validation=None)["rows"])
    assert_same_curves(found["own loss"]["rows"], alone(loss=training_program.own_loss, metrics=None, epochs=1)["rows"])
    assert found["same everywhere"]


@needs_mpi
def test_a_minibatch_of_which_a_process_has_nothing_is_a_step_of_a_program_as_well(found):
    assert_same_curves(found["uneven"]["rows"], alone(**compiled_program.UNEVEN)["rows"])
    assert sum(found["uneven"]["calls"]) == 8


@needs_mpi
def test_how_several_processes_group_their_steps_changes_no_bit(found):
    one, many, saved = (found[name] for name in ("one at a time", "many at a time", "saved"))
    assert set(one["calls"]) == {1}
    assert max(many["calls"]) == 4  # the others of an epoch are of another size
    assert max(saved["calls"]) == 2  # a run is saved between two calls
    for run in (many, saved):
        assert (run["rows"], run["model"]) == (one["rows"], one["model"])


@needs_mpi
def test_steps_are_compiled_without_being_asked_for_as_on_one_process(found):
    assert sum(found["later"]["calls"]) == 10 - 3
    assert_same_curves(found["later"]["rows"], alone()["rows"])


@needs_mpi
def test_several_processes_skip_the_steps_whose_gradients_are_not_finite_in_one(found):
    with gradkit.use_backend("numpy"):
        expected = compiled_program.scaled(jit=False)
    assert expected["scales"][0] < 2.0**110
    for name in ("scaled", "scaled eagerly"):
        assert found[name]["scales"] == expected["scales"]
        assert_same_curves(found[name]["rows"], expected["rows"])


@needs_mpi
def test_a_model_in_float16_is_trained_by_several_processes_as_by_one(found):
    with gradkit.use_backend("numpy"):
        expected = compiled_program.in_float16()["rows"]
    for row, other in zip(found["float16"]["rows"], expected, strict=True):
        np.testing.assert_allclose(row["loss"], other["loss"], rtol=5e-3)  # float16 has 11 bits
    assert expected[-1]["loss"] < 0.5 * expected[0]["loss"]


@needs_mpi
def test_a_signal_in_the_midst_of_a_call_ends_it_in_all_and_the_run_goes_on_bit_for_bit(found):
    run = found["interrupted"]
    assert run["stopped"] == "interrupted"
    assert run["calls"][4] == 3  # the fourth step of this call, its last one, was not to be begun
    assert (run["then"]["rows"], run["then"]["model"]) == (
        found["one at a time"]["rows"],
        found["one at a time"]["model"],
    )


@needs_mpi
def test_data_on_the_disk_are_read_in_parts_by_programs_too(found):
    assert (found["disk"]["rows"], found["disk"]["model"]) == (found["memory"]["rows"], found["memory"]["model"])


@needs_mpi
def test_errors_of_compiled_steps_are_those_of_eager_ones(found):
    assert "NonFiniteLossError: the loss is nan at step" in found["nan"]
    assert "data[0][333, 5] is nan" in found["nan"]
    assert "jit: True in process 0" in found["jit"]
    assert "jit: False in process 1" in found["jit"]


# What a program does when: its plan says it


def plan_of_a_step(bucket_bytes):
    """Return what a compiled step of three layers does, line by line."""
    here = World(Clock(), Transport(None, gradkit.current_backend().xp), bucket_bytes)
    here.index = 0
    x, y = jnp.ones((16, 40)), jnp.arange(16) % 10
    model, optimizer = nn.MLP(40, [30, 20, 10], key=random.key(0)), optim.SGD(0.1)
    objective = objective_for(None, y)
    step = Team(here).rated_step(objective, optimizer, metrics_for(None, objective), 32)
    text = gradkit.jit(step).lower(model, optimizer.init(model), 0.1, x, y).compile().as_text()
    return [line for line in text.splitlines() if is_product(line) or "call process" in line]


def is_product(line):
    return " @ " in line or "call affine" in line


@pytest.mark.parametrize("compiler", ["native", "numpy"])
def test_a_program_begins_the_sum_of_a_bucket_before_it_computes_the_gradients_of_the_next(compiler, monkeypatch):
    monkeypatch.setenv("GRADKIT_COMPILER", compiler)
    with gradkit.use_backend("numpy"):
        lines = plan_of_a_step(bucket_bytes=1)
    begins = [i for i, line in enumerate(lines) if "begin_sum" in line]
    ends = [i for i, line in enumerate(lines) if "end_sum" in line]
    products = [i for i, line in enumerate(lines) if is_product(line)]
    assert len(begins) == len(ends) == 6 + 1  # each parameter is a bucket, and there are the loss and the metrics
    assert len(products) == 3 + 3 + 2
    assert min(ends) > max(begins)  # nothing is waited for before all have left
    # Those of the last layer leave in front of three products, those of the second in front of one.
    assert [sum(product > begin for product in products) for begin in begins[:6]] == [3, 3, 1, 1, 0, 0]
    assert sum("go_on" in line for line in lines) == 0


def test_a_program_lets_a_sum_go_on_where_the_next_bucket_is_not_full(monkeypatch):
    monkeypatch.setenv("GRADKIT_COMPILER", "numpy")
    with gradkit.use_backend("numpy"):
        lines = plan_of_a_step(bucket_bytes=3000)
    first = next(i for i, line in enumerate(lines) if "begin_sum" in line)
    last = max(i for i, line in enumerate(lines) if is_product(line))
    assert first < last < next(i for i, line in enumerate(lines) if "go_on" in line)
