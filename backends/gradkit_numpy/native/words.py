"""Arithmetic on scalars, or on vectors of them, that writes itself down as LLVM text.

A formula is a Python function of a `Text` and of `Value`s: it runs once, on names, and what it does to them is the body
of an LLVM function. There are no fast-math flags: what is written is what is computed, rounding by rounding, so that an
error of one operation can be computed by others. `Text.fma` is fused for certain; `Text.polynomial` where the processor
has it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["FORMATS", "Format", "Text", "Value"]


@dataclass(frozen=True)
class Format:
    """A floating-point format of IEEE 754.

    Attributes
    ----------
    name : str
        LLVM's name of it.
    suffix : str
        What LLVM's intrinsics and this package's functions for it end in.
    bits : int
        Its size.
    digits : int
        Bits of its significand that are stored.
    """

    name: str
    suffix: str
    bits: int
    digits: int

    @property
    def bias(self) -> int:
        """The exponent that is stored for 1."""
        return (1 << (self.bits - self.digits - 2)) - 1

    @property
    def integer(self) -> str:
        """The integer type that has its bits."""
        return f"i{self.bits}"

    def rounded(self, x: float) -> float:
        """Return the nearest number of this format."""
        code = "f" if self.bits == 32 else "d"
        return float(struct.unpack(code, struct.pack(code, x))[0])

    def pattern(self, x: float) -> int:
        """Return the bits of a number as an integer."""
        return int.from_bytes(struct.pack("<f" if self.bits == 32 else "<d", x), "little")

    @property
    def magic(self) -> float:
        """A number that, added to a small one, leaves the nearest integer to that in the low bits of the sum."""
        return 1.5 * 2.0**self.digits


FORMATS = {"float32": Format("float", "f32", 32, 23), "float64": Format("double", "f64", 64, 52)}


class Value:
    """A number, an integer or a truth value (``kind`` is ``"real"``, ``"integer"`` or ``"truth"``) in a text."""

    __slots__ = ("kind", "name", "text")

    def __init__(self, text: Text, name: str, kind: str) -> None:
        self.text, self.name, self.kind = text, name, kind

    def __add__(self, other: Any) -> Value:
        return self.text.binary("add", self, other)

    def __radd__(self, other: Any) -> Value:
        return self.text.binary("add", other, self)

    def __sub__(self, other: Any) -> Value:
        return self.text.binary("sub", self, other)

    def __rsub__(self, other: Any) -> Value:
        return self.text.binary("sub", other, self)

    def __mul__(self, other: Any) -> Value:
        return self.text.binary("mul", self, other)

    def __rmul__(self, other: Any) -> Value:
        return self.text.binary("mul", other, self)

    def __truediv__(self, other: Any) -> Value:
        return self.text.binary("div", self, other)

    def __rtruediv__(self, other: Any) -> Value:
        return self.text.binary("div", other, self)

    def __neg__(self) -> Value:
        if self.kind == "real":
            return self.text.emit(f"fneg {self.text.real} {self.name}", "real")
        return self.text.binary("sub", 0, self)

    def __lshift__(self, places: int) -> Value:
        return self.text.operation("shl", self, places)

    def __rshift__(self, places: int) -> Value:
        """Shift an integer right; its sign is kept."""
        return self.text.operation("ashr", self, places)

    def __and__(self, other: Any) -> Value:
        return self.text.operation("and", self, other)

    def __or__(self, other: Any) -> Value:
        return self.text.operation("or", self, other)

    def __xor__(self, other: Any) -> Value:
        return self.text.operation("xor", self, other)

    def __lt__(self, other: Any) -> Value:
        return self.text.compare("lt", self, other)

    def __le__(self, other: Any) -> Value:
        return self.text.compare("le", self, other)

    def __gt__(self, other: Any) -> Value:
        return self.text.compare("gt", self, other)

    def __ge__(self, other: Any) -> Value:
        return self.text.compare("ge", self, other)


class Text:
    """The body of an LLVM function that is being written, for numbers of one format, or for vectors of them.

    Parameters
    ----------
    form : Format
        Of the numbers.
    lanes : int
        How many of them a value holds; 0 for scalars.
    """

    def __init__(self, form: Format, lanes: int = 0) -> None:
        self.form, self.lanes = form, lanes
        self.lines: list[str] = []
        self.declared: set[str] = set()
        self.count = 0
        self.types = {kind: self._wide(name) for kind, name in self._scalars().items()}
        self.real, self.integer, self.truth = self.types["real"], self.types["integer"], self.types["truth"]

    def _scalars(self) -> dict[str, str]:
        return {"real": self.form.name, "integer": self.form.integer, "truth": "i1"}

    def _wide(self, name: str) -> str:
        return f"<{self.lanes} x {name}>" if self.lanes else name

    def emit(self, line: str, kind: str) -> Value:
        """Write down an instruction, and return its result."""
        self.count += 1
        self.lines.append(f"  %v{self.count} = {line}")
        return Value(self, f"%v{self.count}", kind)

    def constant(self, x: float | int | bool, kind: str) -> Value:
        """Return a number as a value of that kind."""
        if kind == "real":
            word = f"0x{FORMATS['float64'].pattern(self.form.rounded(x)):016X}"
        else:
            word = str(int(x)) if kind == "integer" else str(bool(x)).lower()
        if self.lanes:
            word = "<" + ", ".join([f"{self._scalars()[kind]} {word}"] * self.lanes) + ">"
        return Value(self, word, kind)

    def _value(self, x: Any, kind: str) -> Value:
        return x if isinstance(x, Value) else self.constant(x, kind)

    def _pair(self, x: Any, y: Any) -> tuple[Value, Value, str]:
        kind = next((value.kind for value in (x, y) if isinstance(value, Value)), "real")
        return self._value(x, kind), self._value(y, kind), kind

    def operation(self, word: str, x: Any, y: Any) -> Value:
        """Write down an instruction on two values of one kind."""
        x, y, kind = self._pair(x, y)
        return self.emit(f"{word} {self.types[kind]} {x.name}, {y.name}", kind)

    def binary(self, word: str, x: Any, y: Any) -> Value:
        """Write down arithmetic."""
        _, _, kind = self._pair(x, y)
        return self.operation(("f" if kind == "real" else "") + word, x, y)

    def compare(self, word: str, x: Any, y: Any) -> Value:
        """Write down a comparison, which is false for NaN."""
        x, y, kind = self._pair(x, y)
        how = f"fcmp o{word}" if kind == "real" else f"icmp {word if word in ('eq', 'ne') else 's' + word}"
        return self.emit(f"{how} {self.types[kind]} {x.name}, {y.name}", "truth")

    def equal(self, x: Any, y: Any) -> Value:
        """Return whether two values are equal."""
        return self.compare("eq", x, y)

    def differs(self, x: Value, y: Value) -> Value:
        """Return whether two numbers differ; NaN differs from all."""
        return self.emit(f"fcmp une {self.real} {x.name}, {y.name}", "truth")

    def unordered(self, x: Value, y: Value) -> Value:
        """Return whether one of two is NaN."""
        return self.emit(f"fcmp uno {self.real} {x.name}, {y.name}", "truth")

    def both(self, x: Value, y: Value) -> Value:
        """Return whether two conditions hold."""
        return self.operation("and", x, y)

    def either(self, x: Value, y: Value) -> Value:
        """Return whether one of two conditions holds."""
        return self.operation("or", x, y)

    def same(self, x: Value, y: Value) -> Value:
        """Return whether two conditions both hold, or neither."""
        return self.operation("xor", self.operation("xor", x, y), True)

    def select(self, where: Value, x: Any, y: Any) -> Value:
        """Return `x` where that is true, else `y`."""
        x, y, kind = self._pair(x, y)
        kinds = self.types[kind]
        return self.emit(f"select {self.truth} {where.name}, {kinds} {x.name}, {kinds} {y.name}", kind)

    def intrinsic(self, name: str, *args: Any) -> Value:
        """Call a function of numbers that LLVM knows."""
        values = [self._value(arg, "real") for arg in args]
        suffix = (f"v{self.lanes}" if self.lanes else "") + self.form.suffix
        self.declared.add(f"declare {self.real} @llvm.{name}.{suffix}({', '.join([self.real] * len(values))})")
        passed = ", ".join(f"{self.real} {value.name}" for value in values)
        return self.emit(f"call {self.real} @llvm.{name}.{suffix}({passed})", "real")

    def fma(self, x: Any, y: Any, z: Any) -> Value:
        """Return x y + z, rounded once."""
        return self.intrinsic("fma", x, y, z)

    def polynomial(self, x: Value, coefficients: Sequence[float]) -> Value:
        """Return the polynomial with these coefficients, that of the constant term first."""
        result: Any = coefficients[-1]
        for coefficient in coefficients[-2::-1]:
            result = self.intrinsic("fmuladd", result, x, coefficient)
        return self._value(result, "real")

    def magnitude(self, x: Value) -> Value:
        """Return ``|x|``."""
        return self.intrinsic("fabs", x)

    def with_sign(self, x: Value, sign: Value) -> Value:
        """Return `x` with the sign of `sign`."""
        return self.intrinsic("copysign", x, sign)

    def between(self, x: Value, low: float | None, high: float | None) -> Value:
        """Return `x`, or the nearest end of the interval; NaN stays NaN."""
        if low is not None:
            bound = self.constant(low, "real")
            x = self.select(bound > x, bound, x)
        if high is not None:
            bound = self.constant(high, "real")
            x = self.select(bound < x, bound, x)
        return x

    def bits(self, x: Value) -> Value:
        """Return the bits of a number as an integer."""
        return self.emit(f"bitcast {self.real} {x.name} to {self.integer}", "integer")

    def number(self, k: Value) -> Value:
        """Return the number that has these bits."""
        return self.emit(f"bitcast {self.integer} {k.name} to {self.real}", "real")

    def converted(self, k: Value) -> Value:
        """Return the number that an integer is."""
        return self.emit(f"sitofp {self.integer} {k.name} to {self.real}", "real")

    def power_of_two(self, k: Value) -> Value:
        """Return 2**k, for k from the least to the largest exponent of a normal number."""
        return self.number((k + self.form.bias) << self.form.digits)
