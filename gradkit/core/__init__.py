"""The machinery: arrays, primitives, and the traces. It knows no array library and no backend by name."""

from gradkit.core import conversions, lecture  # noqa: F401 - they attach their methods to Array
from gradkit.core.array import Array
from gradkit.core.binding import bind, bind_several
from gradkit.core.debugging import check_for_nans
from gradkit.core.families import MINUS_ONE, ONE, Elementwise, General, Linear, passes_where
from gradkit.core.node import enable_grad, no_grad
from gradkit.core.primitive import Primitive
from gradkit.core.reverse import TAPE, ReverseTrace
from gradkit.core.several_results import MultipleResults
from gradkit.core.structured import Contraction, LinearReduction, Reduction, View

__all__ = [
    "MINUS_ONE", "ONE", "TAPE", "Array", "Contraction", "Elementwise", "General", "Linear", "LinearReduction",
    "MultipleResults", "Primitive", "Reduction", "ReverseTrace", "View", "bind", "bind_several", "check_for_nans",
    "enable_grad", "no_grad", "passes_where",
]  # fmt: skip
