"""How numbers of results are written."""

from __future__ import annotations

__all__ = ["ratio_cell", "three_digits"]


def three_digits(number: float) -> str:
    """Return a positive number with three significant digits and no exponent.

    Examples
    --------
    >>> three_digits(0.01234), three_digits(61.23), three_digits(12345.6)
    ('0.0123', '61.2', '12346')
    """
    return f"{number:.0f}" if number >= 100 else f"{number:#.3g}".rstrip(".")


def ratio_cell(median: float, quartiles: list[float]) -> str:
    """Return a median with its quartiles."""
    lower, upper = quartiles
    return f"{median:.2f} ({lower:.2f} to {upper:.2f})"
