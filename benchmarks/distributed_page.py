"""The section on several processes of the results' page, which docs/distributed.md has as well."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from clusters import (
    CLUSTERS,
    Link,
    Machine,
    best_count,
    computing,
    fitted_link,
    fitted_machine,
    least_bytes,
    predicted,
    step_of,
    worth,
)
from words import TRUSTED, machine_line, ratio_cell, table, three_digits

__all__ = ["distributed_section", "distributed_table", "is_quiet", "measured_machine", "modelled", "predictions"]

COUNTS = tuple(2**i for i in range(11))
TOLD = COUNTS[::2]
STRONG, WEAK = (1024, 8192), (8192, 1024)
"""Neurons of a hidden layer, and examples: of a step that all share, and of each process."""
GOAL = 0.65
BASE, CONTROL = "gradkit", "again"


def paragraph(text: str) -> str:
    """Return text in lines of the pages' width."""
    return textwrap.fill(" ".join(text.split()), 120, break_on_hyphens=False, break_long_words=False)


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile."""
    lower, middle, upper = statistics.quantiles(values, n=4, method="inclusive")
    return lower, middle, upper


def time_cell(seconds: Sequence[float], unit: float = 1e-3) -> str:
    """Return a median with its quartiles, in milliseconds where no other unit is given."""
    lower, middle, upper = (value / unit for value in quartiles(seconds))
    return f"{middle:.1f} ({lower:.1f} to {upper:.1f})"


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, list[float]]:
    """Return the median of the ratios within each round, and their quartiles."""
    lower, middle, upper = quartiles([a / b for a, b in zip(ours, theirs, strict=True)])
    return middle, [lower, upper]


def ratio_text(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Return such a ratio as a cell."""
    return ratio_cell(*ratios(ours, theirs))


# The model, with what was measured


def run_of(results: dict[str, Any], count: int) -> dict[str, Any]:
    """Return what was measured with so many processes."""
    found: dict[str, Any] = next(run for run in results["runs"] if run["count"] == count)
    return found


def link_of(run: dict[str, Any]) -> Link:
    """Return the link between processes here, by what sums took; shared memory's messages do not move alone."""
    sums = {int(what.split()[1]): seconds for what, seconds in run["seconds"].items() if what.startswith("sum ")}
    return fitted_link({size: statistics.median(s) for size, s in sums.items()}, run["count"], moves_alone=False)


def measured_machine(results: dict[str, Any]) -> Machine:
    """Return this machine: a process's speed by the steps of one, the link by the sums of two."""
    steps = {int(w.split()[1]): statistics.median(s) for w, s in run_of(results, 1)["seconds"].items()}
    others = [run for run in results["runs"] if run["count"] > 1]
    link = link_of(others[0]) if others else Link(0.0, float("inf"), False)
    return fitted_machine(steps, results["hidden"], link)


def modelled(results: dict[str, Any], run: dict[str, Any], rows: int) -> float:
    """Return what the model says of a step here: processes beyond the cores share them."""
    count = run["count"]
    share = min(1.0, results["machine"]["cores"] / count)
    compute = computing(measured_machine(results), results["hidden"], rows, share)
    return predicted(count, compute, results["hidden"], link_of(run) if count > 1 else Link(0.0, 1.0))


def is_quiet(results: dict[str, Any]) -> bool:
    """Return whether the machine had less to do than it has cores before the run."""
    return float(results["load"]) < results["machine"]["cores"]


# What is written


def distributed_section(results: dict[str, Any]) -> str:
    """Return the section on several processes."""
    return f"## Many processes\n\n{distributed_table(results)}"


def distributed_table(results: dict[str, Any]) -> str:
    """Return what the section says: growth, the link, the programs, epochs, and the model of clusters."""
    busy = f"""**The machine was busy** (a load of {results["load"]:.1f} before the run): processes then wait for each
        other, and those of one world may share what a single process has. These figures are not to be compared."""
    quiet = "" if is_quiet(results) else paragraph(busy)
    where = paragraph(machine_line(results["machine"], f"a load of {results['load']:.1f} before the run"))
    parts = quiet, _growth(results), _programs(results), _epochs(results), _clusters(), where
    return "\n\n".join(filter(None, parts)) + "\n"


