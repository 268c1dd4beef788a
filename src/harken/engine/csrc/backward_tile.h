// One tile of one step backward.
#pragma once

#include "gates.h"
#include "tile.h"

namespace harken {

// M rows of N vectors of units: dh = dh of the outputs + the next step's gradient times the recurrent weights; then, in
// registers, back through the gates.
template <class Cell> struct BackwardTile {
    int64_t panels, hidden;
    const float* next;               // the next step's lane gradients of the M rows; null in a row's last step
    int64_t next_panel;              // from one panel's to the next one's
    const float* weights;            // (panels * h_lanes * width, N * width)
    const float* seed;               // (M, ...), seed_stride apart: what dh begins with, or null for zeros
    int64_t seed_stride;
    const float* const* dy;          // M rows
    const float* gates;              // (M, 4, width) of the first vector's panel
    int64_t gates_panel;
    const float *cell, *cell_before; // (M, width)
    int64_t cell_panel, cell_before_panel;
    const float* const* h_before;    // M rows; for a GRU; null: zeros
    float* lanes;                    // (M, 4, width): this step's lane gradients
    int64_t lanes_panel;
    float* carry;                    // (M, width)
    int64_t carry_panel;
    int64_t unit;                    // the first vector's first unit

    // dh of N vectors of units, the first of which is the `first` of the `count` that are packed side by side.
    template <int N, int M> HARKEN_INLINE void product(Vec (&dh)[M][N], int64_t first, int64_t count) const {
        HARKEN_UNROLL
        for (int i = 0; i < M; ++i)
            HARKEN_UNROLL
            for (int j = 0; j < N; ++j)
                dh[i][j] = seed ? load(seed + i * seed_stride + unit + (first + j) * width) : Vec{};
        if (!next) return;
        for (int64_t panel = 0; panel < panels; ++panel)
            multiply<0, N>(dh, Cell::h_lanes * width, next + panel * next_panel + (4 - Cell::h_lanes) * width, 4 * width,
                           weights + (panel * Cell::h_lanes * width * count + first) * width, count * width);
    }

    template <int N, int M> void step() const {
        Vec dh[M][N];
        product(dh, 0, N);
        for (int j = 0; j < N; ++j) {
            const int64_t units = hidden - unit - j * width;
            HARKEN_UNROLL
            for (int i = 0; i < M; ++i) {
                Vec lane[4];
                HARKEN_UNROLL
                for (int l = 0; l < 4; ++l) lane[l] = load(gates + j * gates_panel + (i * 4 + l) * width);
                Vec c = {}, c_before = {}, before = {};
                if (Cell::has_cell) {
                    c = load(cell + j * cell_panel + i * width);
                    c_before = load(cell_before + j * cell_before_panel + i * width);
                } else if (h_before) {
                    before = load(h_before[i] + unit + j * width, units);
                }
                float* carried = carry + j * carry_panel + i * width;
                Vec past = load(carried);
                Cell::backward(lane, dh[i][j] + load(dy[i] + unit + j * width, units), past, c, c_before, before);
                store(carried, past);
                // Units beyond H stay 0: an infinite x has made them NaN, which no weight of 0 would take back.
                HARKEN_UNROLL
                for (int l = 0; l < 4; ++l) store(lanes + j * lanes_panel + (i * 4 + l) * width, first(lane[l], units));
            }
        }
    }

    // The gradient of the initial states, vector by vector: once a row, not worth code for every width.
    template <int M> void finish(int64_t count, float* const* dh0) const {
        for (int64_t j = 0; j < count; ++j) {
            Vec dh[M][1];
            product(dh, j, count);
            for (int i = 0; i < M; ++i)
                store(dh0[i] + unit + j * width, dh[i][0] + Cell::past(load(carry + j * carry_panel + i * width)),
                      hidden - unit - j * width);
        }
    }
};

}  // namespace harken
