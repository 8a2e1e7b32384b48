"""Run many random programs in every way, outside the tests: ``python tests/compiler/many_programs.py --to 10000``.

It prints each difference, and at the end how many programs there were; it exits with 1 where any differs. The object
cache is left alone.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from pathlib import Path

os.environ["GRADKIT_CACHE"] = "off"
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from every_way import WAYS, differences


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="start", type=int, default=0, help="the first program's seed")
    parser.add_argument("--to", type=int, default=10_000, help="the seed to stop before")
    options = parser.parse_args()
    differing, begin = 0, time.perf_counter()
    for seed in range(options.start, options.to):
        # Every second one is wilder.
        try:
            found = differences(seed, bool(seed % 2))
        except Exception as error:  # noqa: BLE001 - one that cannot run in some way is one more that differs
            found = [f"seed {seed}: {error!r}"]
        differing += bool(found)
        for line in found:
            print(line, flush=True)
        if seed % 100 == 99:
            seconds = time.perf_counter() - begin
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            print(f"{seed + 1} after {seconds:.0f} s, {differing} differ, {memory} MB", file=sys.stderr, flush=True)
    print(
        f"{options.to - options.start} programs, each {', '.join(WAYS)}: {differing} differ from what they give eagerly"
    )
    sys.exit(differing > 0)


if __name__ == "__main__":
    main()
