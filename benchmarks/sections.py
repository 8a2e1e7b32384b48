"""The sections of the results' page, one on each measurement, and the lines that a script prints while it measures.

What is said of several processes and of GPUs has files of its own (`distributed_page.py`, `gpu_page.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distributed_page import distributed_section
from gpu_page import gpu_section
from words import TRUSTED, machine_line, ratio_cell, table, three_digits

IMAGES = "../../docs/images"
"""The folder of pictures as the results' page sees it; docs/benchmarks.md is beside it."""

CONTROL = "by-hand-again"
"""The contestant that takes the hand-written step a second time: its ratio would be 1 on a quiet machine."""
FOOTNOTE = """
† "By hand, again" is outside {} to {}: the machine was not quiet enough for the figures of this row to be compared.
"""


def where(results: dict[str, Any]) -> str:
    """Return one sentence on where and of what a measurement is."""
    threads = results.get("threads")
    more = [] if threads is None else [f"{threads} thread{'s' * (threads > 1)}"]
    return machine_line(results["machine"], *more)


def eager_row(size: dict[str, Any], names: list[str]) -> str:
    """Return one line on one size, for a person who waits."""
    return f"{size['name']:20}" + "  ".join(
        f"{name} {three_digits(size['contestants'][name]['microseconds'])} us x{size['contestants'][name]['ratio']:.2f}"
        for name in names
    )


def eager_section(results: dict[str, Any]) -> str:
    """Return the section on training steps: times by hand, then everybody's ratio to them."""
    titles: dict[str, str] = results["titles"]
    base, *others = titles
    rows = []
    for size in results["sizes"]:
        contestants = size["contestants"]
        rows.append(
            [
                f"{size['name']}, batch {size['batch']}{'' if is_trusted(size) else ' †'}",
                three_digits(contestants[base]["microseconds"]),
                *(ratio_cell(contestants[name]["ratio"], contestants[name]["ratio_quartiles"]) for name in others),
                f"{size['goal']:g}",
            ]
        )
    header = ["network", f"{titles[base]} (µs)", *(titles[name] for name in others), "goal"]
    memory = (
        "\nAll processes keep the memory that they free (`--keep-memory`): none takes page faults for large arrays."
        if results["keep_memory"]
        else "\nMemory as each library has it: gradkit lets glibc keep what is freed, the others leave glibc"
        " alone, and by hand nobody tells it; in the large networks that decides about page faults."
    )
    footnote = "" if all(map(is_trusted, results["sizes"])) else FOOTNOTE.format(*TRUSTED)
    return f"""\
## One training step, {results["backend"]}{", freed memory kept" * results["keep_memory"]}

float32, tanh, mean squared error, plain SGD. Times of the hand-written step in microseconds; the other columns are
multiples of it: the median over {results["rounds"]} rounds, and the middle half of them. "Goal" is gradkit's.{memory}

{table(header, rows)}
{footnote}
{where(results)}
"""


def is_trusted(size: dict[str, Any]) -> bool:
    """Return whether the hand-written step took the same time twice in this row, where it was measured twice."""
    control = size["contestants"].get(CONTROL)
    least, most = TRUSTED
    return control is None or least <= control["ratio"] <= most


def imports_section(results: dict[str, Any]) -> str:
    """Return the section on what an installation and an import cost."""
    rows = [
        [
            row["title"],
            three_digits(row["megabytes"]),
            str(len(row["installed"])),
            three_digits(row["install_seconds"]),
            f"{row['import_seconds'] * 1e3:.0f}",
            ratio_cell(row["import_ratio"], row["import_ratio_quartiles"]),
        ]
        for row in results["packages"]
    ]
    header = ["`pip install`", "MB on disk", "packages", "seconds to install", "import (ms)", "of `import numpy`"]
    return f"""\
## Installing and importing

Each in an empty virtual environment. Size: all files that pip put there, dependencies and bytecode with them. Seconds
to install: without pip's cache, so mostly the network's. Import: the wall time of `python -c "import ..."` less that
of `python -c pass`, median over {results["rounds"]} rounds.

{table(header, rows)}

{where(results)}
"""


def scalar_section(results: dict[str, Any]) -> str:
    """Return the section on scalars: micrograd's times, then everybody's ratio to them."""
    titles: dict[str, str] = results["titles"]
    base, *others = titles
    rows = [
        [
            problem["name"],
            three_digits(problem["contestants"][base]["milliseconds"]),
            *(
                ratio_cell(problem["contestants"][name]["ratio"], problem["contestants"][name]["ratio_quartiles"])
                for name in others
            ),
            f"{problem['goal']:g}",
        ]
        for problem in results["problems"]
    ]
    header = ["training", f"{titles[base]} (ms a step)", *(titles[name] for name in others), "goal"]
    return f"""\
## The lecture's engine, beside micrograd

micrograd's demo, and the lecture's loop with the same network. Times of micrograd in milliseconds a step; the other
columns are multiples of it: the median over {results["rounds"]} rounds, and the middle half of them.

{table(header, rows)}

{where(results)}
"""


