// Weights in the order in which the tiles read them, and gradients back in torch's order.
//
// Units stand in panels of `width`. A forward panel is one stream: the biases of its four lanes, then for every input
// feature, then for every hidden unit, the weights of its lanes, lane after lane, `width` units each:
//
//     [bias: 4 x width] [input features: D x x_lanes x width] [hidden units: H x h_lanes x width]
//
// Units beyond H have weight 0, so that no product needs to know where H ends.
#pragma once

#include <algorithm>

#include "gates.h"

namespace harken {

// How many floats a forward panel has, and where its parts begin.
template <class Cell> struct PanelLayout {
    int64_t input, hidden;

    int64_t panels() const { return vectors(hidden); }
    int64_t inputs() const { return 4 * width; }
    int64_t recurrent() const { return inputs() + input * Cell::x_lanes * width; }
    int64_t size() const { return recurrent() + hidden * Cell::h_lanes * width; }
};

// to[k * stride + u] = from[u * columns + k] for `units` rows of all `columns`; 0 for u up to `width`.
inline void pack_lane(const float* from, int64_t columns, int64_t units, float* to, int64_t stride) {
    int64_t k = 0;
    if (units == width)
        for (; k + width <= columns; k += width) {
            Vec block[width];
            HARKEN_UNROLL
            for (int u = 0; u < width; ++u) block[u] = load(from + u * columns + k);
            transpose(block);
            HARKEN_UNROLL
            for (int u = 0; u < width; ++u) store(to + (k + u) * stride, block[u]);
        }
    for (; k < columns; ++k)
        for (int64_t u = 0; u < width; ++u) to[k * stride + u] = u < units ? from[u * columns + k] : 0.0f;
}

template <class Cell>
void pack_forward(const PanelLayout<Cell>& layout, int64_t panel, const float* w_ih, const float* w_hh,
                  const float* b_ih, const float* b_hh, float* to) {
    const int64_t unit = panel * width, units = std::min<int64_t>(width, layout.hidden - unit);
    for (int lane = 0; lane < 4; ++lane) {
        const int64_t x_row = Cell::x_gate[lane] * layout.hidden + unit, h_row = Cell::h_gate[lane] * layout.hidden + unit;
        const bool from_x = lane < Cell::x_lanes, from_h = lane >= 4 - Cell::h_lanes;
        for (int64_t u = 0; u < width; ++u) {
            float bias = 0;
            if (from_x && b_ih && u < units) bias += b_ih[x_row + u];
            if (from_h && b_hh && u < units) bias += b_hh[h_row + u];
            to[lane * width + u] = bias;
        }
        if (from_x)
            pack_lane(w_ih + x_row * layout.input, layout.input, units, to + layout.inputs() + lane * width,
                      Cell::x_lanes * width);
        if (from_h)
            pack_lane(w_hh + h_row * layout.hidden, layout.hidden, units,
                      to + layout.recurrent() + (lane - 4 + Cell::h_lanes) * width, Cell::h_lanes * width);
    }
}

// For the way back: weights (gates * H, columns), `count` columns from `first` on, their rows in the lanes' order (panel
// after panel, lane after lane, unit after unit), each row `stride` floats, zero where there is no unit or no column.
inline void pack_backward(const float* weights, const int (&gate)[4], int lane_begin, int lane_end, int64_t hidden,
                          int64_t columns, int64_t first, int64_t stride, float* to) {
    const int64_t count = std::min(stride, columns - first);
    for (int64_t unit = 0; unit < hidden; unit += width)
        for (int lane = lane_begin; lane < lane_end; ++lane)
            for (int64_t u = unit; u < unit + width; ++u, to += stride) {
                const int64_t n = u < hidden ? count : 0;
                if (n > 0) std::memcpy(to, weights + (gate[lane] * hidden + u) * columns + first, n * sizeof(float));
                std::fill(to + n, to + stride, 0.0f);
            }
}

// One panel's gradient, (features, 4 lanes, width) in each of `parts`, summed in their order -> rows of torch's matrix
// (gates * H, features). `parts` are `part_stride` floats apart.
inline void unpack_gradient(const float* from, int64_t part_stride, int parts, const int (&gate)[4], int lane_begin,
                            int lane_end, int64_t hidden, int64_t panel, int64_t features, float* to) {
    const int64_t unit = panel * width, units = std::min<int64_t>(width, hidden - unit);
    for (int lane = lane_begin; lane < lane_end; ++lane) {
        float* rows = to + (gate[lane] * hidden + unit) * features;
        const float* source = from + lane * width;
        auto sum = [&](int64_t feature) {
            Vec v = load(source + feature * 4 * width);
            for (int part = 1; part < parts; ++part) v += load(source + part * part_stride + feature * 4 * width);
            return v;
        };
        int64_t feature = 0;
        for (; feature + width <= features; feature += width) {
            Vec block[width];
            for (int j = 0; j < width; ++j) block[j] = sum(feature + j);
            transpose(block);
            for (int64_t u = 0; u < units; ++u) store(rows + u * features + feature, block[u]);
        }
        for (; feature < features; ++feature) {
            const Vec v = sum(feature);
            for (int64_t u = 0; u < units; ++u) rows[u * features + feature] = v[u];
        }
    }
}

}  // namespace harken
