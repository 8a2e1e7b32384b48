"""The CUDA kernels of this backend, as text, in one table.

Kept apart from CuPy, which this module does not import, so that the text can be compiled where there is no GPU.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CUDA_SOURCES", "LEAVES", "OPTIONS", "CudaSource"]

OPTIONS = ("-std=c++17",)
"""What every source is compiled with."""


@dataclass(frozen=True)
class CudaSource:
    """One CUDA source.

    Attributes
    ----------
    code : str
        The text. It includes no header: NVRTC alone compiles it.
    kernels : tuple of str
        The kernels to make from it, as C++ expressions such as ``"update<float>"``.
    """

    code: str
    kernels: tuple[str, ...]


SIGMOID = r"""
// 1 / (1 + exp(-x)). Where exp overflows, 1 / (1 + inf) is the 0 that it should be.
template <typename T>
__global__ void sigmoid(const T* x, T* y, long long size) {
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += stride) {
        y[i] = T(1) / (T(1) + exp(-x[i]));
    }
}
"""

SLOPES = r"""
// height * e / (1 + e)^2 for e = exp(-steepness * abs(x)): the derivative of tanh (4, 2) and of sigmoid (1, 1).
template <typename T>
__global__ void slope(const T* x, T* y, T height, T steepness, long long size) {
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += stride) {
        T decay = exp(steepness * (x[i] < T(0) ? x[i] : -x[i]));
        y[i] = height * decay / ((T(1) + decay) * (T(1) + decay));
    }
}
"""

LEAVES = 32
"""How many leaves one launch of `sgd_update` takes: their pointers travel in its 4 KiB of arguments."""

SGD_UPDATE = r"""
template <typename T>
struct Leaf {
    const T* parameter;
    const T* gradient;
    const T* velocity;  // null without momentum, like the next but one
    T* new_parameter;
    T* new_velocity;
    long long size;
};

template <typename T>
struct Leaves {
    Leaf<T> leaf[LEAVES];
};

// One step of stochastic gradient descent over many arrays at once; row y of the grid is leaf y.
// The rate and the scale are numbers in the GPU's memory where their pointers are not null.
template <typename T>
__global__ void sgd_update(
    Leaves<T> leaves, T learning_rate, const T* computed_rate, const T* scale, T momentum, T weight_decay, bool nesterov
) {
    const Leaf<T>& leaf = leaves.leaf[blockIdx.y];
    T rate = computed_rate ? *computed_rate : learning_rate;
    T factor = scale ? *scale : T(1);
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < leaf.size; i += stride) {
        T parameter = leaf.parameter[i];
        T step = leaf.gradient[i] * factor;
        if (weight_decay != T(0)) step += weight_decay * parameter;
        if (leaf.velocity) {
            T velocity = momentum * leaf.velocity[i] + step;
            leaf.new_velocity[i] = velocity;
            step = nesterov ? step + momentum * velocity : velocity;
        }
        leaf.new_parameter[i] = parameter - rate * step;
    }
}
""".replace("LEAVES", str(LEAVES))

THREEFRY = r"""
typedef unsigned int word;

struct Words {
    word high, low;
};

__device__ __forceinline__ word rotated(word x, int bits) {
    return x << bits | x >> (32 - bits);
}

// Threefry-2x32 in 20 rounds, as gradkit.primitives.random_bits defines it.
__device__ __forceinline__ Words threefry2x32(const word* key, Words counter) {
    const int rotations[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
    const word schedule[3] = {key[0], key[1], key[0] ^ key[1] ^ 0x1BD11BDAu};
    word high = counter.high + schedule[0];
    word low = counter.low + schedule[1];
#pragma unroll
    for (int group = 0; group < 5; ++group) {
#pragma unroll
        for (int round = 0; round < 4; ++round) {
            high += low;
            low = rotated(low, rotations[group % 2][round]) ^ high;
        }
        high += schedule[(group + 1) % 3];
        low += schedule[(group + 2) % 3] + word(group + 1);
    }
    return {high, low};
}
"""

RANDOM_BITS = (
    THREEFRY
    + r"""
// The first `size` numbers of each key, one key after the other: `total` in all.
template <typename T>
__global__ void random_bits(const word* keys, T* bits, long long size, long long total) {
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += stride) {
        long long row = size == total ? 0 : i / size;  // a division costs as much as half the rounds
        unsigned long long n = i - row * size;
        Words words = threefry2x32(keys + 2 * row, {word(n >> 32), word(n)});
        if constexpr (sizeof(T) == 8) {
            bits[i] = T(words.high) << 32 | words.low;
        } else {
            bits[i] = T(words.high ^ words.low);
        }
    }
}
"""
)

FOLD_IN = (
    THREEFRY
    + r"""
// A new key of each key and counter; with a step of 0 all of them are of one key.
__global__ void fold_in(const word* keys, long long step, const word* counters, word* folded, long long size) {
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += stride) {
        Words words = threefry2x32(keys + step * i, {0, counters[i]});
        folded[2 * i] = words.high;
        folded[2 * i + 1] = words.low;
    }
}
"""
)

SOFTMAX = r"""
// What a warp knows of a row: its largest element (0 if that is not finite), and the sum of exp(element - largest).
// NaN is not the largest, and is in the sum.
template <typename T>
struct Softmax {
    T top, sum;
    bool finite;
};

