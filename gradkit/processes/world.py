"""`World`: the processes of a run as one of them sees it, and the meetings that all have to come to.

Nothing here waits for ever. Every wait is a question asked again and again, and between two questions a process looks
whether another has left, or where the others wait. A process whose error nobody catches ends all.
"""

from __future__ import annotations

import atexit
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from gradkit.backend import Backend
from gradkit.backend.transport import Transport
from gradkit.errors import CollectiveTimeoutError, DistributedError, ProcessLeftError
from gradkit.processes.launchers import launched_processes, load_mpi
from gradkit.processes.meetings import ROOM, Meeting, Subject, listed, named, subject
from gradkit.processes.messages import MpiTransport

__all__ = ["BUCKET_BYTES", "TIMEOUT", "World", "enter_world", "leave_world", "the_world", "world_of_launcher"]

BUCKET_BYTES = 2**20
"""Bytes of gradients from which on a sum is begun."""
TIMEOUT = 300.0
"""Seconds after which a wait for others is an error."""
TOLD = 0.25
"""Seconds that a launcher has to pass on what a process has written, before all are ended: it may drop what it has not
read by then."""
GRACE = 3.0
"""Seconds in which what a process sent before it left still arrives."""
BUSY = 3e-5
"""Seconds in which a waiting process does nothing else: most messages are there by then, and to let others run takes
longer."""
SPIN = 2e-4
"""Seconds in which a waiting process only lets others run; after them it sleeps between two questions."""
PAUSE = 2e-4
NOTICE = 2.0
"""Seconds after which a process tells the others where it waits."""
STUCK = 15.0
"""Seconds after which it is an error that all processes wait, and not in one call: nobody is left to come."""

ALONE = (None, 1)
"""What launchers say where there is one process: nothing, or that."""

LANES = ("calls", "gradients", "numbers")
"""What may be on its way at the same time. In each lane things leave in one order; between lanes there is none."""


LENGTH = 8
"""Bytes of a number that says how long something is."""


