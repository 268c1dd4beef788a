// One time step for a few rows, again and again: the weights stay packed, and nothing is allocated.
#pragma once

#include "forward.h"

namespace harken {

class Stepper {
public:
    Stepper(Kind cell, int64_t batch, int64_t input, int64_t hidden, const float* w_ih, const float* w_hh,
            const float* b_ih, const float* b_hh)
        : cell_(cell), batch_(batch), input_(input), hidden_(hidden), panels_(vectors(hidden)) {
        cell == Kind::lstm ? prepare<Lstm>(w_ih, w_hh, b_ih, b_hh) : prepare<Gru>(w_ih, w_hh, b_ih, b_hh);
    }

    // x (B, D); h and an LSTM's c (B, H), changed in place. Bit for bit what `forward` does at this step.
    void step(const float* x, float* h, float* c) {
        cell_ == Kind::lstm ? run<Lstm>(x, h, c) : run<Gru>(x, h, c);
    }

private:
    template <class C> void prepare(const float* w_ih, const float* w_hh, const float* b_ih, const float* b_hh) {
        const PanelLayout<C> layout{input_, hidden_};
        packed_ = Block(panels_ * layout.size());
        for (int64_t panel = 0; panel < panels_; ++panel)
            pack_forward(layout, panel, w_ih, w_hh, b_ih, b_hh, packed_.data() + panel * layout.size());
        const int64_t floats = batch_ * (2 * stride() + panels_ * width);
        state_ = Block(floats);
        std::fill(state_.data(), state_.data() + floats, 0.0f);
        y_.resize(batch_);
    }

    template <class C> void run(const float* x, float* h, float* c) {
        const PanelLayout<C> layout{input_, hidden_};
        // Rows of x and h side by side; only h is written to the rows of the step after.
        float *before = state_.data(), *after = before + batch_ * stride(), *cell = after + batch_ * stride();
        for (int64_t b = 0; b < batch_; ++b) {
            copy(x + b * input_, before + b * stride(), input_);
            copy(h + b * hidden_, before + b * stride() + input_, hidden_);
            y_[b] = h + b * hidden_;
        }
        ForwardTile<C> tile = {};
        tile.layout = &layout;
        tile.x_stride = tile.h_stride = stride();
        tile.joined = C::x_lanes == 4;  // a GRU's x and h feed different lanes
        for (int64_t panel = 0; panel < panels_; ++panel) {
            float* cells = cell + panel * batch_ * width;
            tile.weights = packed_.data() + panel * layout.size();
            tile.unit = panel * width;
            for (int64_t b = 0; C::has_cell && b < batch_; ++b)
                store(cells + b * width, load(c + b * hidden_ + tile.unit, hidden_ - tile.unit));
            for_tiles(batch_, [&](auto m, int64_t row) {
                tile.x = before + row * stride();
                tile.h = tile.x + input_;
                tile.h_next = after + row * stride();
                tile.cell = cells + row * width;
                tile.cell_before = tile.cell;
                tile.y = y_.data() + row;
                tile.template step<false, m>();
            });
            for (int64_t b = 0; C::has_cell && b < batch_; ++b)
                store(c + b * hidden_ + tile.unit, load(cells + b * width), hidden_ - tile.unit);
        }
    }

    int64_t stride() const { return input_ + (panels_ + 1) * width; }

    const Kind cell_;
    const int64_t batch_, input_, hidden_, panels_;
    Block packed_, state_;
    std::vector<float*> y_;
};

}  // namespace harken
