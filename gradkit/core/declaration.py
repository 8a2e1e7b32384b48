"""What a declaration of a primitive has to say, and what contradicts itself: errors when it is made, naming it."""

from __future__ import annotations

import inspect
from typing import Any

from gradkit.core.namespace import DTYPES, PRIMITIVES

__all__ = ["check"]

VARIADIC = inspect.CO_VARARGS


def _count(function: Any, before: int) -> int | None:
    """Return how many arguments a text or a rule takes behind `before` others; None where it may be any number."""
    code = getattr(function, "__code__", None)
    return None if code is None or code.co_flags & VARIADIC else code.co_argcount - before


def _parameters(function: Any) -> tuple[set[str], set[str]] | None:
    """Return the names of all parameters, and of those by name alone; None where it takes any."""
    code = getattr(function, "__code__", None)
    if code is None or code.co_flags & inspect.CO_VARKEYWORDS:
        return None
    count, named = code.co_argcount, code.co_kwonlyargcount
    return set(code.co_varnames[: count + named]), set(code.co_varnames[count : count + named])


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
    if PRIMITIVES.named(name) is not None:
        raise ValueError(f"{here}: a primitive of that name is declared already.")
    if primitive.shape_rule is None and kind.abstract is base.abstract:  # type: ignore[attr-defined]
        raise TypeError(f"{here}: shape= is missing, which says what the result is without computing it.")
    if primitive.batch_rule is None and kind.batch is base.batch:  # type: ignore[attr-defined]
        raise TypeError(f"{here}: batch= is missing. A leaf has no text that vmap could run: state how batches run.")
    for fact, rule in (("batch", primitive.batch_rule), ("shape", primitive.shape_rule)):
        if rule is not None and not callable(rule):
            raise TypeError(f"{here}: {fact}= must be a function, got {rule!r}.")
    if isinstance(primitive.dtype_rule, str) and primitive.dtype_rule not in DTYPES:
        raise TypeError(f"{here}: dtype= must name a dtype or be a function, got {primitive.dtype_rule!r}.")
    if not primitive.rules:
        raise TypeError(f"{here}: no rules. State one for each argument, None where it has no derivative.")
    stated = (_count(getattr(rule, "condition", rule), primitive.before) for rule in primitive.rules)
    counts = {count for count in stated if count is not None}
    text = _count(primitive.forward, 1)
    if text is not None and (primitive.broadcasts or any(text < count for count in counts)):
        counts.add(text)  # of other families it may have parameters by position
    if primitive.broadcasts:
        counts.add(len(primitive.rules))
    if len(counts) > 1:
        raise TypeError(
            f"{here}: the declaration speaks of {' and of '.join(map(str, sorted(counts)))} arguments. A text takes "
            f"xp and the arguments; a rule xp, what its family gives it, and the arguments. See CONTRIBUTING.md."
        )
    functions = (*primitive.rules, primitive.forward, primitive.shape_rule, primitive.dtype_rule)
    taken = [found for function in functions if (found := _parameters(function)) is not None]
    wanted = set().union(*(by_name for _, by_name in taken))
    for names, _ in taken:
        if not wanted <= names:
            raise TypeError(
                f"{here}: the text, the rules, shape= and dtype= take the same parameters by name; one of them lacks "
                f"{', '.join(sorted(wanted - names))}."
            )
