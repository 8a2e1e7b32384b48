"""Run many random programs in every way, outside the tests: ``python tests/compiler/many_programs.py --to 10000``.

It prints each difference, and at the end how many programs there were; it exits with 1 where any differs. The object
cache is left alone. With ``--kept`` each program runs once more as another process would find it, in a folder of its
own.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

os.environ["GRADKIT_CACHE"] = "off"
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from every_way import differences, ways

import gradkit


def kept_and_found_again(seed: int, wilder: bool) -> list[str]:
    """Return what differs of a program that is compiled, kept, forgotten, and found in a folder."""
    from gradkit_numpy.native import object_code

    with tempfile.TemporaryDirectory() as folder:
        object_code.keep_in(folder)
        os.environ["GRADKIT_CACHE"] = ""
        try:
            found = differences(seed, wilder)
            gradkit.clear_caches()
            return [*found, *(f"found again: {line}" for line in differences(seed, wilder))]
        finally:
            object_code.keep_in(None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="start", type=int, default=0, help="the first program's seed")
    parser.add_argument("--to", type=int, default=10_000, help="the seed to stop before")
    parser.add_argument("--kept", action="store_true", help="run what is found on disk as well")
    parser.add_argument("--backend", default="numpy", help="whose arrays they are of")
    options = parser.parse_args()
    run = kept_and_found_again if options.kept else partial(differences, backend=options.backend)
    differing, begin = 0, time.perf_counter()
    for seed in range(options.start, options.to):
        # Every second one is wilder.
        try:
            found = run(seed, bool(seed % 2))
        except Exception as error:  # noqa: BLE001 - one that cannot run in some way is one more that differs
            found = [f"seed {seed}: {error!r}"]
        differing += bool(found)
        for line in found:
            print(line, flush=True)
        if seed % 100 == 99:
            seconds = time.perf_counter() - begin
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            print(f"{seed + 1} after {seconds:.0f} s, {differing} differ, {memory} MB", file=sys.stderr, flush=True)
    each = ", ".join(ways(options.backend))
    print(f"{options.to - options.start} programs, each {each}: {differing} differ from what they give eagerly")
    sys.exit(differing > 0)


if __name__ == "__main__":
    main()
