// One processor vector of floats, through the vector extensions of GCC and Clang: no intrinsics, so that one source
// compiles for every level.
#pragma once

#include <cstdint>
#include <cstring>

#define HARKEN_INLINE inline __attribute__((always_inline))
// Loops over a tile's rows and vectors must be unrolled: its sums live in registers, which have no index.
#define HARKEN_UNROLL _Pragma("GCC unroll 16")

namespace harken {

#if defined(__AVX512F__)
constexpr int width = 16;      // floats in a vector
constexpr int tile_rows = 6;   // 32 registers: 6 x 4 sums, 4 of weights, the rest for broadcasts
#elif defined(__AVX2__)
constexpr int width = 8;
constexpr int tile_rows = 3;   // 16 registers: 3 x 4 sums, 3 broadcasts, 1 of weights
#elif defined(__aarch64__)
constexpr int width = 4;
constexpr int tile_rows = 6;
#else
constexpr int width = 4;
constexpr int tile_rows = 2;   // without FMA a product needs a register too
#endif

typedef float Vec __attribute__((vector_size(width * 4)));
typedef float UnalignedVec __attribute__((vector_size(width * 4), aligned(4), may_alias));

HARKEN_INLINE Vec load(const float* from) { return *reinterpret_cast<const UnalignedVec*>(from); }
HARKEN_INLINE void store(float* to, Vec v) { *reinterpret_cast<UnalignedVec*>(to) = v; }

// A load that the compiler does not move before or behind others of its kind. Prefetchers follow addresses that grow: the
// same loop in the compiler's own order reads a long panel from the second cache at two thirds of the speed.
HARKEN_INLINE Vec load_in_order(const float* from) {
    Vec v = load(from);
#if defined(__x86_64__)
    asm volatile("" : "+v"(v));
#elif defined(__aarch64__)
    asm volatile("" : "+w"(v));
#endif
    return v;
}

// The first `count` floats; zeros behind them.
HARKEN_INLINE Vec load(const float* from, int64_t count) {
    if (count >= width) return load(from);
    Vec v = {};
    if (count > 0) std::memcpy(&v, from, count * sizeof(float));
    return v;
}
HARKEN_INLINE void store(float* to, Vec v, int64_t count) {
    if (count >= width) return store(to, v);
    if (count > 0) std::memcpy(to, &v, count * sizeof(float));
}

// The first `count` floats of v; zeros behind them, whatever was there.
HARKEN_INLINE Vec first(Vec v, int64_t count) {
    if (count >= width) return v;
    float floats[width];
    store(floats, v);
    return load(floats, count);
}

// s - 0 is s for every s, and compilers know; `Vec{} + s` would cost an addition (0 + -0 is 0).
HARKEN_INLINE Vec broadcast(float s) { return s - Vec{}; }

typedef int32_t IntVec __attribute__((vector_size(width * 4)));

HARKEN_INLINE Vec clamp(Vec x, float limit) {
    const Vec low = broadcast(-limit), high = broadcast(limit);
    x = x < low ? low : x;  // written so that NaN stays NaN
    return x > high ? high : x;
}

// rows[i][j] -> rows[j][i], by swapping ever smaller blocks.
HARKEN_INLINE void transpose(Vec (&rows)[width]) {
    HARKEN_UNROLL
    for (int block = width / 2; block > 0; block /= 2) {
        IntVec low, high;  // __builtin_shuffle counts the second vector's floats from `width` on
        for (int j = 0; j < width; ++j) {
            low[j] = j & block ? width + j - block : j;
            high[j] = j & block ? width + j : j + block;
        }
        HARKEN_UNROLL
        for (int i = 0; i < width; ++i) {
            if (i & block) continue;
            const Vec a = rows[i], b = rows[i + block];
#if defined(__clang__)
            for (int j = 0; j < width; ++j) {
                rows[i][j] = low[j] < width ? a[low[j]] : b[low[j] - width];
                rows[i + block][j] = high[j] < width ? a[high[j]] : b[high[j] - width];
            }
#else
            rows[i] = __builtin_shuffle(a, b, low);
            rows[i + block] = __builtin_shuffle(a, b, high);
#endif
        }
    }
}

// How many vectors n floats fill: the panels of n units.
constexpr int64_t vectors(int64_t n) { return (n + width - 1) / width; }

constexpr int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

}  // namespace harken
