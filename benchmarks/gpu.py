"""Runs the whole suite on a GPU, and times MLP steps there beside PyTorch and JAX: one script for a machine with one.

First the tests, with ``--require-backend`` for each backend that has a GPU here. Then products of matrices, the peak
of what the GPU does in each mode: float32 in full, TF32, bfloat16, float16. Then training steps from 64-64-10, batch
32 to 8192-8192-8192-10, batch 8192: time and host time a step, kernels, memory, and the part of the peak. Each
measurement has a process of its own. What cannot run (a library, a dtype, a device, memory) is a line with its reason,
and the rest goes on. Results are written after each measurement, so a run that is killed keeps what it has.

Run ``python benchmarks/gpu.py``; ``--help`` lists the options. It needs nothing but gradkit and CuPy; PyTorch and JAX
take part where they are installed with CUDA.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import report
from contestants import TARGETS, hand_written
from gpu_contestants import CONTESTANTS, MODES, PRODUCTS, Missing, Run
from gpu_page import gpu_section
from machine import REPOSITORY, describe, usual_environment
from problem import Size, make_problem

SIZES = (
    Size((64, 64, 10), 32, goal=0),
    Size((784, 512, 512, 10), 128, goal=0),
    Size((1024, 1024, 1024, 10), 1024, goal=0),
    Size((4096, 4096, 4096, 10), 4096, goal=0),
    Size((8192, 8192, 8192, 10), 8192, goal=0),
)
SUITES = ("cupy", "torch", "jax")
PEAK_SIZE = 8192
CHECKED = 6
"""How many losses are compared with the reference's."""
BY_HAND = 1e11
"""Up to how many operations a step the reference is NumPy by hand; beyond it is the first contestant."""
QUEUED = 20
"""How many calls are started to see what the host takes, without filling the device's queue."""


def operations(size: Size) -> int:
    """Return the floating-point operations of a step's products: forward, and twice backward but for the input."""
    pairs = list(zip(size.widths, size.widths[1:], strict=False))
    return 2 * size.batch * (3 * sum(n * m for n, m in pairs) - pairs[0][0] * pairs[0][1])


# A process of its own


def serve(task: dict[str, Any]) -> dict[str, Any]:
    """Measure one thing, in the process that is for it."""
    mode = MODES[task["mode"]]
    if task["kind"] == "product":
        return measured(PRODUCTS[task["name"]](task["size"], mode, task["platform"]), task)
    _, prepare = CONTESTANTS[task["name"]]
    size = Size(tuple(task["widths"]), task["batch"], goal=0)
    return measured(prepare(make_problem(size), mode, task["platform"]), task)


def measured(run: Run, task: dict[str, Any]) -> dict[str, Any]:
    """Return the losses of the first steps, times of steps, what the host takes, kernels and memory."""
    losses: list[float] = []
    durations = []
    while len(durations) < 2 or (task["kind"] == "step" and len(losses) < CHECKED):
        begin = time.perf_counter()
        found = run.call()
        run.wait()
        durations.append(time.perf_counter() - begin)
        if task["kind"] == "step":
            losses += numbers(found)
    calls = 1
    while (elapsed := seconds(run, calls)) < task["seconds"] / 2 and calls < 1 << 20:
        calls *= 2
    calls = max(1, round(calls * task["seconds"] / max(elapsed, 1e-9)))
    times = [seconds(run, calls) / (calls * run.steps) for _ in range(task["rounds"])]
    host = []
    for _ in range(task["rounds"]):
        few = min(calls, QUEUED)
        begin = time.perf_counter()
        for _ in range(few):
            run.call()
        host.append((time.perf_counter() - begin) / (few * run.steps))
        run.wait()
    memory = run.memory()
    return {
        "losses": losses[: CHECKED + run.offset],
        "offset": run.offset,
        "first_call": durations[0] - durations[1],
        "seconds": times,
        "host_seconds": host,
        "bytes": memory,
        **kernels(run),
    }


def numbers(losses: Any) -> list[float]:
    """Return losses, of any library and dtype, as numbers."""
    if hasattr(losses, "astype"):
        losses = losses.astype("float32")
    elif hasattr(losses, "float"):
        losses = losses.detach().float()
    if hasattr(losses, "tolist"):
        losses = losses.tolist()
    found: list[float] = np.ravel(np.asarray(losses, float)).tolist()
    return found


def seconds(run: Run, calls: int) -> float:
    """Return how long some calls take, and the device to be done."""
    begin = time.perf_counter()
    for _ in range(calls):
        run.call()
    run.wait()
    return time.perf_counter() - begin


