// The product that everything is made of: a few rows times a panel, summed in registers.
#pragma once

#include <type_traits>

#include "vector.h"

namespace harken {

// sum[i][First + j] += a[i][k] * b[k][j] for all k, in the order of k whatever M: a row's result does not depend on the
// rows beside it. Row i of `a` begins at a + i * a_stride, row k of `b` at b + k * b_stride.
template <int First, int Count, int M, int N>
HARKEN_INLINE void multiply(Vec (&sum)[M][N], int64_t steps, const float* a, int64_t a_stride, const float* b,
                            int64_t b_stride) {
    const float* row[M];
    HARKEN_UNROLL
    for (int i = 0; i < M; ++i) row[i] = a + i * a_stride;
    for (int64_t k = 0; k < steps; ++k, b += b_stride) {
        Vec weight[Count];
        HARKEN_UNROLL
        for (int j = 0; j < Count; ++j) weight[j] = load_in_order(b + j * width);
        HARKEN_UNROLL
        for (int i = 0; i < M; ++i) {
            const Vec value = broadcast(row[i][k]);
            HARKEN_UNROLL
            for (int j = 0; j < Count; ++j) sum[i][First + j] += value * weight[j];
        }
    }
}

template <int N> using Constant = std::integral_constant<int, N>;

// Calls f(constant, row) for tiles of at most `tile_rows` that cover `rows`, all of nearly the same height: a tile of one
// row after tiles of six would stream a whole panel for a sixth of the work.
template <class F> HARKEN_INLINE void for_tiles(int64_t rows, F&& f) {
    const int64_t tiles = (rows + tile_rows - 1) / tile_rows;
    for (int64_t tile = 0, row = 0; tile < tiles; ++tile) {
        const int64_t height = rows / tiles + (tile < rows % tiles);
        switch (height) {
            case 1: f(Constant<1>(), row); break;
            case 2: f(Constant<2>(), row); break;
            case 3: if constexpr (tile_rows >= 3) f(Constant<3>(), row); break;
            case 4: if constexpr (tile_rows >= 4) f(Constant<4>(), row); break;
            case 5: if constexpr (tile_rows >= 5) f(Constant<5>(), row); break;
            case 6: if constexpr (tile_rows >= 6) f(Constant<6>(), row); break;
        }
        row += height;
    }
}

// The same for 1 to 4 vectors side by side.
template <class F> HARKEN_INLINE void for_vectors(int64_t vectors, F&& f) {
    switch (vectors) {
        case 1: f(Constant<1>()); break;
        case 2: f(Constant<2>()); break;
        case 3: f(Constant<3>()); break;
        case 4: f(Constant<4>()); break;
    }
}

}  // namespace harken
