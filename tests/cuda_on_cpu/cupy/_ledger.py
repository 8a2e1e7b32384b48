"""What the pretended GPU was asked to do: launches, copies to the host and to the device, and waits.

`counts` counts each kind; while `log` is a list, each is noted there too, with its name.
"""

from collections import Counter

LAUNCH, TO_HOST, TO_DEVICE, WAIT = "launch", "to host", "to device", "wait"

counts: Counter[str] = Counter()
log: list[tuple[str, str]] | None = None


def note(kind: str, name: str) -> None:
    counts[kind] += 1
    if log is not None:
        log.append((kind, name))
