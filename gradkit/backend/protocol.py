"""What a backend is: its library, where its arrays live, and how they come in from the host and go back."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gradkit.backend.narrow import NARROW, as_numpy_dtype, note_use
from gradkit.backend.transport import HostMemory
from gradkit.errors import MissingDependencyError

if TYPE_CHECKING:
    from gradkit.backend.printers import OperationPrinter, Printer
    from gradkit.backend.transport import MessageMemory, Processes, Transport

__all__ = ["Backend", "CompileError", "Device", "Raw", "RawType", "scipy_special"]

Raw = Any  # an array of some backend's library
RawType = type[Any]


class CompileError(RuntimeError):
    """A plan that could not be compiled; the message is the compiler's own."""


@dataclass(frozen=True)
class Device:
    """One place where a backend keeps arrays, in JAX's words.

    Attributes
    ----------
    backend : str
        Name of the backend.
    platform : str
        ``"cpu"`` or ``"gpu"``.
    id : int
        Position among the backend's devices.
    device_kind : str
        What the hardware calls itself.
    raw : object
        What the library takes as ``device=``.
    """

    backend: str
    platform: str
    id: int
    device_kind: str = field(default="", compare=False, repr=False)
    raw: Any = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.backend}:{self.id}"


class Backend(ABC):
    """The protocol of a backend, with a default for all that the array API standard can express.

    A minimal backend sets `name`, `library` and `install`, and says what its arrays' types are (`array_types`), its
    devices (`raw_devices`, `device_of`) and how an array crosses from and to the host (`from_host`, `to_host`).
    """

    name: ClassVar[str]
    library: ClassVar[str]
    """The module whose arrays these are."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Other packages whose Python code the library's functions run."""
    install: ClassVar[str]
    """The pip command that brings the library."""
    platform: ClassVar[str] = "cpu"
    has_axes: ClassVar[bool] = True
    """Whether its arrays may have axes. A backend that holds single numbers alone is used where it is asked for by
    name: it is not among those that a test suite runs on by default. `hessian` takes one direction at a time there."""
    is_immutable: ClassVar[bool] = False
    """Whether an array of the library never changes: ``x += y`` gives another one, and ``x[i] = y`` is an error."""

    # What it has

    @cached_property
    def xp(self) -> Any:
        """The library's namespace, as array-api-compat gives it."""
        return importlib.import_module(f"array_api_compat.{self.library}")

    @property
    @abstractmethod
    def array_types(self) -> tuple[RawType, ...]:
        """The types of the library's arrays (and of what its reductions give instead of 0-d arrays)."""

    @property
    def traced_types(self) -> tuple[RawType, ...]:
        """Those of them whose values nobody can read, since a transform of the library's own follows the array."""
        return ()

    @property
    def kernels(self) -> Mapping[str, Callable[..., Any]]:
        """Kernels that are better than one array-API call, by the primitive's name."""
        return {}

    @property
    def printers(self) -> Sequence[Printer | OperationPrinter]:
        """What compiles programs for the library's arrays, the best first. Without one, graphs are interpreted.

        A `Printer` is given plans, an `OperationPrinter` operations, for a library that compiles by itself.
        """
        return ()

    @property
    def variants(self) -> Mapping[str, Callable[[], Backend]]:
        """Other forms of the backend for test suites, by name: ``numpy:readonly`` is NumPy's `readonly`."""
        return {}

    def special(self, name: str) -> Callable[..., Any]:
        """Return a function of `scipy.special` for the library's arrays: by default SciPy's, on the host."""
        function = scipy_special(name)

        def on_host(*args: Any) -> Any:
            device = self.device_of(next(arg for arg in args if isinstance(arg, self.array_types)))
            result = function(*(self.to_host(arg) if isinstance(arg, self.array_types) else arg for arg in args))
            if isinstance(result, tuple):
                return tuple(self.from_host(np.asarray(part), device) for part in result)
            return self.from_host(np.asarray(result), device)

        return on_host

    @property
    def silence(self) -> tuple[Callable[[], Any], Callable[[Any], None]] | None:
        """What keeps the library from warning of divisions by zero, overflows and the like, and what ends that.

        The second is given what the first returned. It is asked for rules and formulas of gradkit's own, whose
        intermediate values are nobody's business: the result is what it should be. None for a library that never warns.
        """
        return None

    def why_unusable(self) -> str | None:
        """Return None where the backend can run on this machine, else the library's own reason."""
        return None

    def versions(self) -> dict[str, str]:
        """Return the versions that a bug report needs."""
        return {self.library: str(getattr(importlib.import_module(self.library), "__version__", "unknown"))}

    def with_every_dtype(self) -> AbstractContextManager[Any]:
        """Let all dtypes of the standard be there inside a ``with`` block, in all threads: for test suites.

        By default they always are. A library that has some of them by a setting of its user's switches that on.
        """
        return nullcontext()

    # Arrays

    def computing_now(self) -> AbstractContextManager[Any]:
        """Let what has values be computed inside a ``with`` block, also where the library only notes what is to be.

        A graph is captured inside such a block: what it has as constants is kept, and is no other program's.
        """
        return nullcontext()

    def asarray(self, value: Raw) -> Raw:
        """Return `value` as an array proper, where a reduction of the library gives a scalar."""
        return value

    def admit(self, value: Raw, caller: str) -> Raw:
        """Return an array that users hand over as it may be computed with, or raise TypeError.

        By default every array of the library is taken as it is. A library that has arrays without elements, or follows
        some of them itself, says here what to do with them.

        Parameters
        ----------
        value : raw array
            An array of one of `array_types`.
        caller : str
            What it was given to, for the message.
        """
        return value

    @property
    def is_followed_now(self) -> bool:
        """Whether a transform of the library's own is in progress that may follow arrays of any type.

        Programs that write into memory of their own are interpreted meanwhile, so that it sees each operation. By
        default none is: where followed arrays are of a type of their own, that says it (`traced_types`).
        """
        return False

    def one_like(self, value: Raw) -> Raw:
        """Return ones of the shape, dtype and device of `value`: what a backward pass starts from."""
        return self.xp.ones(value.shape, dtype=value.dtype, device=self.device_of(value))

    def is_scalar(self, value: Raw) -> bool:
        """Return whether `value`, of one of `array_types`, is a number with a dtype rather than an array."""
        return False

    def from_host(self, array: np.ndarray[Any, Any], device: Any = None) -> Raw:
        """Copy a NumPy array to `device` (the default one if None)."""
        return self.xp.asarray(array, dtype=self.raw_dtype_named(array.dtype.name), device=device, copy=True)

    def to_host(self, value: Raw) -> np.ndarray[Any, Any]:
        """Copy an array of this backend to a NumPy array."""
        return np.asarray(value)

    def start_copy_to_host(self, value: Raw) -> Callable[[], np.ndarray[Any, Any]]:
        """Begin to copy an array to the host, and return what waits for the copy and gives it.

        By default the copy is made when it is asked for: a library on the CPU has computed it then. On a GPU that is
        asked for something else in the meantime, the copy is in front of that.
        """
        return lambda: self.to_host(value)

    def updated(self, array: Raw, index: tuple[Any, ...], values: Raw) -> Raw:
        """Return `array` with `values` at an index of integers and slices: where that works, `array` itself.

        Texts that write in place write through this one call. `array` is theirs alone.
        """
        array[index] = values
        return array

    def shares_memory(self, a: Raw, b: Raw) -> bool:
        """Return whether a change of `a` in place may change `b`; both are arrays proper of one type.

        By default: whether they are one object, which is all that is known of a library whose arrays have no views.
        """
        return a is b

    def row_by_row(self, value: Raw) -> Raw:
        """Return an array whose elements lie row by row in memory, with those of `value`: itself, where its own do.

        By default an array of a library that says nothing of it (in `flags`, as NumPy's) stays as it is. Printers of
        plans need to know.
        """
        flags = getattr(value, "flags", None)
        if flags is None or flags.c_contiguous:
            return value
        return self.xp.reshape(self.xp.asarray(self.xp.reshape(value, (-1,)), copy=True), value.shape)

    def is_shared(self, value: Raw) -> bool:
        """Return whether others may have an array's memory too: what it is a view of, or views that do not hold it.

        By default an array is what its ``base``, if it has one, says, and views hold what they are views of.
        """
        return getattr(value, "base", None) is not None

    def wait(self, value: Raw) -> None:  # noqa: B027 - a library on the CPU has nothing to wait for
        """Return when `value` has been computed."""

    # Several processes

    def transport(self, processes: Processes, lane: str) -> Transport | None:
        """Return how the library's arrays travel between processes; None for MPI, which serves all.

        Parameters
        ----------
        processes : Processes
            Those of the run.
        lane : str
            What is in one lane leaves in one order; different lanes are independent of each other.
        """
        return None

    def message_memory(self) -> MessageMemory:
        """Return the memory that MPI reads and writes where the library's arrays travel by it."""
        return HostMemory(self)

    shares_host_memory: ClassVar[bool] = False
    """Whether arrays can have the memory of NumPy's."""

    def on_memory(self, values: np.ndarray[Any, Any]) -> Raw:
        """Return an array that has the memory of NumPy's, in which others write meanwhile."""
        raise NotImplementedError

    def travel(self) -> str:
        """Say by what arrays travel between processes, for `gradkit info`."""
        shared = "; gradients on one machine in shared memory" if self.shares_host_memory else ""
        return f"MPI on {self.message_memory().where}{shared}"

    # Types

    def dtype_of(self, value: Raw) -> np.dtype[Any]:
        """Return the NumPy dtype of an array."""
        return as_numpy_dtype(str(value.dtype).rpartition(".")[2])

    def dtype_name(self, value: Raw) -> str:
        """Return the name of an array's dtype."""
        name = self.dtype_names.get(value.dtype)
        if name is None:
            name = self.dtype_names[value.dtype] = self.dtype_of(value).name
            if name in NARROW:
                note_use()
        return name

    @cached_property
    def dtype_names(self) -> dict[Any, str]:
        """The names of the library's own dtypes that have been seen."""
        return {}

    @cached_property
    def inexact(self) -> frozenset[Any]:
        """The library's own dtypes with a fractional part: those that have a derivative."""
        names = ("complex64", "complex128")
        return self.real | {self.raw_dtype_named(name) for name in names if hasattr(self.xp, name)}

    def has_dtype(self, name: str) -> bool:
        """Return whether the library has a dtype of that name here."""
        try:
            self.raw_dtype_named(name)
        except (TypeError, MissingDependencyError):
            return False
        return True

    @property
    def computes_in_float32(self) -> frozenset[str]:
        """The dtypes of fewer bits that it computes in float32: arguments are converted, and results rounded once.

        By default all that no standard has: libraries hold them, and either lack functions for them or sum them up in
        themselves. A library that does as JAX does, sums in float32 included, says that it has none.
        """
        return NARROW

    @cached_property
    def real(self) -> frozenset[Any]:
        """The library's own floating dtypes, those that it computes in."""
        names = ("float16", "float32", "float64", *(NARROW - self.computes_in_float32))
        return frozenset(self.raw_dtype_named(name) for name in names if hasattr(self.xp, name))

    def raw_dtype_named(self, name: str) -> Any:
        """Return the library's dtype of that name.

        Raises
        ------
        TypeError
            If it has none.
        """
        dtype = getattr(self.xp, name, None)
        if dtype is None:
            raise TypeError(
                f"dtype {name}: the backend {self.name!r} does not have it, since {self.library} has no dtype of that "
                f"name (nor has the array API standard any of 16 or 8 bits). Use float32, or another backend."
            )
        return dtype

    # Products

    @property
    def product_modes(self) -> frozenset[str]:
        """The modes for products of float32 that it can choose, of ``"tensorfloat32"`` and ``"float32"``.

        With any of them it has a kernel ``matmul_in_mode(x, y, mode=)``. None: products keep all bits, or do what the
        library does.
        """
        return frozenset()

    # Devices

    def raw_devices(self) -> Sequence[Any]:
        """List what the library takes as ``device=``."""
        return [None]

    def device_kind(self, raw: Any) -> str:
        """Say what the hardware calls itself."""
        return self.platform

    def device_of(self, value: Raw) -> Any:
        """Return where an array is, as the library says it."""
        return None

    def why_no_device(self) -> str:
        """Return why there are no more devices than these, in the library's own words; nothing if it says nothing."""
        return ""

    def is_on_host(self, device: Any) -> bool:
        """Return whether a device's memory is the host's (`device` as the library says it; None: the default one)."""
        return self.platform == "cpu"

    @property
    def has_several_devices(self) -> bool:
        """Whether the library computes on one of several devices: the thread's current one, not its operands'."""
        return False

    def placed(self, kernel: Callable[..., Any]) -> Callable[..., Any]:
        """Return what runs `kernel`, a primitive's, on the device of its arguments: by default the kernel itself."""
        return kernel

    def placing(self, device: Any) -> AbstractContextManager[Any]:
        """Let the library's own default be `device` inside a ``with`` block, in this thread."""
        return nullcontext()

    def to_device(self, value: Raw, device: Any) -> Raw:
        """Copy an array to another device of this backend."""
        import array_api_compat  # late: importing gradkit does not take it

        return array_api_compat.to_device(value, device)

    @cached_property
    def devices(self) -> tuple[Device, ...]:
        """The backend's devices, in JAX's words."""
        return tuple(
            Device(self.name, self.platform, i, self.device_kind(raw), raw) for i, raw in enumerate(self.raw_devices())
        )

    def device(self, value: Raw) -> Device:
        """Return where an array is, in JAX's words."""
        devices = self.devices
        if len(devices) == 1:
            return devices[0]
        raw = self.device_of(value)
        return next(device for device in devices if device.raw == raw)

    def __repr__(self) -> str:
        return f"<gradkit backend {self.name!r}>"


@cache
def scipy_special(name: str) -> Callable[..., Any]:
    """Return a function of `scipy.special`; where SciPy is missing the error names the extra that brings it."""
    try:
        module = importlib.import_module("scipy.special")
    except ImportError as error:
        raise MissingDependencyError(
            f"gradkit.scipy.special.{name} needs SciPy, which cannot be imported ({error}). "
            f"Install it with: pip install 'gradkit[scipy]'"
        ) from error
    return getattr(module, name)  # type: ignore[no-any-return]