def estimators_row(problem: dict[str, Any]) -> str:
    """Return one line on one training, for a person who waits."""
    return f"{problem['name']:30}" + "  ".join(
        f"{name} {three_digits(fits['seconds'])} s x{fits['ratio']:.2f} (processor x{fits['cpu_ratio']:.2f}) "
        f"{fits['accuracy']:.2%}"
        for name, fits in problem["contestants"].items()
    )


def estimators_section(results: dict[str, Any]) -> str:
    """Return the section on estimators: scikit-learn's times, everybody's ratio to them, the accuracies."""
    titles: dict[str, str] = results["titles"]
    base, *others = titles
    rows = []
    for problem in results["problems"]:
        fits = problem["contestants"]
        trusted = TRUSTED[0] <= fits["again"]["ratio"] <= TRUSTED[1]
        rows.append(
            [
                f"{problem['name']}{'' if trusted else ' †'}",
                three_digits(fits[base]["seconds"]),
                *(ratio_cell(fits[name]["ratio"], fits[name]["ratio_quartiles"]) for name in others),
                f"{fits['gradkit']['cpu_ratio']:.2f}",
                f"{fits['again']['cpu_ratio']:.2f}",
                f"{problem['goal']:g}",
                *(
                    f"{fits[name]['accuracy']:.2%} ± {fits[name]['accuracy_deviation']:.2%}"
                    for name in (base, "gradkit")
                ),
            ]
        )
    header = [
        "a fit of",
        f"{titles[base]} (s)",
        *(titles[name] for name in others),
        "gradkit, processor",
        "again, processor",
        "goal",
        *(f"accuracy, {titles[name]}" for name in (base, "gradkit")),
    ]
    marked = any("†" in row[0] for row in rows)
    least, most = TRUSTED
    footnote = (
        f"\n† scikit-learn took another time in a second process, outside {least} to {most} of the first: the machine "
        f"was not quiet enough for the times of this row to be compared.\n"
    )
    return f"""\
## A fit, beside scikit-learn

`MLPClassifier` with 100 hidden neurons, ReLU, SGD with momentum, batches of 200, each in its own process. Times of
scikit-learn in seconds; the next columns are multiples of them: the median over {results["rounds"]} rounds, and the
middle half of them; then the median for the processor's time alone. Accuracies on the test part: mean and standard
deviation over the rounds, each of which has its own `random_state`.

{table(header, rows)}
{footnote * marked}
{where(results)}
"""


def programs_row(program: dict[str, Any]) -> str:
    """Return one line on one program, for a person who waits."""
    times, first = program["microseconds"], program["first"]
    line = f"{program['name']:24} jax {three_digits(times['jax'])} us  gradkit x{program['ratio']:.2f}"
    if first:
        ours, theirs = first["gradkit"], first["jax"]
        line += f"  first result: jax {theirs['cold']:.1f} s  gradkit x{ours['cold'] / theirs['cold']:.2f}"
        line += f", from disk x{ours['warm'] / theirs['cold']:.2f}"
    return line


def programs_section(results: dict[str, Any]) -> str:
    """Return the section on whole programs: JAX's times, and gradkit's ratios to them."""
    rows = []
    for program in results["programs"]:
        first = program["first"]
        theirs = first.get("jax", {"cold": float("nan"), "warm": float("nan")})
        ours = first.get("gradkit", theirs)
        rows.append(
            [
                program["name"].replace("_", " "),
                three_digits(program["microseconds"]["jax"]),
                ratio_cell(program["ratio"], program["ratio_quartiles"]),
                f"{theirs['cold']:.2f}",
                f"{ours['cold'] / theirs['cold']:.2f}",
                f"{theirs['warm']:.2f}",
                f"{ours['warm'] / theirs['cold']:.2f}",
                f"{program['megabytes']['jax']:.0f}",
                f"{program['megabytes']['gradkit']:.0f}",
            ]
        )
    header = [
        "program",
        "JAX, a step (µs)",
        "gradkit",
        "JAX, first result (s)",
        "gradkit",
        "JAX, from disk (s)",
        "gradkit from disk, of JAX's first",
        "JAX, peak (MB)",
        "gradkit, peak (MB)",
    ]
    mean = results["geometric_mean"]
    return f"""\
## JAX programs, unchanged

The modules of `benchmarks/jax_programs`, jitted, by JAX and by gradkit in its place; their numbers agree. Ratios are
to JAX: the median over {results["rounds"]} rounds, and the middle half of them. First result: a whole process with an
empty cache on disk, from its start to the value of one step; from disk: a second such process.
{"" if mean is None else f"Geometric mean of the steps' ratios: {mean:.2f}."}

{table(header, rows)}

{where(results)}
"""


