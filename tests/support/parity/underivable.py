"""Public functions that have no derivative, by the reason: every other one has a case in the table."""

from __future__ import annotations

__all__ = ["MODULES", "WITHOUT_DERIVATIVE"]

MODULES = (
    "numpy",
    "numpy.linalg",
    "numpy.fft",
    "lax",
    "lax.linalg",
    "nn",
    "scipy.special",
    "scipy.stats",
    "scipy.linalg",
)
"""The modules whose public functions are looked at."""

WITHOUT_DERIVATIVE: dict[str, dict[str, str]] = {
    "numpy": {
        "gives truth values": """all any allclose array_equal array_equiv equal greater greater_equal isclose iscomplex
            iscomplexobj isfinite isin isinf isnan isneginf isposinf isreal isrealobj isscalar iterable less less_equal
            logical_and logical_not logical_or logical_xor not_equal signbit""",
        "gives integers": """argmax argmin argpartition argsort argwhere count_nonzero diag_indices diag_indices_from
            digitize flatnonzero indices ix_ lexsort mask_indices nanargmax nanargmin ndim nonzero ravel_multi_index
            searchsorted shape size tril_indices tril_indices_from triu_indices triu_indices_from unravel_index""",
        "takes integers": """bitwise_and bitwise_count bitwise_invert bitwise_left_shift bitwise_not bitwise_or
            bitwise_right_shift bitwise_xor gcd invert lcm left_shift packbits right_shift unpackbits""",
        "makes numbers anew": """arange bartlett blackman empty empty_like eye from_dlpack frombuffer fromfile fromiter
            fromstring hamming hanning identity kaiser ones ones_like tri zeros zeros_like""",
        "is about dtypes, shapes or text": """array_repr array_str broadcast_shapes can_cast einsum_path
            get_printoptions isdtype printoptions promote_types result_type set_printoptions issubdtype""",
        "gives edges that are piecewise constant, or values beside integers": """histogram_bin_edges unique_all
            unique_counts unique_inverse""",
        "steps to the next number": "nextafter spacing",
        "makes functions; tests/jax/test_jax_names.py": "frompyfunc",
    },
    "numpy.linalg": {
        "gives integers": "matrix_rank",
        "has one in JAX on demand alone; tests/numpy/test_linalg.py": "eig",
    },
    "numpy.fft": {"makes numbers anew": "fftfreq rfftfreq"},
    "lax": {
        "gives truth values": "eq ge gt is_finite le lt ne",
        "gives integers": "argmax argmin axis_index axis_size",
        "takes integers": """bitcast_convert_type bitwise_and bitwise_not bitwise_or bitwise_xor clz mulhi
            population_count shift_left shift_right_arithmetic shift_right_logical reduce_and reduce_or reduce_xor""",
        "makes numbers anew": "broadcasted_iota empty iota rng_uniform",
        "is about dtypes, shapes or text": """broadcast_shapes DotDimensionNumbers conv_dimension_numbers conv_general_permutations
            conv_general_shape_tuple conv_shape_tuple conv_transpose_shape_tuple dtype padtype_to_pads
            reduce_window_shape_tuple shape_as_value""",
        "has none in JAX": "igamma_grad_a",
        "is compared with JAX in tests/jax/test_jax_names.py": """all_to_all composite custom_linear_solve custom_root
            platform_dependent psum_scatter pswapaxes scatter_apply""",
        "steps to the next number": "nextafter",
        "takes what JAX has no shape for here; the operation is broadcast_in_dim": "broadcast_like",
    },
    "lax.linalg": {"has one in JAX on demand alone; tests/numpy/test_linalg.py": "eig"},
    "scipy.special": {"makes numbers anew": "bernoulli"},
    "scipy.stats": {"gives truth values or integers": "bernoulli.ppf"},
}
