"""The PyTorch backend: tensors on the CPU, on NVIDIA's and AMD's GPUs and on Apple's, as PyTorch has them.

PyTorch is imported when the backend is asked for something, never by importing this package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gradkit.backend import NARROW, Backend, Device

if TYPE_CHECKING:
    from gradkit.backend.printers import Printer

__all__ = ["TorchBackend"]

OLDEST = (2, 8)
"""The first version that has all dtypes and functions that are used here."""


BITS = {1: "uint8", 2: "int16"}
"""Integers, by their bytes."""


class TorchBackend(Backend):
    """PyTorch."""

    name: ClassVar[str] = "torch"
    library: ClassVar[str] = "torch"
    install: ClassVar[str] = "pip install 'gradkit[torch]'"

    # What it has

    @cached_property
    def xp(self) -> Any:
        """array-api-compat's namespace, with what it leaves unlike the standard mended."""
        from gradkit_torch.namespace import Namespace  # late: it needs PyTorch, which is optional

        return Namespace()

    @cached_property
    def array_types(self) -> tuple[type[Any], ...]:
        """PyTorch's tensors; its reductions give tensors without axes, so there are no scalars."""
        import torch  # optional

        return (torch.Tensor,)

    @cached_property
    def kernels(self) -> Mapping[str, Callable[..., Any]]:
        """PyTorch's own calls."""
        from gradkit_torch.kernels import KERNELS  # late: they need PyTorch, which is optional

        return KERNELS

    def placed(self, kernel: Callable[..., Any]) -> Callable[..., Any]:
        """Return a kernel that takes unsigned integers as well, which PyTorch hardly computes with."""
        from gradkit_torch.unsigned import bridged  # late: it needs PyTorch, which is optional

        return bridged(kernel, checks=True)

    @cached_property
    def printers(self) -> Sequence[Printer]:
        """Lists of PyTorch's calls."""
        from gradkit_torch.calls.printer import TorchPrinter  # late: only compiling takes it

        return (TorchPrinter(),)

    def why_unusable(self) -> str | None:
        """Return None where PyTorch is new enough, else which version there is."""
        import torch  # optional

        found = str(torch.__version__)
        if tuple(int(part) for part in found.split(".")[:2]) < OLDEST:
            return f"PyTorch {found} is too old, {'.'.join(map(str, OLDEST))} or newer is needed: pip install -U torch"
        return None

    # Arrays

    def admit(self, value: Any, caller: str) -> Any:
        """Return a tensor that gradkit can compute with, or say why it is none."""
        import torch  # optional

        if value.requires_grad:
            raise TypeError(
                f"{caller}: a torch.Tensor that requires grad ({_said(value)}): PyTorch's autograd follows it, and its "
                f"derivative would be lost here without a word. For the values alone take t.detach(); to differentiate "
                f"with gradkit instead, gradkit.grad(f)(t.detach()), or x = jnp.asarray(t.detach()) and "
                f"x.requires_grad = True."
            )
        if value.layout is not torch.strided or value.is_quantized:
            raise TypeError(
                f"{caller}: a torch.Tensor of layout {value.layout} ({_said(value)}): gradkit takes dense ones. Use "
                f"t.to_dense() or t.dequantize()."
            )
        if value.device not in self._known:
            raise TypeError(self._no_device(value, caller))
        if value.is_conj() or value.is_neg():
            return value.resolve_conj().resolve_neg()
        return value

    @property
    def is_followed_now(self) -> bool:
        """Whether one of PyTorch's transforms or modes is in progress in this thread, such as `torch.vmap`."""
        from gradkit_torch.following import is_followed_now  # late: it needs PyTorch, which is optional

        return is_followed_now()

    def _no_device(self, value: Any, caller: str) -> str:
        if value.device.type == "meta":
            return (
                f"{caller}: a torch.Tensor on the device 'meta' ({_said(value)}) has a shape and no elements. Make one "
                f"with elements (torch.empty_like(t, device='cpu')), or ask for shapes alone with gradkit.eval_shape."
            )
        known = ", ".join(str(raw) for raw in self._known)
        return f"{caller}: a torch.Tensor on the device {str(value.device)!r}, which is none of the backend's: {known}"

    @cached_property
    def _known(self) -> Mapping[Any, Device]:
        return {device.raw: device for device in self.devices}

    def from_host(self, array: np.ndarray[Any, Any], device: Any = None) -> Any:
        """Copy a NumPy array to a device (PyTorch's default one if None)."""
        import torch  # optional

        self._check(device)
        if array.dtype.name in NARROW:  # NumPy has them by ml_dtypes, which PyTorch does not know
            bits = array.view(BITS[array.dtype.itemsize])
            return torch.tensor(bits, device=device).view(self.raw_dtype_named(array.dtype.name))
        return torch.tensor(np.ascontiguousarray(array), device=device).reshape(array.shape)

    def to_host(self, value: Any) -> np.ndarray[Any, Any]:
        """Return a tensor as a NumPy array, which has the same memory where that is the host's."""
        import torch  # optional

        array: np.ndarray[Any, Any]
        value = value.resolve_conj().resolve_neg().cpu()
        if self.dtype_name(value) in NARROW:
            bits = value.view(torch.uint8 if value.itemsize == 1 else torch.int16).numpy()
            array = bits.view(self.dtype_of(value))
        else:
            array = value.numpy()
        if 0 in array.strides and array.size > 1:  # one element in several places, as numpy.broadcast_to's
            array.flags.writeable = False
        return array

    def updated(self, array: Any, index: tuple[Any, ...], values: Any) -> Any:
        """Write `values` at an index of integers and slices, of which PyTorch takes none that run backwards."""
        from gradkit_torch.kernels import updated  # late: they need PyTorch, which is optional

        return updated(array, index, values)

    def shares_memory(self, a: Any, b: Any) -> bool:
        """Return whether two tensors have elements in the same piece of memory, and may overlap there."""
        if a.untyped_storage().data_ptr() != b.untyped_storage().data_ptr():
            return False
        (first, last), (begin, end) = _bounds(a), _bounds(b)
        return first < end and begin < last

    def is_shared(self, value: Any) -> bool:
        """Return whether other tensors have this one's storage, or another library lent its memory."""
        from gradkit_torch.storage import is_shared  # late: it needs PyTorch, which is optional

        return is_shared(value)

    def row_by_row(self, value: Any) -> Any:
        """Return a tensor whose elements lie row by row in memory: a copy, where those of `value` do not."""
        return value.resolve_conj().resolve_neg().contiguous()

    def wait(self, value: Any) -> None:
        """Return when the tensor's GPU has done all that was asked of it."""
        import torch  # optional

        if value.device.type == "cuda":
            torch.cuda.synchronize(value.device)
        elif value.device.type == "mps":
            torch.mps.synchronize()

    # Types

    def dtype_of(self, value: Any) -> np.dtype[Any]:
        """Return the NumPy dtype of a tensor."""
        try:
            return super().dtype_of(value)
        except TypeError as error:
            raise TypeError(
                f"dtype {value.dtype}: NumPy has none of that name, so gradkit cannot compute with it. Convert it "
                f"first: t.to(torch.float32)."
            ) from error

    def raw_dtype_named(self, name: str) -> Any:
        """Return PyTorch's dtype of that name."""
        import torch  # optional

        found = getattr(torch, name, None)
        return found if isinstance(found, torch.dtype) else super().raw_dtype_named(name)

    # Devices

    def raw_devices(self) -> Sequence[Any]:
        """List the CPU, and the GPUs that PyTorch finds."""
        import torch  # optional

        found = [torch.device("cpu")]
        if torch.cuda.is_available():
            found += [torch.device("cuda", i) for i in range(torch.cuda.device_count())]
        if torch.backends.mps.is_available():
            found.append(torch.device("mps", 0))
        return found

    @cached_property
    def devices(self) -> tuple[Device, ...]:
        """The backend's devices, in JAX's words."""
        return tuple(
            Device(self.name, "cpu" if raw.type == "cpu" else "gpu", i, self.device_kind(raw), raw)
            for i, raw in enumerate(self.raw_devices())
        )

    def device_kind(self, raw: Any) -> str:
        """Return the GPU's name, or PyTorch's for the device."""
        import torch  # optional

        return torch.cuda.get_device_name(raw) if raw.type == "cuda" else str(raw)

    def device_of(self, value: Any) -> Any:
        """Return the device that a tensor is on."""
        return value.device

    def is_on_host(self, device: Any) -> bool:
        """Return whether it is the CPU."""
        import torch  # optional

        return bool((torch.get_default_device() if device is None else device).type == "cpu")

    def to_device(self, value: Any, device: Any) -> Any:
        """Copy a tensor to another device."""
        self._check(device)
        return value.to(device)

    def why_no_device(self, device: Any = None) -> str:
        """Return what PyTorch says when it is asked for a device (by default the first of NVIDIA's GPUs)."""
        import torch  # optional

        try:
            torch.empty(0, device="cuda:0" if device is None else device)
        except (AssertionError, NotImplementedError, RuntimeError) as error:
            return str(error).partition("\n")[0]
        return ""

    def _check(self, device: Any) -> None:
        if device is not None and device not in self._known:
            known = ", ".join(str(raw) for raw in self._known)
            raise ValueError(
                f"the backend 'torch' has no device {str(device)!r} on this machine ({self.why_no_device(device)}). It "
                f"has: {known}"
            )


def _said(value: Any) -> str:
    return f"{str(value.dtype).rpartition('.')[2]}[{','.join(map(str, value.shape))}]"


def _bounds(x: Any) -> tuple[int, int]:
    """Return the first byte of a tensor's elements, and the one behind the last."""
    if x.numel() == 0:
        return 0, 0
    reach = sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True))
    start = int(x.data_ptr())
    return start, start + (reach + 1) * x.element_size()
