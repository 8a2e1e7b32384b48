"""What a backend is, which ones there are, and which one makes new arrays.

A backend is one object of a subclass of `Backend`. It states its library, where its arrays live and how they come
in from the host and go back; everything else has a default in array-API terms. Packages publish it under the
entry-point group ``gradkit.backends``; it is loaded when it is asked for, or when an array of its library arrives.

The switch decides where *new* arrays are made. An operation runs where its arguments are.
"""

from gradkit.backend.narrow import NARROW, NARROW_DTYPES, NARROW_SIZES, as_numpy_dtype, note_use
from gradkit.backend.protocol import Backend, CompileError, Device, scipy_special
from gradkit.backend.registry import (
    DTYPE_NAMES,
    ENTRY_POINT_GROUP,
    INEXACT,
    NOTHING,
    REAL,
    SEVERAL,
    TRACED,
    UNUSABLE,
    backend_names,
    backend_of,
    backend_packages,
    first_on_gpu,
    get_backend,
    library_packages,
    load_backend,
    register_backend,
    why_not,
)
from gradkit.backend.switch import (
    ENVIRONMENT_VARIABLE,
    chosen_device,
    current_backend,
    current_device,
    default_device,
    openings,
    set_backend,
    use_backend,
    use_everywhere,
)
from gradkit.backend.transport import Arriving, HostMemory, MessageMemory, Processes, Transport, own_device

__all__ = [
    "DTYPE_NAMES", "ENTRY_POINT_GROUP", "ENVIRONMENT_VARIABLE", "INEXACT", "NARROW", "NARROW_DTYPES", "NARROW_SIZES",
    "NOTHING", "REAL", "SEVERAL", "TRACED", "UNUSABLE", "Arriving", "Backend", "CompileError", "Device", "HostMemory",
    "MessageMemory", "Processes", "Transport", "as_numpy_dtype", "backend_names", "backend_of", "backend_packages",
    "chosen_device", "current_backend", "current_device", "default_device", "first_on_gpu", "get_backend",
    "library_packages", "load_backend", "note_use", "openings", "own_device", "register_backend", "scipy_special",
    "set_backend", "use_backend", "use_everywhere", "why_not",
]  # fmt: skip
