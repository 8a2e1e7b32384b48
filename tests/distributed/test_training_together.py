"""Training by several processes: what one process computes, on each its part of every minibatch."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import training_program
from launched import launch, needs_mpi

import gradkit
from gradkit import data
from gradkit.train.teams import Team

PROGRAM = Path(training_program.__file__)
COUNT = 3


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    path = tmp_path_factory.mktemp("together") / "found.json"
    ended = launch(COUNT, PROGRAM, path)
    assert ended.status == 0, ended.err
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def alone():
    with gradkit.use_backend("numpy"):
        return training_program.fit()


def assert_same_curves(rows, others):
    assert [row.keys() for row in rows] == [row.keys() for row in others]
    for row, other in zip(rows, others, strict=True):
        np.testing.assert_allclose(list(row.values()), list(other.values()), rtol=1e-5)


@needs_mpi
def test_three_processes_have_the_curves_of_one(found, alone):
    assert found["count"] == COUNT
    assert_same_curves(found["numpy"]["rows"], alone["rows"])
    assert_same_curves(found["strict"]["rows"], training_program.fit(epochs=1)["rows"])


@needs_mpi
def test_a_repeated_run_is_the_same_to_the_last_bit_in_all_processes(found):
    assert found["numpy"] == found["again"]
    assert found["same everywhere"]


@needs_mpi
def test_a_loss_of_the_model_and_callbacks_give_what_one_process_gives(found):
    expected = training_program.fit(loss=training_program.own_loss, metrics=None, epochs=1)
    assert_same_curves(found["own loss"]["rows"], expected["rows"])
    assert len(found["stopping"]["rows"]) == 2
    assert "for 1 epoch" in found["stopping"]["stopped"]


@needs_mpi
def test_a_loop_of_ones_own_gets_the_loss_and_the_gradient_of_whole_minibatches(found):
    class OneProcess:
        value_and_grad = staticmethod(gradkit.value_and_grad)
        minibatches = staticmethod(data.minibatches)

    with gradkit.use_backend("numpy"):
        expected = training_program.loop(OneProcess)
    assert len(expected["losses"]) == 3  # of 48, 48 and 2 rows: one of the three processes has none of the last
    np.testing.assert_allclose(found["loop"]["losses"], expected["losses"], rtol=1e-5)


@needs_mpi
@pytest.mark.parametrize(
    "what, parts",
    [
        ("nan", ["NonFiniteLossError", "data[0][333, 5] is nan"]),
        ("batch", ["batch_size: 96 in process 0", "batch_size: 97 in process 1", "batch_size: 98 in process 2"]),
        ("model", ["float32[64, 20]", "in process 0", "float32[64, 22]"]),
        ("parameters", ["parameters: values of checksum", "in process 2", "nn.MLP draws its parameters"]),
        ("data", ["data: ", "[400, 64]", "[420, 64]"]),
        ("callback", ["different calls", "processes 0, 2: fit, what each", "process 1: barrier (training_program.py:"]),
        ("few", ["batch_size is 2, but 3 processes"]),
        ("few rows", ["data has examples: 2, but 3 processes"]),
    ],
)
def test_what_is_wrong_with_a_run_is_said_with_who_has_what(found, what, parts):
    for part in parts:
        assert part in found["errors"][what]


@needs_mpi
def test_processes_that_train_alone_have_models_of_their_own(found):
    assert len(set(found["alone"])) == COUNT


@pytest.mark.parametrize("rows, batch_size, count", [(20, 6, 1), (20, 6, 4), (20, 7, 3), (9, 8, 5), (5, 50, 2)])
def test_parts_of_minibatches_are_disjoint_in_order_and_as_even_as_can_be(xp, rows, batch_size, count):
    key = gradkit.random.key(3)
    arrays = (gradkit.numpy.arange(rows), np.arange(rows) * 2)
    whole = data.minibatches(arrays, batch_size, key)
    parts = [list(whole.part(i, count)) for i in range(count)]
    for number, (x, y) in enumerate(whole):
        own = [part[number] for part in parts]
        for leaf, expected in enumerate((x, y)):
            assert [row for part in own for row in part[leaf].tolist()] == expected.tolist()
        sizes = [len(p[0]) for p in own]
        assert max(sizes) - min(sizes) <= 1
        assert sizes == sorted(sizes, reverse=True)


def test_a_part_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="index must be from 0 to below count, 2, got 2"):
        data.minibatches(np.arange(4), 2).part(2, 2)


@needs_mpi
def test_fewer_examples_than_processes_are_told_in_a_line_and_once(tmp_path):
    ended = launch(2, "-m", "gradkit", "train", "digits", "--batch-size", 1, "--out", tmp_path / "run")
    assert ended.status != 0
    assert ended.err.count("error in process 0: fit: batch_size is 1, but 2 processes share each minibatch") == 1
    assert "mpiexec -n 1" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    "rows, batch_size, said",
    [
        (12, 4, None),
        (2, 4, None),
        (7, 3, "2 processes share each minibatch, of 3: 2, 1; an epoch's last one, of 1: 1, 0"),
        (9, 4, "2 processes share an epoch's last one, of 1: 1, 0"),
        (5, 8, "2 processes share each minibatch, of 5: 3, 2"),
    ],
)
def test_it_is_said_how_minibatches_are_shared_that_cannot_be_evenly(rows, batch_size, said):
    assert Team(SimpleNamespace(index=0, count=2)).uneven(rows, batch_size) == said


@needs_mpi
def test_data_of_fewer_examples_than_processes_are_refused_by_all_and_told_once():
    program = (
        "import numpy as np\nfrom gradkit import fit, nn, optim, random\nkey = random.key(0)\n"
        "data = np.ones((1, 2), 'float32'), np.zeros(1, 'int32')\n"
        "fit(nn.MLP(2, [2], key=key), data, optimizer=optim.SGD(0.1), epochs=1, batch_size=4, key=key, progress=False)"
    )
    ended = launch(2, "-c", program)
    assert ended.status != 0
    assert ended.err.count("TooFewExamplesError: fit: data has examples: 1, but 2 processes") == 1
