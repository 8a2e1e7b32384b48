"""CuPy's arrays between processes without NCCL: by MPI, on the GPU's memory or on pinned memory of the host."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from launched import ROOT, launch, needs_mpi

cupy = pytest.importorskip("cupy")
if not hasattr(cupy, "_ledger"):
    pytest.skip("this run does without tests/cuda_on_cpu", allow_module_level=True)

import os  # noqa: E402

import gradkit_cupy.messages  # noqa: E402
from gradkit_cupy import CupyBackend  # noqa: E402
from gradkit_cupy.messages import GpuMemory, PinnedMemory, _says_yes, mpi_knows_cuda  # noqa: E402

PROGRAM = ROOT / "tests/distributed/cuda_messages_program.py"
PATH = os.pathsep.join(map(str, (ROOT, ROOT / "backends", ROOT / "tests/support", ROOT / "tests/cuda_on_cpu")))
MEMORIES = {"gpu": GpuMemory, "pinned": lambda: PinnedMemory(CupyBackend().start_copy_to_host)}


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "float16", "float32", "float64", "complex64"])
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (3, 4)])
def test_what_is_sent_is_the_array_s_bytes_and_what_arrives_is_the_array(memory, dtype, shape):
    own = MEMORIES[memory]()
    host = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    values = cupy.asarray(host)
    sent = own.sent(values)
    assert cupy.asnumpy(sent).tobytes() == host.tobytes()
    received = own.empty(sent.size)
    received[...] = sent
    found = own.array(received, shape, values)
    assert isinstance(found, cupy.ndarray)
    assert found.shape == shape
    assert found.dtype == host.dtype
    np.testing.assert_array_equal(cupy.asnumpy(found), host)


@pytest.mark.parametrize("memory", MEMORIES)
def test_views_are_sent_row_by_row(memory):
    host = np.arange(12.0).reshape(3, 4)
    for view in (lambda x: x.T, lambda x: x[:, ::2], lambda x: x[1:]):
        assert cupy.asnumpy(MEMORIES[memory]().sent(view(cupy.asarray(host)))).tobytes() == view(host).tobytes()


@needs_mpi
def test_this_mpi_says_that_it_knows_no_cuda():
    assert mpi_knows_cuda() is False


def test_open_mpi_and_mpich_are_asked_in_their_own_words():
    def of_mpich(kind, answer):
        answer._obj.value = kind == 0
        return 0

    assert _says_yes(SimpleNamespace(MPIX_Query_cuda_support=lambda: 1))
    assert not _says_yes(SimpleNamespace(MPIX_Query_cuda_support=lambda: 0))
    assert _says_yes(SimpleNamespace(MPIX_GPU_query_support=of_mpich))
    assert not _says_yes(SimpleNamespace(MPIX_GPU_query_support=lambda kind, answer: 0))
    assert not _says_yes(SimpleNamespace())


def test_info_says_whose_memory_mpi_takes(monkeypatch):
    monkeypatch.delattr("cupy.cuda.nccl.NcclCommunicator")
    for knows, where in ((False, "pinned host memory"), (True, "GPU memory")):
        monkeypatch.setattr(gradkit_cupy.messages, "mpi_knows_cuda", lambda knows=knows: knows)
        assert CupyBackend().travel().startswith(f"MPI on {where}: CuPy finds no NCCL library")


@needs_mpi
@pytest.mark.parametrize("memory", MEMORIES)
def test_processes_get_what_numpy_s_get(memory):
    def run(memory):
        ended = launch(2, PROGRAM, memory, PYTHONPATH=PATH)
        assert ended.status == 0, ended.err
        return json.loads(ended.out)

    found, expected = run(memory), run("numpy")
    assert found.pop("how") == {"gpu": "MPI on GPU memory", "pinned": "MPI on pinned host memory"}[memory]
    assert expected.pop("how") == "MPI on host memory"
    np.testing.assert_allclose(found.pop("loss"), expected.pop("loss"), rtol=1e-5)
    assert found == expected


@needs_mpi
def test_processes_of_which_one_computes_on_a_gpu_are_told_apart():
    program = (
        "import os, gradkit, gradkit_cupy.nccl as nccl, gradkit.numpy as jnp\n"
        "from gradkit import distributed\n"
        "nccl.place = lambda processes: None\n"
        "nccl.why_no_nccl = lambda: 'no NCCL here'\n"
        "distributed.initialize(timeout=20)\n"
        "gradkit.set_backend('cupy' if distributed.process_index() else 'numpy')\n"
        "distributed.value_and_grad(lambda w: jnp.sum(w))(jnp.ones(3))"
    )
    ended = launch(2, "-c", program, PYTHONPATH=PATH)
    assert ended.status != 0
    assert "process 0: array float32[3]; bucket" in ended.err
    assert "process 1: array float32[3], by MPI on pinned host memory: no NCCL here; bucket" in ended.err
