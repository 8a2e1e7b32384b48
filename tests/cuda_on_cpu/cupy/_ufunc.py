"""Elementwise functions with CuPy's loops, which the installed CuPy tells."""

import numpy as np

from cupy._core import check_peer, is_array, launched, quietly, wrap
from cupy._indexing import scatter

WEAK = {int: "l", float: "d", complex: "D"}
"""Python's numbers: the dtype of each before the other operands say what it becomes."""
KINDS = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 2}


def unsupported(value):
    return TypeError(f"Unsupported type {type(value)}")


class ufunc:
    """An elementwise function: it takes the first of its loops that the operands can be cast to."""

    def __init__(self, name, loops, function):
        self.name = self.__name__ = name
        self.function = quietly(function)
        self.loops = [
            (tuple(map(np.dtype, ins)), None if outs is None else tuple(map(np.dtype, outs)))
            for ins, outs in loops
            if not {"E", "V"} & set(ins)
        ]
        self.nin, self.nout = len(self.loops[0][0]), len(self.loops[-1][1] or "1")
        self.nargs = self.nin + self.nout
        self.found = {}

    @property
    def types(self):
        return ["".join(t.char for t in ins) + "->" + "".join(t.char for t in outs or ()) for ins, outs in self.loops]

    def __repr__(self):
        return f"<ufunc 'cupy_{self.name}'>"

    def loop(self, types, weak, dtype):
        """Return the loop for operands of these dtypes; `weak` has the type of each that is a Python number."""
        key = (types, weak, dtype)
        if key not in self.found:
            self.found[key] = next(self.fitting(types, weak, dtype), None)
        found = self.found[key]
        if found is None:
            what = types if dtype is None else dtype
            raise TypeError(f"Wrong type ({what}) of arguments for cupy_{self.name}")
        if found[1] is None:
            raise TypeError(f"numpy boolean {self.name}, the operator, is not supported")
        return found

    def fitting(self, types, weak, dtype):
        strong = [KINDS[t.kind] for t, scalar in zip(types, weak, strict=True) if not scalar]
        scalars = [KINDS[t.kind] for t, scalar in zip(types, weak, strict=True) if scalar]
        if not (strong and scalars and max(strong) >= max(scalars)):
            weak = (None,) * len(weak)
        for loop in self.loops:
            if dtype is not None:
                if loop[1] and loop[1][0] == dtype:
                    yield loop
            elif all(
                np.can_cast(of, to) or (scalar and np.result_type(scalar(0), to) == to)
                for to, of, scalar in zip(loop[0], types, weak, strict=True)
            ):
                yield loop

    def operand(self, value):
        """Return an operand for NumPy, its dtype, and the Python type of a number that is weak."""
        kind = type(value)
        if is_array(value):
            check_peer(value)
            return value._a, value.dtype, None
        if kind in WEAK:
            dtype = np.dtype("L" if kind is int and value >= 1 << 63 else WEAK[kind])
            np.array(value, dtype)  # an OverflowError for an int that is too large, as in CuPy
            return value, dtype, kind
        if kind is bool or isinstance(value, np.generic):
            return value, np.dtype(kind), None
        raise unsupported(value)

    def __call__(self, *args, out=None, dtype=None, casting="same_kind"):
        if not self.nin <= len(args) <= self.nargs:
            raise TypeError(f"Wrong number of arguments for cupy_{self.name}: {len(args)}")
        if len(args) > self.nin:
            out = args[self.nin]
        operands, types, weak = zip(*map(self.operand, args[: self.nin]), strict=True)
        ins, outs = self.loop(types, weak, None if dtype is None else np.dtype(dtype))
        cast = quietly(np.asarray)
        results = self.function(*(cast(x, t) for x, t in zip(operands, ins, strict=True)))
        results = results if self.nout > 1 else (results,)
        results = [np.asarray(r).astype(t, copy=False) for r, t in zip(results, outs, strict=True)]
        launched(self.name, results[0].size)
        if out is not None:
            return self.store(results[0], out[0] if isinstance(out, tuple) else out, casting)
        return wrap(results[0]) if self.nout == 1 else tuple(map(wrap, results))

    def store(self, result, out, casting):
        if not is_array(out):
            raise unsupported(out)
        check_peer(out)
        if not np.can_cast(result.dtype, out.dtype, casting):
            raise TypeError(
                f"output (typecode '{result.dtype.char}') could not be coerced to provided output parameter "
                f"(typecode '{out.dtype.char}') according to the casting rule ''{casting}''"
            )
        if np.broadcast_shapes(result.shape, out.shape) != out.shape:
            raise ValueError(f"non-broadcastable output operand with shape {out.shape}")
        out._a[...] = result
        return out

    def at(self, a, indices, b=None):
        if self.name != "add":
            raise NotImplementedError(f"`{self.name}.at` is not in the stand-in")
        scatter(a, indices, b)

    def outer(self, a, b, **kwargs):
        return self(a.reshape(a.shape + (1,) * b.ndim), b, **kwargs)

    def reduce(self, array, axis=0, dtype=None, out=None, keepdims=False):
        if self.name == "add":
            return array.sum(axis, dtype, out, keepdims)
        if self.name == "multiply":
            return array.prod(axis, dtype, out, keepdims)
        raise NotImplementedError(f"`{self.name}.reduce` is not supported yet")

    def accumulate(self, array, axis=0, dtype=None, out=None):
        if self.name != "add":
            raise NotImplementedError(f"`{self.name}.accumulate` is not supported yet")
        return array.cumsum(axis, dtype)


# Where CuPy's formula is not NumPy's


def floor_divide(x, y):
    # 1.0 // 0.1 is 9 in NumPy, which is exact, and 10 here.
    return np.floor(x / y) if x.dtype.kind == "f" else np.floor_divide(x, y)


def remainder(x, y):
    # 5.0 % inf is 5 in NumPy, and NaN here.
    return x - np.floor(x / y) * y if x.dtype.kind == "f" else np.remainder(x, y)


def power(x, y):
    if x.dtype.kind not in "iu" or y.dtype.kind == "u":
        return np.power(x, y)
    usual = np.power(x, np.maximum(y, 0))
    inverse = np.where(x == 1, 1, np.where(x == -1, 1 - 2 * (y % 2), 0))
    return np.where(y < 0, inverse, usual)


FORMULAS = {"floor_divide": floor_divide, "remainder": remainder, "mod": remainder, "power": power, "pow": power}


def ufuncs(loops, prefix, library):
    """Return CuPy's ufuncs of a module by their names, with the functions of a library that has them too."""
    found = {}
    for name, of_one in loops.items():
        start, _, rest = name.rpartition(".")
        function = FORMULAS.get(rest) or getattr(library, rest, None)
        if start == prefix.rstrip(".") and function is not None and of_one[0][0] is not None:
            found[rest] = ufunc(rest, of_one, function)
    return found


choose = ufunc("where", [(f"?{c}{c}", c) for c in "?bBhHiIlLqQefdFD"], np.where)
