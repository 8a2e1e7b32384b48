"""Identities of elementwise operations: rewrites that change no bit of the result.

Infinities, NaN and signed zeros are numbers like others here, so x + 0, x * 0, x - x and x / x stay as they are. What a
NaN has beside being one is not kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gradkit.compiler.rewriting import Draft, Rewrite, Site, number_in, table
from gradkit.core.graph import Variable
from gradkit.core.promotion import has_room_for

__all__ = ["IDENTITIES", "IDENTITY_RULES"]

NUMBERS = (int, float)


def _is(operand: Any, number: float) -> bool:
    """Return whether an operand is a literal of this number, and of this sign."""
    found = number_in(operand)
    return type(found) in NUMBERS and found == number and math.copysign(1, found) == math.copysign(1, number)


def _is_real(site: Site) -> bool:
    return site.form.dtype.kind in "fiu"


def _is_floating(site: Site) -> bool:
    return bool(site.form.dtype.kind == "f")


# Nothing is done


def _times_one(draft: Draft, site: Site) -> Any:
    x, y = site.inputs
    if not _is_real(site):
        return None
    if _is(y, 1):
        return x
    return y if _is(x, 1) and site.primitive.name == "multiply" else None


def _minus_zero(draft: Draft, site: Site) -> Any:
    x, y = site.inputs
    return x if _is(y, 0.0) and _is_real(site) else None


def _plus_nothing(draft: Draft, site: Site) -> Any:
    nothing = -0.0 if _is_floating(site) else 0
    for x, y in (site.inputs, site.inputs[::-1]):
        if _is(y, nothing) and _is_real(site):
            return x
    return None


def _argument(draft: Draft, site: Site) -> Any:
    return site.inputs[0]


def _of_one_dtype(draft: Draft, site: Site) -> Any:
    (x,) = site.inputs
    return x if x.dtype == site.form.dtype else None


def _through_a_wider_dtype(draft: Draft, site: Site) -> Any:
    before = draft.maker(site.inputs[0], "astype", "astype_exact")
    if before is None:
        return None
    first, between, last = (v.dtype for v in (before.inputs[0], site.inputs[0], site.form))
    if not _holds(between, first):
        return None
    # A float that does not fit is no certain integer.
    wraps = between.kind in "biu" or last == first or (last.kind in "fc" and not (first.kind == "f" != last.kind))
    return draft.made("astype", before.inputs[0], form=site.form, dtype=site.params["dtype"]) if wraps else None


def _holds(wide: Any, narrow: Any) -> bool:
    """Return whether a dtype has every number of another one."""
    if narrow.kind == "b" or wide == narrow:
        return True
    if wide.kind in "iu" and narrow.kind in "iu":
        signed = wide.kind == "i"
        return bool(wide.itemsize > narrow.itemsize and (signed or narrow.kind == "u"))
    if wide.kind == "f" and narrow.kind in "iu":
        digits = {2: 11, 4: 24, 8: 53}.get(wide.itemsize, 0)
        return bool(narrow.itemsize * 8 <= digits)
    return bool(wide.kind == narrow.kind == "f" and wide.itemsize > narrow.itemsize)


# The same thing twice


def _lacks_dtype(site: Site) -> bool:
    """Return whether there is no such operation for the dtype, which the call is to say."""
    name, kind = site.primitive.name, site.form.dtype.kind
    return kind == "b" if name == "negative" else kind not in "iub" if name.startswith("bitwise_") else False


def _twice_negative(draft: Draft, site: Site) -> Any:
    return None if _lacks_dtype(site) else draft.argument(site.inputs[0], "negative")


def _twice_not(draft: Draft, site: Site) -> Any:
    return None if _lacks_dtype(site) else draft.argument(site.inputs[0], site.primitive.name)


def _again(draft: Draft, site: Site) -> Any:
    return site.inputs[0] if draft.maker(site.inputs[0], site.primitive.name) else None


def _of_two_equal(draft: Draft, site: Site) -> Any:
    x, y = site.inputs
    return x if x is y and not _lacks_dtype(site) else None


def _square(draft: Draft, site: Site) -> Any:
    x, y = site.inputs
    if x is not y or type(x) is not Variable or x.dtype.kind == "b":
        return None
    return draft.made("square", x, form=site.form)


def _without_sign(draft: Draft, site: Site) -> Any:
    (x,) = site.inputs
    maker = draft.maker(x, "negative", "abs")
    if maker is None or maker.inputs[0].dtype.kind not in "fi":
        return None
    return draft.like(site, maker.inputs[0])


# Signs go outwards, to where a sum takes them in


def _minus(draft: Draft, operand: Any) -> Any:
    """Return what an operand is the negative of: a number's negative, or the argument of `negative`; else None."""
    number = number_in(operand)
    if number is not None:
        return -number if type(number) is float else None
    return draft.argument(operand, "negative")