class World:
    """The processes of a run, as one of them sees it.

    Parameters
    ----------
    mpi : module, optional
        ``mpi4py.MPI``; None for a world of one.
    timeout : float
        Seconds after which a wait for others is an error.

    Attributes
    ----------
    bucket_bytes : int
        How many bytes of gradients are summed together.
    index, count : int
        The number of this process, from 0, and how many there are.
    local_index, local_count : int
        The same among the processes of its machine.
    numbers : sequence of int
        The numbers of its processes in the whole run.
    opened : int
        How many meetings there have been.
    has_left : bool
        Whether this process has left the others, which nothing brings back.
    belongings : dict
        What those that use it keep with it, by their names.
    """

    def __init__(self, mpi: Any = None, timeout: float = TIMEOUT) -> None:
        self.timeout = timeout
        self.bucket_bytes = BUCKET_BYTES
        self.index, self.count, self.local_index, self.local_count = 0, 1, 0, 1
        self.numbers: Sequence[int] = (0,)
        self._mpi = mpi
        self.belongings: dict[str, Any] = {}
        self._transports: dict[tuple[str, str], Transport] = {}
        self._left: dict[int, float] = {}
        self._waiting: dict[int, str] = {}
        self._heard = 0.0
        self._sent: list[Any] = []
        self.opened = 0
        self._is_broken = False
        self.has_left = False
        self._open: Meeting | None = None
        self._parent: World | None = None
        self._parts: dict[str, World] = {}
        if mpi is None:
            return
        everybody = mpi.COMM_WORLD
        self.index, self.count = everybody.Get_rank(), everybody.Get_size()
        self.numbers = range(self.count)
        machine = everybody.Split_type(mpi.COMM_TYPE_SHARED)
        self.local_index, self.local_count = machine.Get_rank(), machine.Get_size()
        self._control, self._meetings, self._end = (everybody.Dup() for _ in range(3))
        self._lanes = {lane: (everybody.Dup(), everybody.Dup()) for lane in LANES}

    def __repr__(self) -> str:
        return f"process {self.index} of {self.count}"

    @property
    def is_whole(self) -> bool:
        """Whether these are all processes of the run."""
        return self._parent is None

    def transport(self, backend: Backend, lane: str) -> Transport:
        """Return what a backend's arrays travel by in a lane."""
        key = backend.name, lane
        if key not in self._transports:
            own = backend.transport(self, lane)
            self._transports[key] = MpiTransport(backend, self, *self._lanes[lane]) if own is None else own
        return self._transports[key]

    def lane(self, name: str) -> tuple[Any, Any]:
        """Return the two communicators of a lane."""
        return self._lanes[name]

    @property
    def is_on_one_machine(self) -> bool:
        """Whether all processes are on one machine."""
        whole = self._parent or self
        return whole.local_count == whole.count and self.count > 1

    def split(self, name: str, members: int, position: int) -> World:
        """Return the world of those that call this with the same number, in the order of their positions.

        All processes call it, with a name that says what the numbers are: of one name there is one world. What they
        wait for is told, and ends, as in this world.
        """
        part = World(timeout=self.timeout)
        part.bucket_bytes = self.bucket_bytes
        if self.count == 1:
            return part
        self.meet("Mesh", name)
        if name in self._parts:  # MPI has a limited number of communicators
            return self._parts[name]
        own = self._mpi.COMM_WORLD.Split(members, position)
        part.index, part.count = own.Get_rank(), own.Get_size()
        part.numbers = own.allgather(self.index)
        part.local_index, part.local_count = self.local_index, self.local_count
        part._mpi, part._parent = self._mpi, self
        part._meetings = own.Dup()
        part._lanes = {lane: (own.Dup(), own.Dup()) for lane in LANES}
        self._parts[name] = part
        return part

    # Meetings

    def meet(self, call: str, about: str = "") -> None:
        """Wait until all processes have made this call with the same arguments.

        Parameters
        ----------
        call : str
            The name of what was called.
        about : str
            What must be the same for all, in words.

        Raises
        ------
        DistributedError
            If others have made another call, or with other arguments: who did what. All processes get it.
        CollectiveTimeoutError
            If some have made no call.
        """
        if self.count == 1:
            return
        self.open(subject(call, about)).given()

    def open(self, about: Subject, content: bytes = b"") -> Meeting:
        """Come to a meeting, and go on; there is one at a time, so the one before is waited for.

        Parameters
        ----------
        about : Subject
            What all have to come to.
        content : bytes
            What this process gives the others.

        Raises
        ------
        DistributedError
            If the processes have left each other.
        """
        self.must_be_together(about.call)
        self._settle()
        self.opened += 1
        self._open = Meeting(self, about, content)
        return self._open

    def must_be_together(self, call: str) -> None:
        """Raise if the processes have left each other."""
        if (self._parent or self).has_left:
            raise DistributedError(
                f"{call}: the processes have left each other, by gradkit.distributed.shutdown(), and MPI does not "
                f"begin twice in a process. Call it when nothing is left to do together; the end of a program does it "
                f"too."
            )

    def _settle(self) -> None:
        """Wait for the end of the meeting that is open."""
        if self._open is not None and not self._open.is_over:
            self._open.given()

    def start_gathering(self, own: bytes, found: np.ndarray[Any, Any]) -> Any:
        """Begin to bring bytes of all processes, as many of each, and return MPI's request."""
        return self._meetings.Iallgather(own, found)

    def gather_texts(self, text: str, call: str) -> list[str]:
        """Return the texts of all processes, in their order."""
        if self.count == 1:
            return [text]
        own = text.encode()
        beside = ROOM - LENGTH
        given = self.open(subject(call, "what each process says"), _length(own) + own[:beside]).given()
        sizes = given[:, :LENGTH].copy().view(np.int64).reshape(-1)
        if sizes.max() <= beside:
            parts = [said[LENGTH : LENGTH + size] for said, size in zip(given, sizes, strict=True)]
            return [part.tobytes().decode() for part in parts]
        return self.gather_long_texts(own, sizes, call)

    def gather_long_texts(self, own: bytes, sizes: np.ndarray[Any, Any] | None, call: str) -> list[str]:
        """Return the texts of all processes, which have met and gather these next; `sizes` if they are known."""
        if sizes is None:
            sizes = np.empty(self.count, np.int64)
            self._wait_for(self._meetings.Iallgather(_length(own), sizes), call)
        joined = np.empty(int(sizes.sum()), np.uint8)
        ends = np.cumsum(sizes)
        request = self._meetings.Iallgatherv(own, [joined, (sizes, ends - sizes), self._mpi.BYTE])
        self._wait_for(request, call)
        return [part.tobytes().decode() for part in np.split(joined, ends[:-1])]

    def broadcast_bytes(self, content: bytes, call: str) -> bytes:
        """Return what process 0 gave, in every process."""
        if self.count == 1:
            return content
        beside = ROOM - LENGTH
        own = _length(content) + content[:beside] if self.index == 0 else b""
        given = self.open(subject(call, "what process 0 says"), own).given()[0]
        size = int(given[:LENGTH].copy().view(np.int64)[0])
        if size <= beside:
            return bytes(given[LENGTH : LENGTH + size])
        values = np.frombuffer(content, np.uint8).copy() if self.index == 0 else np.empty(size, np.uint8)
        self._wait_for(self._meetings.Ibcast(values), call)
        return values.tobytes()

    # Waiting

    def _wait_for(self, request: Any, call: str) -> None:
        self.wait_until(request.Test, call)

    def wait_until(self, done: Callable[[], bool], call: str) -> None:
        """Return when `done` is true.

        Raises
        ------
        ProcessLeftError
            If another process has left in the meantime.
        CollectiveTimeoutError
            If it takes too long; the message says who waits where.
        """
        if self._parent is not None:
            self._parent.wait_until(done, call)
            return
        began, notice, told = time.monotonic(), min(NOTICE, self.timeout / 4), False
        while not done():
            if time.monotonic() - began > BUSY:
                break
        else:
            return
        while not done():
            now = time.monotonic()
            time.sleep(0 if now - began < SPIN else PAUSE)
            self._read_messages()
            for process, since in self._left.items():
                if now - since > GRACE:
                    self._is_broken = True
                    left = ProcessLeftError(
                        f"{call}: process {process} of {self.count} has ended, while process {self.index} waits for "
                        f"it. What it said last tells why."
                    )
                    left.told_by = min(set(range(self.count)) - self._left.keys())
                    raise left
            if not told and now - began > notice:
                told = True
                self._tell({"waits": call})
            if now - began > self.timeout:
                raise self._timeout_error(call, f"waited for {self.timeout:g} seconds")
            if told and now - max(began + notice, self._heard) > min(STUCK, self.timeout / 2) and self._is_stuck(call):
                raise self._timeout_error(call, "no process comes to where another waits")
        if told:
            self._tell({"waits": None})

    def _is_stuck(self, call: str) -> bool:
        """Return whether all processes wait, and not all in this call."""
        return len(self._waiting) == self.count - 1 and set(self._waiting.values()) != {call}

    def _timeout_error(self, call: str, what: str) -> CollectiveTimeoutError:
        self._is_broken = True
        here = {**self._waiting, self.index: call}
        missing = [process for process in range(self.count) if process not in here]
        waiting = listed(here)
        absent = f"{named(missing)} {'is' if len(missing) == 1 else 'are'} not there" if missing else "all wait"
        error = CollectiveTimeoutError(
            f"{call}: {what}. {waiting}; {absent}. Every process has to make the same "
            f"calls in the same order; where some need longer, give gradkit.distributed.initialize a larger timeout."
        )
        error.told_by = min(here)
        return error

    def _tell(self, message: Mapping[str, Any]) -> None:
        content = np.frombuffer(json.dumps(message).encode(), np.uint8)
        self._sent = [(request, sent) for request, sent in self._sent if not request.Test()]
        others = (process for process in range(self.count) if process != self.index)
        self._sent += [(self._control.Isend(content, dest=process), content) for process in others]

    def _read_messages(self) -> None:
        status = self._mpi.Status()
        while self._control.Iprobe(source=self._mpi.ANY_SOURCE, tag=self._mpi.ANY_TAG, status=status):
            content = np.empty(status.Get_count(self._mpi.BYTE), np.uint8)
            source = status.Get_source()
            self._control.Recv(content, source=source, tag=status.Get_tag())
            message, self._heard = json.loads(content.tobytes()), time.monotonic()
            if "left" in message:
                self._left[source] = time.monotonic()
            elif message["waits"] is None:
                self._waiting.pop(source, None)
            else:
                self._waiting[source] = message["waits"]

    # The end

    def abort(self, status: int) -> None:
        """End all processes now."""
        sys.stdout.flush()
        sys.stderr.flush()
        self._mpi.COMM_WORLD.Abort(status)

    def leave(self) -> None:
        """Leave in order: wait until all others do."""
        if self._is_broken:
            self.abort(1)  # what is on its way will not arrive, and MPI would wait for it
        if self.count > 1 and not self._mpi.Is_finalized():
            self._tell({"left": True})
            request = self._end.Ibarrier()
            began = time.monotonic()
            while not request.Test():
                self._read_messages()  # so that theirs can be sent
                time.sleep(PAUSE)
                if time.monotonic() - began > self.timeout:
                    self.abort(1)
        if self._mpi is not None and not self._mpi.Is_finalized():
            self._mpi.Finalize()


