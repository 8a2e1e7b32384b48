"""Pictures of results, for the README and docs/benchmarks.md. They need matplotlib, and are read without colours."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clusters import CLUSTERS, step_of
from distributed_page import COUNTS, STRONG, WEAK, modelled, quartiles
from machine import REPOSITORY

__all__ = ["PICTURES", "draw", "drawn_from"]

FOLDER = REPOSITORY / "docs" / "images"
KEY = "Comment"
"""Where a PNG file says which results it shows."""

LINES: dict[str, dict[str, Any]] = {
    "gradkit-jit": {"marker": "o", "color": "black", "linestyle": "-"},
    "gradkit-scan": {"marker": "s", "color": "black", "linestyle": "--"},
    "gradkit-jit-numpy": {"marker": "^", "color": "black", "linestyle": ":"},
    "gradkit-plain": {"marker": "x", "color": "black", "linestyle": ":"},
    "jax-jit": {"marker": "o", "color": "0.5", "linestyle": "-", "markerfacecolor": "white"},
    "jax-scan": {"marker": "s", "color": "0.5", "linestyle": "--", "markerfacecolor": "white"},
    "torch": {"marker": "D", "color": "0.5", "linestyle": ":", "markerfacecolor": "white"},
    "torch-compile": {"marker": "P", "color": "0.5", "linestyle": "-.", "markerfacecolor": "white"},
    "products": {"marker": "", "color": "0.3", "linestyle": "-", "linewidth": 0.8},
    "gradkit": {"marker": "o", "color": "black", "linestyle": "-"},
    "jax": {"marker": "o", "color": "0.5", "linestyle": "-", "markerfacecolor": "white"},
}
"""How each contestant is drawn. What is gradkit's is black and filled."""
IN_STEPS = (
    "gradkit-jit", "gradkit-scan", "gradkit-jit-numpy", "gradkit-plain", "jax-jit", "jax-scan", "torch",
    "torch-compile",
)  # fmt: skip


def _axes(number: int, size: tuple[float, float], **options: Any) -> tuple[Any, list[Any]]:
    """Return a figure with axes beside each other; nothing touches pyplot, so it needs no display."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, number, squeeze=False, **options)[0].tolist()
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def steps(results: dict[str, Any]) -> Any:
    """Draw the time of a compiled step on each network, in multiples of the step written by hand in NumPy."""
    sizes = results["sizes"]
    figure, (axis,) = _axes(1, (9.6, 4.2))
    for name in (name for name in IN_STEPS if name in results["titles"]):
        places, ratios = [], []
        for place, size in enumerate(sizes):
            if name in size["contestants"]:
                base, found = (size["contestants"][x]["seconds"] for x in ("by-hand", name))
                places.append(place)
                ratios.append(statistics.median(a / b for a, b in zip(found, base, strict=True)))
        axis.semilogy(places, ratios, label=results["titles"][name], **LINES[name])
    axis.axhline(1, color="black", linewidth=0.8, label="NumPy by hand")
    axis.set_xticks(
        range(len(sizes)),
        [
            f"{size['name']}\nbatch {size['batch']}\n{size['contestants']['by-hand']['microseconds']:,.0f} µs"
            for size in sizes
        ],
        fontsize=7.5,
    )
    ticks = [tick for tick in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if _inside(tick, axis.get_ylim())]
    axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    axis.set(ylabel="time of a step, NumPy by hand = 1", title="One training step of an MLP, float32")
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _inside(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]


def scaling(results: dict[str, Any]) -> Any:
    """Draw how the time of a step grows with width, depth and batch, and that of compiling with the operations."""
    figure, axes = _axes(4, (12, 3.4))
    for axis, (sweep, found) in zip(axes, results["sweeps"].items(), strict=False):
        for name, seconds in found["seconds"].items():
            microseconds = [x * 1e6 for x in seconds]
            axis.loglog(found["values"], microseconds, label=results["titles"][name], markersize=4, **LINES[name])
        axis.set(xlabel=sweep, ylabel="µs a step" if axis is axes[0] else None)
    for library, found in results["compile"].items():
        axes[-1].loglog(found["values"], found["seconds"], label=library, markersize=4, **LINES[library])
    axes[-1].set(xlabel="operations", ylabel="s to trace and compile")
    for axis in (axes[0], axes[-1]):
        axis.legend(frameon=False, fontsize=8)
    return figure


def distributed(results: dict[str, Any]) -> Any:
    """Draw the steps of several processes here, with the model's, and what the model says of clusters."""
    figure, axes = _axes(3, (13, 4))
    _draw_here(axes[0], results)
    for axis, (hidden, rows), shared in zip(axes[1:], (STRONG, WEAK), (True, False), strict=True):
        for (name, machine), style in zip(CLUSTERS.items(), ("o-", "s--"), strict=True):
            times = [step_of(machine, count, hidden, rows / count if shared else rows) for count in COUNTS]
            done = [(1 if shared else count) * times[0] / time for count, time in zip(COUNTS, times, strict=True)]
            axis.loglog(COUNTS, done, style, label=name, markersize=4, color="black" if style == "o-" else "0.5")
        axis.loglog(COUNTS, COUNTS, ":", color="0.5", label="ideal")
        axis.set(xlabel="processes", ylabel="examples a second, of one process's")
        axis.set_title(f"model: 784-{hidden}-{hidden}-10,\n{rows:,} examples {'shared' if shared else 'each'}")
    axes[1].legend(frameon=False, fontsize=8)
    return figure


