"""What all sections on results have in common: how numbers, tables and machines are written, and what is trusted."""

from __future__ import annotations

from typing import Any

__all__ = ["TRUSTED", "machine_line", "ratio_cell", "table", "three_digits"]

TRUSTED = 0.9, 1.1
"""The ratios with which a row can be trusted of a control, which does the same twice: 1 on a quiet machine."""


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


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table, its first column aligned left and the others right."""
    rule = [":--", *["--:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, rule, *rows])


def machine_line(machine: dict[str, Any], *more: str) -> str:
    """Return one sentence on where and of what a measurement is; more facts stand behind the processor."""
    facts = [
        machine["date"],
        f"commit {machine['commit']}",
        f"{machine['cpu']} with {machine['cores']} cores",
        *more,
        f"Python {machine['python']}",
        *(f"{name} {version}" for name, version in machine["versions"].items()),
    ]
    return ", ".join(facts) + "."
