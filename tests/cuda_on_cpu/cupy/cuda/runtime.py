"""CUDA's runtime, pretended."""

import os

from cupy._ledger import WAIT, note


class CUDARuntimeError(RuntimeError):
    """CUDA's errors."""


def getDeviceCount():
    return int(os.environ.get("CUDA_ON_CPU_DEVICES", "1"))


def runtimeGetVersion():
    return 13000


def driverGetVersion():
    return 13000


def getDevice():
    from cupy.cuda import current

    return current.device


def getDeviceProperties(device):
    return {"name": b"tests/cuda_on_cpu", "multiProcessorCount": 2, "totalGlobalMem": 1 << 30}


def memGetInfo():
    return (1 << 30, 1 << 30)


def deviceSynchronize():
    note(WAIT, "device")
