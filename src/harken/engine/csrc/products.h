// The gradients of weights and inputs: large products over a block of (row, step) pairs, once their lane gradients are
// there. Lane gradients of one panel stand as (pairs, 4, width).
#pragma once

#include "gates.h"
#include "tile.h"

namespace harken {

// Features are turned in tiles of `tile_rows`: within a tile, pair after pair, so that the product over pairs reads them
// as one stream.
constexpr int64_t feature_tiles(int64_t features) { return (features + tile_rows - 1) / tile_rows; }

// One pair's features (null: zeros) into their places in all tiles, which are `stride` floats apart.
inline void turn_features(const float* from, int64_t features, float* to, int64_t stride) {
    int64_t k = 0;
    if (from)
        for (; k + tile_rows <= features; k += tile_rows, to += stride)
            std::memcpy(to, from + k, tile_rows * sizeof(float));
    for (; k < features; k += tile_rows, to += stride)
        for (int64_t i = 0; i < tile_rows; ++i) to[i] = from && k + i < features ? from[k + i] : 0.0f;
}

// to (features, 4, width) += the sum over `count` pairs of feature times lane gradient, lanes First to First + Count. A
// block is summed by itself before it is added to the sum so far: a hundred thousand steps one by one would lose digits.
template <int First, int Count>
void add_features(int64_t features, const float* columns, const float* lanes, int64_t count, bool first, float* to) {
    for (int64_t k = 0; k < features; k += tile_rows, columns += count * tile_rows) {
        Vec sum[tile_rows][Count] = {};
        for (int64_t i = 0; i < count; ++i) {
            Vec lane[Count];
            HARKEN_UNROLL
            for (int j = 0; j < Count; ++j) lane[j] = load_in_order(lanes + (i * 4 + First + j) * width);
            HARKEN_UNROLL
            for (int r = 0; r < tile_rows; ++r) {
                const Vec value = broadcast(columns[i * tile_rows + r]);
                HARKEN_UNROLL
                for (int j = 0; j < Count; ++j) sum[r][j] += value * lane[j];
            }
        }
        HARKEN_UNROLL
        for (int r = 0; r < tile_rows; ++r) {
            if (k + r >= features) break;
            float* row = to + ((k + r) * 4 + First) * width;
            HARKEN_UNROLL
            for (int j = 0; j < Count; ++j) store(row + j * width, first ? sum[r][j] : sum[r][j] + load(row + j * width));
        }
    }
}

// One panel's gradient, (D + H + 1, 4, width): of input weights, recurrent weights and biases. `columns` are the turned
// features [x | h before]; `first`: nothing has been added yet.
template <class Cell>
void add_weights(int64_t input, int64_t hidden, const float* columns, const float* lanes, int64_t count, bool first,
                 float* to) {
    add_features<0, Cell::x_lanes>(input, columns, lanes, count, first, to);
    add_features<4 - Cell::h_lanes, Cell::h_lanes>(hidden, columns + feature_tiles(input) * count * tile_rows, lanes, count,
                                                   first, to + input * 4 * width);
    Vec bias[4] = {};
    for (int64_t i = 0; i < count; ++i)
        for (int j = 0; j < 4; ++j) bias[j] += load(lanes + (i * 4 + j) * width);
    float* last = to + (input + hidden) * 4 * width;
    for (int j = 0; j < 4; ++j) store(last + j * width, first ? bias[j] : bias[j] + load(last + j * width));
}

// M rows of dx, N vectors of them from feature `first` on: the lane gradients of all panels times the input weights.
template <class Cell, int N, int M>
void input_tile(int64_t panels, const float* lanes, int64_t lanes_panel, const float* weights, float* const* rows,
                int64_t first, int64_t features, bool add) {
    Vec sum[M][N] = {};
    for (int64_t panel = 0; panel < panels; ++panel)
        multiply<0, N>(sum, Cell::x_lanes * width, lanes + panel * lanes_panel, 4 * width,
                       weights + panel * Cell::x_lanes * width * N * width, N * width);
    for (int i = 0; i < M; ++i)
        for (int j = 0; j < N; ++j) {
            float* to = rows[i] + first + j * width;
            const int64_t count = features - first - j * width;
            store(to, add ? sum[i][j] + load(to, count) : sum[i][j], count);
        }
}

}  // namespace harken
