"""NCCL's path, on the stand-in for it in tests/cuda_on_cpu: threads that are processes with a GPU each."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from launched import launch, needs_mpi

import gradkit
import gradkit.numpy as jnp
from gradkit import nn, random

cupy = pytest.importorskip("cupy")
if not hasattr(cupy, "_ledger"):
    pytest.skip("this run does without tests/cuda_on_cpu", allow_module_level=True)

from gradkit_cupy import CupyBackend  # noqa: E402
from gradkit_cupy.nccl import NcclTransport, why_no_nccl  # noqa: E402

from gradkit.distributed.gradients import SummedGradients  # noqa: E402
from gradkit.errors import TooFewDevicesError  # noqa: E402
from gradkit.processes import OrderedSum  # noqa: E402

COUNT = 3


class Processes:
    """What a thread knows of the others."""

    count = COUNT
    local_count, local_index = 1, 0
    bucket_bytes = 300
    is_on_one_machine = False

    def __init__(self, index, meeting):
        self.index, self._meeting, self._transports, self.belongings = index, meeting, {}, {}

    def broadcast_bytes(self, content, call):
        said, barrier = self._meeting
        if self.index == 0:
            said[call] = content
        barrier.wait(20)
        return said[call]

    def transport(self, backend, lane):
        if lane not in self._transports:
            self._transports[lane] = NcclTransport(self, lane)
        return self._transports[lane]


def in_each(work):
    """Run a function in each of the processes, and return what it gives in each."""
    meeting = {}, threading.Barrier(COUNT)

    def run(index):
        with gradkit.use_backend("cupy"):
            return work(Processes(index, meeting))

    with ThreadPoolExecutor(COUNT) as pool:
        return list(pool.map(run, range(COUNT)))


def test_exchange_collect_and_broadcast_move_what_they_say():
    def work(here):
        transport = here.transport(None, "calls")
        parts = cupy.asarray(np.arange(6, dtype="float64").reshape(3, 2) + 10 * here.index)
        return [
            cupy.asnumpy(transport.exchange(parts, "test").result()).tolist(),
            cupy.asnumpy(transport.collect(parts[0], "test").result()).tolist(),
            cupy.asnumpy(transport.broadcast(parts[1], 2, "test").result()).tolist(),
        ]

    for index, (exchanged, collected, broadcast) in enumerate(in_each(work)):
        assert exchanged == [[2 * index + 10 * i, 2 * index + 1 + 10 * i] for i in range(COUNT)]
        assert collected == [[10.0 * i, 1 + 10.0 * i] for i in range(COUNT)]
        assert broadcast == [22.0, 23.0]


@pytest.mark.parametrize("size", [1, 5, 5000])
def test_sums_are_in_the_order_of_the_processes(size):
    values = [np.random.default_rng(i).normal(size=size).astype("float32") for i in range(COUNT)]

    def work(here):
        backend, transport = CupyBackend(), here.transport(None, "calls")
        own = cupy.asarray(values[here.index])
        return cupy.asnumpy(OrderedSum(own, backend, transport, COUNT, "test").result())

    for found in in_each(work):
        np.testing.assert_array_equal(found, values[0] + values[1] + values[2])


def test_gradients_in_buckets_are_summed_over_the_processes():
    model = nn.MLP(6, [20, 4], key=random.key(0))
    rng = np.random.default_rng(1)
    own = [[rng.normal(size=leaf.shape).astype("float32") for leaf in model.parameters()] for _ in range(COUNT)]

    def work(here):
        # Given as a backward pass gives them: the kernels that the stand-in compiles run in one thread at a time.
        parameters = [jnp.asarray(values * 0) for values in own[here.index]]
        sums = SummedGradients(parameters, lambda: 1 / COUNT, here)
        found = sums.finish([jnp.asarray(values) for values in own[here.index]])
        assert sums.begun >= 2
        return [cupy.asnumpy(leaf.data) for leaf in found]

    for found in in_each(work):
        for i, leaf in enumerate(found):
            np.testing.assert_allclose(leaf, np.sum([values[i] for values in own], axis=0), rtol=1e-5, atol=1e-6)


def test_fewer_gpus_than_processes_is_an_error_that_says_what_to_do():
    class Four(Processes):
        local_count = 4

    with pytest.raises(TooFewDevicesError, match=r"1 GPU and 4 processes.*GRADKIT_BACKEND=numpy"):
        CupyBackend().transport(Four(0, None), "calls")


@needs_mpi
def test_the_command_line_tells_of_fewer_gpus_than_processes_at_once_and_once(tmp_path):
    words = ("-m", "gradkit", "train", "digits", "--backend", "cupy", "--out", tmp_path / "run")
    ended = launch(2, *words)
    assert ended.status != 0
    assert ended.err.count("this machine has 1 GPU and 2 processes") == 1
    assert "Traceback" not in ended.err
    assert not ended.out.strip()


def test_the_backend_says_what_its_arrays_travel_by(monkeypatch):
    assert CupyBackend().travel() == "NCCL"
    monkeypatch.delattr("cupy.cuda.nccl.NcclCommunicator")
    assert why_no_nccl() is not None
    assert CupyBackend().travel().startswith("MPI on pinned host memory: CuPy finds no NCCL library")
    assert CupyBackend().transport(Processes(0, None), "calls") is None
