"""The section on GPUs of the results' page."""

from __future__ import annotations

from typing import Any

from words import table, three_digits

__all__ = ["gpu_section"]

Missing = dict[str, dict[str, list[str]]]
"""By the reason: what is missing, and where of it."""


def gpu_section(results: dict[str, Any]) -> str:
    """Return the section on a GPU: the tests, the peaks, the steps in each mode, and what is missing, with reasons."""
    machine = results["machine"]
    missing: Missing = {}
    parts = ["## On a GPU" if results["platform"] == "gpu" else "## The script for GPUs, tried on a CPU", ""]
    if not results["complete"]:
        parts += ["**This run is not complete**: it goes on, or was killed.", ""]
    parts += [
        f"{', '.join(machine['gpus']) or 'No device was found'}. {machine['date']}, commit {machine['commit']}, "
        f"{machine['cpu']}, Python {machine['python']}.",
        "",
        *_suites(results, missing),
        *_peaks(results, missing),
        *_steps(results, missing),
    ]
    if missing:
        parts += ["Missing:", ""]
        for reason, whats in missing.items():
            told = (f"{what} ({', '.join(places)})" if places else what for what, places in whats.items())
            parts.append(f"- {'; '.join(told)}: {reason}")
        parts += [""]
    return "\n".join(parts)


def _suites(results: dict[str, Any], missing: Missing) -> list[str]:
    rows = []
    for name, found in results["suites"].items():
        if "missing" in found:
            missing.setdefault(found["missing"], {})[f"tests on {name}"] = []
            continue
        verdict = "passed" if found["status"] == 0 else f"**status {found['status']}**"
        rows.append([found["backend"], verdict, f"{found['seconds']:.0f}", found["said"]])
    if not rows:
        return []
    return ["The tests:", "", table(["backend", "result", "seconds", "what pytest says"], rows), ""]


def _peaks(results: dict[str, Any], missing: Missing) -> list[str]:
    libraries = list(dict.fromkeys(name for peak in results["peaks"].values() for name in peak["products"]))
    rows = []
    for mode, peak in results["peaks"].items():
        cells = [mode]
        for name in libraries:
            found = peak["products"].get(name, {})
            cells.append(f"{found['flops'] / 1e12:.3g}" if "flops" in found else "")
            if "missing" in found:
                missing.setdefault(found["missing"], {}).setdefault(f"products by {name}", []).append(mode)
        rows.append(cells)
    if not any(any(cells[1:]) for cells in rows):
        return []
    size = next(iter(results["peaks"].values()))["size"]
    return [
        f"Products of matrices of {size} rows, in TFLOP/s; the best of a mode is the peak for steps:",
        "",
        table(["mode", *libraries], rows),
        "",
    ]


def _steps(results: dict[str, Any], missing: Missing) -> list[str]:
    parts = []
    modes = list(dict.fromkeys(mode for size in results["sizes"] for mode in size["modes"]))
    for mode in modes:
        rows = []
        for size in results["sizes"]:
            for name, found in size["modes"].get(mode, {}).items():
                if "missing" in found:
                    places = missing.setdefault(found["missing"], {}).setdefault(results["titles"][name], [])
                    places.append(mode if len(results["sizes"]) == 1 else f"{size['name']} in {mode}")
                else:
                    rows.append([f"{size['name']}, batch {size['batch']}", results["titles"][name], *_cells(found)])
        if rows:
            header = ["network", "library", "µs a step", "host, µs", "kernels", "memory (MB)", "of the peak"]
            parts += [f"A training step in {mode}:", "", table(header, rows), ""]
    return parts


def _cells(found: dict[str, Any]) -> list[str]:
    kernels, memory, part = found["kernels"], found["bytes"], found["part_of_peak"]
    return [
        three_digits(found["microseconds"]["median"]),
        three_digits(found["host_microseconds"]["median"]),
        "" if kernels is None else f"{kernels:g}",
        "" if memory is None else f"{memory / 1e6:.0f}",
        "" if part is None else f"{part:.0%}",
    ]
