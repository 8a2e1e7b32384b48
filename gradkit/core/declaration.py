"""What a declaration of a primitive has to say, and what contradicts itself: errors when it is made, naming it."""

from __future__ import annotations

import inspect
from typing import Any

from gradkit.core.namespace import PRIMITIVES

__all__ = ["check"]

VARIADIC = inspect.CO_VARARGS


def _count(function: Any, before: int) -> int | None:
    """Return how many arguments a text or a rule takes behind `before` others; None where it may be any number."""
    code = getattr(function, "__code__", None)
    return None if code is None or code.co_flags & VARIADIC else code.co_argcount - before


def check(primitive: Any, base: type) -> None:
    """Raise where the declaration of a primitive lacks a fact or contradicts itself.

    Parameters
    ----------
    primitive : Primitive
        With all that was stated.
    base : type
        The class whose ways to batch and to find shapes need a rule.
    """
    kind, name = type(primitive), primitive.name
    here = f"{kind.__name__}({name!r})"
    if name in PRIMITIVES:
        raise ValueError(f"{here}: a primitive of that name is declared already.")
    if primitive.shape_rule is None and kind.abstract is base.abstract:  # type: ignore[attr-defined]
        raise TypeError(f"{here}: shape= is missing, which says what the result is without computing it.")
    if primitive.batch_rule is None and kind.batch is base.batch:  # type: ignore[attr-defined]
        raise TypeError(f"{here}: batch= is missing. A leaf has no text that vmap could run: state how batches run.")
    if not primitive.rules:
        raise TypeError(f"{here}: no rules. State one for each argument, None where it has no derivative.")
    stated = (_count(getattr(rule, "condition", rule), primitive.before) for rule in primitive.rules)
    counts = {count for count in stated if count is not None}
    text = _count(primitive.forward, 1)
    if text is not None and (primitive.broadcasts or any(text < count for count in counts)):
        counts.add(text)  # of other families it may have parameters by place
    if primitive.broadcasts:
        counts.add(len(primitive.rules))
    if len(counts) > 1:
        raise TypeError(
            f"{here}: the declaration speaks of {' and of '.join(map(str, sorted(counts)))} arguments. A text takes "
            f"xp and the arguments; a rule xp, what its family gives it, and the arguments. See CONTRIBUTING.md."
        )
