"""Writes results: one JSON file a measurement, a README.md that shows all of them as tables, and the project's README.

``python report.py`` writes the pages anew from the JSON files.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
README = Path(__file__).resolve().parent.parent / "README.md"
QUOTED = ("<!-- benchmarks/results/README.md -->\n", "<!-- end of results -->")
"""What stands around the tables in the project's README."""

CONTROL = "by-hand-again"
"""The contestant that takes the hand-written step a second time: its ratio would be 1 on a quiet machine."""
TRUSTED = 0.9, 1.1
"""The ratios of the control with which a row can be trusted."""
FOOTNOTE = """
† "By hand, again" is outside {} to {}: the machine was not quiet enough for the figures of this row to be compared.
"""

INTRODUCTION = """\
# Results

Written by the scripts in `benchmarks/`; the JSON files beside this page have every measured time.
"""


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table, its first column aligned left and the others right."""
    rule = [":--", *["--:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, rule, *rows])


def three_digits(number: float) -> str:
    """Return a positive number with three significant digits and no exponent.

    Examples
    --------
    >>> three_digits(0.01234), three_digits(61.23), three_digits(12345.6)
    ('0.0123', '61.2', '12346')
    """
    return f"{number:.0f}" if number >= 100 else f"{number:#.3g}".rstrip(".")


def machine_line(results: dict[str, Any]) -> str:
    """Return one sentence on where and of what a measurement is."""
    machine = results["machine"]
    facts = [
        machine["date"],
        f"commit {machine['commit']}",
        f"{machine['cpu']} with {machine['cores']} cores",
        *([f"{results['threads']} thread{'s' * (results['threads'] > 1)}"] if "threads" in results else []),
        f"Python {machine['python']}",
        *(f"{name} {version}" for name, version in machine["versions"].items()),
    ]
    return ", ".join(facts) + "."


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
        else "\nMemory as the system's allocator deals with it: in the large networks it decides about page faults."
    )
    footnote = "" if all(map(is_trusted, results["sizes"])) else FOOTNOTE.format(*TRUSTED)
    return f"""\
## One training step, {results["backend"]}{", freed memory kept" * results["keep_memory"]}

float32, tanh, mean squared error, plain SGD. Times of the hand-written step in microseconds; the other columns are
multiples of it: the median over {results["rounds"]} rounds, and the middle half of them. "Goal" is gradkit's.{memory}

{table(header, rows)}
{footnote}
{machine_line(results)}
"""


def is_trusted(size: dict[str, Any]) -> bool:
    """Return whether the hand-written step took the same time twice in this row, where it was measured twice."""
    control = size["contestants"].get(CONTROL)
    least, most = TRUSTED
    return control is None or least <= control["ratio"] <= most


def ratio_cell(median: float, quartiles: list[float]) -> str:
    """Return a median with its quartiles."""
    lower, upper = quartiles
    return f"{median:.2f} ({lower:.2f} to {upper:.2f})"


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

{machine_line(results)}
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

{machine_line(results)}
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
{machine_line(results)}
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

{machine_line(results)}
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

{table(header, rows(time_cell))}

What the first call took more than the second, with nothing compiled on disk, and the most memory of the process:

{table(["first call, memory", *header[1:]], rows(cost_cell))}

{machine_line(results)}
"""


def scaling_section(results: dict[str, Any]) -> str:
    """Return the section on growth: compile times, and the powers they grow with; the steps are a picture."""
    compiling = results["compile"]
    rows = [
        [library, *(f"{x:.2f}" for x in seconds), f"{compiling['growth'][library]:.2f}"]
        for library, seconds in compiling["seconds"].items()
    ]
    header = ["operations", *map(str, compiling["values"]), "power of the last decade"]
    base = ", ".join(f"{name} {value}" for name, value in results["base"].items())
    return f"""\
## Growth

An MLP's step against width, depth and batch (else {base}), and compile time against the number of operations:
`docs/images/scaling.png`. Processor's seconds to trace and compile a chain of operations, nothing from disk:

{table(header, rows)}

{machine_line(results)}
"""


SECTIONS = {
    "eager": eager_section,
    "estimators": estimators_section,
    "imports": imports_section,
    "programs": programs_section,
    "scalar": scalar_section,
    "scaling": scaling_section,
    "steps": steps_section,
}


def write(folder: Path, name: str, results: dict[str, Any]) -> None:
    """Write one measurement as JSON, and the page of all measurements in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    sections = [
        SECTIONS[path.stem.partition("-")[0]](json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))
    ]
    (folder / "README.md").write_text("\n".join([INTRODUCTION, *sections]))
    if folder == RESULTS:
        quote()


def quote() -> None:
    """Put the tables of the results' page into the project's README."""
    README.write_text(quoted(README.read_text(), (RESULTS / "README.md").read_text()))


def quoted(readme: str, results: str) -> str:
    """Return the project's README with the sections of the results' page between its two marks."""
    begin, end = QUOTED
    before, _, rest = readme.partition(begin)
    _, _, after = rest.partition(end)
    sections = results.partition("\n## ")[2]
    return f"{before}{begin}\n### {sections.replace(chr(10) + '## ', chr(10) + '### ').strip()}\n\n{end}{after}"


if __name__ == "__main__":
    for path in sorted(RESULTS.glob("*.json")):
        write(RESULTS, path.stem, json.loads(path.read_text()))
