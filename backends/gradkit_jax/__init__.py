"""The JAX backend: JAX's arrays on all of its devices, and JAX's compiler behind `jit`.

gradkit's code runs on JAX's arrays, and on what JAX's own transforms put in their place: so the real `jax.jit`,
`jax.grad` and `jax.vmap` may stand around it. Whether there are 64-bit dtypes is JAX's setting, which gradkit reads and
changes for nobody but a test suite that asks; what needs one where it is off is an error.

JAX is imported when the backend is asked for something, never by importing this package.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gradkit.backend import Backend, Device
from gradkit_jax.widths import WIDE, dtype_named, with_wide_numbers

if TYPE_CHECKING:
    from gradkit.backend.printers import OperationPrinter

__all__ = ["JaxBackend"]

OLDEST = (0, 10)
"""The first version of JAX that has all that is asked of it here."""
PLATFORMS = {"cuda": "gpu", "rocm": "gpu"}
"""JAX's names of platforms that have another one here."""
PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin", "jax_rocm60_plugin", "jax_rocm7_plugin", "libtpu")
"""The packages that bring JAX another platform than the CPU."""


class JaxBackend(Backend):
    """JAX on all of its devices."""

    name: ClassVar[str] = "jax"
    library: ClassVar[str] = "jax"
    packages: ClassVar[tuple[str, ...]] = ("jaxlib", "ml_dtypes", "opt_einsum")
    install: ClassVar[str] = "pip install 'gradkit[jax]' (for GPUs also 'jax[cuda13]' or 'jax[cuda12]')"
    is_immutable: ClassVar[bool] = True

    # What it has

    @cached_property
    def platform(self) -> str:  # type: ignore[override]
        """The platform of JAX's default device; JAX is not imported to say ``"cpu"``."""
        if "jax" not in sys.modules and not any(map(importlib.util.find_spec, PLUGINS)):
            return "cpu"
        try:
            import jax  # optional

            found = str(jax.default_backend())
        except (ImportError, RuntimeError):  # it is not there, or says itself why it cannot run (`why_unusable`)
            return "cpu"
        return PLATFORMS.get(found, found)

    @cached_property
    def xp(self) -> Any:
        """JAX's NumPy; names of dtypes that are switched off are those of the narrower ones."""
        from gradkit_jax.namespace import Namespace  # late: it needs JAX, which is optional

        return Namespace()

    @cached_property
    def array_types(self) -> tuple[type[Any], ...]:
        """The type of JAX's arrays, and that of what stands for one inside of JAX's transforms."""
        import jax  # optional

        tracer = getattr(jax.core, "Tracer", None)
        return () if tracer is None else (jax.Array, tracer)  # something else may go by the name of JAX: gradkit does

    @cached_property
    def traced_types(self) -> tuple[type[Any], ...]:
        """The type of what stands for an array inside of JAX's transforms."""
        return self.array_types[1:]

    @cached_property
    def kernels(self) -> Mapping[str, Callable[..., Any]]:
        """What JAX has better than by the standard's functions."""
        from gradkit_jax.kernels import KERNELS  # late: it needs JAX, which is optional

        return KERNELS

    def placed(self, kernel: Callable[..., Any]) -> Callable[..., Any]:
        """Return a kernel that takes Python integers as the dtype beside them has them, wherever JAX computes."""
        return with_wide_numbers(kernel)

    @cached_property
    def printers(self) -> Sequence[OperationPrinter]:
        """JAX's compiler."""
        from gradkit_jax.printer import JaxPrinter  # late: only compiling takes it

        return (JaxPrinter(),)

    def special(self, name: str) -> Callable[..., Any]:
        """Return SciPy's function, on the host; where JAX traces, or on a GPU, JAX's own."""
        from gradkit_jax.special import special  # late: it needs JAX, which is optional

        return special(name)

    def why_unusable(self) -> str | None:
        """Return None where JAX is new enough and finds a device, else why not."""
        import jax  # optional

        if _numbers(jax.__version__) < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            return (
                f"JAX {jax.__version__} is too old, {oldest} or newer is needed: pip install --upgrade 'jax>={oldest}'"
            )
        try:
            jax.devices()
        except RuntimeError as error:
            return str(error)
        return None

    def versions(self) -> dict[str, str]:
        """Return the versions of JAX and its compiler, and whether it has 64-bit dtypes."""
        import jax  # optional
        import jaxlib

        wide = "on" if jax.config.jax_enable_x64 else "off"
        return {"jax": jax.__version__, "jaxlib": f"{jaxlib.__version__} (x64 is {wide})"}

    @contextmanager
    def with_every_dtype(self) -> Iterator[None]:
        """Switch JAX's x64 on inside a ``with`` block, in all threads."""
        import jax  # optional

        before = jax.config.jax_enable_x64
        jax.config.update("jax_enable_x64", True)
        try:
            yield
        finally:
            jax.config.update("jax_enable_x64", before)

    # Arrays

    def admit(self, value: Any, caller: str) -> Any:
        """Return an array that gradkit can compute with, or say why it is none."""
        import jax  # optional

        if isinstance(value, self.traced_types):
            return value
        if jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key):
            raise TypeError(
                f"{caller}: a key of jax.random (dtype {value.dtype}) is no array of numbers. Take its words, "
                f"gradkit.random.wrap_key_data(jax.random.key_data(key)), or make one by gradkit.random.key(seed)."
            )
        if value.is_deleted():
            raise TypeError(
                f"{caller}: this jax.Array, {value.dtype}{list(value.shape)}, has been deleted: its memory was "
                f"donated to a function under jax.jit. Use what that returned."
            )
        self.device(value)  # an error for one that is not on one device
        return value

    def computing_now(self) -> AbstractContextManager[Any]:
        """Let what has values be computed inside a ``with`` block, also where JAX traces a function."""
        import jax  # optional

        context: AbstractContextManager[Any] = jax.ensure_compile_time_eval()
        return context

    def from_host(self, array: np.ndarray[Any, Any], device: Any = None) -> Any:
        """Copy a NumPy array to a device (JAX's default one if None)."""
        import jax  # optional

        if array.dtype.name in WIDE and not jax.config.jax_enable_x64:
            array = self._narrower(array)
        from gradkit_jax.namespace import from_host  # late: it needs JAX, which is optional

        return from_host(array, device)

    def _narrower(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return whole numbers that fit as those of 32 bits; anything else loses something without x64."""
        narrow = array.astype(WIDE[array.dtype.name])
        if array.dtype.kind not in "iu" or not np.array_equal(narrow, array):
            self.raw_dtype_named(array.dtype.name)  # which raises
        return narrow

    def to_host(self, value: Any) -> np.ndarray[Any, Any]:
        """Return the array's memory as a NumPy array that is read-only, or a copy from a GPU's."""
        if isinstance(value, self.traced_types) and value.dtype == bool and value.shape == ():
            return np.asarray(bool(value))  # JAX's own error for a condition
        return np.asarray(value)

    def start_copy_to_host(self, value: Any) -> Callable[[], np.ndarray[Any, Any]]:
        """Begin to copy an array to the host."""
        if not isinstance(value, self.traced_types):
            value.copy_to_host_async()
        return lambda: self.to_host(value)

    def updated(self, array: Any, index: tuple[Any, ...], values: Any) -> Any:
        """Return a copy of `array` with `values` at an index."""
        return array.at[index].set(values)

    def wait(self, value: Any) -> None:
        """Return when `value` has been computed."""
        if not isinstance(value, self.traced_types):
            value.block_until_ready()

    # Types: JAX's dtypes are NumPy's, and those of ml_dtypes

    def dtype_of(self, value: Any) -> np.dtype[Any]:
        """Return the array's dtype."""
        dtype: np.dtype[Any] = value.dtype
        return dtype

    @cached_property
    def inexact(self) -> frozenset[Any]:
        """The dtypes with a fractional part, whether or not they are switched on."""
        return self.real | {np.dtype("complex64"), np.dtype("complex128")}

    @cached_property
    def real(self) -> frozenset[Any]:
        """The floating dtypes that it computes in, whether or not they are switched on."""
        return frozenset(map(np.dtype, ("float16", "float32", "float64")))

    def raw_dtype_named(self, name: str) -> Any:
        """Return the dtype of that name.

        Raises
        ------
        TypeError
            If it has 64 bits (a complex one 128), and JAX's x64 is off.
        """
        return dtype_named(name)

    # Devices

    def raw_devices(self) -> Sequence[Any]:
        """List JAX's devices in this process: those of its default platform first, then the CPU's."""
        import jax  # optional

        devices = list(jax.local_devices())
        return devices if devices[0].platform == "cpu" else [*devices, *jax.local_devices(backend="cpu")]

    @cached_property
    def devices(self) -> tuple[Device, ...]:
        """JAX's devices."""
        return tuple(
            Device(self.name, PLATFORMS.get(raw.platform, raw.platform), i, raw.device_kind, raw)
            for i, raw in enumerate(self.raw_devices())
        )

    def device_of(self, value: Any) -> Any:
        """Return the device of an array; None for one without a value, which is on whichever its function runs on."""
        import jax  # optional

        if isinstance(value, self.traced_types):
            return None
        device = value.device
        if not isinstance(device, jax.Device):
            raise ValueError(
                f"This jax.Array of shape {value.shape} lies on {len(value.devices())} devices, and an Array is on "
                f"one. Bring it to one first: jax.device_put(x, jax.devices()[0])."
            )
        return device

    def device(self, value: Any) -> Device:
        """Return where an array is, in JAX's words; one without a value is said to be on the default device."""
        raw = self.device_of(value)
        if raw is None:
            import jax  # optional

            raw = jax.config.jax_default_device
        found = next((device for device in self.devices if device.raw == raw), None)
        if found is None and not isinstance(value, self.traced_types):
            raise ValueError(
                f"This jax.Array lies on {raw}, which is none of this process's devices of the platform in use "
                f"({', '.join(str(device.raw) for device in self.devices)}). Bring it to one: "
                f"jax.device_put(x, jax.devices()[0])."
            )
        return found or self.devices[0]

    @cached_property
    def has_several_devices(self) -> bool:
        """Whether there is more than one device, so that a call has to look where its arguments are."""
        return self.why_unusable() is None and len(self.devices) > 1

    def is_on_host(self, device: Any) -> bool:
        """Return whether a device is the CPU (None: JAX's default one)."""
        return bool((self.devices[0].raw if device is None else device).platform == "cpu")

    def placing(self, device: Any) -> AbstractContextManager[Any]:
        """Let JAX's own default be `device` inside a ``with`` block, in this thread."""
        import jax  # optional

        context: AbstractContextManager[Any] = jax.default_device(device)
        return context

    def to_device(self, value: Any, device: Any) -> Any:
        """Copy an array to another device."""
        import jax  # optional

        return jax.device_put(value, device)


def _numbers(version: str) -> tuple[int, ...]:
    """Return the first two numbers of a version."""
    return tuple(int("".join(filter(str.isdigit, part)) or 0) for part in version.split(".")[:2])
