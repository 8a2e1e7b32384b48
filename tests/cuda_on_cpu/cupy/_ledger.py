"""What the pretended GPU was asked to do: launches, copies to the host and to the device, and waits.

`counts` counts each kind; while `log` is a list, each is noted there too, with its name.
"""

from collections import Counter

LAUNCH, TO_HOST, TO_DEVICE, WAIT = "launch", "to host", "to device", "wait"
STARTED = "copy to host started"

products: list[int] = []
"""How each product of matrices was computed: CuPy's number of the mode that was set."""
counts: Counter[str] = Counter()
log: list[tuple[str, str]] | None = None


def note(kind: str, name: str) -> None:
    counts[kind] += 1
    if log is not None:
        log.append((kind, name))


# Copies to the host that were started and not waited for: what is read before is not what was copied

_waiting = []


def started(copy):
    """Keep a copy, a function, until something waits for it."""
    _waiting.append(copy)


def recorded():
    """Return how many copies are in front of an event."""
    return len(_waiting)


def arrived(copies):
    """Make the copies in front of an event; the numbers of events are those of `recorded`, or None for all."""
    for i, copy in enumerate(_waiting[:copies]):
        if copy is not None:
            copy()
            _waiting[i] = None
