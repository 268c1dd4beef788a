// What one layer reads and writes, as plain pointers.
#pragma once

#include <cstdint>

namespace harken {

enum class Kind { lstm, gru };

struct Sizes {
    int64_t batch, time, input, hidden;  // B, T, D, H
};

// A tensor (B, T, features) whose last axis is contiguous; strides in floats.
template <class Float> struct Steps {
    Float* data;
    int64_t row, step;
    Float* at(int64_t b, int64_t t) const { return data + b * row + t * step; }
};

struct Direction {
    const float *w_ih, *w_hh;  // (gates * H, D) and (gates * H, H)
    const float *b_ih, *b_hh;  // (gates * H,), or null for none
    const float *h0, *c0;      // (B, H), or null for zeros
    float *h_n, *c_n;          // (B, H); c_n is null for a GRU
    bool reverse;              // from a row's own last step to its first
};

struct Gradients {
    const float *dh_n, *dc_n;  // (B, H), or null for zeros
    float *dw_ih, *dw_hh, *db_ih, *db_hh, *dh0, *dc0;  // overwritten; null where nobody asks
};

}  // namespace harken
