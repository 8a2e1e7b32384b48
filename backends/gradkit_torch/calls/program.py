"""A plan that runs as a list of PyTorch's calls."""

from __future__ import annotations

from collections import deque
from typing import Any

import torch

from gradkit.backend.lists import ListedProgram, Texts
from gradkit.backend.plan import Buffer, Plan
from gradkit.backend.printers import Box
from gradkit_torch.calls.capture import captures
from gradkit_torch.calls.library import TorchLibrary, device_name
from gradkit_torch.following import is_followed_now

__all__ = ["Program"]


def _no_grad() -> bool:
    before: bool = torch.is_grad_enabled()
    if before:
        torch.set_grad_enabled(False)
    return before


def _as_before(before: bool) -> None:
    if before:
        torch.set_grad_enabled(True)


class Program(ListedProgram):
    """A plan as a Python function of tensors on one device."""

    around = _no_grad, _as_before

    def __init__(self, plan: Plan, box: Box) -> None:
        self.device = plan.device
        self._by_stream: dict[int, deque[Any]] = {}
        super().__init__(plan, box, TorchLibrary(self.device, captures(self.device, plan)))
        if self.device.type == "cuda":  # numbers of the program are made on this stream, and read on others
            torch.cuda.current_stream(self.device).synchronize()

    def if_it_fits(self, arguments: list[Any]) -> list[Any] | None:
        """Run it if the arguments are what they should be, and nothing of PyTorch's own follows operations."""
        return None if is_followed_now() else super().if_it_fits(arguments)

    def new_functions(self) -> dict[str, Any]:
        """Return the functions of the text, whose memory may be written into in any of PyTorch's modes."""
        with torch.inference_mode(False):
            return super().new_functions()

    def free_functions(self) -> deque[Any]:
        """Return where functions are whose memory nobody uses now.

        What one stream of a GPU has been asked for, another one does not wait for: each has functions of its own.
        """
        if self.device.type != "cuda":
            return super().free_functions()
        stream = torch.cuda.current_stream(self.device).cuda_stream
        return self._by_stream.setdefault(stream, deque())

    def forget(self) -> None:
        """Let go of the memory of calls that have ended."""
        super().forget()
        self._by_stream.clear()

    def fitting(self, value: Any, buffer: Buffer, is_written: bool) -> Any:
        """Return an argument's tensor row by row."""
        if value.device != self.device or tuple(value.shape) != buffer.shape:
            raise ValueError(
                f"a compiled program takes a tensor of shape {buffer.shape} on {self.device} here, got one of shape "
                f"{tuple(value.shape)} on {value.device}"
            )
        found = value.as_subclass(torch.Tensor).resolve_conj().resolve_neg().to(getattr(torch, buffer.dtype))
        if is_written and found.is_inference():
            with torch.inference_mode(False):  # inside of it a copy could not be written outside of it either
                return found.clone(memory_format=torch.contiguous_format)
        return found.contiguous()

    def condition(self, texts: Texts, array: str, buffer: Buffer, is_written: bool) -> str:
        """Return whether it is a plain tensor of the shape, dtype and device, row by row in memory."""
        dtype = texts.dtype(buffer.dtype)
        asked = [
            f"type({array}) is Tensor and {array}.dtype is {dtype} and {array}.shape == {buffer.shape}",
            f"{array}.device == {device_name(texts, self.device)} and {array}.is_contiguous() and not {array}.is_neg()",
        ]
        if buffer.dtype.startswith("complex"):
            asked.append(f"not {array}.is_conj()")
        if is_written:
            asked.append(f"not {array}.is_inference()")
        return " and ".join(asked)

    def made(self, texts: Texts, buffer: Buffer) -> str:
        """Return what makes the tensor of a result."""
        return texts.library.empty(texts, buffer.shape, buffer.dtype)
