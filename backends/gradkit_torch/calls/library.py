"""How PyTorch's calls are written: a function for each statement, with the array that it writes into as ``out=``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch

from gradkit.backend.lists import Function, Library, NestWriter, Sizes, Texts
from gradkit.backend.plan import Buffer, Product, Statement, Store, lies_row_by_row
from gradkit_torch.calls.capture import Captured
from gradkit_torch.calls.names import CALLS, IN_STEPS
from gradkit_torch.namespace import full
from gradkit_torch.unsigned import bridged

__all__ = ["TorchLibrary", "device_name"]

REDUCING = {"add": "sum", "logical_and": "all", "logical_or": "any", "maximum": "amax", "minimum": "amin"}
"""By what a reduction combines with, the function that reduces over several axes."""
USED = """
    addmm amax amin all any as_strided baddbmm bmm clamp_min empty matmul mm prod sign log1p sum where
""".split()


def device_name(texts: Texts, device: Any) -> str:
    """Return what a text calls the device of all its arrays."""
    return texts.shared("device", None, lambda: device)


class TorchLibrary(Library):
    """PyTorch, on one device; if it captures, programs become CUDA graphs."""

    names: Mapping[str, Any] = MappingProxyType(
        {
            "Tensor": torch.Tensor,
            **{name: getattr(torch, name) for name in [*USED, *CALLS.values()]},
            "flip": bridged(torch.flip),
        }
    )
    in_steps = IN_STEPS
    has_negative_strides = False
    ranks_alike = True

    def __init__(self, device: Any, captures: bool) -> None:
        self.device, self.captures = device, captures

    def dtype(self, name: str) -> Any:
        """Return PyTorch's dtype of that name."""
        return getattr(torch, name)

    def number(self, value: Any, dtype: str, axes: int) -> Any:
        """Return a number as an array: an array without axes would count for less where dtypes meet."""
        return full((1,) * axes, value, dtype=self.dtype(dtype), device=self.device)

    def positions(self, shape: Sizes, axis: int, dtype: str) -> Any:
        """Return the positions along an axis."""
        return torch.arange(shape[axis], device=self.device).to(self.dtype(dtype)).reshape(shape)

    # Expressions

    def empty(self, texts: Texts, shape: Sizes, dtype: str) -> str:
        """Return what makes an array."""
        return f"empty({shape}, dtype={texts.dtype(dtype)}, device={device_name(texts, self.device)})"

    def in_arena(self, texts: Texts, arena: str, dtype: str, start: int, sizes: Sizes, strides: Sizes) -> str:
        """Return what makes an array in a vector of bytes."""
        first = start // Buffer((), dtype).item_size
        return f"as_strided({arena}.view({texts.dtype(dtype)}), {sizes}, {strides}, {first})"

    def view(self, texts: Texts, root: str, buffer: Buffer, sizes: Sizes, strides: Sizes, offset: int) -> str:
        """Return what makes a view of an array."""
        if not offset and len(sizes) == 2 and sizes == buffer.shape[::-1] and strides == (1, buffer.shape[1]):
            return f"{root}.t()"
        if not offset and math.prod(sizes) == math.prod(buffer.shape) and lies_row_by_row(sizes, strides):
            return f"{root}.view({sizes})"
        return f"as_strided({root}, {sizes}, {strides}, {root}.storage_offset() + {offset})"

    def flip(self, array: str, axes: Sizes) -> str:
        """Return what makes a copy that runs backwards along axes."""
        return f"flip({array}, {axes})"

    def element(self, array: str, index: str) -> str:
        """Return what makes a view of an element along the first axis."""
        return f"{array}[{index}]"

    def item(self, array: str) -> str:
        """Return what gives the number of an array without axes."""
        return f"{array}.item()"

    # Lines

    def copy(self, out: str, value: str, casts: bool = False) -> str:
        """Return what writes the elements of an array into another one."""
        return f"{out}.copy_({value})"

    def statement(
        self, writer: NestWriter, part: Statement, operands: Sequence[str], out: str, shape: Sizes
    ) -> Sequence[str]:
        """Return the call of a function, or several where PyTorch's is not what the primitive is."""
        function, name, x = writer.function, part.name, operands[0]
        if name == "masked":
            zero = function.number(0, part.dtype, len(shape))
            return (f"where({operands[1]}, {x}, {zero}, out={out})",)
        if name == "isnan":
            return (f"ne({x}, {x}, out={out})",)
        if name == "relu":
            return (f"clamp_min({x}, 0, out={out})",)
        if name in IN_STEPS:
            return self._in_steps(writer, part, x, out, shape)
        called = "where" if name == "where" else CALLS[name]
        return (f"{called}({', '.join(operands)}, out={out})",)

    def _in_steps(self, writer: NestWriter, part: Statement, x: str, out: str, shape: Sizes) -> Sequence[str]:
        function = writer.function
        if part.name in ("isfinite", "isinf"):
            dtype = writer.nest.body[part.operands[0]].dtype
            size, infinity = function.scratch(shape, dtype), function.number(math.inf, dtype, len(shape))
            comparison = "lt" if part.name == "isfinite" else "eq"
            return f"abs({x}, out={size})", f"{comparison}({size}, {infinity}, out={out})"
        mask = function.scratch(shape, "bool")
        if part.name == "sign":  # PyTorch's is 0 for NaN
            return f"sign({x}, out={out})", f"ne({x}, {x}, out={mask})", f"where({mask}, {x}, {out}, out={out})"
        # log1p, which is 0 at subnormal numbers
        zero = function.number(0, part.dtype, len(shape))
        return f"log1p({x}, out={out})", f"eq({out}, {zero}, out={mask})", f"where({mask}, {x}, {out}, out={out})"

    def reduce(self, writer: NestWriter, store: Store) -> None:
        """Write a reduction over all axes at once, or one after the other."""
        function, out = writer.function, writer.reduced(store)
        value, sizes = writer.whole(store.value, writer.nest.sizes), list(writer.nest.sizes)
        if not store.reduced:
            function.emit(self.copy(out, value))
        elif store.combine == "multiply":
            dtype = store.layout.buffer.dtype
            *first, last = sorted(store.reduced, reverse=True)
            for axis in first:
                del sizes[axis]
                part = function.scratch(tuple(sizes), dtype)
                function.emit(f"prod({value}, {axis}, dtype={function.texts.dtype(dtype)}, out={part})")
                value = part
            function.emit(f"prod({value}, {last}, dtype={function.texts.dtype(dtype)}, out={out})")
        else:
            assert store.combine is not None
            kind = f", dtype={function.texts.dtype(store.layout.buffer.dtype)}" if store.combine == "add" else ""
            function.emit(f"{REDUCING[store.combine]}({value}, {store.reduced}{kind}, out={out})")

    def product(self, function: Function, product: Product) -> None:
        """Write a product; what is added to, or multiplied by, is part of the call for matrices and batches of them."""
        out, left, right = (function.operand(x) for x in (product.out, product.left, product.right))
        axes, alpha = len(product.out.shape), product.alpha
        if alpha == 1 and not product.adds:
            function.emit(f"{ {2: 'mm', 3: 'bmm'}.get(axes, 'matmul') }({left}, {right}, out={out})")
        elif axes < 4:
            call, beta = ("addmm" if axes == 2 else "baddbmm"), int(product.adds)
            function.emit(f"{call}({out}, {left}, {right}, beta={beta}, alpha={alpha!r}, out={out})")
        else:
            part = function.scratch(product.out.shape, product.out.buffer.dtype)
            function.emit(f"matmul({left}, {right}, out={part})")
            number = function.number(alpha, product.out.buffer.dtype, axes)
            function.emit(f"mul({part}, {number}, out={part})")
            function.emit(f"add({out}, {part}, out={out})" if product.adds else self.copy(out, part))

    # The whole

    def called(self, texts: Texts, plan: str, count: int, written: Sequence[int]) -> str:
        """Return the name of the function itself; on an NVIDIA GPU, of what captures and replays it."""
        if not self.captures:
            return plan
        name = texts.name("graph")
        texts.lines.append(f"{name} = {texts.name('t', Captured)}({plan}, {count}, {tuple(written)})")
        return name