def _growth(results: dict[str, Any]) -> str:
    hidden, batch, cores = results["hidden"], results["batch"], results["machine"]["cores"]
    rows = []
    for run in results["runs"]:
        count = run["count"]
        mark = " (more than cores)" if count > cores else ""
        for scaling, own in (("shared", batch // count), ("each", batch)) if count > 1 else (("", batch),):
            step = run["seconds"][f"step {own}"]
            compute = run["seconds"].get(f"compute {own}", step)
            model = modelled(results, run, own)
            rows.append(
                [
                    f"{count}{mark}{f', {batch} {scaling}' if scaling else ''}",
                    time_cell(step),
                    time_cell(compute),
                    time_cell([a - b for a, b in zip(step, compute, strict=True)]),
                    f"{run['bytes'] / 1e6:.2f}",
                    f"{least_bytes(count, hidden) / 1e6:.2f}",
                    f"{1e3 * model:.1f}",
                    f"{model / statistics.median(step):.2f}",
                ]
            )
    header = [
        "processes, examples", "step (ms)", "computing", "its sums", "MB moved", "least", "model (ms)", "of the step",
    ]  # fmt: skip
    links = [
        f"between {run['count']} {1e6 * link.latency:.0f} µs and {link.bandwidth / 1e9:.2f} GB/s"
        for run in results["runs"]
        if run["count"] > 1
        for link in (link_of(run),)
    ]
    here = measured_machine(results)
    links_text = f"; a link, by sums of 1 kB to 8 MB: {', '.join(links)}" if links else ""
    about = f"""A step of 784-{hidden}-{hidden}-10 in float32 by `distributed.value_and_grad` and SGD, a BLAS thread a
        process: medians over {results["rounds"]} rounds, and the middle half of them. "Computing" is the same step
        without its sums. "MB moved" is what a process sends to others in a step, or reads in their memory; "least" is
        2 (n - 1) / n of the gradients."""
    given = f"""The model is given that one process computes {here.speed / 1e9:.0f} Gflop/s and
        {1e3 * here.overhead:.1f} ms a step besides{links_text}."""
    return f"{paragraph(about)}\n\n{table(header, rows)}\n\n{paragraph(given)}"


def _programs(results: dict[str, Any]) -> str:
    programs = results["programs"]
    if not programs:
        return ""
    by_name = {program["name"]: program for program in programs}
    base = by_name[BASE]["seconds"]
    most = max(base, key=int, default="")
    again = by_name.get(CONTROL, {}).get("seconds", {}).get(most)
    trusted = again is None or TRUSTED[0] <= ratios(again, base[most])[0] <= TRUSTED[1]
    rows, missing = [], []
    for program in programs:
        seconds = program["seconds"]
        if "missing" in program:
            missing.append(f"- {program['title']}: {' '.join(program['missing'].split())}")
        complete = most in seconds
        rows.append(
            [
                f"{program['title']}{'' if trusted else ' †'}",
                str(program["lines"]),
                *(time_cell(seconds[count]) if count in seconds else "missing" for count in base),
                ratio_text(seconds[most], seconds["1"]) if complete and "1" in seconds else "",
                ratio_text(seconds[most], base[most]) if complete else "",
            ]
        )
    header = [
        "the same loop",
        "lines of code",
        *(f"{count} process{'es' * (count != '1')} (ms a step)" for count in base),
        f"{most} of 1",
        "of gradkit",
    ]
    footnote = f'\n\n† "gradkit, again" is outside {TRUSTED[0]} to {TRUSTED[1]}: the machine was not quiet.'
    absent = "\n\nMissing:\n\n" + "\n".join(missing) if missing else ""
    about = f"""The programs in `benchmarks/distributed_programs`, each in processes of its own that take turns with the
        others, on a minibatch of {results["batch"]} examples that they share; their first losses are those of NumPy by
        hand."""
    return f"{paragraph(about)}\n\n{table(header, rows)}{'' if trusted else footnote}{absent}"


def _epochs(results: dict[str, Any]) -> str:
    epochs = results["epochs"]
    if not epochs:
        return ""
    seconds = epochs["seconds"]
    rows = [
        [count, time_cell(times, 1.0), ratio_text(times, seconds["1"]), f"{GOAL:g}" if count == "2" else ""]
        for count, times in seconds.items()
    ]
    return f"""\
An epoch of `gradkit.fit(..., jit=True)` on {epochs["examples"]:,} images of MNIST, {results["batch"]} a step:

{table(["processes", "an epoch (s)", "of one process", "goal, at most"], rows)}"""


def _clusters() -> str:
    best = [best_count(machine, *STRONG, COUNTS) for machine in CLUSTERS.values()]
    work = [worth(machine, COUNTS[-1], *WEAK) for machine in CLUSTERS.values()]
    about = f"""The model on clusters, whose figures are given and not measured ({_described(CLUSTERS)}): on the left
        {STRONG[0]:,} neurons a hidden layer and {STRONG[1]:,} examples that all share, on the right {WEAK[0]:,} neurons
        and {WEAK[1]:,} examples for each."""
    told = f"""With a shared minibatch a step is fastest on {best[0]:,} processes of CPUs and on {best[1]:,} GPUs. With
        {WEAK[1]:,} examples for each, {COUNTS[-1]:,} processes of CPUs do the work of {work[0]:.0f}, and as many GPUs
        that of {work[1]:.0f}."""
    return f"{paragraph(about)}\n\n{_prediction_rows(CLUSTERS, STRONG, WEAK, TOLD)}\n\n{paragraph(told)}"


def _described(machines: Mapping[str, Machine]) -> str:
    told = []
    for name, machine in machines.items():
        link = machine.link
        told.append(
            f"{name.partition(':')[0]}: {machine.speed / 1e12:g} Tflop/s, {1e3 * machine.overhead:g} ms a step "
            f"besides, {1e6 * link.latency:g} µs and {8e-9 * link.bandwidth:g} Gb/s a link"
        )
    return "; ".join(told)


def predictions(machines: Mapping[str, Machine], hidden: int, batch: int) -> str:
    """Return a table of the model's steps on up to 1,024 processes: a minibatch shared, and one for each."""
    return (
        f"{paragraph(_described(machines))}\n\n{_prediction_rows(machines, (hidden, batch), (hidden, batch), COUNTS)}"
    )


def _prediction_rows(
    machines: Mapping[str, Machine], strong: tuple[int, int], weak: tuple[int, int], counts: Sequence[int]
) -> str:
    names = [name.partition(":")[0] for name in machines]
    header = [
        "processes",
        *(f"{name}, {strong[1]:,} shared (ms)" for name in names),
        *(f"{name}, {weak[1]:,} each (ms)" for name in names),
    ]
    rows = []
    for count in counts:
        shared = [step_of(machine, count, strong[0], strong[1] / count) for machine in machines.values()]
        each = [step_of(machine, count, *weak) for machine in machines.values()]
        rows.append([f"{count:,}", *(three_digits(1e3 * seconds) for seconds in (*shared, *each))])
    return table(header, rows)
