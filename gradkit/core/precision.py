"""`precision`, which JAX's products take, and the mode in which a backend computes them.

A product of float32 has one of three modes: the library's own, ``"tensorfloat32"`` and ``"float32"``. Which of them a
backend can choose between, it says itself (`Backend.product_modes`): on a CPU there is nothing to choose.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gradkit.blocks import BlockValue
from gradkit.config import Config, config
from gradkit.settings import ALGORITHMS

__all__ = ["PRODUCTS", "Precision", "PrecisionLike", "check_precision", "product_mode", "products_with"]


class Precision(enum.Enum):
    """How exactly an accelerator should multiply: see `gradkit.default_matmul_precision`."""

    DEFAULT = 0
    HIGH = 1
    HIGHEST = 2


PrecisionLike = Precision | str | tuple[Any, Any] | None
TF32, FULL = "tensorfloat32", "float32"
MODES = {
    "default": "",
    "fastest": TF32,
    "bfloat16": TF32,
    "high": TF32,
    "bfloat16_3x": TF32,
    "tensorfloat32": TF32,
    "highest": FULL,
    "float32": FULL,
    "DEFAULT": "",
    **{name: FULL if "_X" in name or name.startswith(("F32", "F64")) else TF32 for name in ALGORITHMS},
}
"""By what `precision` may be called: the mode that is at least as exact; an empty one is the library's own."""
NAMES = frozenset("default fastest bfloat16 high bfloat16_3x tensorfloat32 highest float32".split())
EXACTNESS = ("", TF32, FULL)
OF_MEMBERS = {Precision.DEFAULT: "", Precision.HIGH: TF32, Precision.HIGHEST: FULL}

PRODUCTS = vars(Config)["jax_default_matmul_precision"]
"""The setting; while `PRODUCTS.was_chosen` is false, every product is as the library does it."""
_asked = BlockValue[str | None]("gradkit_precision", None)
"""The mode that the argument `precision` of the product in progress asks for."""


def check_precision(precision: Any, caller: str) -> None:
    """Raise ValueError for what is no precision of JAX's.

    Parameters
    ----------
    precision : Precision or str, a pair of them (one for each factor), or None
        What was given.
    caller : str
        The function, for the message.
    """
    if precision is None or (type(precision) is str and precision in MODES):
        return
    both = precision if type(precision) is tuple and len(precision) == 2 else (precision,)
    if not all(isinstance(one, Precision) or (type(one) is str and one in NAMES) for one in both):
        raise ValueError(
            f"{caller}: precision must be None, a lax.Precision, a string in {sorted(NAMES)}, a pair of these, or the "
            f"name of an algorithm in {sorted(set(MODES) - NAMES)}; got {precision!r}."
        )


def _mode_of(precision: Any) -> str:
    """Return the mode of what `check_precision` lets through; of a pair the more exact one."""
    if type(precision) is tuple:
        return max(map(_mode_of, precision), key=EXACTNESS.index)
    return OF_MEMBERS[precision] if isinstance(precision, Precision) else MODES[precision]


@contextmanager
def products_with(precision: Any, caller: str) -> Iterator[None]:
    """Compute the products in a ``with`` block as the argument `precision` of a function says."""
    check_precision(precision, caller)
    if precision is None:
        yield
        return
    PRODUCTS.was_chosen = True
    with _asked.block(_mode_of(precision)):
        yield


def product_mode() -> str:
    """Return the mode of a product that is computed now."""
    asked = _asked.get()
    if asked is not None:
        return asked
    chosen = config.jax_default_matmul_precision
    return "" if chosen is None else MODES[chosen]
