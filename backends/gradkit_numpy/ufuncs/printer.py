"""What plans may have if they are to be printed as NumPy's calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gradkit_numpy.kernels import KERNELS
from gradkit_numpy.saturating import INTO
from gradkit_numpy.ufuncs.names import FLOATS, FOR_FLOATS, UFUNCS, WHOLE

if TYPE_CHECKING:
    from gradkit.backend.plan import Call, Plan
    from gradkit.backend.printers import Box
    from gradkit_numpy.ufuncs.program import Program

__all__ = ["NumpyPrinter"]


class NumpyPrinter:
    """Prints plans as calls of NumPy."""

    name = "numpy"

    def why_unusable(self) -> str | None:
        """Return None: it needs nothing."""
        return None

    def takes(self, name: str, dtypes: Sequence[str]) -> bool:
        """Return whether a primitive is a ufunc, a kernel that is like one, a choice, a cast or a product."""
        known = [np.dtype(dtype).kind in "fiub" and dtype != "float16" for dtype in dtypes]
        if not all(known) or name in ("take", "scatter", "product and sum"):
            return False
        if name in ("where", "astype", "astype_exact", "matmul"):
            return True
        if name in INTO:
            return len(set(dtypes)) == 1 and dtypes[0] in FLOATS
        if name in FOR_FLOATS:
            return dtypes[-1] in FLOATS
        if name not in UFUNCS or (name in ("floor_divide", "remainder") and dtypes[-1] in FLOATS):
            return False
        found = getattr(np, UFUNCS[name])
        try:
            resolved = found.resolve_dtypes((*(np.dtype(dtype) for dtype in dtypes[:-1]), None))
        except TypeError:
            return False
        return bool(resolved[-1] == np.dtype(dtypes[-1]))

    def calls(self, name: str) -> bool:
        """Return whether a primitive is a call of NumPy's own kernel, where it has one."""
        return name in KERNELS or name in WHOLE

    def room(self, call: Call) -> int:
        """Return 0: NumPy has memory of its own."""
        return 0

    def compiled(self, plan: Plan, box: Box) -> Program:
        """Return what runs a plan."""
        from gradkit_numpy.ufuncs.program import Program  # late: another printer may have the plan

        return Program(plan, box)
