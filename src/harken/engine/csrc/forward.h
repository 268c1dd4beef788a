// All time steps of a layer, forward.
#pragma once

#include "memory.h"
#include "panels.h"
#include "schedule.h"
#include "tile.h"

namespace harken {

// What the backward pass needs besides x and the outputs: of every pair, in the schedule's order, the activated lanes
// and an LSTM's cell; gates (directions, panels, pairs, 4, width), cells (directions, panels, pairs, width).
struct Tape {
    Sizes sizes{};
    Schedule schedule;
    Block memory;
    float *gates = nullptr, *cells = nullptr;

    int64_t panels() const { return vectors(sizes.hidden); }
    int64_t pair(int direction, int64_t panel, int64_t pair) const {
        return (direction * panels() + panel) * schedule.pairs + pair;
    }
    float* gates_of(int direction, int64_t panel, int64_t i) const { return gates + pair(direction, panel, i) * 4 * width; }
    float* cells_of(int direction, int64_t panel, int64_t i) const { return cells + pair(direction, panel, i) * width; }
};

// Steps are taken in chunks of about this many pairs: what a chunk gathers, projects and hands on stays in the cache.
constexpr int64_t chunk_pairs = 192;

HARKEN_INLINE void copy(const float* from, float* to, int64_t count) {
    for (; count >= width; count -= width, from += width, to += width) store(to, load(from));
    store(to, load(from, count), count);
}

// M rows of one panel.
template <class Cell> struct ForwardTile {
    const PanelLayout<Cell>* layout;
    const float* weights;      // the panel's
    const float *x, *h;        // of the M rows: inputs (null: start from `gates`) and states (null: zeros)
    int64_t x_stride, h_stride;
    float* gates;              // (M, 4, width): the projected x comes from here, the activated lanes go here
    const float* cell_before;  // (M, width)
    float* cell;               // (M, width)
    float* h_next;             // of the M rows, h_stride apart
    float* const* y;           // the M rows' outputs
    int64_t unit;              // the panel's first one
    bool joined;               // x and h lie side by side, as an LSTM's weights do: one product, without a pause

    // x alone, left in `gates` with the biases added.
    template <int M> void project() const {
        Vec lane[M][4];
        start(lane);
        HARKEN_UNROLL
        for (int i = 0; i < M; ++i)
            HARKEN_UNROLL
            for (int j = 0; j < 4; ++j) store(gates + (i * 4 + j) * width, lane[i][j]);
    }

    template <bool Keep, int M> void step() const {
        Vec lane[M][4];
        start(lane);
        if (h && !joined)
            multiply<4 - Cell::h_lanes, Cell::h_lanes>(lane, layout->hidden, h, h_stride, weights + layout->recurrent(),
                                                       Cell::h_lanes * width);
        HARKEN_UNROLL
        for (int i = 0; i < M; ++i) {
            Vec state = Cell::has_cell ? load(cell_before + i * width) : Vec{};
            const Vec before = !Cell::has_cell && h ? load(h + i * h_stride + unit) : Vec{};
            const Vec out = Cell::forward(lane[i], state, before);
            if (Cell::has_cell) store(cell + i * width, state);
            store(h_next + i * h_stride + unit, out);
            store(y[i] + unit, out, layout->hidden - unit);
            if (Keep)
                HARKEN_UNROLL
                for (int j = 0; j < 4; ++j) store(gates + (i * 4 + j) * width, lane[i][j]);
        }
    }

    template <int M> HARKEN_INLINE void start(Vec (&lane)[M][4]) const {
        HARKEN_UNROLL
        for (int i = 0; i < M; ++i)
            HARKEN_UNROLL
            for (int j = 0; j < 4; ++j) lane[i][j] = load(x ? weights + j * width : gates + (i * 4 + j) * width);
        if (x)
            multiply<0, Cell::x_lanes>(lane, layout->input + (joined ? layout->hidden : 0), x, x_stride,
                                       weights + layout->inputs(), Cell::x_lanes * width);
    }
};

template <class Cell> class ForwardPass {
public:
    ForwardPass(const Tape& tape, Steps<const float> x, Steps<float> y, const std::vector<Direction>& directions, bool keep)
        : tape_(tape), x_(x), y_(y), directions_(directions), keep_(keep),
          layout_{tape.sizes.input, tape.sizes.hidden}, panels_(layout_.panels()), state_stride_((panels_ + 1) * width),
          fused_(layout_.size() * panels_ * 4 <= private_cache),
          packed_(int64_t(directions.size()) * panels_ * layout_.size()) {
        for (const bool measuring : {true, false}) {
            Cutter cutter(measuring ? nullptr : (memory_ = Block(needed_)).data());
            scratch_.clear();
            for (const Part& part : tape.schedule.parts) {
                const int64_t rows = part.rows(), pairs = std::max(rows, chunk_pairs);
                Scratch s;
                s.x = cutter.cut(pairs * layout_.input);
                s.projected = keep || fused_ ? nullptr : cutter.cut(panels_ * pairs * 4 * width);
                s.h = cutter.cut(2 * rows * state_stride_);
                s.cell = Cell::has_cell ? cutter.cut(panels_ * rows * width) : nullptr;
                s.y = reinterpret_cast<float**>(cutter.cut(2 * tape.schedule.members * rows));
                s.chunk = pairs;
                scratch_.push_back(s);
            }
            needed_ = cutter.used();
        }
    }

    void run(int threads) {
        parallel_for(threads, int64_t(directions_.size()) * panels_, [&](int64_t item) {
            const Direction& d = directions_[item / panels_];
            pack_forward(layout_, item % panels_, d.w_ih, d.w_hh, d.b_ih, d.b_hh, packed_.data() + item * layout_.size());
        });
        run_parts(tape_.schedule, threads, [&](int index, Share share) { run_part(index, share); });
    }

private:
    struct Scratch {
        float* x;          // a chunk's inputs (pairs, D)
        float* projected;  // and their products (panels, pairs, 4, width), where no tape takes them
        float* h;          // the states before and after a step, in turn: (2, rows, state_stride)
        float* cell;       // (panels, rows, width): the initial cells; without a tape the current ones
        float** y;         // for every member, where a step's outputs go (rows,)
        int64_t chunk;     // pairs that fit
    };

    void run_part(int index, Share share) const {
        const Part& part = tape_.schedule.parts[index];
        const Scratch& scratch = scratch_[index];
        clear_padding(part, share, y_, tape_.sizes.time, int64_t(directions_.size()) * tape_.sizes.hidden);
        for (int d = 0; d < int(directions_.size()); ++d) {
            set_initial(part, scratch, directions_[d], share);
            for (int64_t begin = 0; begin < part.steps();) {
                int64_t end = begin + 1;
                while (end < part.steps() && part.offset[end + 1] - part.offset[begin] <= scratch.chunk) ++end;
                share.meet();  // the chunk before is done, and initial states are there
                gather(part, scratch, d, begin, end, share);
                share.meet();
                if (!fused_) project(part, scratch, d, begin, end, share);
                for (int64_t step = begin; step < end; ++step) {
                    if (step > begin) share.meet();
                    keep_ ? take_step<true>(part, scratch, d, begin, step, share)
                          : take_step<false>(part, scratch, d, begin, step, share);
                }
                begin = end;
            }
            hand_over(part, scratch, d, share);
            share.meet();
        }
    }

    void set_initial(const Part& part, const Scratch& scratch, const Direction& d, Share share) const {
        for (int64_t panel = share.begin(panels_); panel < share.end(panels_); ++panel)
            for (int64_t place = 0; place < part.rows(); ++place) {
                const int64_t at = part.row[place] * tape_.sizes.hidden + panel * width;
                const int64_t units = tape_.sizes.hidden - panel * width;
                store(state(part, scratch, -1) + place * state_stride_ + panel * width, d.h0 ? load(d.h0 + at, units) : Vec{});
                if (Cell::has_cell)
                    store(scratch.cell + (panel * part.rows() + place) * width, d.c0 ? load(d.c0 + at, units) : Vec{});
            }
    }

    void gather(const Part& part, const Scratch& scratch, int d, int64_t begin, int64_t end, Share share) const {
        float* to = scratch.x;
        for (int64_t step = begin; step < end; ++step) {
            const int64_t active = part.active[step];
            for (int64_t place = share.begin(active); place < share.end(active); ++place)
                copy(x_.at(part.row[place], part.time(place, step, directions_[d].reverse)), to + place * layout_.input,
                     layout_.input);
            to += active * layout_.input;
        }
    }

    void project(const Part& part, const Scratch& scratch, int d, int64_t begin, int64_t end, Share share) const {
        const int64_t pairs = part.offset[end] - part.offset[begin];
        for (int64_t panel = share.begin(panels_); panel < share.end(panels_); ++panel)
            for_tiles(pairs, [&](auto m, int64_t row) {
                ForwardTile<Cell> tile = {};
                tile.layout = &layout_;
                tile.weights = packed(d, panel);
                tile.x = scratch.x + row * layout_.input;
                tile.x_stride = layout_.input;
                tile.gates = lanes(part, scratch, d, panel, begin, part.offset[begin] + row);
                tile.template project<m>();
            });
    }

    template <bool Keep>
    void take_step(const Part& part, const Scratch& scratch, int d, int64_t chunk, int64_t step, Share share) const {
        const int64_t active = part.active[step], pair = part.offset[step];
        float** y = scratch.y + share.member * part.rows();
        for (int64_t place = 0; place < active; ++place)
            y[place] = y_.at(part.row[place], part.time(place, step, directions_[d].reverse)) + d * tape_.sizes.hidden;
        ForwardTile<Cell> tile = {};
        tile.layout = &layout_;
        tile.x_stride = layout_.input;
        tile.h_stride = state_stride_;
        const float* before = state(part, scratch, step - 1);
        const bool from_zero = step == 0 && !directions_[d].h0;  // nothing to multiply
        for (int64_t panel = share.begin(panels_); panel < share.end(panels_); ++panel) {
            tile.weights = packed(d, panel);
            tile.unit = panel * width;
            for_tiles(active, [&](auto m, int64_t row) {
                tile.x = fused_ ? scratch.x + (pair - part.offset[chunk] + row) * layout_.input : nullptr;
                tile.h = from_zero ? nullptr : before + row * state_stride_;
                tile.gates = Keep || !fused_ ? lanes(part, scratch, d, panel, chunk, pair + row) : nullptr;
                if (Cell::has_cell) {
                    float* current = scratch.cell + (panel * part.rows() + row) * width;
                    tile.cell = Keep ? tape_.cells_of(d, panel, part.first + pair + row) : current;
                    tile.cell_before = Keep && step > 0
                        ? tape_.cells_of(d, panel, part.first + part.offset[step - 1] + row) : current;
                }
                tile.h_next = state(part, scratch, step) + row * state_stride_;
                tile.y = y + row;
                tile.template step<Keep, m>();
            });
        }
    }

    // Each row's state after its own last step: nothing has touched it since.
    void hand_over(const Part& part, const Scratch& scratch, int d, Share share) const {
        for (int64_t panel = share.begin(panels_); panel < share.end(panels_); ++panel)
            for (int64_t place = 0; place < part.rows(); ++place) {
                const int64_t at = part.row[place] * tape_.sizes.hidden + panel * width;
                const int64_t units = tape_.sizes.hidden - panel * width, last = part.length[place] - 1;
                store(directions_[d].h_n + at, load(state(part, scratch, last) + place * state_stride_ + panel * width), units);
                if (!Cell::has_cell) continue;
                const float* cell = keep_ && last >= 0 ? tape_.cells_of(d, panel, part.first + part.offset[last] + place)
                                                       : scratch.cell + (panel * part.rows() + place) * width;
                store(directions_[d].c_n + at, load(cell), units);
            }
    }

    const float* packed(int d, int64_t panel) const { return packed_.data() + (d * panels_ + panel) * layout_.size(); }
    float* state(const Part& part, const Scratch& scratch, int64_t step) const {
        return scratch.h + (step & 1) * part.rows() * state_stride_;
    }
    // A pair's four lanes: on the tape, or in the scratch of the chunk that begins at step `chunk`.
    float* lanes(const Part& part, const Scratch& scratch, int d, int64_t panel, int64_t chunk, int64_t pair) const {
        if (keep_) return tape_.gates_of(d, panel, part.first + pair);
        return scratch.projected + (panel * scratch.chunk + pair - part.offset[chunk]) * 4 * width;
    }

    const Tape& tape_;
    const Steps<const float> x_;
    const Steps<float> y_;
    const std::vector<Direction>& directions_;
    const bool keep_;
    const PanelLayout<Cell> layout_;
    const int64_t panels_, state_stride_;  // one vector more than H: rows a power of two apart would share cache sets
    // More weights do not stay in the cache from one step to the next. Then x is projected for a whole chunk at once, and
    // only the recurrent weights stream through at every step; below, one product does both.
    const bool fused_;
    Block packed_, memory_;
    int64_t needed_ = 0;
    std::vector<Scratch> scratch_;
};

template <class Cell>
void forward(const Sizes& sizes, int threads, Steps<const float> x, const int64_t* lengths, Steps<float> y,
             const std::vector<Direction>& directions, bool keep, Tape& tape) {
    tape.sizes = sizes;
    tape.schedule = make_schedule(sizes, lengths, Cell::gates, threads);
    if (keep) {
        const int64_t pairs = int64_t(directions.size()) * tape.panels() * tape.schedule.pairs;
        tape.memory = Block(pairs * (Cell::has_cell ? 5 : 4) * width);
        tape.gates = tape.memory.data();
        tape.cells = tape.gates + pairs * 4 * width;
    }
    ForwardPass<Cell>(tape, x, y, directions, keep).run(threads);
}

}  // namespace harken
