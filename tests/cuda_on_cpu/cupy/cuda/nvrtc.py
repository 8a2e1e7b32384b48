"""CUDA's compiler: its place is taken by g++."""

import shutil

COMPILER = shutil.which("g++")


class NVRTCError(RuntimeError):
    """What does not compile."""


def getVersion():
    if COMPILER is None:
        raise RuntimeError("tests/cuda_on_cpu compiles kernels with g++, which is not on this machine")
    return (13, 0)
