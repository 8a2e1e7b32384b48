"""The CuPy backend: arrays in the memory of NVIDIA GPUs.

CuPy is imported when the backend is asked for something, never by importing this package: gradkit loads it on
machines without a GPU too, to say why it cannot run there.

`CUDA_SOURCES` holds every CUDA kernel of this backend as text. A test compiles each with NVRTC, which needs no GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from gradkit.backend import NARROW, Backend, MessageMemory, Processes, Transport, as_numpy_dtype
from gradkit_cupy.several import NamespaceOfSeveral, on_its_device
from gradkit_cupy.sources import CUDA_SOURCES

__all__ = ["CUDA_SOURCES", "CupyBackend"]


class CupyBackend(Backend):
    """CuPy on NVIDIA GPUs."""

    name: ClassVar[str] = "cupy"
    library: ClassVar[str] = "cupy"
    packages: ClassVar[tuple[str, ...]] = ("cupy_backends", "cupyx")
    install: ClassVar[str] = "pip install 'gradkit[cuda13]' (or 'gradkit[cuda12]' for a driver of CUDA 12)"
    platform: ClassVar[str] = "gpu"

    # What it has

    @cached_property
    def xp(self) -> Any:
        """The library's namespace; with several GPUs, one whose functions run where their arguments are."""
        namespace = super().xp
        return NamespaceOfSeveral(namespace, self.array_types[0]) if self.has_several_devices else namespace

    @cached_property
    def array_types(self) -> tuple[type[Any], ...]:
        """CuPy's arrays; its reductions give 0-d arrays, so there are no scalars."""
        import cupy  # optional

        return (cupy.ndarray,)

    @cached_property
    def kernels(self) -> Mapping[str, Callable[..., Any]]:
        """CuPy's cheapest calls, and the kernels of this package."""
        from gradkit_cupy.kernels import KERNELS  # late: they need CuPy, which is optional

        return KERNELS

    def placed(self, kernel: Callable[..., Any]) -> Callable[..., Any]:
        """Return a kernel that runs on the GPU of its arguments, whichever is the current one."""
        return on_its_device(kernel, self.array_types[0]) if self.has_several_devices else kernel

    def special(self, name: str) -> Callable[..., Any]:
        """Return CuPy's function; one that it does not have is SciPy's, on the host."""
        import cupy  # optional
        import cupyx.scipy.special  # optional

        function: Callable[..., Any] | None = getattr(cupyx.scipy.special, name, None)
        if function is None:
            return super().special(name)
        # Functions written in Python, such as `polygamma`, expect arrays where a ufunc takes numbers as well.
        return function if isinstance(function, cupy.ufunc) else _of_arrays(function)

    @cached_property
    def has_several_devices(self) -> bool:
        """Whether there is more than one GPU to run on."""
        return self.why_unusable() is None and len(self.devices) > 1

    def why_unusable(self) -> str | None:
        """Return None where CUDA finds a GPU and CuPy its compiler, else CUDA's or CuPy's own words."""
        from cupy.cuda import nvrtc, runtime  # optional

        try:
            count = runtime.getDeviceCount()
        except runtime.CUDARuntimeError as error:
            return str(error)
        if count == 0:
            return "CUDA finds no GPU"
        try:
            nvrtc.getVersion()
        except (ImportError, RuntimeError) as error:
            return f"CuPy cannot load CUDA's compiler NVRTC ({error}); {self.install} brings it"
        return None

    def versions(self) -> dict[str, str]:
        """Return the versions of CuPy, and of CUDA as the library and the driver say it."""
        from cupy.cuda import runtime  # optional

        found = super().versions()
        found["CUDA runtime"] = _version(runtime.runtimeGetVersion())
        found["CUDA driver"] = _version(runtime.driverGetVersion())
        return found

    # Several processes

    def transport(self, processes: Processes, lane: str) -> Transport | None:
        """Return NCCL where CuPy finds it; else arrays go by MPI. Each process gets a GPU of its own."""
        from gradkit_cupy.nccl import NcclTransport, place, why_no_nccl  # late: it needs CuPy, which is optional

        place(processes)
        return NcclTransport(processes, lane) if why_no_nccl() is None else None

    def message_memory(self) -> MessageMemory:
        """Return the GPU's memory where MPI knows CUDA, else pinned memory of the host."""
        from gradkit_cupy.messages import GpuMemory, PinnedMemory, mpi_knows_cuda  # late: only several processes ask

        return GpuMemory() if mpi_knows_cuda() else PinnedMemory(self.start_copy_to_host)

    def travel(self) -> str:
        """Say whether it is NCCL, and else whose memory MPI takes, and why."""
        from gradkit_cupy.nccl import why_no_nccl  # late: it needs CuPy, which is optional

        reason = why_no_nccl()
        return "NCCL" if reason is None else f"{super().travel()}: {reason}"

    # Arrays

    def from_host(self, array: np.ndarray[Any, Any], device: Any = None) -> Any:
        """Copy a NumPy array to a GPU (CUDA's current one if None)."""
        import cupy  # optional

        with self.placing(device):
            return cupy.asarray(array)

    def shares_memory(self, a: Any, b: Any) -> bool:
        """Return whether two arrays may overlap: by their bounds, since more would be computed on the GPU."""
        import cupy  # optional

        return bool(cupy.may_share_memory(a, b))

    def to_host(self, value: Any) -> np.ndarray[Any, Any]:
        """Copy an array to a NumPy array, when it has been computed."""
        import cupy  # optional

        array: np.ndarray[Any, Any] = cupy.asnumpy(value)
        return array

    def start_copy_to_host(self, value: Any) -> Callable[[], np.ndarray[Any, Any]]:
        """Begin to copy an array into pinned memory: behind what its GPU has been asked for so far, and no more."""
        import cupy  # optional

        with value.device:
            memory = cupy.cuda.alloc_pinned_memory(max(value.nbytes, 1))
            copy = np.frombuffer(memory, value.dtype, value.size).reshape(value.shape)
            value.get(out=copy, blocking=False)
            event = cupy.cuda.Event(disable_timing=True)
            event.record()

        def wait() -> np.ndarray[Any, Any]:
            event.synchronize()
            return copy

        return wait

    def wait(self, value: Any) -> None:
        """Return when the array's GPU has done all that was asked of it, on whichever stream."""
        value.device.synchronize()

    # Types: CuPy's dtypes are NumPy's

    def raw_dtype_named(self, name: str) -> Any:
        """Return NumPy's dtype of that name, or ml_dtypes', if CuPy makes arrays of it."""
        if name in NARROW and not self._makes(name):
            raise TypeError(
                f"dtype {name}: the backend 'cupy' does not have it, since CuPy {self.versions()['cupy']} makes no "
                f"such arrays. Use float16 or float32, or another backend."
            )
        return as_numpy_dtype(name)

    def _makes(self, name: str) -> bool:
        known = self._narrow.get(name)
        if known is None:
            import cupy  # optional

            dtype = as_numpy_dtype(name)
            try:
                known = bool(cupy.ones(2, dtype).astype(np.float32).sum() == 2)
            except (KeyError, TypeError, ValueError, RuntimeError):
                known = False
            self._narrow[name] = known
        return known

    @cached_property
    def _narrow(self) -> dict[str, bool]:
        """By dtype: whether CuPy makes arrays of it, as far as it was asked."""
        return {}

    def dtype_of(self, value: Any) -> np.dtype[Any]:
        """Return the array's dtype."""
        dtype: np.dtype[Any] = value.dtype
        return dtype

    @cached_property
    def inexact(self) -> frozenset[Any]:
        """The dtypes with a fractional part."""
        return frozenset(map(np.dtype, ("float16", "float32", "float64", "complex64", "complex128")))

    @property
    def product_modes(self) -> frozenset[str]:
        """Both: `gradkit_cupy.products` chooses between them."""
        return frozenset(("float32", "tensorfloat32"))

    # Devices

    def raw_devices(self) -> Sequence[Any]:
        """List the GPUs that CUDA shows this process."""
        from cupy.cuda import Device, runtime  # optional

        return [Device(i) for i in range(runtime.getDeviceCount())]

    def device_kind(self, raw: Any) -> str:
        """Return the GPU's name."""
        from cupy.cuda import runtime  # optional

        name: bytes = runtime.getDeviceProperties(raw.id)["name"]
        return name.decode()

    def device_of(self, value: Any) -> Any:
        """Return the GPU whose memory an array is in."""
        return value.device

    def placing(self, device: Any) -> AbstractContextManager[Any]:
        """Let `device` be the thread's current GPU inside a ``with`` block."""
        return nullcontext() if device is None else device

    def to_device(self, value: Any, device: Any) -> Any:
        """Copy an array to another GPU, when it has been computed."""
        if value.device == device:
            return value
        # CuPy copies on the receiving GPU's stream, which knows nothing of what the sending one has yet to do.
        value.device.synchronize()
        with device:
            return value.copy()


def _of_arrays(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function`, given arrays without axes for Python's numbers."""
    import cupy  # optional

    def call(*args: Any) -> Any:
        dtype = next(arg.dtype for arg in args if isinstance(arg, cupy.ndarray))
        return function(*(arg if isinstance(arg, cupy.ndarray) else cupy.full((), arg, dtype) for arg in args))

    return call


def _version(number: int) -> str:
    """Return CUDA's version number as text: 12090 is 12.9."""
    return f"{number // 1000}.{number % 1000 // 10}"