def _both_negative(draft: Draft, site: Site) -> Any:
    if site.form.dtype.kind not in "fi" or not any(draft.maker(operand, "negative") for operand in site.inputs):
        return None
    x, y = (_minus(draft, operand) for operand in site.inputs)
    return None if x is None or y is None else draft.like(site, x, y)


def _one_negative(draft: Draft, site: Site) -> Any:
    if site.form.dtype.kind not in "fi":
        return None
    x, y = site.inputs
    if (inside := draft.argument(x, "negative")) is not None:
        return draft.made("negative", draft.like(site, inside, y), form=site.form)
    if (inside := draft.argument(y, "negative")) is not None:
        return draft.made("negative", draft.like(site, x, inside), form=site.form)
    return None


def _times_minus_one(draft: Draft, site: Site) -> Any:
    x, y = site.inputs
    if site.form.dtype.kind not in "fi":
        return None
    if _is(y, -1):
        return draft.made("negative", draft.shaped(x, site.form), form=site.form)
    if _is(x, -1) and site.primitive.name == "multiply":
        return draft.made("negative", draft.shaped(y, site.form), form=site.form)
    return None


def _negative_of_a_multiple(draft: Draft, site: Site) -> Any:
    maker = draft.maker(site.inputs[0], "multiply", "divide")
    if maker is None or not _is_floating(site):
        return None
    numbers = [number_in(x) for x in maker.inputs]
    if all(number is None for number in numbers):
        return None
    inputs = [x if number is None else -number for x, number in zip(maker.inputs, numbers, strict=True)]
    return draft.made(maker.primitive.name, *inputs, form=site.form)


def _plus_negative(draft: Draft, site: Site) -> Any:
    for x, y in (site.inputs, site.inputs[::-1]):
        if (inside := draft.argument(y, "negative")) is not None:
            return draft.made("subtract", x, inside, form=site.form)
    return None


def _minus_negative(draft: Draft, site: Site) -> Any:
    x, y = site.inputs
    inside = draft.argument(y, "negative")
    return None if inside is None else draft.made("add", x, inside, form=site.form)


# Numbers


def _divided_by_a_power_of_two(draft: Draft, site: Site) -> Any:
    x, y = site.inputs
    number = number_in(y)
    if type(number) is not float or not _is_floating(site) or not _is_power_of_two(number):
        return None
    return draft.made("multiply", x, 1 / number, form=site.form) if _is_normal(1 / number, site) else None


def _factors(draft: Draft, site: Site) -> Any:
    x, number = _with_number(site.inputs)
    if type(number) is not float or not _is_floating(site):
        return None
    maker = draft.maker(x, "multiply")
    inside, other = (None, None) if maker is None else _with_number(maker.inputs)
    if type(other) is not float or not (_is_power_of_two(number) or _is_power_of_two(other)):
        return None
    both = number * other
    return draft.made("multiply", inside, both, form=site.form) if _is_normal(both, site) else None


