"""Load damaged files of every kind, and count what came of it: ``python tests/support/fuzz_files.py 100000 [seed]``.

The tests do the same with fewer (test_damaged_files.py). The exit status is 1 where a file was loaded wrong although
its format has checksums, or an error came that is none of gradkit's own for files.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import damage
from damage import ESCAPED, WRONG, Kind, comparable

Damage = Callable[[Kind, random.Random], bytes]


def of_another_structure(name: str) -> Damage | None:
    """Return what gives files of a kind with other headers; None where it has none with a structure."""
    if name in ("checkpoint", "checkpoint, like", "array", "scalar"):
        return lambda kind, source: damage.mutated_checkpoint(kind.contents, source)
    if name in ("npy", "npy, mapped"):
        return lambda kind, source: damage.mutated_npy(source)
    if name == "npz":
        return lambda kind, source: damage.zipped([("a.npy", damage.mutated_npy(source))])
    return None


def main(count: int, seed: int, folder: Path) -> int:
    """Damage that many files, print a table of the outcomes, and return the exit status."""
    source = random.Random(seed)
    kinds = damage.kinds(folder)
    names = sorted(kinds)
    path = folder / "x"
    expected = {}
    for name, kind in kinds.items():
        path.write_bytes(kind.contents)
        expected[name] = comparable(kind.load(path))
    counts: dict[str, Counter[str]] = {name: Counter() for name in names}
    shown: Counter[str] = Counter()
    for i in range(count):
        name = names[i % len(names)]
        kind = kinds[name]
        structured = of_another_structure(name)
        if structured is not None and source.random() < 0.4:
            # Some of these are right files with other contents, so none of them is wrong.
            damaged, kind = structured(kind, source), kind._replace(checked=False)
        else:
            damaged = damage.random_damage(kind.contents, source)
        what, error = damage.outcome(path, kind, expected[name], damaged)
        counts[name][what] += 1
        case = f"{name}: {what} {type(error).__name__ if error else ''}"
        if what in (WRONG, ESCAPED):
            shown[case] += 1
            if shown[case] == 1:
                print(f"{case}: {error!r:.150}\n    {damaged!r:.1000}", flush=True)
    outcomes = (damage.SAME, damage.REFUSED, damage.OTHER, WRONG, ESCAPED)
    print(f"{'':18}" + "".join(f"{what:>10}" for what in outcomes))
    for name in names:
        print(f"{name:18}" + "".join(f"{counts[name][what]:10,}" for what in outcomes))
    total = sum(counts.values(), Counter())
    print(f"{total.total():<18,}" + "".join(f"{total[what]:10,}" for what in outcomes))
    for case, times in shown.most_common():
        print(f"{times:8,}  {case}")
    return int(total[WRONG] + total[ESCAPED] > 0)


if __name__ == "__main__":
    warnings.simplefilter("error")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, help="how many files")
    parser.add_argument("seed", type=int, nargs="?", default=0, help="of the damage (default: 0)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        sys.exit(main(options.count, options.seed, Path(made)))