template <typename T>
__device__ __forceinline__ Softmax<T> softmax_of(const T* row, long long classes, int lane) {
    T top = log(T(0));  // -inf
    for (long long i = lane; i < classes; i += 32) top = fmax(top, row[i]);
    for (int far = 16; far; far /= 2) top = fmax(top, __shfl_xor_sync(0xffffffffu, top, far));
    bool finite = !isinf(top);
    if (!finite) top = T(0);
    T sum = T(0);
    for (long long i = lane; i < classes; i += 32) sum += exp(row[i] - top);
    for (int far = 16; far; far /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, far);
    return {top, sum, finite};
}
"""

LABEL_CROSS_ENTROPY = (
    SOFTMAX
    + r"""
// log(sum(exp(row))) - row[label], a warp for each row. A label that is out of range has no loss: NaN.
template <typename T, typename L>
__global__ void label_cross_entropy(
    const T* logits, const L* labels, T* losses, long long rows, long long classes
) {
    int lane = threadIdx.x % 32;
    long long warps = (long long)gridDim.x * (blockDim.x / 32);
    for (long long i = ((long long)blockIdx.x * blockDim.x + threadIdx.x) / 32; i < rows; i += warps) {
        const T* row = logits + i * classes;
        Softmax<T> softmax = softmax_of(row, classes, lane);
        if (lane == 0) {
            long long label = labels[i];
            bool valid = 0 <= label && label < classes;
            losses[i] = valid ? log(softmax.sum) - (row[label] - softmax.top) : T(nan(""));
        }
    }
}
"""
)

SOFTMAX_ERROR = (
    SOFTMAX
    + r"""
// softmax(row) less 1 at the label, a warp for each row.
template <typename T, typename L>
__global__ void softmax_error(const T* logits, const L* labels, T* errors, long long rows, long long classes) {
    int lane = threadIdx.x % 32;
    long long warps = (long long)gridDim.x * (blockDim.x / 32);
    for (long long i = ((long long)blockIdx.x * blockDim.x + threadIdx.x) / 32; i < rows; i += warps) {
        const T* row = logits + i * classes;
        Softmax<T> softmax = softmax_of(row, classes, lane);
        long long label = labels[i];
        // The label's own share less 1 is minus the sum of the others', which does not cancel.
        T others = T(0);
        for (long long j = lane; j < classes; j += 32) others += j == label ? T(0) : exp(row[j] - softmax.top);
        for (int far = 16; far; far /= 2) others += __shfl_xor_sync(0xffffffffu, others, far);
        for (long long j = lane; j < classes; j += 32) {
            T own = exp(row[j] - softmax.top);
            // Beside an infinite logit there are no others to sum up.
            T share = (j == label && softmax.finite ? -others : own) / softmax.sum;
            errors[i * classes + j] = j == label && !softmax.finite ? share - T(1) : share;
        }
    }
}
"""
)

LOSS_TYPES = tuple(f"{number}, {label}" for number in ("float", "double") for label in ("int", "long long"))

DIVISION = r"""
// What is left of a division with a whole quotient, exactly: it has the sign of y.
template <typename T>
__device__ __forceinline__ T rest(T x, T y) {
    T left = fmod(x, y);
    if (left == T(0)) return copysign(T(0), y);
    return (left < T(0)) != (y < T(0)) ? left + y : left;
}

// A step is 1, or 0 where one element stands for all of them.
template <typename T>
__global__ void floor_remainder(const T* x, const T* y, T* out, long long x_step, long long y_step, long long size) {
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += stride) {
        out[i] = rest(x[i * x_step], y[i * y_step]);
    }
}

template <typename T>
__global__ void floor_quotient(const T* x, const T* y, T* out, long long x_step, long long y_step, long long size) {
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += stride) {
        T a = x[i * x_step], b = y[i * y_step];
        T left = fmod(a, b);
        T quotient = (a - left) / b;
        if (left != T(0) && (left < T(0)) != (b < T(0))) quotient -= T(1);
        T whole = floor(quotient);  // it is whole but for its rounding, which may be to either side
        if (quotient - whole > T(0.5)) whole += T(1);
        // Of a division by zero the quotient is that of IEEE 754.
        out[i] = b == T(0) ? a / b : quotient == T(0) ? copysign(T(0), a / b) : whole;
    }
}
"""

CUDA_SOURCES: dict[str, CudaSource] = {
    "division": CudaSource(
        DIVISION,
        tuple(f"{name}<{kind}>" for name in ("floor_quotient", "floor_remainder") for kind in ("float", "double")),
    ),
    "fold_in": CudaSource(FOLD_IN, ("fold_in",)),
    "label_cross_entropy": CudaSource(
        LABEL_CROSS_ENTROPY, tuple(f"label_cross_entropy<{types}>" for types in LOSS_TYPES)
    ),
    "random_bits": CudaSource(
        RANDOM_BITS, tuple(f"random_bits<unsigned {kind}>" for kind in ("char", "short", "int", "long long"))
    ),
    "sgd_update": CudaSource(SGD_UPDATE, ("sgd_update<float>", "sgd_update<double>")),
    "slope": CudaSource(SLOPES, ("slope<float>", "slope<double>")),
    "sigmoid": CudaSource(SIGMOID, ("sigmoid<float>", "sigmoid<double>")),
    "softmax_error": CudaSource(SOFTMAX_ERROR, tuple(f"softmax_error<{types}>" for types in LOSS_TYPES)),
}
"""Each source by the name of what it computes."""
