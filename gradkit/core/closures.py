"""What functions with rules of their own close over: which transforms it belongs to, found in what they compute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradkit.core.binding import highest_trace
from gradkit.core.forward import ForwardTrace
from gradkit.core.layers import followers
from gradkit.core.node import Trace
from gradkit.core.reverse import ReverseTrace
from gradkit.errors import UnexpectedTracerError

__all__ = ["ClosedOver", "ClosesOver", "check_closures", "closure_error", "highest"]

ClosedOver = Sequence[Trace]


class ClosesOver(Exception):
    """Says that what a function closes over belongs to a transform above all that it was given."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self.trace = trace


def highest(args: list[Any], closed_over: ClosedOver) -> tuple[Trace | None, ClosedOver]:
    """Return the highest trace among those of the arguments and of what is closed over, and the rest of these."""
    trace = highest_trace(args)
    for other in closed_over:
        if trace is None or other.level > trace.level:
            trace = other
    return trace, [other for other in closed_over if other is not trace]


def check_closures(trace: Trace | None, values: list[Any], kind: str, own: Trace | None = None) -> list[Any]:
    """Return what a function has computed, if it depends on nothing at the level of its trace or above.

    `own` is the trace of its tangents, which may.
    """
    above = [other for other in followers(values) if other is not own and _is_from(other, trace)]
    if not above:
        return values
    latest = max(above, key=lambda other: other.number)
    if isinstance(latest, ForwardTrace | ReverseTrace):
        raise closure_error(kind)
    raise ClosesOver(latest)


def _is_from(other: Trace, trace: Trace | None) -> bool:
    """Return whether a trace is not below another one."""
    if trace is None:
        return bool(other.level)  # the tape follows what a function closes over by the function's own operations
    if other is trace:
        return isinstance(trace, ForwardTrace | ReverseTrace)
    return other.level > trace.level


def closure_error(kind: str) -> UnexpectedTracerError:
    """Return the error for a function with rules of its own that is differentiated by what it closes over."""
    return UnexpectedTracerError(
        f"Encountered an unexpected tracer. Detected differentiation of a {kind} function with respect to a "
        f"closed-over value. That's not supported because the rule only specifies how to differentiate the {kind} "
        f"function with respect to explicit input parameters. Pass the value as an argument."
    )
