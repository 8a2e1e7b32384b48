"""What the project's README says of the results: a picture, and a line on each measurement."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from textwrap import wrap
from typing import Any

from distributed_page import is_quiet
from words import three_digits

__all__ = ["lines"]

PICTURE = "![Time of a training step on six networks, in multiples of the step by hand in NumPy](docs/images/steps.png)"


def lines(measured: dict[str, dict[str, Any]]) -> str:
    """Return the picture and the lines, of measurements by name."""
    told = [f"- {line(measured[name])}" for name, line in LINES.items() if _told(name, measured)]
    wrapped = (wrap(line, 125, subsequent_indent="  ", break_on_hyphens=False) for line in told)
    return "\n".join([PICTURE, "", *(line for lines in wrapped for line in lines)])


def _told(name: str, measured: dict[str, dict[str, Any]]) -> bool:
    """Return whether a measurement is there, with what the line is about, from a machine that was quiet."""
    if name != "distributed" or name not in measured:
        return name in measured
    results = measured[name]
    return "2" in (results["epochs"] or {"seconds": {}})["seconds"] and is_quiet(results)


def _spread(ratios: Iterable[float]) -> str:
    """Return the least and the greatest of some ratios."""
    sorted_ = sorted(ratios)
    return f"{sorted_[0]:.2f} to {sorted_[-1]:.2f}"


def _steps(results: dict[str, Any]) -> str:
    def spread(name: str, base: str) -> str:
        return _spread(
            size["contestants"][name]["microseconds"] / size["contestants"][base]["microseconds"]
            for size in results["sizes"]
        )

    return (
        f"**A compiled step** takes {spread('gradkit-jit', 'jax-jit')} times `jax.jit`'s time, by network, and in a "
        f"`scan` {spread('gradkit-scan', 'jax-scan')} times `lax.scan`'s; by NumPy alone, without the extra, "
        f"{spread('gradkit-jit-numpy', 'by-hand')} times the step by hand."
    )


def _programs(results: dict[str, Any]) -> str:
    programs = results["programs"]
    first = [
        tuple(program["first"]["gradkit"][kind] / program["first"]["jax"]["cold"] for kind in ("cold", "warm"))
        for program in programs
        if program["first"]
    ]
    told = (
        f"**{len(programs)} ordinary JAX programs**, unchanged: a step takes {results['geometric_mean']:.2f} of JAX's "
        f"time in the geometric mean, {_spread(program['ratio'] for program in programs)} on each"
    )
    if first:
        cold, warm = zip(*first, strict=True)
        told += f"; the first result of a process {_spread(cold)}, and {_spread(warm)} with code on disk"
    return told + "."


def _eager(results: dict[str, Any]) -> str:
    ratios = [size["contestants"]["gradkit-pure"]["ratio"] for size in results["sizes"]]
    return (
        f"**Without jit** a step takes {_spread(ratios)} times the same by hand in NumPy, most in the smallest network."
    )


def _scaling(results: dict[str, Any]) -> str:
    found = results["compile"]["gradkit"]
    return (
        f"**Compiling** {found['values'][-1]:,} operations takes {three_digits(found['seconds'][-1])} seconds, and "
        f"grows with the power {found['growth']:.2f} of their number."
    )


def _estimators(results: dict[str, Any]) -> str:
    ratios = [problem["contestants"]["gradkit"]["ratio"] for problem in results["problems"]]
    return f"**A fit** takes {_spread(ratios)} times scikit-learn's time at the same accuracy."


def _imports(results: dict[str, Any]) -> str:
    rows = {row["title"]: row for row in results["packages"]}
    told = [f"{title} {rows[title]['megabytes']:.0f}" for title in ("numpy", "jax", "torch (CPU)") if title in rows]
    ours = rows["gradkit"]
    return (
        f"**Installed** it has {ours['megabytes']:.0f} MB, NumPy with it ({', '.join(told)}), and is imported in "
        f"{ours['import_seconds'] * 1e3:.0f} ms, {ours['import_ratio']:.2f} times `import numpy`."
    )


def _scalar(results: dict[str, Any]) -> str:
    ratios = [problem["contestants"]["scalar"]["ratio"] for problem in results["problems"]]
    return f"**The lecture's engine** takes {_spread(ratios)} times micrograd's time."


def _distributed(results: dict[str, Any]) -> str:
    seconds = results["epochs"]["seconds"]
    ratio = statistics.median(a / b for a, b in zip(seconds["2"], seconds["1"], strict=True))
    return (
        f"**Two processes** with a core each take {ratio:.2f} of one's time for an epoch of MNIST by "
        f"784-{results['hidden']}-{results['hidden']}-10."
    )


LINES: dict[str, Callable[[dict[str, Any]], str]] = {
    "steps": _steps,
    "programs": _programs,
    "scaling": _scaling,
    "eager-numpy": _eager,
    "estimators": _estimators,
    "scalar": _scalar,
    "imports": _imports,
    "distributed": _distributed,
}
"""By the name of a measurement: what the README says of it, in this order."""
