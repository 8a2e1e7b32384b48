"""Devices, streams and the runtime, pretended. CUDA_ON_CPU_DEVICES says how many GPUs there are (1)."""

import sys
import threading
import types

from cupy import _ledger
from cupy._ledger import WAIT, note
from cupy.cuda import nccl, nvrtc, runtime  # noqa: F401


class Current(threading.local):
    """A thread's current GPU."""

    device = 0


current = Current()


class Device:
    """A pretended GPU."""

    def __init__(self, device=None):
        self.id = current.device if device is None else int(device)
        self._outer = []

    def __int__(self):
        return self.id

    def __enter__(self):
        self._outer.append(current.device)
        self.use()
        return self

    def __exit__(self, *error):
        current.device = self._outer.pop()

    def use(self):
        if not 0 <= self.id < runtime.getDeviceCount():
            raise runtime.CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        current.device = self.id

    def synchronize(self):
        note(WAIT, "device")
        _ledger.arrived(None)

    def __eq__(self, other):
        return self.id == other.id if isinstance(other, Device) else NotImplemented

    __hash__ = None  # as CuPy's, which has comparisons and no hash

    def __repr__(self):
        return f"<CUDA Device {self.id}>"

    @property
    def compute_capability(self):
        return "90"


class Stream:
    """A stream: all is done at once but for copies to the host that nobody has waited for."""

    ptr = 0

    def __init__(self, null=False, non_blocking=False, ptds=False, priority=None):
        self._outer = []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def use(self):
        return self

    def synchronize(self):
        note(WAIT, "stream")
        _ledger.arrived(None)

    def record(self, event=None):
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event):
        pass


Stream.null = Stream(null=True)


class Event:
    """A place in a stream."""

    def __init__(self, block=False, disable_timing=False, interprocess=False):
        self._copies = 0

    def record(self, stream=None):
        self._copies = _ledger.recorded()

    def synchronize(self):
        note(WAIT, "event")
        _ledger.arrived(self._copies)


def alloc_pinned_memory(size):
    """Return memory of the host that a GPU can write to while the host does something else."""
    return PinnedMemory(b"\xa5" * size)


class PinnedMemory(bytearray):
    """Such memory, before anything has arrived in it."""


def get_current_stream(device_id=-1):
    return Stream.null


class MemoryPool:
    """CuPy's keeper of memory."""

    def used_bytes(self):
        return 0

    def total_bytes(self):
        return 0

    def free_all_blocks(self):
        pass


def is_available():
    return runtime.getDeviceCount() > 0


device = types.ModuleType("cupy.cuda.device")
device.Device = Device
sys.modules["cupy.cuda.device"] = device
