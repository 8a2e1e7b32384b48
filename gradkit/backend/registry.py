"""Which backends there are, and whose an array is."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

from gradkit.backend.narrow import note_backend
from gradkit.backend.protocol import Backend, Raw, RawType
from gradkit.errors import BackendNotInstalledError, BackendUnusableError, unknown_name

__all__ = [
    "DTYPE_NAMES", "ENTRY_POINT_GROUP", "INCLUDED", "INEXACT", "NOTHING", "REAL", "SEVERAL", "TRACED", "UNUSABLE",
    "backend_names", "backend_of", "backend_packages", "first_on_gpu", "get_backend",
    "library_packages", "load_backend", "register_backend", "why_not",
]  # fmt: skip

ENTRY_POINT_GROUP = "gradkit.backends"
INCLUDED = {
    "cupy": "gradkit_cupy:CupyBackend",
    "jax": "gradkit_jax:JaxBackend",
    "numpy": "gradkit_numpy:NumpyBackend",
    "python": "gradkit_python:PythonBackend",
    "strict": "gradkit_strict:StrictBackend",
    "torch": "gradkit_torch:TorchBackend",
}
"""The backends that come with gradkit: to find these, the metadata of all packages need not be read, which takes as
long as capturing a training step."""

_loaded: dict[str, Backend] = {}
_by_type: dict[RawType, Backend] = {}
_foreign: set[type] = set()
"""Types that are no backend's arrays, such as dtypes, which a key of a graph asks about at each operation."""

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


class _Traced(dict[RawType, bool]):
    def __missing__(self, kind: RawType) -> bool:
        owner = _find_owner(kind)
        found = self[kind] = owner is not None and issubclass(kind, owner.traced_types)
        return found


TRACED = _Traced()
"""By the type of a raw array: whether a transform of its library's own follows it, so that nobody sees its values."""
UNUSABLE: dict[type, Callable[[Any], None]] = {}
"""By the type of what stands where an array was: what raises the error that says so."""


@cache
def _entry_points() -> dict[str, Any]:
    from importlib.metadata import entry_points  # late: it reads the metadata of packages, with all of email

    return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}


def backend_names() -> list[str]:
    """List gradkit's backends, and those that packages on this machine publish, whether or not they can run."""
    # Metadata of an installation in place may be older than gradkit's files.
    return sorted({*INCLUDED, *_entry_points(), *_loaded})


def backend_packages() -> frozenset[str]:
    """Return the names of the packages that publish backends."""
    included = (value.partition(":")[0] for value in INCLUDED.values())
    return frozenset([*included, *(entry.module.partition(".")[0] for entry in _entry_points().values())])


def library_packages() -> frozenset[str]:
    """Return the names of the packages that the backends loaded so far compute with."""
    return frozenset(name for backend in _loaded.values() for name in (backend.library, *backend.packages))


def register_backend(backend: Backend) -> None:
    """Add a backend in this process alone, without an entry point."""
    _loaded[backend.name] = backend
    _foreign.clear()


class Unloadable(Backend):
    """What stands for a backend whose package fails: it has no arrays, and says why it cannot run.

    Parameters
    ----------
    name : str
        The backend's name.
    reason : str
        Why.
    """

    library = "sys"  # which is always there
    install = ""
    array_types = ()

    def __init__(self, name: str, reason: str) -> None:
        self.name = name  # type: ignore[misc]
        self.reason = reason

    def why_unusable(self) -> str:
        """Return what happened when it was loaded."""
        return self.reason


class _Included:
    """What an entry point is for a backend that comes with gradkit."""

    def __init__(self, value: str) -> None:
        self.value = value

    def load(self) -> Any:
        module, _, member = self.value.partition(":")
        return getattr(importlib.import_module(module), member)


def _made(name: str, entry: Any) -> Backend:
    """Return the backend that a package publishes; one that fails takes no other with it."""
    try:
        backend = entry.load()()
        if not isinstance(backend, Backend):
            raise TypeError(f"expected a gradkit.backend.Backend, got an object of type {type(backend).__name__}")
    except Exception as error:  # noqa: BLE001 - whatever a third party's package raises
        return Unloadable(name, f"{entry.value}, which publishes it, fails with {type(error).__name__}: {error}")
    return backend


def load_backend(name: str) -> Backend:
    """Return the backend object of that name, whether or not it can run here."""
    backend = _loaded.get(name)
    if backend is None:
        entry = _Included(INCLUDED[name]) if name in INCLUDED else _entry_points().get(name)
        if entry is None:
            raise unknown_name("backend", name, [*backend_names(), "auto"])
        made = _made(name, entry)
        _foreign.clear()
        backend = _loaded.setdefault(name, made)  # another thread's, if that was first: one alone is the backend
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
        if sys.modules.get(backend.library) is None:
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
    if backend is None and kind not in _foreign:
        backend = _find_owner(kind)
        if any(part.__module__.startswith("numpy.ma") for part in kind.__mro__):
            # What is masked would take part in every operation.
            raise ValueError(
                f"{kind.__name__}: masked arrays have no place in gradkit, which would not see the mask. Use "
                f"x.filled(value), or jnp.where(x.mask, value, x.data), to make a plain array of it."
            )
        if kind in UNUSABLE:
            UNUSABLE[kind](value)
        if backend is not None:
            _by_type[kind] = backend
            if backend.has_several_devices:
                SEVERAL[kind] = backend
            INEXACT[kind] = backend.inexact
            DTYPE_NAMES[kind] = backend.dtype_names
            REAL[kind] = backend.real
            note_backend(backend)
        elif getattr(sys.modules.get(kind.__module__), kind.__name__, None) is kind:  # else it would be kept alive
            _foreign.add(kind)
    return backend


def _find_owner(kind: RawType) -> Backend | None:
    # Those that are loaded come first, so that no other package is imported while they suffice; for lists, Python's
    # numbers and gradkit's own objects, which are no library's, none is.
    def owner_among(names: Iterable[str]) -> Backend | None:
        backends = map(load_backend, names)
        return next(
            (it for it in backends if sys.modules.get(it.library) is not None and issubclass(kind, it.array_types)),
            None,
        )

    found = owner_among(list(_loaded))
    if found is not None or kind.__module__.partition(".")[0] in ("builtins", "gradkit"):
        return found
    return owner_among(name for name in backend_names() if name not in _loaded)
