// One time step for a few rows, again and again: the weights stay packed, and nothing is allocated.
#pragma once

#include "forward.h"

namespace harken {

enum class Cell { lstm, gru };

class Stepper {
public:
    Stepper(Cell cell, int64_t batch, int64_t input, int64_t hidden, const float* w_ih, const float* w_hh,
            const float* b_ih, const float* b_hh)
        : cell_(cell), batch_(batch), input_(input), hidden_(hidden), panels_((hidden + width - 1) / width),
          stride_((panels_ + 1) * width) {
        cell == Cell::lstm ? prepare<Lstm>(w_ih, w_hh, b_ih, b_hh) : prepare<Gru>(w_ih, w_hh, b_ih, b_hh);
    }

    // x (B, D); h and an LSTM's c (B, H), changed in place. Bit for bit what `forward` does at this step.
    void step(const float* x, float* h, float* c) {
        cell_ == Cell::lstm ? run<Lstm>(x, h, c) : run<Gru>(x, h, c);
    }

private:
    template <class C> void prepare(const float* w_ih, const float* w_hh, const float* b_ih, const float* b_hh) {
        const PanelLayout<C> layout{input_, hidden_};
        packed_ = Block(panels_ * layout.size());
        for (int64_t panel = 0; panel < panels_; ++panel)
            pack_forward(layout, panel, w_ih, w_hh, b_ih, b_hh, packed_.data() + panel * layout.size());
        state_ = Block(batch_ * (2 * stride_ + panels_ * width));
        std::fill(state_.data(), state_.data() + batch_ * (2 * stride_ + panels_ * width), 0.0f);
        y_.resize(batch_);
    }

    template <class C> void run(const float* x, float* h, float* c) {
        const PanelLayout<C> layout{input_, hidden_};
        float *before = state_.data(), *after = before + batch_ * stride_, *cell = after + batch_ * stride_;
        for (int64_t b = 0; b < batch_; ++b) {
            copy(h + b * hidden_, before + b * stride_, hidden_);
            y_[b] = h + b * hidden_;
        }
        ForwardTile<C> tile = {};
        tile.layout = &layout;
        tile.x_stride = input_;
        tile.h_stride = stride_;
        tile.cell_panel = tile.cell_before_panel = batch_ * width;
        tile.hidden = hidden_;
        for (int64_t panel = 0; panel < panels_;) {
            const bool pair_up = batch_ <= tile_rows / 3 && panel + 1 < panels_;
            const int64_t unit = panel * width, units = hidden_ - unit;
            tile.weights = packed_.data() + panel * layout.size();
            tile.unit = unit;
            for (int64_t b = 0; C::has_cell && b < batch_; ++b)
                for (int64_t p = 0; p < (pair_up ? 2 : 1); ++p)
                    store(cell + ((panel + p) * batch_ + b) * width, load(c + b * hidden_ + unit + p * width, units - p * width));
            for_tiles(batch_, [&](auto m, int64_t row) {
                tile.x = x + row * input_;
                tile.h = before + row * stride_;
                tile.h_next = after + row * stride_;
                tile.cell = cell + (panel * batch_ + row) * width;
                tile.cell_before = tile.cell;
                tile.y = y_.data() + row;
                if constexpr (m <= tile_rows / 3)
                    if (pair_up) return tile.template step<false, 2, m>();
                tile.template step<false, 1, m>();
            });
            for (int64_t b = 0; C::has_cell && b < batch_; ++b)
                for (int64_t p = 0; p < (pair_up ? 2 : 1); ++p)
                    store(c + b * hidden_ + unit + p * width, load(cell + ((panel + p) * batch_ + b) * width), units - p * width);
            panel += pair_up ? 2 : 1;
        }
    }

    const Cell cell_;
    const int64_t batch_, input_, hidden_, panels_, stride_;
    Block packed_, state_;
    std::vector<float*> y_;
};

}  // namespace harken