def _summands(draft: Draft, site: Site) -> Any:
    x, number = _with_number(site.inputs)
    maker = draft.maker(x, site.primitive.name)
    inside, other = (None, None) if maker is None else _with_number(maker.inputs)
    if type(number) is not int or type(other) is not int or site.form.dtype.kind not in "iu":
        return None
    if not all(has_room_for(site.form.dtype.name, n) for n in (number, other)):  # an error, when it runs
        return None
    bits = site.form.dtype.itemsize * 8
    total = number + other if site.primitive.name == "add" else number * other
    total %= 1 << bits
    if site.form.dtype.kind == "i" and total >= 1 << bits - 1:
        total -= 1 << bits
    return draft.like(site, inside, total)


def _with_number(inputs: tuple[Any, ...]) -> tuple[Any, Any]:
    """Return the operand that is no literal, and the number of the other one."""
    x, y = inputs
    return (x, number_in(y)) if type(x) is Variable else (y, number_in(x))


def _is_power_of_two(number: float) -> bool:
    return number != 0 and math.isfinite(number) and abs(math.frexp(number)[0]) == 0.5


def _is_normal(number: float, site: Site) -> bool:
    smallest, largest = {2: (2.0**-14, 65504.0), 4: (2.0**-126, 2.0**127), 8: (2.0**-1022, 2.0**1023)}[
        site.form.dtype.itemsize
    ]
    return smallest <= abs(number) <= largest


# Conditions


def _known_choice(draft: Draft, site: Site) -> Any:
    condition, x, y = site.inputs
    number = number_in(condition)
    return (x if number else y) if number is not None else None


def _same_either_way(draft: Draft, site: Site) -> Any:
    _, x, y = site.inputs
    return x if _are_one(x, y) else None


def _are_one(x: Any, y: Any) -> bool:
    if type(x) is Variable or type(y) is Variable:
        return x is y
    a, b = number_in(x), number_in(y)
    return a == b and type(a) is not complex and math.copysign(1, a) == math.copysign(1, b)


def _other_way_round(draft: Draft, site: Site) -> Any:
    condition, x, y = site.inputs
    inside = draft.argument(condition, "logical_not")
    return None if inside is None else draft.like(site, inside, y, x)


def _chosen_before(draft: Draft, site: Site) -> Any:
    condition, x, y = site.inputs
    if (inner := draft.maker(x, "where")) and inner.inputs[0] is condition:
        return draft.like(site, condition, inner.inputs[1], y)
    if (inner := draft.maker(y, "where")) and inner.inputs[0] is condition:
        return draft.like(site, condition, x, inner.inputs[2])
    return None


def _with_truth(neutral: bool) -> Callable[[Draft, Site], Any]:
    def rule(draft: Draft, site: Site) -> Any:
        for x, y in (site.inputs, site.inputs[::-1]):
            number = number_in(y)
            if number is not None:
                return x if bool(number) is neutral else draft.number(not neutral, site.form)
        return None

    return rule


def _of_truth(draft: Draft, site: Site) -> Any:
    if site.form.dtype.kind != "b":
        return None
    return draft.made(LOGICAL[site.primitive.name], *site.inputs, form=site.form)


LOGICAL = {
    "bitwise_and": "logical_and",
    "bitwise_or": "logical_or",
    "bitwise_xor": "logical_xor",
    "bitwise_invert": "logical_not",
}


def _shifted_by_nothing(draft: Draft, site: Site) -> Any:
    x, y = site.inputs
    return x if _is(y, 0) and not _lacks_dtype(site) else None


# Operands that broadcast do not have to be broadcast


def _broadcast_operands(draft: Draft, site: Site) -> Any:
    if not any(draft.maker(x, "broadcast_to", "reshape") for x in site.inputs):
        return None
    whole = tuple(site.form.shape)
    inputs = [_without_broadcast(draft, x) for x in site.inputs]
    if all(x is y for x, y in zip(inputs, site.inputs, strict=True)):
        return None
    shape = _broadcast_shape([tuple(x.shape) for x in inputs if hasattr(x, "shape")])
    if shape == whole:
        return draft.like(site, *inputs)
    return draft.shaped(draft.made(site.primitive.name, *inputs, **site.params), site.form)


