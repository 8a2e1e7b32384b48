"""With NumPy, memory that arrays leave is for the next ones: a large network's eager step takes no page faults."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

if not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"):
    pytest.skip("only glibc is told what to keep", allow_module_level=True)

STEPS = """
import resource
import gradkit, gradkit.numpy as jnp
from gradkit_numpy.allocator import keep_freed_memory

def loss(params, x):
    for w, b in params:
        x = jnp.tanh(x @ w + b)
    return jnp.mean(x ** 2)

keys = gradkit.random.split(gradkit.random.key(0), 2)
params = [(gradkit.random.normal(key, (1024, 1024)) / 32, jnp.zeros(1024)) for key in keys]
x = gradkit.random.normal(keys[0], (64, 1024))
for step in range(8):
    if step == 5:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    gradients = gradkit.grad(loss)(params, x)
    params = gradkit.tree.map(lambda p, g: p - 0.1 * g, params, gradients)
print(keep_freed_memory(), (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 3)
"""
AGAIN = """
import os
import gradkit.numpy as jnp
from gradkit_numpy.allocator import LARGEST

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def most(sizes):
    arrays = [jnp.ones(size // 4, "float32") for size in sizes]
    return resident()

start = resident()
print(most([LARGEST + 4096] * 8) - start > 200 << 20, resident() - start < 32 << 20)
one = most([4 << 20] * 64)
print(most([4 << 20] * 64) - one < 32 << 20)  # the second 256 MiB are the first
"""


def run(code: str, **variables: str) -> list[str]:
    """Run `code` as a process whose environment says nothing else about memory; return the words that it prints."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_", "GRADKIT_K"))}
    done = subprocess.run([sys.executable, "-c", code], env=own | variables, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_the_steps_of_a_large_network_take_no_page_faults() -> None:
    kept, faults = run(STEPS)
    assert kept == "True"
    # A step without takes a thousand and more: 16 MB of new weights and gradients are 4,000 pages.
    assert float(faults) < 100


@pytest.mark.parametrize(
    "variables",
    [
        {"GRADKIT_KEEP_MEMORY": "0"},
        {"GRADKIT_KEEP_MEMORY": "off"},
        {"MALLOC_TRIM_THRESHOLD_": "131072"},
        {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072"},
    ],
    ids=lambda variables: "=".join(*variables.items()),
)
def test_the_environment_can_say_otherwise(variables: dict[str, str]) -> None:
    code = "import gradkit.numpy as jnp; from gradkit_numpy.allocator import keep_freed_memory as k; jnp.ones(2); "
    assert run(code + "print(k())", **variables) == ["False"]


def test_memory_is_used_again_and_that_of_the_largest_arrays_goes_back_to_the_system() -> None:
    assert run(AGAIN) == ["True", "True", "True"]


def test_nothing_is_told_before_an_array_is_made() -> None:
    code = "import gradkit; from gradkit_numpy.allocator import keep_freed_memory as k; "
    assert run(code + "print(k.cache_info().currsize)") == ["0"]
