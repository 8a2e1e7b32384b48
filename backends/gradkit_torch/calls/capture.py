"""CUDA graphs: a list of calls on an NVIDIA GPU is captured once, and launched as one from then on.

It has not been run on a GPU; `tests/backends/test_torch_calls.py` replays what is captured by a stand-in on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from gradkit.backend.plan import Call, Choice, Loop, Plan, While

__all__ = ["Captured", "captures", "is_capturable"]

WARM_UP = 3
"""Calls that run the list before it is captured: libraries set themselves up in the first ones, outside of graphs."""


def captures(device: Any, plan: Plan) -> bool:
    """Return whether programs of a plan become CUDA graphs: on NVIDIA's GPUs, and AMD's, which PyTorch calls alike."""
    return device.type == "cuda" and is_capturable(plan)


def is_capturable(plan: Plan) -> bool:
    """Return whether a plan does the same at each call: it asks for no values, and calls nothing on the host."""
    return all(
        not isinstance(node, While | Choice)
        and not (isinstance(node, Call) and node.on_host)
        and not (isinstance(node, Loop) and not is_capturable(node.step))
        for node in plan.nodes
    )


class Captured:
    """A function of tensors on one GPU, which becomes a CUDA graph of its own after it has run a few times.

    A graph reads and writes the memory that it was captured with: so arguments are copied into tensors of its own
    before, and what it writes is copied out of them after.

    Parameters
    ----------
    run : callable
        The function. It launches the same kernels at each call, on the same memory but for its arguments.
    count : int
        The number of arguments that it reads; those behind are results, or arguments that it has written.
    written : sequence of int
        The arguments that it writes as well.
    cuda : module
        What has ``CUDAGraph``, ``Stream`` and so on, as `torch.cuda`.
    """

    def __init__(self, run: Callable[..., None], count: int, written: Sequence[int], cuda: Any = torch.cuda) -> None:
        self._run, self._count, self._written, self._cuda = run, count, set(written), cuda
        self._left = WARM_UP
        self._graph: Any = None
        self._own: list[Any] = []
        self._outs: list[int] = []

    def __call__(self, *arrays: Any) -> None:
        """Run it: as a list of calls at first, as a graph later."""
        if not self._is_ready(arrays):
            self._run(*arrays)
            return
        if self._count:
            torch._foreach_copy_(self._own[: self._count], list(arrays[: self._count]))
        self._graph.replay()
        torch._foreach_copy_([arrays[i] for i in self._outs], [self._own[i] for i in self._outs])

    def _is_ready(self, arrays: Sequence[Any]) -> bool:
        # Somebody else's graph takes the list of calls: a graph does not launch another one.
        if self._left < 0 or not arrays or self._cuda.is_current_stream_capturing():
            return False
        if self._graph is None and self._left == 0:
            with torch.inference_mode(False):  # its memory is written into in any of PyTorch's modes
                self._capture(arrays)
        elif self._left:
            self._left -= 1
        return self._graph is not None

    def _capture(self, arrays: Sequence[Any]) -> None:
        device = arrays[0].device
        count, written = self._count, self._written
        own = [array.clone() for array in arrays[:count]]
        outs = sorted(written)
        for i, array in enumerate(arrays[count:], count):
            argument = next((k for k in written if arrays[k] is array), None)
            own.append(array.clone() if argument is None else own[argument])
            if argument is None:
                outs.append(i)
        graph, stream = self._cuda.CUDAGraph(), self._cuda.Stream(device)
        try:
            with (
                self._cuda.device(device),
                self._cuda.stream(stream),  # which a capture that fails leaves in use
                self._cuda.graph(graph, stream=stream, capture_error_mode="thread_local"),
            ):
                self._run(*own)
        except RuntimeError:  # a call waits for the GPU, which CUDA refuses to capture
            self._left = -1
        else:
            self._graph, self._own, self._outs = graph, own, outs