def kernels(run: Run) -> dict[str, Any]:
    """Return how many kernels a step is: as the stand-in of CuPy counts them, or as PyTorch's profiler sees them."""
    ledger = getattr(sys.modules.get("cupy"), "_ledger", None)
    if ledger is not None:
        before = ledger.counts["launch"]
        run.call()
        run.wait()
        return {"kernels": (ledger.counts["launch"] - before) / run.steps}
    try:
        import torch
        from torch.profiler import ProfilerActivity, profile
    except ImportError:
        return {"kernels": None, "kernels_why": "PyTorch's profiler counts them, and PyTorch is not installed"}
    if not torch.cuda.is_available():
        return {"kernels": None, "kernels_why": "PyTorch's profiler counts them, and PyTorch finds no CUDA device"}
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        run.call()
        run.wait()
    events = [e for e in seen.events() or () if e.device_type == torch.autograd.DeviceType.CUDA]
    return {"kernels": sum(not e.name.startswith(("Memcpy", "Memset")) for e in events) / run.steps}


def be_process(task: str, result: Path) -> None:
    """Do a task, and write its result: what was measured, or why nothing was."""
    try:
        found = serve(json.loads(task))
    except Missing as missing:
        found = {"missing": str(missing)}
    except BaseException as error:  # noqa: BLE001  # whatever it is, it is the reason
        found = {"missing": f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"}
    result.write_text(json.dumps(found))


def in_process(task: dict[str, Any], limit: float) -> dict[str, Any]:
    """Have a process of its own do a task; one that dies or hangs is a reason as well."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, str(Path(__file__).resolve()), "--task", json.dumps(task), "--result", str(result)]
        # JAX would take three quarters of the memory before it starts, and say that it uses them.
        environment = usual_environment() | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=limit, check=False, env=environment
            )
        except subprocess.TimeoutExpired:
            return {"missing": f"it took longer than {limit:g} seconds"}
        if result.exists():
            found: dict[str, Any] = json.loads(result.read_text())
            return found
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return {"missing": f"its process ended with status {done.returncode}: {said}"}


# The parts


def run_suite(name: str, platform: str, arguments: list[str], limit: float) -> dict[str, Any]:
    """Run the tests on a backend's first device of the platform, which has to be there."""
    import gradkit

    try:
        places = [device for device in gradkit.devices(name) if device.platform == platform]
    except Exception as error:  # noqa: BLE001  # whatever it is, it is the reason
        return {"missing": f"{type(error).__name__}: {' '.join(str(error).split())}"}
    if not places:
        return {"missing": f"the backend {name!r} has no device of the platform {platform!r} here"}
    chosen = name if places[0].id == 0 else f"{name}:{places[0].id}"
    with tempfile.TemporaryDirectory() as folder:
        outcomes = Path(folder) / "outcomes.json"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={folder}/pytest"]
        command += [f"--backend={chosen}", f"--require-backend={chosen}", f"--backend-report={outcomes}", *arguments]
        begin = time.perf_counter()
        try:
            done = subprocess.run(
                command, cwd=REPOSITORY, capture_output=True, text=True, errors="replace", timeout=limit, check=False
            )
        except subprocess.TimeoutExpired:
            return {"missing": f"the tests took longer than {limit:g} seconds"}
        lines = done.stdout.strip().splitlines()
        failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
        return {
            "backend": chosen,
            "status": done.returncode,
            "seconds": time.perf_counter() - begin,
            "said": lines[-1] if lines else done.stderr.strip()[-400:],
            "failed": failed[:200],
            "outcomes": json.loads(outcomes.read_text()) if outcomes.exists() else None,
        }


def losses_by_hand(size: Size) -> list[float] | None:
    """Return the first losses of a step by hand in NumPy; None where that would take long."""
    if operations(size) > BY_HAND:
        return None
    run = hand_written(make_problem(size), TARGETS["numpy"])
    return [float(run.step()) for _ in range(2 * CHECKED)]


def is_other_step(found: dict[str, Any], expected: list[float], tolerance: float) -> bool:
    """Return whether losses are not those of the reference, from the step on that is the contestant's first."""
    ours = found["losses"]
    theirs = expected[found["offset"] :]
    count = min(len(ours), len(theirs))
    pairs = zip(ours[:count], theirs[:count], strict=True)
    return not count or any(not abs(one - other) <= tolerance * abs(other) for one, other in pairs)


def summary(times: list[float]) -> dict[str, float]:
    """Return the median and the quartiles of some times, in microseconds."""
    low, middle, high = (
        statistics.quantiles(times, n=4, method="inclusive") if len(times) > 1 else [*times, *times, *times]
    )
    return {"median": middle * 1e6, "lower": low * 1e6, "upper": high * 1e6}


def measure(options: argparse.Namespace, results: dict[str, Any], save: Callable[[], None]) -> None:
    """Fill the results, part by part."""
    if not options.no_suite:
        for name in SUITES:
            print(f"the tests on {name}", flush=True)
            results["suites"][name] = run_suite(name, options.platform, options.tests, options.suite_limit)
            print(f"  {results['suites'][name].get('missing') or results['suites'][name]['said']}", flush=True)
            save()
    common = {"platform": options.platform, "seconds": options.seconds, "rounds": options.rounds}
    for mode in options.modes:
        results["peaks"][mode] = {"products": {}, "flops": None, "size": options.peak_size}
        for name in options.products:
            task = {"kind": "product", "name": name, "mode": mode, "size": options.peak_size, **common}
            found = in_process(task, options.limit)
            if "missing" not in found:
                found["flops"] = 2 * options.peak_size**3 / statistics.median(found["seconds"])
                results["peaks"][mode]["flops"] = max(found["flops"], results["peaks"][mode]["flops"] or 0)
            results["peaks"][mode]["products"][name] = found
            save()
    for size in options.chosen:
        expected = losses_by_hand(size)
        row: dict[str, Any] = {"name": size.name, "batch": size.batch, "operations": operations(size), "modes": {}}
        results["sizes"].append(row)
        for mode in options.modes:
            row["modes"][mode] = {}
            for name in options.only:
                task = {"kind": "step", "name": name, "mode": mode, "widths": size.widths, "batch": size.batch}
                found = in_process({**task, **common}, options.limit)
                if "missing" not in found:
                    if expected is None:
                        expected = found["losses"]  # of the first contestant, in the first mode
                    if is_other_step(found, expected, MODES[mode].tolerance):
                        found = {"missing": f"another step: its losses are {found['losses']}, not {expected}"}
                    else:
                        found["microseconds"] = summary(found["seconds"])
                        found["host_microseconds"] = summary(found["host_seconds"])
                        peak = results["peaks"][mode]["flops"]
                        found["part_of_peak"] = (
                            operations(size) / statistics.median(found["seconds"]) / peak if peak else None
                        )
                row["modes"][mode][name] = found
                told = found.get("missing") or f"{found['microseconds']['median']:.1f} us"
                print(f"{size.name}, batch {size.batch}, {mode}, {name}: {told}", flush=True)
                save()


def gpus(platform: str) -> list[str]:
    """Return what the hardware calls itself, of every backend that finds some."""
    import gradkit

    found = []
    for name in SUITES:
        try:
            found += [f"{d}: {d.device_kind}" for d in gradkit.devices(name) if d.platform == platform]
        except Exception:  # noqa: BLE001  # which backends cannot run is told of by their own rows
            continue
    return found


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    names = [f"{size.name}" for size in SIZES]
    parser = argparse.ArgumentParser(description="Run the tests and time training steps on a GPU.")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=0.5, help="of a round (default: %(default)s)")
    parser.add_argument("--limit", type=float, default=600, help="seconds for one measurement (default: %(default)s)")
    parser.add_argument("--suite-limit", type=float, default=3 * 3600, help="for one run of the tests, in seconds")
    parser.add_argument("--no-suite", action="store_true", help="leave the tests out")
    parser.add_argument("--tests", nargs="*", default=[], metavar="FILE", help="some of the tests (default: all)")
    parser.add_argument("--modes", nargs="+", choices=list(MODES), default=list(MODES), metavar="MODE")
    parser.add_argument("--only", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS), metavar="NAME")
    parser.add_argument("--products", nargs="+", choices=list(PRODUCTS), default=list(PRODUCTS), metavar="LIBRARY")
    parser.add_argument("--sizes", nargs="+", default=names, metavar="SIZE", help=f"of {', '.join(names)}, or W-W-W:B")
    parser.add_argument("--peak-size", type=int, default=PEAK_SIZE, help="rows of the peak's matrices")
    parser.add_argument("--platform", choices=("gpu", "cpu"), default="gpu", help="cpu: to try the script itself")
    parser.add_argument("--out", type=Path, default=report.RESULTS, help="where to write (default: %(default)s)")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    usual = {size.name: size for size in SIZES}
    options.chosen = []
    for word in options.sizes:
        widths, _, batch = word.partition(":")
        try:
            size = usual[word] if word in usual else Size(tuple(map(int, widths.split("-"))), int(batch), goal=0)
        except ValueError:
            parser.error(f"--sizes: expected one of {', '.join(names)}, or widths and a batch as 64-64-10:32: {word!r}")
        options.chosen.append(size)
    if options.rounds < 1 or options.seconds <= 0 or options.peak_size < 1:
        parser.error("--rounds, --seconds and --peak-size: expected more than 0")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for, and write it as it comes."""
    options = parse(arguments)
    if options.task is not None:
        be_process(options.task, options.result)
        return
    machine = describe(["gradkit", "numpy"])
    results: dict[str, Any] = {
        "machine": machine | {"gpus": gpus(options.platform)},
        "platform": options.platform,
        "rounds": options.rounds,
        "titles": {name: CONTESTANTS[name][0] for name in options.only},
        "complete": False,
        "suites": {},
        "peaks": {},
        "sizes": [],
    }
    options.out.mkdir(parents=True, exist_ok=True)

    def save() -> None:
        # Whole files always: a run may be killed while it writes.
        for name, text in (("gpu.json", json.dumps(results, indent=1)), ("gpu.md", gpu_section(results))):
            path = options.out / name
            beside = path.with_suffix(path.suffix + ".new")
            beside.write_text(text + "\n")
            os.replace(beside, path)

    save()
    measure(options, results, save)
    results["complete"] = True
    save()
    report.write(options.out, "gpu", results)
    print("\n" + gpu_section(results))


if __name__ == "__main__":
    main()
