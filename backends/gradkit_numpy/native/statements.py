"""How the elementwise primitives are written in LLVM: one line each, which a nest has in the body of its loops."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from gradkit_numpy.native.math import NAMES, function_text
from gradkit_numpy.native.text import LLVM_TYPES, MEMORY_TYPES, Text, literal

__all__ = ["Statement", "combine", "definitions", "statement", "takes"]

Statement = Callable[..., str]
"""``statement(text, dtypes, *operands)``: the dtypes are those of the operands and of the result."""


def kind_of(dtype: str) -> str:
    """Return f, i, u or b."""
    return dtype[0] if dtype in LLVM_TYPES else "?"


def _suffix(dtype: str) -> str:
    return "f32" if dtype == "float32" else "f64"


def _arithmetic(of_floats: str, of_integers: str, of_bools: str | None) -> Statement:
    def write(text: Text, dtypes: Sequence[str], x: str, y: str) -> str:
        kind = kind_of(dtypes[-1])
        operation = of_bools if kind == "b" else of_integers
        if kind == "f":
            return text.value(f"{of_floats} contract {LLVM_TYPES[dtypes[-1]]} {x}, {y}")
        return text.value(f"{operation} {LLVM_TYPES[dtypes[-1]]} {x}, {y}")

    return write


def _comparison(of_floats: str, of_integers: str) -> Statement:
    def write(text: Text, dtypes: Sequence[str], x: str, y: str) -> str:
        kind, type_ = kind_of(dtypes[0]), LLVM_TYPES[dtypes[0]]
        if kind == "f":
            return text.value(f"fcmp {of_floats} {type_} {x}, {y}")
        sign = "" if of_integers in ("eq", "ne") else "s" if kind == "i" else "u"
        return text.value(f"icmp {sign}{of_integers} {type_} {x}, {y}")

    return write


def _extreme(of_floats: str, of_integers: str, of_bools: str) -> Statement:
    """Write the larger or smaller one; NaN if one of them is."""

    def write(text: Text, dtypes: Sequence[str], x: str, y: str) -> str:
        kind, type_ = kind_of(dtypes[-1]), LLVM_TYPES[dtypes[-1]]
        if kind == "b":
            return text.value(f"{of_bools} i1 {x}, {y}")
        if kind == "f":
            beyond = text.value(f"fcmp {of_floats} {type_} {x}, {y}")
            unordered = text.value(f"fcmp uno {type_} {x}, {x}")
            first = text.value(f"or i1 {beyond}, {unordered}")
        else:
            first = text.value(f"icmp {'s' if kind == 'i' else 'u'}{of_integers} {type_} {x}, {y}")
        return text.value(f"select i1 {first}, {type_} {x}, {type_} {y}")

    return write


def _called(text: Text, dtype: str, function: str, operands: Sequence[str]) -> str:
    """Write a call of a function of numbers of one dtype."""
    type_ = LLVM_TYPES[dtype]
    return text.value(f"call {type_} @{function}({', '.join(f'{type_} {x}' for x in operands)})")


def _intrinsic(name: str) -> Statement:
    """Write an operation on floats that the processor has; integers stay as they are."""

    def write(text: Text, dtypes: Sequence[str], *operands: str) -> str:
        if kind_of(dtypes[-1]) != "f":
            return operands[0]
        return _called(text, dtypes[-1], f"llvm.{name}.{_suffix(dtypes[-1])}", operands)

    return write


def _library(name: str) -> Statement:
    """Write a call of the C library."""

    def write(text: Text, dtypes: Sequence[str], *operands: str) -> str:
        return _called(text, dtypes[-1], f"{name}{'f' if dtypes[-1] == 'float32' else ''}", operands)

    return write


def _own(name: str) -> Statement:
    """Write a function of `native.math`, which becomes part of the loop."""

    def write(text: Text, dtypes: Sequence[str], *operands: str) -> str:
        return _called(text, dtypes[-1], f"gk_{name}_{_suffix(dtypes[-1])}", operands)

    return write


def _negative(text: Text, dtypes: Sequence[str], x: str) -> str:
    type_ = LLVM_TYPES[dtypes[-1]]
    return text.value(f"fneg {type_} {x}" if kind_of(dtypes[-1]) == "f" else f"sub {type_} 0, {x}")


def _same(text: Text, dtypes: Sequence[str], x: str) -> str:
    return x


def _square(text: Text, dtypes: Sequence[str], x: str) -> str:
    return STATEMENTS["multiply"][1](text, [*dtypes[:1], *dtypes], x, x)


def _reciprocal(text: Text, dtypes: Sequence[str], x: str) -> str:
    one = literal(1.0, dtypes[-1])
    return text.value(f"fdiv {LLVM_TYPES[dtypes[-1]]} {one}, {x}")


def _abs(text: Text, dtypes: Sequence[str], x: str) -> str:
    if kind_of(dtypes[-1]) != "i":
        return _intrinsic("fabs")(text, dtypes, x)
    type_ = LLVM_TYPES[dtypes[-1]]
    below = text.value(f"icmp slt {type_} {x}, 0")
    turned = text.value(f"sub {type_} 0, {x}")
    return text.value(f"select i1 {below}, {type_} {turned}, {type_} {x}")


def _sign(text: Text, dtypes: Sequence[str], x: str) -> str:
    dtype = dtypes[-1]
    type_ = LLVM_TYPES[dtype]
    zero, one, minus = (literal(number, dtype) for number in (0, 1, -1))
    if kind_of(dtype) == "f":
        above, below = (text.value(f"fcmp {word} {type_} {x}, {zero}") for word in ("ogt", "olt"))
        zero = text.value(f"select i1 {text.value(f'fcmp oeq {type_} {x}, {zero}')}, {type_} {zero}, {type_} {x}")
    else:
        signed = "s" if kind_of(dtype) == "i" else "u"
        above = text.value(f"icmp {signed}gt {type_} {x}, 0")
        below = text.value(f"icmp slt {type_} {x}, 0") if signed == "s" else "false"
    other = text.value(f"select i1 {below}, {type_} {minus}, {type_} {zero}")
    return text.value(f"select i1 {above}, {type_} {one}, {type_} {other}")


def _where(text: Text, dtypes: Sequence[str], condition: str, x: str, y: str) -> str:
    type_ = LLVM_TYPES[dtypes[-1]]
    return text.value(f"select i1 {condition}, {type_} {x}, {type_} {y}")


def _truth(text: Text, dtype: str, x: str) -> str:
    if dtype == "bool":
        return x
    type_ = LLVM_TYPES[dtype]
    return text.value(f"{'fcmp une' if kind_of(dtype) == 'f' else 'icmp ne'} {type_} {x}, {literal(0, dtype)}")


def _logical(operation: str) -> Statement:
    def write(text: Text, dtypes: Sequence[str], *operands: str) -> str:
        x, *rest = (_truth(text, dtype, value) for dtype, value in zip(dtypes, operands, strict=False))
        return text.value(f"{operation} i1 {x}, {rest[0] if rest else 'true'}")

    return write


def _bits(operation: str) -> Statement:
    def write(text: Text, dtypes: Sequence[str], x: str, y: str = "") -> str:
        ones = "true" if dtypes[-1] == "bool" else "-1"
        return text.value(f"{operation} {LLVM_TYPES[dtypes[-1]]} {x}, {y or ones}")

    return write


def _shift(left: bool) -> Statement:
    """Shift by as many bits as there are, or more, and there is nothing left, or the sign."""

    def write(text: Text, dtypes: Sequence[str], x: str, y: str) -> str:
        type_, signed = LLVM_TYPES[dtypes[-1]], kind_of(dtypes[-1]) == "i"
        bits = int(type_[1:])
        inside = text.value(f"icmp ult {type_} {y}, {bits}")
        amount = text.value(f"select i1 {inside}, {type_} {y}, {type_} {bits - 1 if signed and not left else 0}")
        shifted = text.value(f"{'shl' if left else 'ashr' if signed else 'lshr'} {type_} {x}, {amount}")
        if signed and not left:
            return shifted
        return text.value(f"select i1 {inside}, {type_} {shifted}, {type_} 0")

    return write


def _division(remainder: bool) -> Statement:
    """Python's division of whole numbers, rounded down; by zero it is 0, as in NumPy."""

    def write(text: Text, dtypes: Sequence[str], x: str, y: str) -> str:
        type_, signed = LLVM_TYPES[dtypes[-1]], kind_of(dtypes[-1]) == "i"
        zero = text.value(f"icmp eq {type_} {y}, 0")
        minus = text.value(f"icmp eq {type_} {y}, -1") if signed else "false"
        safe = text.value(f"or i1 {zero}, {minus}")
        divisor = text.value(f"select i1 {safe}, {type_} 1, {type_} {y}")
        sign = "s" if signed else "u"
        rest = text.value(f"{sign}rem {type_} {x}, {divisor}")
        apart = text.value(f"xor {type_} {rest}, {divisor}")
        other = text.value(f"icmp slt {type_} {apart}, 0") if signed else "false"
        some = text.value(f"icmp ne {type_} {rest}, 0")
        down = text.value(f"and i1 {other}, {some}")
        if remainder:
            moved = text.value(f"add {type_} {rest}, {divisor}")
            found = text.value(f"select i1 {down}, {type_} {moved}, {type_} {rest}")
            return text.value(f"select i1 {safe}, {type_} 0, {type_} {found}")
        quotient = text.value(f"{sign}div {type_} {x}, {divisor}")
        less = text.value(f"sub {type_} {quotient}, 1")
        found = text.value(f"select i1 {down}, {type_} {less}, {type_} {quotient}")
        turned = text.value(f"sub {type_} 0, {x}")
        found = text.value(f"select i1 {minus}, {type_} {turned}, {type_} {found}")
        return text.value(f"select i1 {zero}, {type_} 0, {type_} {found}")

    return write


