"""How NumPy's calls are written: a ufunc for each statement, with the array that it writes into."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from gradkit.backend.lists import Function, Library, NestWriter, Sizes, Texts
from gradkit.backend.plan import Buffer, Product, Statement, Store, lies_row_by_row
from gradkit_numpy.kernels import LONGEST
from gradkit_numpy.losses import ones
from gradkit_numpy.saturating import INTO
from gradkit_numpy.ufuncs.names import FLOATS, REDUCING, UFUNCS

__all__ = ["NumpyLibrary"]


class NumpyLibrary(Library):
    """NumPy."""

    names: Mapping[str, Any] = MappingProxyType(
        {
            "ndarray": np.ndarray,
            "copyto": np.copyto,
            "matmul": np.matmul,
            "dot": np.dot,
            "empty": np.empty,
            **{name: getattr(np, name) for name in UFUNCS.values()},
            **INTO,
        }
    )
    in_steps = frozenset({"where", *INTO})
    takes_whole = frozenset(INTO)

    def dtype(self, name: str) -> Any:
        """Return NumPy's dtype of that name."""
        return np.dtype(name)

    def number(self, value: Any, dtype: str, axes: int) -> Any:
        """Return a number as an array without axes."""
        return np.full((), value, dtype)

    def positions(self, shape: Sizes, axis: int, dtype: str) -> Any:
        """Return the positions along an axis."""
        return np.arange(shape[axis], dtype=dtype).reshape(shape)

    # Expressions

    def empty(self, texts: Texts, shape: Sizes, dtype: str) -> str:
        """Return what makes an array."""
        return f"empty({shape}, {texts.dtype(dtype)})"

    def in_arena(self, texts: Texts, arena: str, dtype: str, start: int, sizes: Sizes, strides: Sizes) -> str:
        """Return what makes an array in a vector of bytes."""
        steps = tuple(stride * np.dtype(dtype).itemsize for stride in strides)
        return f"ndarray({sizes}, {texts.dtype(dtype)}, {arena}, {start}, {steps})"

    def view(self, texts: Texts, root: str, buffer: Buffer, sizes: Sizes, strides: Sizes, offset: int) -> str:
        """Return what makes a view of an array."""
        if not offset and sizes == buffer.shape[::-1] and lies_row_by_row(buffer.shape, strides[::-1]):
            return f"{root}.T"
        if not offset and math.prod(sizes) == math.prod(buffer.shape) and lies_row_by_row(sizes, strides):
            return f"{root}.reshape({sizes})"
        return self.in_arena(texts, root, buffer.dtype, offset * buffer.item_size, sizes, strides)

    def element(self, array: str, index: str) -> str:
        """Return what makes a view of an element along the first axis."""
        return f"{array}[{index}, ...]"

    def item(self, array: str) -> str:
        """Return what gives the number of an array without axes."""
        return f"{array}[()]"

    # Lines

    def copy(self, out: str, value: str, casts: bool = False) -> str:
        """Return what writes the elements of an array into another one."""
        return f"copyto({out}, {value}, 'unsafe')" if casts else f"copyto({out}, {value})"

    def statement(
        self, writer: NestWriter, part: Statement, operands: Sequence[str], out: str, shape: Sizes
    ) -> Sequence[str]:
        """Return calls of a ufunc, or of a kernel that writes into its last argument."""
        if part.name == "where":
            return f"copyto({out}, {operands[2]})", f"copyto({out}, {operands[1]}, where={operands[0]})"
        called = part.name if part.name in INTO else UFUNCS[part.name]
        written = f"out={out}" if part.name in ("maximum", "minimum") else out  # NumPy asks for the name there
        return (f"{called}({', '.join([*operands, written])})",)

    def reduce(self, writer: NestWriter, store: Store) -> None:
        """Write what a ufunc reduces."""
        assert store.combine is not None
        if store.combine == "add" and self._summed(writer, store):
            return
        function = writer.function
        called = function.texts.name("reduce", REDUCING[store.combine].reduce)
        name = writer.whole(store.value, writer.nest.sizes)
        axes = store.reduced if len(store.reduced) != 1 else store.reduced[0]
        function.emit(f"{called}({name}, {axes}, None, {writer.reduced(store)})")

    def _summed(self, writer: NestWriter, store: Store) -> bool:
        """Write a sum as a product with ones, which takes BLAS a third of NumPy's time, where it is one."""
        function = writer.function
        buffer, strides, sizes = store.layout.buffer, store.layout.strides, writer.nest.sizes
        if buffer.dtype not in FLOATS or not writer.lies_in_rows(store.value, buffer.dtype):
            return False
        axes = [axis for axis, size in enumerate(sizes) if size != 1]
        kept = [axis for axis in axes if axis not in store.reduced]
        if not lies_row_by_row([sizes[axis] for axis in kept], [strides[axis] for axis in kept]):
            return False
        columns = math.prod(sizes[axis] for axis in kept)
        rows = math.prod(sizes) // columns
        if rows > LONGEST:
            return False
        shape: Sizes
        dtype = np.dtype(buffer.dtype)
        vector = function.texts.shared("ones", (rows, buffer.dtype), lambda: ones(rows, dtype))
        if kept and kept == axes[-len(kept) :]:
            shape, given = (rows, columns), (vector, "{}")
        elif kept == axes[: len(kept)]:
            shape, given = (columns, rows) if kept else (rows,), ("{}", vector)
        else:
            return False
        values = writer.whole(store.value, sizes)
        if shape != sizes:
            values = function.shaped(values, shape)
        kept_shape = (columns,) if kept else ()
        out = function.array(buffer, kept_shape, (1,) * len(kept_shape), store.layout.offset)
        function.emit(f"dot({', '.join(given).format(values)}, {out})")
        return True

    def product(self, function: Function, product: Product) -> None:
        """Write a product, and what is multiplied by or added to."""
        out, left, right = (function.operand(x) for x in (product.out, product.left, product.right))
        call = "dot" if len(product.out.shape) == 2 else "matmul"
        if product.alpha == 1 and not product.adds:
            function.emit(f"{call}({left}, {right}, {out})")
            return
        part = function.scratch(product.out.shape, product.out.buffer.dtype)
        function.emit(f"{call}({left}, {right}, {part})")
        if product.alpha != 1:
            number = function.number(product.alpha, product.out.buffer.dtype)
            function.emit(f"multiply({part}, {number}, {part})")
        function.emit(f"add({out}, {part}, {out})" if product.adds else self.copy(out, part))
