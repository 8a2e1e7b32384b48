"""What has to be the same in all processes is compared, however functions are run, and told where it is not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from launched import launch, needs_mpi

from gradkit.errors import DistributedError
from gradkit.processes import sameness
from gradkit.processes.meetings import ROOM
from gradkit.processes.sameness import SAMPLES, Sample, most_of_each, positions

PROGRAM = Path(__file__).with_name("sameness_program.py")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    path = tmp_path_factory.mktemp("sameness") / "found.json"
    ended = launch(2, PROGRAM, path, "numpy", "strict", timeout=300)
    assert ended.status == 0, ended.err
    return json.loads(path.read_text())


@needs_mpi
@pytest.mark.parametrize("backend", ["numpy", "strict"])
class TestTwoProcesses:
    def test_arrays_of_every_dtype_and_size_are_compared(self, found, backend):
        rows = found[backend]["arrays"]
        assert len(rows) >= 2 * 7 * 4
        for dtype, size, kind, text in rows:
            where = f"{dtype}[{size}], {kind}: {text}"
            if kind == "same":
                assert text == "nothing", where
            else:
                assert text.startswith("shard_map(<lambda>): what has to be the same in all processes is not:"), where
                for part in (
                    "argument [0], element [",
                    "], in process 0: ",
                    "], in process 1: ",
                    "result['a'], element [",
                ):
                    assert part in text, where

    def test_other_shapes_dtypes_numbers_and_names_are_told_in_all_processes(self, found, backend):
        for what, (first, second) in found[backend]["forms"].items():
            assert first == second, what
            assert first.startswith("shard_map(<lambda>)"), f"{what}: {first}"
            assert "process 0: " in first, f"{what}: {first}"
        assert "process 1: argument [0] float32[5]" in found[backend]["forms"]["shape"][0]
        assert "  argument [0], shape, in process 1: [3, 3]\n" in found[backend]["forms"]["batch"][0]

    def test_a_result_that_is_not_summed_is_told_however_the_function_is_run(self, found, backend):
        for how, text in found[backend]["results"].items():
            assert ", in process 0: 9.0\n" in text, f"{how}: {text}"
            assert ", in process 1: 21.0\n" in text, f"{how}: {text}"
            assert "lax.psum" in text, f"{how}: {text}"
        assert len(found[backend]["results"]) == 8

    def test_an_argument_that_is_another_one_is_told_however_the_function_is_run(self, found, backend):
        for how, text in found[backend]["arguments"].items():
            assert "  argument [0], element [" in text, f"{how}: {text}"
            assert "0], in process 0: 1.0\n" in text, f"{how}: {text}"
            assert "0], in process 1: 2.0\n" in text, f"{how}: {text}"
        assert "pmap(<lambda>): what has to be" in found[backend]["pmap"]
        assert "argument [0], element [0, 0], in process 1: 2.0" in found[backend]["pmap"]

    def test_nothing_is_told_of_what_is_the_same(self, found, backend):
        assert set(found[backend]["sums"].values()) == {"nothing"}

    def test_parameters_are_compared_at_the_first_step(self, found, backend):
        for how, texts in found[backend]["models"].items():
            assert texts["the same"] == texts["the same parameters"] == texts["in turns"] == "nothing", how
            assert "parameter .layers[0].weight, element [" in texts["other keys"], how
            assert "gradkit.distributed.broadcast" in texts["other keys"], how
            lines = texts["one parameter"].splitlines()
            assert lines[1:3] == ["  parameter ['b'][0], in process 0: 1.0", "  parameter ['b'][0], in process 1: 2.0"]


PROGRAM_OF_A_GRID = """
import json, sys
import gradkit.numpy as jnp
from gradkit import distributed, lax
from gradkit.distributed import Mesh, PartitionSpec as P, shard_map
from gradkit.errors import DistributedError
distributed.initialize(timeout=30)
me = distributed.process_index()
mesh = Mesh((2, 2), ("a", "b"))
x = jnp.arange(8.0).reshape(4, 2)

def told(f, out_specs, *args):
    try:
        shard_map(f, mesh=mesh, in_specs=P(), out_specs=out_specs)(*args)
    except DistributedError as error:
        return str(error)
    return "nothing"