def _length(content: bytes) -> bytes:
    return len(content).to_bytes(LENGTH, sys.byteorder)


# The world of this process


class _Here:
    """The world that this process is in, once it has asked for one."""

    world: World | None = None


def the_world() -> World | None:
    """Return the world that this process has entered; None before that."""
    return _Here.world


def world_of_launcher() -> World | None:
    """Return the world of the launcher that started this process, entering it; None where there was no launcher."""
    if _Here.world is None and launched_processes() not in ALONE:
        enter_world(TIMEOUT)
    return _Here.world


def enter_world(timeout: float) -> World:
    """Find the others that a launcher started with this process; without one it is alone."""
    launched = launched_processes()
    # A launcher of one process, as a batch system may be, needs no MPI.
    world = World(timeout=timeout) if launched in ALONE else World(load_mpi(launched or 0), timeout)
    _Here.world = world
    if world.count > 1:
        sys.excepthook = _ending_all(world, sys.excepthook)
    if launched not in ALONE:
        atexit.register(world.leave)
    world.meet("initialize", f"gradkit {sys.modules['gradkit'].__version__}")
    return world


def leave_world() -> None:
    """Leave in order; what needs the others is an error from then on."""
    world = _Here.world
    if world is not None and world.count > 1 and not world.has_left:
        atexit.unregister(world.leave)
        world.leave()
        world.has_left = True


def _ending_all(world: World, before: Callable[..., Any]) -> Callable[..., None]:
    """Make what is done with an error that nobody caught: it is told once, and ends all processes."""

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        everywhere = getattr(error, "everywhere", False)
        teller = 0 if everywhere else getattr(error, "told_by", None)
        is_told = teller not in (None, world.index)
        if not everywhere:
            if is_told:
                time.sleep(2 * TOLD)  # the one that tells it ends all by then, unless it lives with the error
            print(f"gradkit: process {world.index} of {world.count} has failed:", file=sys.stderr)  # noqa: T201
        if not (everywhere and is_told):
            before(kind, error, traceback)
        if not everywhere and not world.has_left:
            sys.stderr.flush()
            time.sleep(TOLD)
            world.abort(1)

    return hook
