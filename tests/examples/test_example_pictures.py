"""The examples that end in a picture, each run in short as a user runs it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest
import warm_processes

from gradkit.backend import Backend, backend_names, load_backend, why_not

ROOT = Path(__file__).parents[2]
EXAMPLES = ("descent", "every_backend", "moons", "scalar_mlp")
each_example = pytest.mark.parametrize("example", EXAMPLES)


def run(folder: Path, example: str, *options: object) -> subprocess.CompletedProcess[str]:
    """Run an example to its end, where a warning is an error and there is no display."""
    words = [str(ROOT / "examples" / f"{example}.py"), *map(str, options)]
    variables = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "MPLBACKEND")}
    variables["PYTHONWARNINGS"] = "error"
    return warm_processes.run(words, folder, variables)


def output(folder: Path, example: str, *options: object) -> str:
    """Run an example that has to succeed, two epochs long, and return what it printed."""
    done = run(folder, example, "--epochs", 2, "--out", folder / "pictures", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr
    return done.stdout


@pytest.mark.parametrize("example", ["descent", "moons"])
def test_example_ends_in_its_picture(tmp_path: Path, example: str, backend: Backend) -> None:
    printed = output(tmp_path, example, "--backend", backend.name)
    picture = tmp_path / "pictures" / f"{example}.png"
    assert printed.endswith(f"in {picture}\n")
    assert picture.read_bytes().startswith(b"\x89PNG\r\n")
    assert [each.name for each in (tmp_path / "pictures").iterdir()] == [picture.name]


def test_the_lectures_network_of_values_ends_in_the_picture_of_its_loss(tmp_path: Path) -> None:
    printed = output(tmp_path, "scalar_mlp").splitlines()
    losses = [float(line.split()[3]) for line in printed if line.startswith("step")]
    assert losses[1] < losses[0]
    assert printed[-1] == f"the loss is in {tmp_path / 'pictures' / 'scalar_mlp.png'}"
    assert (tmp_path / "pictures" / "scalar_mlp.png").read_bytes().startswith(b"\x89PNG\r\n")


@pytest.mark.parametrize(
    "example, result, labels, numbers",
    [
        (
            "expression",
            "L = -8.0\ndL/da = 6.0\ndL/db = -4.0\ndL/dc = -2.0\ndL/df = 4.0\n",
            "abcdefL",
            (6, -4, -2, 4, -8),
        ),
        ("neuron", "o = 0.7071\ndo/dx1 = -1.5000\ndo/dw1 = 1.0000\n", ("x1", "w2", "n", "o"), (-1.5, 1, 0.5, 0.7071)),
    ],
)
def test_a_drawn_example_prints_the_lectures_figures_and_draws_them(
    tmp_path: Path, example: str, result: str, labels: Sequence[str], numbers: Sequence[float]
) -> None:
    done = run(tmp_path, example, "--out", tmp_path)
    assert not done.stderr
    assert done.stdout.startswith(result)
    picture = tmp_path / f"{example}.svg"
    assert done.stdout.endswith(f"the graph is in {picture}\n")
    texts = {"".join(element.itertext()).strip() for element in ElementTree.parse(picture).iter() if element.text}
    assert set(labels) <= texts
    for number in numbers:
        assert any(text.endswith(f" {number:.4f}") for text in texts), number


def test_moons_are_told_apart(tmp_path: Path, backend: Backend) -> None:
    done = run(tmp_path, "moons", "--backend", backend.name, "--out", ".")
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert float(last.partition("%")[0]) > 98
    assert last.endswith("% right in the last epoch; the boundary is in moons.png")


@pytest.mark.parametrize("example", ["descent", "moons"])
def test_example_is_animated_when_asked(tmp_path: Path, example: str) -> None:
    film = tmp_path / "pictures" / f"{example}.gif"
    assert output(tmp_path, example, "--animate").endswith(f" is in {film}\n")
    assert film.read_bytes().startswith(b"GIF89a")


def test_every_backend_that_can_run_is_trained_on_and_gives_the_same_loss(tmp_path: Path) -> None:
    printed = output(tmp_path, "every_backend")
    backends = map(load_backend, backend_names())
    usable = [backend.name for backend in backends if backend.has_axes and why_not(backend) is None]
    losses = dict(line.split(": loss ") for line in printed.splitlines() if ": loss " in line)
    assert list(losses) == usable
    (reference, *others) = (float(line.split(",")[0]) for line in losses.values())
    assert others == pytest.approx([reference] * len(others), rel=1e-3)
    assert (tmp_path / "pictures" / "every_backend.png").read_bytes().startswith(b"\x89PNG\r\n")


@each_example
def test_example_says_how_it_is_used(tmp_path: Path, example: str) -> None:
    done = run(tmp_path, example, "--help")
    assert done.returncode == 0
    for option in ("--epochs", "--seed", "--out"):
        assert option in done.stdout
    assert f"Run ``python examples/{example}.py``" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    "option, value, words",
    [
        ("--epochs", "0", "argument --epochs: expected a whole number of at least 1, got '0'"),
        ("--epochs", "x", "argument --epochs: expected a whole number of at least 1, got 'x'"),
        ("--seed", f"{2**64}", f"argument --seed: seed: seed must fit 64 bits, got {2**64}"),
        ("--out", "file/pictures", "argument --out: [Errno "),
        ("--backend", "nunpy", "argument --backend: Unknown backend 'nunpy'. Known: "),
    ],
)
def test_example_refuses_an_option_in_one_line(tmp_path: Path, option: str, value: str, words: str) -> None:
    (tmp_path / "file").touch()
    done = run(tmp_path, "moons", option, value)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"moons.py: error: {words}")
    assert "Traceback" not in done.stderr