def _is(condition: Callable[[Text, str, str], str], of_others: str) -> Statement:
    def write(text: Text, dtypes: Sequence[str], x: str) -> str:
        return condition(text, dtypes[0], x) if kind_of(dtypes[0]) == "f" else of_others

    return write


def _finite(word: str) -> Callable[[Text, str, str], str]:
    def write(text: Text, dtype: str, x: str) -> str:
        size = _intrinsic("fabs")(text, [dtype], x)
        return text.value(f"fcmp {word} {LLVM_TYPES[dtype]} {size}, {literal(float('inf'), dtype)}")

    return write


def _signbit(text: Text, dtypes: Sequence[str], x: str) -> str:
    type_ = LLVM_TYPES[dtypes[0]]
    whole = f"i{32 if dtypes[0] == 'float32' else 64}"
    bits = text.value(f"bitcast {type_} {x} to {whole}")
    return text.value(f"icmp slt {whole} {bits}, 0")


def _cast(text: Text, dtypes: Sequence[str], x: str) -> str:
    before, after = dtypes
    if before == after:
        return x
    old, new = LLVM_TYPES[before], LLVM_TYPES[after]
    kinds = kind_of(before) + kind_of(after)
    if after == "bool":
        return _truth(text, before, x)
    if kinds == "ff":
        return text.value(f"{'fpext' if after == 'float64' else 'fptrunc'} {old} {x} to {new}")
    if kinds[1] == "f":
        return text.value(f"{'sitofp' if kinds[0] == 'i' else 'uitofp'} {old} {x} to {new}")
    if kinds[0] == "f":
        return _to_integer(text, old, after, x)
    small, large = int(old[1:]), int(new[1:])
    if small == large:
        return x
    word = "trunc" if small > large else "sext" if kinds[0] == "i" else "zext"
    return text.value(f"{word} {old} {x} to {new}")