found = [
    told(lambda x: lax.psum(x, "a"), P(), x),
    told(lambda x: lax.psum(x, "a"), P(), x + (me == 3)),
    told(lambda x: x, P(), x[: 4 - (me == 2)]),
    told(lambda x: x + (me == 1), P(), x),
    told(lambda x: x + me % 2, P("b"), x),
    told(lambda x: x + me // 2, P("b"), x),
]
everybody = distributed.startup.world().gather_texts(json.dumps(found), "the end")
if me == 0:
    print(json.dumps(list(map(json.loads, everybody))))
"""


@needs_mpi
def test_what_is_not_the_same_in_all_processes_of_a_grid_is_told_in_all():
    ended = launch(4, "-c", PROGRAM_OF_A_GRID)
    assert ended.status == 0, ended.err
    first, *others = json.loads(ended.out)
    assert all(told[:5] == first[:5] for told in others)
    assert first[0] == first[4] == "nothing"
    assert "  argument [0], element [0, 0], in processes 0, 1, 2: 0.0\n" in first[1]
    assert "  argument [0], element [0, 0], in process 3: 1.0\n" in first[1]
    assert "process 2: argument [0] float32[3, 2]" in first[2]
    assert "  result, element [0, 0], in processes 0, 2, 3: 0.0\n" in first[3]
    for told, line in zip([first, *others], ["02", "13", "02", "13"], strict=True):  # along "a" alone
        assert f"  result, element [0, 0], in process {line[0]}: 0.0\n" in told[5]
        assert f"  result, element [0, 0], in process {line[1]}: 1.0\n" in told[5]


class Pair:
    """A world of two processes, as the first one sees it."""

    count, numbers, is_whole = 2, (0, 1), True

    def __init__(self, theirs):
        self.theirs = theirs

    def gather_texts(self, text, call):
        return [text, json.dumps([[str(list(values.shape)), *map(str, values.tolist())] for values in self.theirs])]


def compare(ours, theirs):
    own, other = ([Sample(array, array.shape) for array in arrays] for arrays in (ours, theirs))
    words = np.stack([np.frombuffer(sameness.word_of(arrays), np.uint8) for arrays in (own, other)])
    sameness.check_same(Pair(theirs), words, own, [f"x{i}" for i in range(len(ours))], lambda lines: lines)


def test_a_word_has_room_for_what_is_said_of_any_number_of_arrays():
    rng = np.random.default_rng(0)
    for number in (0, 1, 13, 14, 200):
        assert len(sameness.word_of([Sample(rng.normal(size=7), (7,)) for _ in range(number)])) <= ROOM - 16


@pytest.mark.parametrize("number", [1, 14, 60])
@pytest.mark.parametrize("dtype", ["float32", "float16", "complex128", "int64", "bool"])
def test_one_array_among_many_that_is_another_one_is_found(number, dtype):
    rng = np.random.default_rng(number)
    ours = [(rng.normal(size=50) * 3).astype(dtype) for _ in range(number)]
    compare(ours, [array.copy() for array in ours])
    for which in {0, number // 2, number - 1}:
        theirs = [array.copy() for array in ours]
        theirs[which][7] = not theirs[which][7] if dtype == "bool" else 40
        with pytest.raises(DistributedError) as told:
            compare(ours, theirs)
        first, second = str(told.value).splitlines()
        assert first == f"  x{which}, element [7], in process 0: {ours[which][7]}"
        assert second == f"  x{which}, element [7], in process 1: {theirs[which][7]}"


@pytest.mark.parametrize("size", [SAMPLES + 1, 10**5, 10**8])
def test_the_elements_that_are_looked_at_are_spread_over_the_array(size):
    places = positions(size)
    assert places[0] == 0
    assert places[-1] == size - 1
    assert len(places) == SAMPLES
    parts = np.histogram(places, bins=16, range=(0, size))[0]
    assert parts.min() > SAMPLES / 16 / 2
    assert len(np.unique(places % 100)) > 50  # not of few columns


def test_fewer_elements_are_looked_at_of_each_of_many_arrays():
    assert [most_of_each(count) for count in (0, 1, 16, 17, 100, 10**4)] == [SAMPLES, SAMPLES, SAMPLES, 963, 163, 64]
    assert positions(100, most_of_each(100)) is None
    assert len(positions(1000, most_of_each(100))) <= 163