def _draw_here(axis: Any, results: dict[str, Any]) -> None:
    batch, hidden = results["batch"], results["hidden"]
    counts = [run["count"] for run in results["runs"]]
    for scaling, style, marker in (("shared", "-", "o"), ("each", "--", "s")):
        rows = [batch // count if scaling == "shared" else batch for count in counts]
        found = [
            [1e3 * value for value in quartiles(run["seconds"][f"step {own}"])]
            for run, own in zip(results["runs"], rows, strict=True)
        ]
        middles = [middle for _, middle, _ in found]
        errors = [[middle - lower for lower, middle, _ in found], [upper - middle for _, middle, upper in found]]
        label = f"{batch} examples {scaling}"
        axis.errorbar(counts, middles, errors, fmt=marker, color="black", capsize=3, label=f"{label}, measured")
        model = [1e3 * modelled(results, run, own) for run, own in zip(results["runs"], rows, strict=True)]
        axis.plot(counts, model, style, color="0.5", label=f"{label}, model")
    cores = results["machine"]["cores"]
    if max(counts) > cores:
        axis.axvspan(cores + 0.05, max(counts) + 0.2, color="0.93", zorder=0, label="more processes than cores")
    axis.set_xticks(counts, [str(count) for count in counts])
    axis.set_ylim(0, 1.25 * axis.get_ylim()[1])  # room for the legend
    axis.set(xlabel="processes", ylabel="ms a step", title=f"here: 784-{hidden}-{hidden}-10")
    axis.legend(frameon=False, fontsize=7)


PICTURES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "steps": steps,
    "scaling": scaling,
    "distributed": distributed,
}
"""By the name of the results: what draws them."""


def fingerprint(results: dict[str, Any]) -> str:
    """Return what tells these results from others."""
    return hashlib.sha256(json.dumps(results, sort_keys=True).encode()).hexdigest()


def draw(name: str, results: dict[str, Any], folder: Path = FOLDER) -> Path:
    """Draw results, and return where."""
    path = folder / f"{name}.png"
    PICTURES[name](results).savefig(path, dpi=110, metadata={KEY: fingerprint(results)})
    return path


def drawn_from(path: Path, results: dict[str, Any]) -> bool:
    """Return whether a picture that is there shows these results."""
    return path.exists() and fingerprint(results).encode() in path.read_bytes()