def _without_broadcast(draft: Draft, operand: Any) -> Any:
    """Return what is broadcast, or given leading axes of size 1, to make an operand."""
    while maker := draft.maker(operand, "broadcast_to", "reshape"):
        (inside,) = maker.inputs
        if maker.primitive.name == "reshape":
            lead = len(operand.shape) - len(inside.shape)
            if lead < 0 or tuple(operand.shape) != (*(1,) * lead, *inside.shape):
                break
        operand = inside
    return operand


def _broadcast_shape(shapes: list[tuple[int, ...]]) -> tuple[int, ...]:
    longest = max(map(len, shapes), default=0)
    padded = [(1,) * (longest - len(shape)) + shape for shape in shapes]
    return tuple(next((n for n in sizes if n != 1), 1) for sizes in zip(*padded, strict=True))


IDENTITIES = (
    Rewrite("elementwise", _broadcast_operands, "operands of different shapes are broadcast by the operation itself"),
    Rewrite(
        "multiply divide", _times_one, "x * 1 and x / 1 are x, whatever x is; of complex numbers inf * (1 + 0j) is NaN"
    ),
    Rewrite("subtract", _minus_zero, "x - 0.0 is x, for -0.0 as well; x - (-0.0) and x + 0.0 are not, for -0.0"),
    Rewrite("add", _plus_nothing, "x + -0.0 is x, for both zeros; of integers x + 0 is x"),
    Rewrite("positive stop_gradient name without_tape", _argument, "they are the identity on values"),
    Rewrite("astype astype_exact", _of_one_dtype, "there is nothing to convert"),
    Rewrite("astype astype_exact", _through_a_wider_dtype, "a dtype that has all numbers of another one changes none"),
    Rewrite("negative", _twice_negative, "-(-x) is x: two changes of the sign bit, or twice 2**n - x"),
    Rewrite("logical_not bitwise_invert", _twice_not, "not not x is x"),
    Rewrite("abs floor ceil round trunc relu", _again, "what it gives it leaves as it is"),
    Rewrite("maximum minimum logical_and logical_or bitwise_and bitwise_or", _of_two_equal, "both are the result"),
    Rewrite("multiply", _square, "it is the same product"),
    Rewrite("abs square", _without_sign, "they do not depend on the sign"),
    Rewrite("multiply divide", _both_negative, "two signs cancel, and rounding is the same on both sides of 0"),
    Rewrite("multiply", _times_minus_one, "x * -1 is -x"),
    Rewrite("multiply divide", _one_negative, "rounding is the same on both sides of 0, so a sign may be put in front"),
    Rewrite("negative", _negative_of_a_multiple, "-(c * x) is (-c) * x, by the same"),
    Rewrite("add", _plus_negative, "x + -y is how x - y is defined; -x + y is y + -x"),
    Rewrite("subtract", _minus_negative, "x - -y is x + y"),
    Rewrite(
        "divide", _divided_by_a_power_of_two, "the reciprocal of a power of two is exact, so both round one number"
    ),
    Rewrite(
        "multiply",
        _factors,
        "(x * c) * d is x * (c * d) if c or d is a power of two, whose products are exact; where x * c leaves the "
        "range of normal numbers, which alone makes a difference, the product is nearer to x * c * d",
    ),
    Rewrite("add multiply", _summands, "integers are added and multiplied modulo 2**n"),
    Rewrite(" ".join(LOGICAL), _of_truth, "of truth values both are one operation"),
    Rewrite("where", _known_choice, "the condition is known"),
    Rewrite("where", _same_either_way, "both choices are the same"),
    Rewrite("where", _other_way_round, "a condition's opposite chooses the other one"),
    Rewrite("where", _chosen_before, "a choice inside of a choice by the same condition is made already"),
    Rewrite("logical_and", _with_truth(True), "x and True is x, x and False is False"),
    Rewrite("logical_or", _with_truth(False), "x or False is x, x or True is True"),
    Rewrite("bitwise_left_shift bitwise_right_shift", _shifted_by_nothing, "a shift by 0 is none"),
)
"""What is looked for, the first that applies."""

IDENTITY_RULES = table(IDENTITIES)
