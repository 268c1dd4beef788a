// The machine's limit, which every share in benchmarks/engine.py is a share of: fused multiply-adds on registers alone.
// Nothing is loaded or stored, and there are enough independent accumulators to keep all multipliers busy.
#include <thread>
#include <vector>

#if defined(__AVX512F__)
constexpr int width = 64, accumulators = 24;  // bytes of a vector; accumulators fit 32 registers, with two to spare
#elif defined(__AVX2__) && defined(__FMA__)
constexpr int width = 32, accumulators = 12;  // 16 registers
#else
constexpr int width = 16, accumulators = 12;
#endif
typedef float Vector __attribute__((vector_size(width)));

namespace {

float multiply_add(long repeats) {
    const Vector b = Vector{} + 0.9999f, c = Vector{} + 1e-4f;  // a tends to 1: no denormal, no overflow
    Vector a[accumulators];
    for (int i = 0; i < accumulators; ++i) a[i] = Vector{} + 0.01f * i;
    for (long r = 0; r < repeats; ++r) {
#pragma GCC unroll 24
        for (int i = 0; i < accumulators; ++i) a[i] = a[i] * b + c;  // contracted to one instruction
    }
    Vector sum = a[0];
    for (int i = 1; i < accumulators; ++i) sum += a[i];
    return sum[0];
}

}  // namespace

extern "C" int vector_bits() { return 8 * width; }

// Floating point operations that `run` makes.
extern "C" double flop(long repeats, int threads) {
    return 2.0 * (width / sizeof(float)) * accumulators * repeats * threads;
}

extern "C" void run(long repeats, int threads) {
    std::vector<float> sums(threads);  // used, so that nothing is optimised away
    std::vector<std::thread> others;
    for (int t = 0; t < threads; ++t) others.emplace_back([&sums, repeats, t] { sums[t] = multiply_add(repeats); });
    for (auto& other : others) other.join();
    volatile float sink = sums[0];
    (void)sink;
}