def _to_integer(text: Text, old: str, after: str, x: str) -> str:
    """Go through a signed integer, as the processor and NumPy do: what does not fit is its smallest one."""
    new = LLVM_TYPES[after]
    if after == "uint64":
        return _to_unsigned(text, old, x)
    through = "i64" if after in ("int64", "uint32") else "i32"
    found = text.value(f"freeze {through} {text.value(f'fptosi {old} {x} to {through}')}")
    return found if through == new else text.value(f"trunc {through} {found} to {new}")


def _to_unsigned(text: Text, old: str, x: str) -> str:
    """Convert what is 2**63 or larger less 2**63, and put that bit back: a signed integer has no such number."""
    half = literal(2.0**63, "float64")  # LLVM writes a float as the double that it is
    large = text.value(f"fcmp oge {old} {x}, {half}")
    less = text.value(f"fsub {old} {x}, {half}")
    small = text.value(f"select i1 {large}, {old} {less}, {old} {x}")
    found = text.value(f"freeze i64 {text.value(f'fptosi {old} {small} to i64')}")
    turned = text.value(f"xor i64 {found}, {-(2**63)}")
    return text.value(f"select i1 {large}, i64 {turned}, i64 {found}")


def _logaddexp(text: Text, dtypes: Sequence[str], x: str, y: str) -> str:
    """Add the logarithm of 1 + exp(-|x - y|) to the larger one; infinities of one sign have no difference."""
    dtype = dtypes[-1]
    type_ = LLVM_TYPES[dtype]
    above = text.value(f"fcmp ogt {type_} {x}, {y}")
    larger = text.value(f"select i1 {above}, {type_} {x}, {type_} {y}")
    apart = _intrinsic("fabs")(text, [dtype], text.value(f"fsub {type_} {x}, {y}"))
    ratio = _own("exp")(text, [dtype], text.value(f"fneg {type_} {apart}"))
    sum_ = text.value(f"fadd {type_} {larger}, {_own('log1p')(text, [dtype], ratio)}")
    twice = text.value(f"fadd {type_} {x}, {literal(math.log(2), dtype)}")
    return text.value(f"select i1 {text.value(f'fcmp oeq {type_} {x}, {y}')}, {type_} {twice}, {type_} {sum_}")


