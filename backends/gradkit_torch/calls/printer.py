"""What plans may have if they are to be printed as PyTorch's calls."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch

from gradkit.backend.plan import Call, Plan
from gradkit.backend.printers import Box
from gradkit_torch.calls.names import CALLS, FLOATS, FOR_FLOATS, IN_STEPS, KINDS, LOGIC, WHOLE
from gradkit_torch.calls.program import Program
from gradkit_torch.kernels import KERNELS

__all__ = ["TorchPrinter"]


class TorchPrinter:
    """Prints plans as calls of PyTorch."""

    name = "torch"

    def why_unusable(self) -> str | None:
        """Return None: it needs nothing else."""
        return None

    def takes(self, name: str, dtypes: Sequence[str]) -> bool:
        """Return whether a primitive is a call that writes into an array, a choice, a cast or a product."""
        return _takes(name, tuple(dtypes))

    def calls(self, name: str) -> bool:
        """Return whether a primitive is a call of the backend's own kernel, where it has one."""
        return name in WHOLE or (name in KERNELS and name != "sgd_update")

    def room(self, call: Call) -> int:
        """Return 0: PyTorch has memory of its own."""
        return 0

    def compiled(self, plan: Plan, box: Box) -> Program:
        """Return what runs a plan."""
        return Program(plan, box)


@functools.cache
def _takes(name: str, dtypes: tuple[str, ...]) -> bool:
    if not KINDS.issuperset(dtypes):
        return False
    kinds = set(dtypes)
    if name in ("matmul", "product and sum"):
        return len(kinds) == 1 and dtypes[0] in FLOATS
    if name in ("astype", "astype_exact"):
        return True
    if name == "where":
        return dtypes[0] == "bool"
    if name == "masked":
        return dtypes[1] == "bool" and dtypes[0] == dtypes[-1]
    if name in FOR_FLOATS:
        is_known = name in IN_STEPS or name in CALLS or name in ("isnan", "relu")
        return is_known and dtypes[0] in FLOATS
    if name not in CALLS or ("bool" in dtypes[:-1] and name not in LOGIC):
        return False
    ones = [torch.ones(1, dtype=getattr(torch, dtype)) for dtype in dtypes[:-1]]
    try:
        return bool(getattr(torch, CALLS[name])(*ones).dtype == getattr(torch, dtypes[-1]))
    except (NotImplementedError, RuntimeError):
        return False
