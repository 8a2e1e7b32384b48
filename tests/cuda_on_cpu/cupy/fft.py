"""NumPy's transforms behind CuPy's names, signatures and dtypes."""

import numpy as np

from cupy._core import launched, quietly, raw, wrap
from cupy._table import check_call

SINGLE = {"float16": "float32", "float32": "float32", "complex64": "complex64"}


def _transform(name):
    function = quietly(getattr(np.fft, name))

    def transform(a, *args, **kwargs):
        check_call(f"fft.{name}", (a, *args), kwargs)
        values = raw(a, f"fft.{name}")
        if not name.endswith("shift"):
            if not a.ndim or 0 in a.shape:
                raise ValueError(f"cuFFT: no transform of an array of shape {a.shape}")
            values = values.astype(SINGLE.get(a.dtype.name, a.dtype), copy=False)
        result = function(values, *args, **kwargs)
        launched(f"fft.{name}", result.size)
        return wrap(result)

    transform.__name__ = transform.__qualname__ = name
    return transform


for _name in (
    "fft fft2 fftn fftshift hfft ifft ifft2 ifftn ifftshift ihfft irfft irfft2 irfftn rfft rfft2 rfftn"
).split():
    globals()[_name] = _transform(_name)


def fftfreq(n, d=1.0):
    return wrap(np.fft.fftfreq(n, d))


def rfftfreq(n, d=1.0):
    return wrap(np.fft.rfftfreq(n, d))
