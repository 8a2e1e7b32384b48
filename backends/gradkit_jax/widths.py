"""The dtypes that JAX has where its x64 is on."""

__all__ = ["WIDE"]

WIDE = {"float64": "float32", "int64": "int32", "uint64": "uint32", "complex128": "complex64"}
"""By their names: what JAX has instead where that is off."""