STATEMENTS: dict[str, tuple[str, Statement]] = {
    "abs": ("fiu", _abs),
    "add": ("fiub", _arithmetic("fadd", "add", "or")),
    "astype": ("fiub", _cast),
    "astype_exact": ("fiub", _cast),
    "bitwise_and": ("iub", _bits("and")),
    "bitwise_invert": ("iub", _bits("xor")),
    "bitwise_left_shift": ("iu", _shift(left=True)),
    "bitwise_or": ("iub", _bits("or")),
    "bitwise_right_shift": ("iu", _shift(left=False)),
    "bitwise_xor": ("iub", _bits("xor")),
    "ceil": ("fiu", _intrinsic("ceil")),
    "copysign": ("f", _intrinsic("copysign")),
    "divide": ("f", _arithmetic("fdiv", "", "")),
    "equal": ("fiub", _comparison("oeq", "eq")),
    "floor": ("fiu", _intrinsic("floor")),
    "floor_divide": ("iu", _division(remainder=False)),
    "greater": ("fiub", _comparison("ogt", "gt")),
    "greater_equal": ("fiub", _comparison("oge", "ge")),
    "isfinite": ("fiub", _is(_finite("one"), "true")),
    "isinf": ("fiub", _is(_finite("oeq"), "false")),
    "isnan": ("fiub", _is(lambda text, dtype, x: text.value(f"fcmp uno {LLVM_TYPES[dtype]} {x}, {x}"), "false")),
    "less": ("fiub", _comparison("olt", "lt")),
    "less_equal": ("fiub", _comparison("ole", "le")),
    "logaddexp": ("f", _logaddexp),
    "logical_and": ("fiub", _logical("and")),
    "logical_not": ("fiub", _logical("xor")),
    "logical_or": ("fiub", _logical("or")),
    "logical_xor": ("fiub", _logical("xor")),
    "maximum": ("fiub", _extreme("ogt", "gt", "or")),
    "minimum": ("fiub", _extreme("olt", "lt", "and")),
    "multiply": ("fiub", _arithmetic("fmul", "mul", "and")),
    "negative": ("fiu", _negative),
    "not_equal": ("fiub", _comparison("une", "ne")),
    "positive": ("fiub", _same),
    "reciprocal": ("f", _reciprocal),
    "remainder": ("iu", _division(remainder=True)),
    "round": ("fiu", _intrinsic("roundeven")),
    "sign": ("fiu", _sign),
    "signbit": ("f", _signbit),
    "sqrt": ("f", _intrinsic("sqrt")),
    "square": ("fiub", _square),
    "subtract": ("fiu", _arithmetic("fsub", "sub", "")),
    "trunc": ("fiu", _intrinsic("trunc")),
    "where": ("fiub", _where),
    **{
        name: ("f", _library(called))
        for name, called in {
            "acos": "acos", "acosh": "acosh", "asin": "asin", "asinh": "asinh", "atan": "atan", "atan2": "atan2",
            "atanh": "atanh", "cos": "cos", "cosh": "cosh", "erfc": "erfc", "exp": "exp", "expm1": "expm1",
            "hypot": "hypot", "log": "log", "log10": "log10", "log1p": "log1p", "log2": "log2",
            "nextafter": "nextafter", "pow": "pow", "sin": "sin", "sinh": "sinh", "tan": "tan", "tanh": "tanh",
        }.items()
    },
}  # fmt: skip
"""By primitive: for which kinds of dtypes, and how it is written."""
STATEMENTS.update((name, ("f", _own(name))) for name in NAMES)
MIXED = {"astype", "astype_exact", "where", "isfinite", "isinf", "isnan", "signbit"}
"""Those whose operands may have other dtypes than the result and each other."""
COMPARISONS = {"equal", "greater", "greater_equal", "less", "less_equal", "not_equal"}
LOGIC = {"logical_and", "logical_not", "logical_or", "logical_xor"}