def steps_row(size: dict[str, Any]) -> str:
    """Return one line on one size, for a person who waits."""
    return f"{size['name']:20}" + "  ".join(
        f"{name} {three_digits(found['microseconds'])} us x{found['ratio']:.2f}"
        for name, found in size["contestants"].items()
    )


def steps_section(results: dict[str, Any]) -> str:
    """Return the section on compiled training steps: everybody's times, then compile time and memory."""
    titles: dict[str, str] = results["titles"]
    sizes = results["sizes"]
    header = ["µs a step", *(f"{size['name']}, batch {size['batch']}" for size in sizes)]

    def time_cell(found: dict[str, Any]) -> str:
        return f"{three_digits(found['microseconds'])} ({found['ratio']:.2f})"

    def cost_cell(found: dict[str, Any]) -> str:
        return f"{max(found['compile_seconds'], 0):.2f} s, {found['megabytes']:.0f} MB"

    def rows(cell: Callable[[dict[str, Any]], str]) -> list[list[str]]:
        return [
            [title, *(cell(size["contestants"][name]) if name in size["contestants"] else "" for size in sizes)]
            for name, title in titles.items()
        ]

    return f"""\
## One training step, compiled

float32, tanh, mean squared error, plain SGD. Microseconds a step, the median over {results["rounds"]} rounds, and in
brackets the median ratio to `jax.jit` in the same round.

![Time of a step on each network, in multiples of the step by hand in NumPy]({IMAGES}/steps.png)

{table(header, rows(time_cell))}

What the first call took more than the second, with nothing compiled on disk, and the most memory of the process:

{table(["first call, memory", *header[1:]], rows(cost_cell))}

{where(results)}
"""


def scaling_section(results: dict[str, Any]) -> str:
    """Return the section on growth: compile times, and the powers they grow with; the steps are a picture."""
    compiling = results["compile"]
    operations = max((found["values"] for found in compiling.values()), key=len)
    rows = []
    for library, found in compiling.items():
        seconds = dict(zip(found["values"], found["seconds"], strict=True))
        cells = [f"{seconds[value]:.2f}" if value in seconds else "" for value in operations]
        rows.append([library, *cells, f"{found['growth']:.2f}"])
    header = ["operations", *map(str, operations), "power of the last decade"]
    base = ", ".join(f"{name} {value}" for name, value in results["base"].items())
    return f"""\
## Growth

An MLP's step against width, depth and batch (else {base}), the least of {results["rounds"]} rounds, and compile time
against the number of operations:

![Time of a step by width, depth and batch, and of compiling by the number of operations]({IMAGES}/scaling.png)

Processor's seconds to trace and compile a chain of operations, with nothing on disk:

{table(header, rows)}

{where(results)}
"""


def consistency_table(results: dict[str, Any]) -> str:
    """Return what is the same on every backend: to the bit, or by how much it differs."""
    names = list(next(iter(results["backends"].values()))["equal"]) if results["backends"] else []
    names = ["losses", *(name for name in names if name != "losses")]

    def cell(found: dict[str, Any], name: str) -> str:
        return "equal" if found["equal"][name] else f"{found['difference'][name]:.1e}"

    rows = [[label, *(cell(found, name) for name in names)] for label, found in results["backends"].items()]
    largest = max((found["difference"]["losses"] for found in results["backends"].values()), default=0.0)
    absent = "".join(f"\n- {name}: {' '.join(reason.split())}" for name, reason in results["missing"].items())
    epochs = f"{results['epochs']} epoch{'s' * (results['epochs'] > 1)}"
    return f"""\
A network 64-64-10 learns {results["examples"]} digits for {epochs} from one seed, in float32, on every backend. "Equal"
is to the last bit, with eager NumPy; a number is the largest difference, relative to the loss of its epoch, or to the
largest number of the array. The loss curves differ by {largest:.1e} at most; the limit is {results["limit"]:g}.

{table(["backend", *names], rows)}
{f"{chr(10)}Without a row:{chr(10)}{absent}{chr(10)}" if absent else ""}
{where(results)}
"""


def consistency_section(results: dict[str, Any]) -> str:
    """Return the section on what is the same on every backend."""
    return f"## The same numbers everywhere\n\n{consistency_table(results)}"


SECTIONS = {
    "consistency": consistency_section,
    "distributed": distributed_section,
    "eager": eager_section,
    "estimators": estimators_section,
    "gpu": gpu_section,
    "imports": imports_section,
    "programs": programs_section,
    "scalar": scalar_section,
    "scaling": scaling_section,
    "steps": steps_section,
}
