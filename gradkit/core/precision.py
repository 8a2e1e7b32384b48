"""`precision`, which JAX's products take: here they always have the precision of their arrays."""

from __future__ import annotations

import enum
from typing import Any

__all__ = ["Precision", "PrecisionLike", "check_precision"]


class Precision(enum.Enum):
    """How exactly an accelerator should multiply. Here products are always of the arrays' own precision."""

    DEFAULT = 0
    HIGH = 1
    HIGHEST = 2


PrecisionLike = Precision | str | tuple[Any, Any] | None
NAMES = frozenset("default fastest bfloat16 high bfloat16_3x tensorfloat32 highest float32".split())
ALGORITHMS = frozenset(
    """
    DEFAULT ANY_F8_ANY_F8_F32 ANY_F8_ANY_F8_F32_FAST_ACCUM ANY_F8_ANY_F8_ANY ANY_F8_ANY_F8_ANY_FAST_ACCUM F16_F16_F16
    F16_F16_F32 BF16_BF16_BF16 BF16_BF16_F32 BF16_BF16_F32_X3 BF16_BF16_F32_X6 BF16_BF16_F32_X9 TF32_TF32_F32
    TF32_TF32_F32_X3 F32_F32_F32 F64_F64_F64
    """.split()
)
"""The names of JAX's `DotAlgorithmPreset`."""


def check_precision(precision: Any, caller: str) -> None:
    """Raise ValueError for what is no precision of JAX's: they have no effect here, but a name that is misspelt is one.

    Parameters
    ----------
    precision : Precision or str, a pair of them (one for each factor), or None
        What was given.
    caller : str
        The function, for the message.
    """
    if precision is None or (type(precision) is str and precision in ALGORITHMS):
        return
    both = precision if type(precision) is tuple and len(precision) == 2 else (precision,)
    if not all(isinstance(one, Precision) or (type(one) is str and one in NAMES) for one in both):
        raise ValueError(
            f"{caller}: precision must be None, a lax.Precision, a string in {sorted(NAMES)}, a pair of these, or the "
            f"name of an algorithm in {sorted(ALGORITHMS)}; got {precision!r}. (It has no effect: products have the "
            f"precision of their arrays.)"
        )
