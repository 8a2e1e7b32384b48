"""Trains digits from one seed on every backend that can run here, and says what is equal: to the bit, or to rounding.

Each backend of ``gradkit info`` takes part on one device of each platform it has (a CPU, a GPU), eagerly and under
`jit`. What is drawn (random bits, permutations, the batches of an epoch, initial weights) is compared bit for bit with
NumPy's; the loss of every epoch, in float32, by the largest relative difference, which has a limit.

Run ``python benchmarks/consistency.py``; ``--help`` lists the options. It ends with an error where a curve differs by
more than the limit, or something that is drawn differs in a bit.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import report
import sections
from machine import describe

import gradkit
import gradkit.numpy as jnp
from gradkit import data, nn, optim
from gradkit.backend import backend_names, load_backend, why_not

LIMIT = 1e-4
"""The largest relative difference that the loss curves may have."""
REFERENCE = "numpy"
SEED = 0
WIDTHS = [64, 10]
BATCH = 32
DRAWN = {
    "random bits": lambda key: gradkit.random.bits(key, (1000,)),
    "uniform numbers": lambda key: gradkit.random.uniform(key, (1000,)),
    "integers": lambda key: gradkit.random.randint(key, (1000,), 0, 1000),
    "a permutation": lambda key: gradkit.random.permutation(key, 1000),
}
ROUNDED = {"normal numbers": lambda key: gradkit.random.normal(key, (1000,))}
"""What goes through a logarithm or a root: to rounding."""


def train(epochs: int, examples: int, jitted: bool) -> dict[str, np.ndarray]:
    """Train on the backend in use; return what was drawn, the mean loss of each epoch, and the last weights."""
    key = gradkit.random.key(SEED)
    bits, initial, order = gradkit.random.split(key, 3)
    found = {name: draw(bits) for name, draw in {**DRAWN, **ROUNDED}.items()}
    x, y = data.load_digits()
    x, y = jnp.asarray(x[:examples], "float32"), jnp.asarray(y[:examples])
    model = nn.MLP(64, WIDTHS, key=initial)
    found["initial weights"] = jnp.concatenate([jnp.ravel(p) for p in gradkit.tree.leaves(model)])
    optimizer = optim.SGD(optim.inverse_time_decay(0.1, 100, 1.0), momentum=0.9)

    def step(model: Any, state: Any, xb: Any, yb: Any) -> tuple[Any, Any, Any]:
        def loss(model: Any) -> Any:
            return nn.softmax_cross_entropy(model(xb), yb)

        value, slopes = gradkit.value_and_grad(loss)(model)
        return *optimizer.update(model, slopes, state), value

    take_step = gradkit.jit(step) if jitted else step
    state, losses = optimizer.init(model), []
    for epoch, epoch_key in enumerate(gradkit.random.split(order, epochs)):
        batches, values = [], []
        for xb, yb in data.minibatches((x, y), BATCH, key=epoch_key):
            model, state, value = take_step(model, state, xb, yb)
            values.append(value)
            batches.append(yb)
        if epoch == 0:
            found["batches"] = jnp.concatenate(batches)
        losses.append(float(jnp.mean(jnp.stack(values))))
    found["last weights"] = jnp.concatenate([jnp.ravel(p) for p in gradkit.tree.leaves(model)])
    return {name: np.asarray(gradkit.device_get(array)) for name, array in found.items()} | {
        "losses": np.asarray(losses)
    }


def contestants(names: Sequence[str] | None) -> tuple[dict[str, tuple[str, Any]], dict[str, str]]:
    """Return backends and devices by title, one of each platform, and why others do not take part."""
    found: dict[str, tuple[str, Any]] = {}
    missing = {}
    for name in backend_names() if names is None else names:
        try:
            backend = load_backend(name)
        except Exception as error:  # noqa: BLE001  # a third party's backend that fails on import is told of
            missing[name] = f"{type(error).__name__}: {error}"
            continue
        reason = why_not(backend)
        if reason is not None:
            missing[name] = str(reason)
        elif not backend.has_axes:
            missing[name] = "its arrays are single numbers: the network has matrices"
        else:
            platforms: dict[str, Any] = {}
            for device in backend.devices:
                platforms.setdefault(device.platform, device)
            for platform, device in platforms.items():
                found[name if len(platforms) == 1 else f"{name}, {platform}"] = name, device
    return found, missing


def largest_difference(name: str, found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference, of losses relative to each of them, of others to the largest number."""
    found, expected = found.astype(float), expected.astype(float)
    scale = np.abs(expected) if name == "losses" else np.abs(expected).max()
    return float((np.abs(found - expected) / scale).max())


def compare(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return what is bit-equal, and by how much the rest differs."""
    same = {
        name: found[name].dtype == expected[name].dtype and found[name].tobytes() == expected[name].tobytes()
        for name in expected
    }
    return {
        "equal": same,
        "difference": {name: largest_difference(name, found[name], expected[name]) for name in expected},
        "losses": found["losses"].tolist(),
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Train everywhere; who fails is told of with its reason."""
    places, missing = contestants(options.only)
    with gradkit.use_backend(REFERENCE):
        expected = train(options.epochs, options.examples, False)
    found = {}
    for title, (name, device) in places.items():
        for way in ("eager", "jit"):
            label = f"{title}, {way}"
            try:
                with gradkit.use_backend(name), gradkit.default_device(device):
                    found[label] = compare(train(options.epochs, options.examples, way == "jit"), expected)
            except Exception as error:  # noqa: BLE001  # one backend's failure is its own row
                missing[label] = f"{type(error).__name__}: {error}"
                continue
            print(f"{label:20} losses differ by {found[label]['difference']['losses']:.1e}", flush=True)
    machine = describe(["gradkit"])
    machine["versions"] = {k: v for name, _ in places.values() for k, v in load_backend(name).versions().items()}
    return {"machine": machine, "backends": found, "missing": missing}


def wrong(results: dict[str, Any]) -> list[str]:
    """Return what is not as it should be, a sentence each."""
    said = []
    for label, found in results["backends"].items():
        if not found["difference"]["losses"] <= results["limit"]:
            said.append(f"{label}: the losses differ by {found['difference']['losses']:.1e}, more than {LIMIT:g}")
        said += [f"{label}: {name} not the same bits" for name in results["exact"] if not found["equal"][name]]
    return said


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train digits on every backend from one seed, and compare.")
    parser.add_argument("--epochs", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--examples", type=int, default=1437, help="how many of the digits (default: %(default)s)")
    parser.add_argument("--only", nargs="+", metavar="BACKEND", help="these backends (default: all)")
    parser.add_argument("--out", type=Path, help="where to write; a run with other options else writes nothing")
    options = parser.parse_args(arguments)
    if options.epochs < 1 or options.examples < BATCH:
        parser.error(f"expected at least 1 epoch and {BATCH} examples, got {options.epochs} and {options.examples}")
    if options.only is not None and (unknown := set(options.only) - set(backend_names())):
        parser.error(f"--only: unknown {', '.join(sorted(unknown))}; known are {', '.join(backend_names())}")
    options.usual = options == parser.parse_args([])
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the comparison that the command line asks for, print it, and write it."""
    options = parse(arguments)
    results = {
        "epochs": options.epochs,
        "examples": options.examples,
        "limit": LIMIT,
        "exact": [*DRAWN, "batches", "initial weights"],
        **measure(options),
    }
    print("\n" + sections.consistency_section(results))
    if options.out is not None or options.usual:
        report.write(options.out or report.RESULTS, "consistency", results)
    if said := wrong(results):
        sys.exit("\n".join(said))


if __name__ == "__main__":
    main()