def takes(name: str, dtypes: Sequence[str]) -> bool:
    """Return whether there is a statement for a primitive of these dtypes, the result's last."""
    if name == "running":
        return kind_of(dtypes[0]) in "fiu"
    if name in ("take", "scatter"):  # an array and positions in it
        return dtypes[0] in MEMORY_TYPES and kind_of(dtypes[1]) in "iu"
    found = STATEMENTS.get(name)
    if found is None or not all(dtype in LLVM_TYPES for dtype in dtypes):
        return False
    if name in MIXED or name in LOGIC:
        operands = dtypes[1:] if name == "where" else dtypes[:1]
        return all(kind_of(dtype) in found[0] for dtype in operands) and (
            name != "where" or (dtypes[0] == "bool" and len(set(dtypes[1:])) == 1)
        )
    operands = dtypes[:-1] if name in COMPARISONS else dtypes
    return len(set(operands)) == 1 and kind_of(operands[0]) in found[0]


def statement(text: Text, name: str, dtypes: Sequence[str], operands: Sequence[str]) -> str:
    """Write a statement, and return the value that it gives."""
    return STATEMENTS[name][1](text, dtypes, *operands)


COMBINE = {"logical_and": "and", "logical_or": "or"}


def combine(text: Text, name: str, dtype: str, x: str, y: str) -> str:
    """Write a step of a reduction, which may be taken in any order."""
    if name in COMBINE:
        return text.value(f"{COMBINE[name]} i1 {x}, {y}")
    if name in ("add", "multiply") and kind_of(dtype) == "f":
        word = "fadd" if name == "add" else "fmul"
        return text.value(f"{word} reassoc contract {LLVM_TYPES[dtype]} {x}, {y}")
    if name in ("maximum", "minimum") and kind_of(dtype) == "f":
        # NaN if one of them is, as everywhere; so written, LLVM takes several at a time.
        return _intrinsic(name)(text, [dtype], x, y)
    return statement(text, name, [dtype, dtype, dtype], [x, y])


DTYPES = {"f32": "float32", "f64": "float64"}


def definitions(body: str) -> list[str]:
    """Return the texts of gradkit's own functions that a program calls."""
    called = sorted(set(re.findall(r"@gk_(\w+)_(f32|f64)\(", body)))
    return [function_text(name, DTYPES[suffix]) for name, suffix in called]
