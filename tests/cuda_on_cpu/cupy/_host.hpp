// CUDA's words for a C++ compiler of the host. The grid is loops: blocks run one after the other, the last one first,
// since a GPU promises no order. With FIBERS each thread of a block has a stack of its own, and one that comes to a
// barrier gives way to the next; without, a thread is one call.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>
#ifdef FIBERS
#include <ucontext.h>
#endif

#define __global__ static
#define __device__ static
#define __host__
#define __shared__ static
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)

struct Place { unsigned x, y, z; };
static Place threadIdx, blockIdx, blockDim, gridDim;
using std::exp; using std::expm1; using std::fabs; using std::fma; using std::fmax; using std::fmin; using std::fmod;
using std::isinf; using std::isnan; using std::log; using std::log1p; using std::pow; using std::sqrt; using std::tanh;
using std::copysign; using std::floor; using std::signbit; using std::trunc;
template <typename T> static inline T max(T a, T b) { return a < b ? b : a; }
template <typename T> static inline T min(T a, T b) { return b < a ? b : a; }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)(((unsigned long long)a * b) >> 32); }
static inline unsigned __funnelshift_l(unsigned lo, unsigned hi, unsigned n) {
    n &= 31;
    return n ? hi << n | lo >> (32 - n) : hi;
}
template <typename T> static inline T atomicAdd(T* p, T v) { T old = *p; *p = old + v; return old; }
template <typename T> static inline T __ldg(const T* p) { return *p; }

namespace on_cpu {
constexpr unsigned MOST_THREADS = 1024;

#ifdef FIBERS
struct Fiber {
    ucontext_t context;
    std::vector<char> stack;
    bool done;
};
static std::vector<Fiber> fibers(MOST_THREADS);
static ucontext_t scheduler;
static unsigned running;
static unsigned long long exchanged[MOST_THREADS];

static void give_way() { swapcontext(&fibers[running].context, &scheduler); }
static unsigned thread_number() { return (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x; }
#endif
}

#ifdef FIBERS
static inline void __syncthreads() { on_cpu::give_way(); }
static inline void __syncwarp(unsigned = ~0u) { on_cpu::give_way(); }
namespace on_cpu {
// What another thread of the warp has: each writes, all wait, each reads, all wait.
template <typename T> T shuffled(T value, unsigned lane, bool taken) {
    static_assert(sizeof(T) <= 8);
    unsigned me = thread_number();
    std::memcpy(&exchanged[me], &value, sizeof(T));
    give_way();
    if (taken) std::memcpy(&value, &exchanged[me / 32 * 32 + lane], sizeof(T));
    give_way();
    return value;
}
static unsigned lane() { return thread_number() % 32; }
}
template <typename T> T __shfl_sync(unsigned, T value, int lane, int = 32) {
    return on_cpu::shuffled(value, lane & 31, true);
}
template <typename T> T __shfl_xor_sync(unsigned, T value, int mask, int = 32) {
    return on_cpu::shuffled(value, on_cpu::lane() ^ mask, true);
}
template <typename T> T __shfl_down_sync(unsigned, T value, unsigned by, int = 32) {
    return on_cpu::shuffled(value, (on_cpu::lane() + by) & 31, on_cpu::lane() + by < 32);
}
template <typename T> T __shfl_up_sync(unsigned, T value, unsigned by, int = 32) {
    return on_cpu::shuffled(value, (on_cpu::lane() - by) & 31, on_cpu::lane() >= by);
}
#endif

// THE SOURCE

namespace on_cpu {
struct Parameter { int pointer, size, floating, constant; };
template <typename T> Parameter described() {
    using V = std::remove_cv_t<std::remove_reference_t<T>>;
    using P = std::remove_pointer_t<V>;
    if constexpr (std::is_void_v<P>) return {1, 1, 0, 0};
    else return {std::is_pointer_v<V>, (int)sizeof(P), std::is_floating_point_v<P>, std::is_const_v<P>};
}
template <typename... A> int describe(void (*)(A...), Parameter* out) {
    Parameter all[] = {described<A>()...};
    for (size_t i = 0; i < sizeof...(A); ++i) out[i] = all[i];
    return sizeof...(A);
}
template <typename... A, size_t... I> void call(void (*kernel)(A...), void** a, std::index_sequence<I...>) {
    kernel(*(std::remove_reference_t<A>*)a[I]...);
}

#ifdef FIBERS
static void* kernel_to_run;
static void** arguments;
template <typename... A> void fiber_body() {
    call((void (*)(A...))kernel_to_run, arguments, std::index_sequence_for<A...>());
    fibers[running].done = true;
    give_way();
}
template <typename... A> void run_block(void (*kernel)(A...), void** a) {
    unsigned threads = blockDim.x * blockDim.y * blockDim.z, left = threads;
    kernel_to_run = (void*)kernel;
    arguments = a;
    for (unsigned i = 0; i < threads; ++i) {
        Fiber& fiber = fibers[i];
        fiber.stack.resize(1 << 16);
        fiber.done = false;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = fiber.stack.size();
        fiber.context.uc_link = &scheduler;
        makecontext(&fiber.context, (void (*)())fiber_body<A...>, 0);
    }
    while (left) {
        for (running = 0; running < threads; ++running) {
            if (fibers[running].done) continue;
            threadIdx = {running % blockDim.x, running / blockDim.x % blockDim.y, running / blockDim.x / blockDim.y};
            swapcontext(&scheduler, &fibers[running].context);
            left -= fibers[running].done;
        }
    }
}
#else
template <typename... A> void run_block(void (*kernel)(A...), void** a) {
    for (unsigned k = 0; k < blockDim.z; ++k)
        for (unsigned j = 0; j < blockDim.y; ++j)
            for (unsigned i = 0; i < blockDim.x; ++i) {
                threadIdx = {i, j, k};
                call(kernel, a, std::index_sequence_for<A...>());
            }
}
#endif

template <typename... A> void run(void (*kernel)(A...), const unsigned* n, void** a) {
    gridDim = {n[0], n[1], n[2]};
    blockDim = {n[3], n[4], n[5]};
    for (unsigned z = n[2]; z-- > 0;)
        for (unsigned y = n[1]; y-- > 0;)
            for (unsigned x = n[0]; x-- > 0;) {
                blockIdx = {x, y, z};
                run_block(kernel, a);
            }
}
}

