"""A product of matrices in LLVM: vectors in registers where it is small, a call of BLAS where it is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gradkit.backend.plan import Layout, Product
from gradkit_numpy.native.symbols import numpy_has_products
from gradkit_numpy.native.text import LLVM_TYPES, SIZES, Text, literal

__all__ = ["BLAS", "SMALL", "write_product"]

SMALL = 40_000
"""Multiplications below which loops beat a call of BLAS."""
BLAS = {"float32": "sgemm", "float64": "dgemm"}
"""By dtype, the routine."""
WIDEST = 64
"""The bytes of a row of the result that stay in registers while it is summed, for each of `ROWS` rows."""
ROWS = 4
PACKED = 1 << 16
"""Bytes up to which a matrix is copied, to have it row by row: threads have little memory for variables."""
LARGEST = 2**31 - 1
"""The largest number that BLAS is given."""

Constant = Callable[[str, str], str]


@dataclass(frozen=True)
class Matrix:
    """A matrix in memory: where it begins, and how far neighbours are apart, down and to the right."""

    base: str
    down: int
    right: int


def blas_flag(layout: Layout) -> tuple[bool, int] | None:
    """Return whether the last two axes lie column by column, and how far neighbours lie apart; None if neither."""
    rows, columns = layout.shape[-2:]
    down, right = layout.strides[-2:]
    if (right == 1 or columns == 1) and (down >= max(columns, 1) or rows == 1):
        return False, max(down if rows != 1 else columns, columns, 1)
    if (down == 1 or rows == 1) and (right >= max(rows, 1) or columns == 1):
        return True, max(right if columns != 1 else rows, rows, 1)
    return None


def write_product(text: Text, product: Product, pointers: tuple[str, str, str], constant: Constant) -> None:
    """Write a product, over its batches; ``constant(type, value)`` names a number in memory, as BLAS takes them."""
    out, left, right = product.out, product.left, product.right
    batch = out.shape[:-2]
    dtype = out.buffer.dtype
    layouts = (out, left, right)

    def one(positions: Sequence[str]) -> None:
        bases = [text.pointer(p, at, LLVM_TYPES[dtype]) for p, at in zip(pointers, positions, strict=True)]
        size = out.shape[-1] * out.shape[-2] * left.shape[-1]
        if size < SMALL or not _is_for_blas(out, left, right):
            Small(text, product, bases).write()
        else:
            _call(text, product, bases, constant)

    text.batches(batch, [x.strides for x in layouts], [str(x.offset) for x in layouts], one)


def _is_for_blas(out: Layout, left: Layout, right: Layout) -> bool:
    """Return whether BLAS can be told of matrices: their neighbours lie side by side, and its numbers have 32 bits."""
    flags = blas_flag(left), blas_flag(right)
    apart = [out.strides[-2], *(flag[1] for flag in flags if flag is not None)]
    return None not in flags and max(*out.shape[-2:], left.shape[-1], *apart) <= LARGEST


def _call(text: Text, product: Product, bases: list[str], constant: Constant) -> None:
    """Call BLAS, whose matrices lie column by column: so it is told of the transposed ones, in the other order."""
    out, left, right = product.out, product.left, product.right
    dtype = out.buffer.dtype
    (m, n), k = out.shape[-2:], left.shape[-1]
    first, second = blas_flag(left), blas_flag(right)
    assert first is not None
    assert second is not None
    letter = {False: constant("i8", "78"), True: constant("i8", "84")}  # N, T
    routine, whole_type = (f"{BLAS[dtype]}_64", "i64") if numpy_has_products() else (BLAS[dtype], "i32")
    kind = LLVM_TYPES[dtype]
    alpha, beta = (constant(kind, literal(x, dtype)) for x in (product.alpha, 1.0 if product.adds else 0.0))
    whole = [constant(whole_type, str(x)) for x in (n, m, k, second[1], first[1], max(out.strides[-2], n))]
    given = [
        letter[second[0]], letter[first[0]], whole[0], whole[1], whole[2], alpha,
        bases[2], whole[3], bases[1], whole[4], beta, bases[0], whole[5],
    ]  # fmt: skip
    text.emit(f"call void @{routine}({', '.join(f'ptr {x}' for x in given)})")


class Small:
    """Loops over blocks of the result, each of which is summed in registers."""

    def __init__(self, text: Text, product: Product, bases: list[str]) -> None:
        self.text, self.product = text, product
        self.dtype = product.out.buffer.dtype
        self.kind = LLVM_TYPES[self.dtype]
        self.rows, self.columns = product.out.shape[-2:]
        self.depth = product.left.shape[-1]
        layouts = (product.out, product.left, product.right)
        self.out, self.left, self.right = (
            Matrix(base, *layout.strides[-2:]) for base, layout in zip(bases, layouts, strict=True)
        )

    def write(self) -> None:
        """Write them."""
        if self.columns == 1 or (self.out.right != 1 and self.out.down == 1):
            self._transpose()
        if self.right.right != 1 and self.columns > 1:
            if self.rows == 1 and self.left.right == 1 and self.right.down == 1:
                self._dots()
                return
            if self.depth * self.columns * SIZES[self.dtype] > PACKED:
                self._dots()
                return
            self.right = self._packed(self.right)
        if self.columns == 1:
            self._dots()
            return
        widest = WIDEST // SIZES[self.dtype]
        start = 0
        while start < self.columns:
            width = min(widest, self.columns - start)
            blocks = (self.columns - start) // width
            if blocks > 1:
                first = start
                self.text.loop(
                    blocks,
                    lambda j, w=width, s=first: self._column_block(self._at(str(s), j, w), w),  # type: ignore[misc]
                )
            else:
                self._column_block(str(start), width)
            start += blocks * width

    def _transpose(self) -> None:
        """Compute the transposed product: its rows are the columns."""
        self.rows, self.columns = self.columns, self.rows
        self.left, self.right = (Matrix(x.base, x.right, x.down) for x in (self.right, self.left))
        self.out = Matrix(self.out.base, self.out.right, self.out.down)

    def _packed(self, right: Matrix) -> Matrix:
        """Copy the right matrix row by row."""
        text = self.text
        packed = text.local(f"[{self.depth * self.columns} x {self.kind}]")

        def element(k: str, j: str) -> None:
            value = text.load(right.base, self._at(self._at("0", k, right.down), j, right.right), self.dtype)
            text.store(value, packed, self._at(self._at("0", k, self.columns), j, 1), self.dtype)

        if right.down == 1:
            text.loop(self.columns, lambda j: text.loop(self.depth, lambda k: element(k, j)))
        else:
            text.loop(self.depth, lambda k: text.loop(self.columns, lambda j: element(k, j)))
        return Matrix(packed, self.columns, 1)

    def _column_block(self, start: str, width: int) -> None:
        rows = min(ROWS, self.rows)
        blocks, rest = divmod(self.rows, rows)
        if blocks > 1:
            self.text.loop(blocks, lambda i: self._block(self._at("0", i, rows), rows, start, width))
        elif blocks:
            self._block("0", rows, start, width)
        if rest:
            self._block(str(blocks * rows), rest, start, width)

    def _block(self, top: str, rows: int, start: str, width: int) -> None:
        """Sum a block of the result."""
        text, vector = self.text, f"<{width} x {self.kind}>"
        align = f"align {SIZES[self.dtype]}"
        lefts = [self._at(text.plus(top, row), None, self.left.down) for row in range(rows)]

        def step(k: str, sums: list[str]) -> list[str]:
            position = (
                text.offset(self._at("0", k, self.right.down), start, 1)
                if start != "0"
                else self._at("0", k, self.right.down)
            )
            y = text.value(f"load {vector}, ptr {text.pointer(self.right.base, position, self.kind)}, {align}")
            found = []
            for row, so_far in zip(lefts, sums, strict=True):
                x = text.load(self.left.base, text.offset(row, k, self.left.right), self.dtype)
                found.append(self._multiplied_and_added(self._splat(x, width), y, so_far, vector))
            return found

        sums = text.summing_loop(self.depth, ["zeroinitializer"] * rows, vector, step)
        for row, total in enumerate(sums):
            position = self._at(text.plus(top, row), None, self.out.down)
            position = position if start == "0" else text.offset(position, start, 1)
            place = text.pointer(self.out.base, position, self.kind)
            if self.product.alpha != 1:
                factor = self._splat(literal(self.product.alpha, self.dtype), width)
                total = text.value(f"fmul contract {vector} {total}, {factor}")
            if self.product.adds:
                before = text.value(f"load {vector}, ptr {place}, {align}")
                total = text.value(f"fadd contract {vector} {before}, {total}")
            text.emit(f"store {vector} {total}, ptr {place}, {align}")

    def _dots(self) -> None:
        """Sum each element by itself."""
        text, kind = self.text, self.kind

        def element(i: str, j: str) -> None:
            row, column = self._at("0", i, self.left.down), self._at("0", j, self.right.right)

            def step(k: str, sums: list[str]) -> list[str]:
                x = text.load(self.left.base, text.offset(row, k, self.left.right), self.dtype)
                y = text.load(self.right.base, text.offset(column, k, self.right.down), self.dtype)
                product = text.value(f"fmul contract {kind} {x}, {y}")
                return [text.value(f"fadd reassoc contract {kind} {sums[0]}, {product}")]

            (total,) = text.summing_loop(self.depth, [literal(0.0, self.dtype)], kind, step)
            if self.product.alpha != 1:
                total = text.value(f"fmul contract {kind} {total}, {literal(self.product.alpha, self.dtype)}")
            position = text.offset(self._at("0", i, self.out.down), j, self.out.right)
            if self.product.adds:
                total = text.value(f"fadd contract {kind} {text.load(self.out.base, position, self.dtype)}, {total}")
            text.store(total, self.out.base, position, self.dtype)

        text.loop(self.rows, lambda i: text.loop(self.columns, lambda j: element(i, j)))

    def _multiplied_and_added(self, x: str, y: str, so_far: str, vector: str) -> str:
        product = self.text.value(f"fmul contract {vector} {x}, {y}")
        return self.text.value(f"fadd contract {vector} {so_far}, {product}")

    def _splat(self, x: str, width: int) -> str:
        vector = f"<{width} x {self.kind}>"
        one = self.text.value(f"insertelement {vector} poison, {self.kind} {x}, i32 0")
        return self.text.value(f"shufflevector {vector} {one}, {vector} poison, <{width} x i32> zeroinitializer")

    def _at(self, start: str, index: str | None, stride: int) -> str:
        """Return ``start + index * stride``, or ``start * stride``."""
        if index is not None:
            return self.text.offset(start, index, stride)
        return self.text.offset("0", start, stride) if start != "0" else "0"
