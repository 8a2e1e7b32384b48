"""A stand-in for CUDA graphs on the CPU: what is captured is noted and not run, and a replay runs it on its memory.

It refuses what CUDA refuses: to look at a value while a stream is captured.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["RecordedCuda"]


class RecordedCuda:
    """What `torch.cuda` has for graphs.

    Attributes
    ----------
    graphs : list of RecordedGraph
        Those that were begun, in order.
    current : object
        The current stream.
    """

    def __init__(self) -> None:
        self.graphs: list[RecordedGraph] = []
        self.current: object = "default"
        self.capturing = False

    def CUDAGraph(self) -> RecordedGraph:
        self.graphs.append(RecordedGraph())
        return self.graphs[-1]

    def Stream(self, device: Any) -> object:
        return object()

    def device(self, device: Any) -> AbstractContextManager[None]:
        return nullcontext()

    def is_current_stream_capturing(self) -> bool:
        return self.capturing

    @contextmanager
    def stream(self, stream: Any) -> Iterator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def graph(self, graph: RecordedGraph, stream: Any, capture_error_mode: str) -> Iterator[None]:
        before, self.current, self.capturing = self.current, stream, True
        try:
            with Recording(graph):
                yield
        except RuntimeError as error:  # and then the stream stays, as in `torch.cuda.graph`
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture") from error
        finally:
            self.capturing = False
        self.current = before


class RecordedGraph:
    """The calls that were captured, and how often they were run."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1
        for function, args, kwargs, made in self.calls:
            found = function(*args, **kwargs)
            if made is not None:
                for old, new in zip(tensors_in(made), tensors_in(found), strict=True):
                    old.copy_(new)


def tensors_in(value: Any) -> list[Any]:
    if isinstance(value, torch.Tensor):
        return [value]
    return [x for part in value for x in tensors_in(part)] if isinstance(value, tuple | list) else []


class Recording(TorchDispatchMode):
    """Notes calls that compute; views are made at once."""

    def __init__(self, graph: RecordedGraph) -> None:
        super().__init__()
        self.recorded = graph

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
        schema = func._schema
        given = [kwargs.get(a.name, args[i] if i < len(args) else None) for i, a in enumerate(schema.arguments)]
        aliases = [a.alias_info for a in schema.arguments]
        written = [x for x, alias in zip(given, aliases, strict=True) if alias is not None and alias.is_write]
        if not written and any(result.alias_info is not None for result in schema.returns):
            return func(*args, **kwargs)
        if written:
            self.recorded.calls.append((func, args, kwargs, None))
            count = len(schema.returns)
            return None if not count else written[0] if count == 1 else tuple(written)
        made = func(*args, **kwargs)
        for tensor in tensors_in(made):
            tensor.fill_(1)  # nobody has computed it yet
        self.recorded.calls.append((func, args, kwargs, made))
        return made
