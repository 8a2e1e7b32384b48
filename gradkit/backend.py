"""What a backend is, which ones there are, and which one makes new arrays.

A backend is one object of a subclass of `Backend`. It states its library, where its arrays live and how they come
in from the host and go back; everything else has a default in array-API terms. Packages publish it under the
entry-point group ``gradkit.backends``; it is loaded when it is asked for, or when an array of its library arrives.

The switch decides where *new* arrays are made. An operation runs where its arguments are.
"""

from __future__ import annotations

import importlib
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, ClassVar

import numpy as np

from gradkit.errors import BackendNotInstalledError, BackendUnusableError, MissingDependencyError, unknown_name

__all__ = [
    "Backend",
    "Device",
    "backend_names",
    "backend_of",
    "current_backend",
    "current_device",
    "default_device",
    "first_on_gpu",
    "get_backend",
    "load_backend",
    "register_backend",
    "scipy_special",
    "set_backend",
    "use_backend",
    "why_not",
]

ENTRY_POINT_GROUP = "gradkit.backends"
ENVIRONMENT_VARIABLE = "GRADKIT_BACKEND"

Raw = Any  # an array of some backend's library
RawType = type[Any]


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
    install: ClassVar[str]
    """The pip command that brings the library."""
    platform: ClassVar[str] = "cpu"
    has_axes: ClassVar[bool] = True
    """Whether its arrays may have axes. A backend that holds single numbers alone is used where it is asked for by
    name: it is not among those that a test suite runs on by default. `hessian` takes one direction at a time there."""

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
    def kernels(self) -> Mapping[str, Callable[..., Any]]:
        """Kernels that are better than one array-API call, by the primitive's name."""
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

    def silenced(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function` so that the library says nothing of divisions by zero, overflows and the like inside it.

        It is asked for rules and formulas of gradkit's own, whose intermediate values are nobody's business: the result
        is what it should be.
        """
        return function

    def why_unusable(self) -> str | None:
        """Return None where the backend can run on this machine, else the library's own reason."""
        return None

    def versions(self) -> dict[str, str]:
        """Return the versions that a bug report needs."""
        return {self.library: str(getattr(importlib.import_module(self.library), "__version__", "unknown"))}

    # Arrays

    def asarray(self, value: Raw) -> Raw:
        """Return `value` as an array proper, where a reduction of the library gives a scalar."""
        return value

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

    def shares_memory(self, a: Raw, b: Raw) -> bool:
        """Return whether a change of `a` in place may change `b`; both are arrays proper of one type.

        By default: whether they are one object, which is all that is known of a library whose arrays have no views.
        """
        return a is b

    def wait(self, value: Raw) -> None:  # noqa: B027 - a library on the CPU has nothing to wait for
        """Return when `value` has been computed."""

    # Types

    def dtype_of(self, value: Raw) -> np.dtype[Any]:
        """Return the NumPy dtype of an array."""
        name = str(value.dtype).rpartition(".")[2]
        return np.dtype(name)

    def dtype_name(self, value: Raw) -> str:
        """Return the name of an array's dtype."""
        name = self.dtype_names.get(value.dtype)
        if name is None:
            name = self.dtype_names[value.dtype] = self.dtype_of(value).name
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

    @cached_property
    def real(self) -> frozenset[Any]:
        """The library's own floating dtypes."""
        names = ("float16", "bfloat16", "float32", "float64")
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
                f"name (nor has the array API standard any of 16 bits). Use float32, or another backend."
            )
        return dtype

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


# Which backends there are

_loaded: dict[str, Backend] = {}
_by_type: dict[RawType, Backend] = {}

NOTHING: frozenset[Any] = frozenset()
INEXACT: dict[RawType, frozenset[Any]] = {}
"""By the type of a raw array, once one has been seen: the dtypes that have a derivative."""
DTYPE_NAMES: dict[RawType, dict[Any, str]] = {}
"""By the type of a raw array, once one has been seen: the names of the dtypes that have been."""
SEVERAL: dict[RawType, Backend] = {}
"""By the type of a raw array, once one has been seen: its backend, if a library's operators run on one of several
devices, whichever is current."""
REAL: dict[RawType, frozenset[Any]] = {}
"""By the type of a raw array, once one has been seen: those of them that are real."""


@cache
def _entry_points() -> dict[str, Any]:
    from importlib.metadata import entry_points  # late: it reads the metadata of packages, with all of email

    return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}


def backend_names() -> list[str]:
    """List the backends that packages on this machine publish, whether or not they can run."""
    return sorted({*_entry_points(), *_loaded})


def register_backend(backend: Backend) -> None:
    """Add a backend in this process alone, without an entry point."""
    _loaded[backend.name] = backend


def load_backend(name: str) -> Backend:
    """Return the backend object of that name, whether or not it can run here."""
    backend = _loaded.get(name)
    if backend is None:
        entry = _entry_points().get(name)
        if entry is None:
            raise unknown_name("backend", name, [*backend_names(), "auto"])
        backend = _loaded[name] = entry.load()()
    return backend


def get_backend(name: str) -> Backend:
    """Return a backend that can run here.

    Parameters
    ----------
    name : str
        One of `backend_names`, or ``"auto"``: the first backend with a usable GPU, else NumPy.

    Raises
    ------
    ValueError
        If no package publishes a backend of that name.
    BackendNotInstalledError
        If its library is not installed; the message has the pip command.
    BackendUnusableError
        If the library is there and cannot run; the message has the library's own reason.
    """
    if name == "auto":
        return _automatic_backend()
    backend = load_backend(name)
    reason = why_not(backend)
    if reason is None:
        return backend
    raise reason


def why_not(backend: Backend) -> Exception | None:
    """Return the error that tells why a backend cannot run here, or None where it can."""
    try:
        importlib.import_module(backend.library)
    except ImportError as error:
        return BackendNotInstalledError(
            f"The backend {backend.name!r} needs {backend.library}, which cannot be imported ({error}). "
            f"Install it with: {backend.install}"
        )
    reason = backend.why_unusable()
    if reason is None:
        return None
    return BackendUnusableError(
        f"The backend {backend.name!r} cannot run on this machine: {reason}. "
        f"`python -m gradkit info` lists the backends that can."
    )


def _automatic_backend() -> Backend:
    return next((backend for backend in _on_gpu() if why_not(backend) is None), None) or get_backend("numpy")


def first_on_gpu() -> Backend:
    """Return the first backend with a usable GPU, or raise the error that tells why there is none."""
    reasons = []
    for backend in _on_gpu():
        reason = why_not(backend)
        if reason is None:
            return backend
        reasons.append(reason)
    raise reasons[0] if reasons else BackendUnusableError("No package on this machine publishes a backend for GPUs.")


def _on_gpu() -> Iterator[Backend]:
    return (backend for backend in map(load_backend, backend_names()) if backend.platform == "gpu")


def backend_of(value: Raw) -> Backend | None:
    """Return the backend whose array `value` is, or None if it is no backend's."""
    kind = type(value)
    backend = _by_type.get(kind)
    if backend is None:
        backend = _find_owner(kind)
        if backend is not None:
            _by_type[kind] = backend
            if backend.has_several_devices:
                SEVERAL[kind] = backend
            INEXACT[kind] = backend.inexact
            DTYPE_NAMES[kind] = backend.dtype_names
            REAL[kind] = backend.real
    return backend


def _find_owner(kind: RawType) -> Backend | None:
    # Those that are loaded come first, so that no other package is imported while they suffice.
    for name in dict.fromkeys([*_loaded, *backend_names()]):
        backend = load_backend(name)
        if sys.modules.get(backend.library) is not None and issubclass(kind, backend.array_types):
            return backend
    return None


# Which one makes new arrays

_process_default: Backend | None = None
_context_default: ContextVar[Backend | None] = ContextVar("gradkit_backend", default=None)
_context_device: ContextVar[Device | None] = ContextVar("gradkit_device", default=None)


def current_backend() -> Backend:
    """Return the backend that makes new arrays."""
    backend = _context_default.get()
    if backend is not None:
        return backend
    global _process_default
    if _process_default is None:
        _process_default = _backend_of_environment()
    return _process_default


def _backend_of_environment() -> Backend:
    wish = os.environ.get(ENVIRONMENT_VARIABLE)
    if not wish:
        return get_backend("numpy")
    try:
        return get_backend(wish)
    except (ValueError, BackendNotInstalledError, BackendUnusableError) as error:
        raise type(error)(f"{ENVIRONMENT_VARIABLE}={wish}: {error}") from error


def set_backend(name: str) -> None:
    """Make new arrays on another backend from now on, in the whole process.

    Parameters
    ----------
    name : str
        ``"numpy"``, ``"cupy"``, ``"auto"`` or any other installed backend's name.

    Examples
    --------
    >>> import gradkit
    >>> gradkit.set_backend("numpy")
    >>> gradkit.numpy.ones(2).device
    Device(backend='numpy', platform='cpu', id=0)
    """
    global _process_default
    _process_default = get_backend(name)


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Make new arrays on another backend inside a ``with`` block, in this thread or task alone.

    Examples
    --------
    >>> import gradkit
    >>> with gradkit.use_backend("strict"):
    ...     gradkit.numpy.ones(2).device.backend
    'strict'
    """
    token = _context_default.set(get_backend(name))
    device_token = _context_device.set(None)
    try:
        yield
    finally:
        _context_device.reset(device_token)
        _context_default.reset(token)


@contextmanager
def default_device(device: Device) -> Iterator[None]:
    """Make new arrays on `device` inside a ``with`` block, as `jax.default_device` does.

    Examples
    --------
    >>> import gradkit
    >>> with gradkit.default_device(gradkit.devices("numpy")[0]):
    ...     x = gradkit.numpy.zeros(3)
    """
    if not isinstance(device, Device):
        raise TypeError(
            f"default_device: expected a Device, one of gradkit.devices(), got {device!r} of type "
            f"{type(device).__name__}"
        )
    backend = get_backend(device.backend)
    token = _context_default.set(backend)
    device_token = _context_device.set(device)
    try:
        with backend.placing(device.raw):
            yield
    finally:
        _context_device.reset(device_token)
        _context_default.reset(token)


def current_device() -> Any:
    """Return what the current backend's library takes as ``device=`` for a new array (None: its own default)."""
    device = _context_device.get()
    return None if device is None else device.raw
