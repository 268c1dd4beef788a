// All time steps of a layer, backward: the recurrence first, chunk by chunk from the end, and after each chunk, while the
// gradient of its sums is still in the cache, the gradients of the weights and of x as large products.
#pragma once

#include "backward_tile.h"
#include "forward.h"
#include "products.h"

namespace harken {

template <class Cell> class BackwardPass {
public:
    BackwardPass(const Tape& tape, Steps<const float> x, Steps<const float> y, Steps<const float> dy, Steps<float> dx,
                 const std::vector<Direction>& directions, const std::vector<Gradients>& gradients)
        : tape_(tape), x_(x), y_(y), dy_(dy), dx_(dx), directions_(directions), gradients_(gradients),
          input_(tape.sizes.input), hidden_(tape.sizes.hidden), panels_(tape.panels()),
          features_(input_ + hidden_ + 1) {
        // A member's own units, four vectors at a time; and all inputs.
        for (int member = 0; member < tape.schedule.members; ++member) {
            const Share share{member, tape.schedule.members, nullptr};
            group_of_member_.push_back(int(units_.size()));
            add_groups(units_, share.begin(panels_), share.end(panels_));
        }
        group_of_member_.push_back(int(units_.size()));
        if (dx.data) add_groups(inputs_, 0, vectors(input_));
        weight_floats_ = panels_ * width * width * (Cell::h_lanes * panels_ + Cell::x_lanes * vectors(input_));
        for (const Gradients& g : gradients) want_weights_ |= g.dw_ih || g.dw_hh || g.db_ih || g.db_hh;

        part_floats_ = want_weights_ ? int64_t(directions.size()) * panels_ * features_ * 4 * width : 0;
        for (const bool measuring : {true, false}) {
            Cutter cutter(measuring ? nullptr : (memory_ = Block(needed_)).data());
            weights_ = cutter.cut(part_floats_ * int64_t(tape.schedule.parts.size()));
            packed_ = cutter.cut(int64_t(directions.size()) * weight_floats_);
            scratch_.clear();
            for (const Part& part : tape.schedule.parts) {
                const int64_t rows = part.rows(), pairs = std::max(rows, chunk_pairs);
                Scratch s;
                for (float*& lanes : s.lanes) lanes = cutter.cut(panels_ * pairs * 4 * width);
                s.carry = cutter.cut(panels_ * rows * width);
                s.seed = cutter.cut(rows * panels_ * width);
                s.initial = Cell::has_cell ? cutter.cut(panels_ * rows * width) : nullptr;
                s.columns = cutter.cut((feature_tiles(input_) + feature_tiles(hidden_)) * tile_rows * chunk_pairs);
                s.weights = weights_ ? weights_ + int64_t(scratch_.size()) * part_floats_ : nullptr;
                s.pointers = reinterpret_cast<const float**>(cutter.cut(tape.schedule.members * 2 * 2 * pairs));
                s.chunk = pairs;
                scratch_.push_back(s);
            }
            needed_ = cutter.used();
        }
    }

    void run(int threads) {
        const int64_t groups = int64_t(units_.size() + inputs_.size());
        parallel_for(threads, int64_t(directions_.size()) * groups, [&](int64_t item) { pack(int(item / groups), item % groups); });
        run_parts(tape_.schedule, threads, [&](int index, Share share) { run_part(index, share); });
        if (want_weights_)
            parallel_for(threads, int64_t(directions_.size()) * panels_,
                         [&](int64_t item) { unpack(int(item / panels_), item % panels_); });
    }

private:
    struct Columns {
        int64_t first;   // vector
        int64_t count;   // vectors, 1 to 4
    };
    struct Scratch {
        float* lanes[2];        // gradients of a chunk's sums (panels, pairs, 4, width); the chunk after in the other one
        float* carry;           // (panels, rows, width): what the cell says to the step before
        float* seed;            // (rows, panels * width): dh of the final states
        float* initial;         // (panels, rows, width): an LSTM's initial cells
        float* columns;         // [x | h before] of a block of pairs, turned: (tiles, pairs, tile_rows)
        float* weights;         // this part's gradients (directions, panels, D + H + 1, 4, width); the last feature is 1
        const float** pointers; // for every member, rows of dy and of h before (2, pairs)
        int64_t chunk;          // pairs that fit
    };

    static void add_groups(std::vector<Columns>& groups, int64_t first, int64_t end) {
        for (; first < end; first += 4) groups.push_back({first, std::min<int64_t>(4, end - first)});
    }

    // Packed weights of a direction: the recurrent matrix, group after group, then the input matrix.
    float* recurrent(int d, int64_t first) const {
        return packed_ + d * weight_floats_ + first * width * Cell::h_lanes * panels_ * width;
    }
    float* input(int d, int64_t first) const {
        return recurrent(d, panels_) + first * width * Cell::x_lanes * panels_ * width;
    }

    void pack(int d, int64_t item) {
        const bool of_units = item < int64_t(units_.size());
        const Columns group = of_units ? units_[item] : inputs_[item - int64_t(units_.size())];
        if (of_units)
            pack_backward(directions_[d].w_hh, Cell::h_gate, 4 - Cell::h_lanes, 4, hidden_, hidden_, group.first * width,
                          group.count * width, recurrent(d, group.first));
        else
            pack_backward(directions_[d].w_ih, Cell::x_gate, 0, Cell::x_lanes, hidden_, input_, group.first * width,
                          group.count * width, input(d, group.first));
    }

    void run_part(int index, Share share) const {
        const Part& part = tape_.schedule.parts[index];
        const Scratch& scratch = scratch_[index];
        if (dx_.data) clear_padding(part, share, dx_, tape_.sizes.time, input_);
        for (int d = 0; d < int(directions_.size()); ++d) {
            set_ends(part, scratch, d, share);
            if (part.steps() == 0 && want_weights_) clear_weights(scratch, d, share);
            int turn = 0;
            for (int64_t end = part.steps(); end > 0; turn ^= 1) {
                int64_t begin = end - 1;
                while (begin > 0 && part.offset[end] - part.offset[begin - 1] <= scratch.chunk) --begin;
                for (int64_t step = end - 1; step >= begin; --step) {
                    take_step(part, scratch, d, begin, end, step, turn, share);
                    share.meet();
                }
                accumulate(part, scratch, d, begin, end, scratch.lanes[turn], share);
                end = begin;
            }
            initial_gradients(part, scratch, d, scratch.lanes[turn ^ 1], share);
            share.meet();
        }
    }

    void clear_weights(const Scratch& scratch, int d, Share share) const {
        float* begin = weights(scratch, d, share.begin(panels_));
        std::memset(begin, 0, (weights(scratch, d, share.end(panels_)) - begin) * sizeof(float));
    }

    void set_ends(const Part& part, const Scratch& scratch, int d, Share share) const {
        const Gradients& g = gradients_[d];
        const float* c0 = directions_[d].c0;
        for (int64_t panel = share.begin(panels_); panel < share.end(panels_); ++panel)
            for (int64_t place = 0; place < part.rows(); ++place) {
                const int64_t from = part.row[place] * hidden_ + panel * width, units = hidden_ - panel * width;
                const int64_t to = (panel * part.rows() + place) * width;
                store(scratch.seed + (place * panels_ + panel) * width, g.dh_n ? load(g.dh_n + from, units) : Vec{});
                store(scratch.carry + to, g.dc_n ? load(g.dc_n + from, units) : Vec{});
                if (Cell::has_cell) store(scratch.initial + to, c0 ? load(c0 + from, units) : Vec{});
            }
    }

    void take_step(const Part& part, const Scratch& scratch, int d, int64_t begin, int64_t end, int64_t step, int turn,
                   Share share) const {
        const int64_t active = part.active[step], going_on = part.active[step + 1], pair = part.first + part.offset[step];
        const int64_t here = part.offset[step] - part.offset[begin];
        const bool reverse = directions_[d].reverse;
        const float** dy = scratch.pointers + share.member * 2 * scratch.chunk;
        const float** h_before = dy + scratch.chunk;
        for (int64_t place = 0; place < active; ++place)
            dy[place] = dy_.at(part.row[place], part.time(place, step, reverse)) + d * hidden_;
        const bool from_zero = step == 0 && !directions_[d].h0;
        if (!Cell::has_cell && !from_zero)
            for (int64_t place = 0; place < active; ++place) h_before[place] = state_before(part, d, place, step);

        BackwardTile<Cell> tile = {};
        tile.panels = panels_;
        tile.hidden = hidden_;
        tile.next_panel = tile.lanes_panel = scratch.chunk * 4 * width;
        tile.seed_stride = panels_ * width;
        tile.gates_panel = tape_.schedule.pairs * 4 * width;
        tile.cell_panel = tape_.schedule.pairs * width;
        tile.carry_panel = part.rows() * width;
        tile.cell_before_panel = step > 0 ? tile.cell_panel : part.rows() * width;
        const float* next = step + 1 < end ? scratch.lanes[turn] + (part.offset[step + 1] - part.offset[begin]) * 4 * width
                                           : scratch.lanes[turn ^ 1];
        for (int group = first_group(share); group < end_group(share); ++group) {
            const Columns columns = units_[group];
            tile.weights = recurrent(d, columns.first);
            tile.unit = columns.first * width;
            for_vectors(columns.count, [&](auto n) {
                auto run = [&](auto m, int64_t row, const float* from) {
                    tile.next = from;
                    tile.seed = from ? nullptr : scratch.seed + row * panels_ * width;
                    tile.dy = dy + row;
                    tile.h_before = from_zero ? nullptr : h_before + row;
                    tile.gates = tape_.gates_of(d, columns.first, pair + row);
                    if (Cell::has_cell) {
                        tile.cell = tape_.cells_of(d, columns.first, pair + row);
                        tile.cell_before = step > 0
                            ? tape_.cells_of(d, columns.first, part.first + part.offset[step - 1] + row)
                            : scratch.initial + (columns.first * part.rows() + row) * width;
                    }
                    tile.lanes = scratch.lanes[turn] + columns.first * scratch.chunk * 4 * width + (here + row) * 4 * width;
                    tile.carry = scratch.carry + (columns.first * part.rows() + row) * width;
                    tile.template step<n, m>();
                };
                for_tiles(going_on, [&](auto m, int64_t row) { run(m, row, next + row * 4 * width); });
                for_tiles(active - going_on, [&](auto m, int64_t row) { run(m, going_on + row, nullptr); });
            });
        }
    }

    const float* state_before(const Part& part, int d, int64_t place, int64_t step) const {
        if (step == 0) return directions_[d].h0 ? directions_[d].h0 + part.row[place] * hidden_ : nullptr;
        return y_.at(part.row[place], part.time(place, step - 1, directions_[d].reverse)) + d * hidden_;
    }

    // A chunk's lane gradients -> the gradients of weights and of x.
    void accumulate(const Part& part, const Scratch& scratch, int d, int64_t begin, int64_t end, const float* lanes,
                    Share share) const {
        const bool first_chunk = end == part.steps();
        const int64_t pairs = part.offset[end] - part.offset[begin];
        for (int64_t block = 0; block < pairs; block += chunk_pairs) {
            const int64_t count = std::min(chunk_pairs, pairs - block);
            if (want_weights_) {
                turn_columns(part, scratch, d, begin, block, count, share);
                share.meet();
                for (int64_t panel = share.begin(panels_); panel < share.end(panels_); ++panel)
                    add_weights<Cell>(input_, hidden_, scratch.columns, lanes + (panel * scratch.chunk + block) * 4 * width,
                                      count, first_chunk && block == 0, weights(scratch, d, panel));
            }
            if (dx_.data) add_inputs(part, scratch, d, begin, block, count, lanes, share);
            share.meet();  // before the columns are written again
        }
    }

    // Calls f(index, place, step) for pairs [first, first + count) of the chunk that begins at step `begin`.
    template <class F>
    static void for_pairs(const Part& part, int64_t begin, int64_t first, int64_t count, F&& f) {
        int64_t step = begin;
        for (int64_t i = first; i < first + count; ++i) {
            while (part.offset[step + 1] - part.offset[begin] <= i) ++step;
            f(i - first, i + part.offset[begin] - part.offset[step], step);
        }
    }

    // Tile after tile of features, the block's pairs one below the other: the products read them as one stream.
    void turn_columns(const Part& part, const Scratch& scratch, int d, int64_t begin, int64_t block, int64_t count,
                      Share share) const {
        const int64_t from = share.begin(count), end = share.end(count);
        for_pairs(part, begin, block + from, end - from, [&](int64_t i, int64_t place, int64_t step) {
            float* to = scratch.columns + (from + i) * tile_rows;
            turn_features(x_.at(part.row[place], part.time(place, step, directions_[d].reverse)), input_, to,
                          count * tile_rows);
            turn_features(state_before(part, d, place, step), hidden_, to + feature_tiles(input_) * count * tile_rows,
                          count * tile_rows);
        });
    }

    float* weights(const Scratch& scratch, int d, int64_t panel) const {
        return scratch.weights + (d * panels_ + panel) * features_ * 4 * width;
    }

    void add_inputs(const Part& part, const Scratch& scratch, int d, int64_t begin, int64_t block, int64_t count,
                    const float* lanes, Share share) const {
        const int64_t from = share.begin(count), to = share.end(count);
        float** rows = const_cast<float**>(scratch.pointers + share.member * 2 * scratch.chunk);
        for_pairs(part, begin, block + from, to - from, [&](int64_t i, int64_t place, int64_t step) {
            rows[i] = dx_.at(part.row[place], part.time(place, step, directions_[d].reverse));
        });
        for (const Columns& columns : inputs_)
            for_vectors(columns.count, [&](auto n) {
                for_tiles(to - from, [&](auto m, int64_t row) {
                    input_tile<Cell, n, m>(panels_, lanes + (block + from + row) * 4 * width, scratch.chunk * 4 * width,
                                           input(d, columns.first), rows + row, columns.first * width, input_, d > 0);
                });
            });
    }

    void initial_gradients(const Part& part, const Scratch& scratch, int d, const float* lanes, Share share) const {
        const Gradients& g = gradients_[d];
        const int64_t live = part.active[0];
        if (g.dc0)
            for (int64_t panel = share.begin(panels_); panel < share.end(panels_); ++panel)
                for (int64_t place = 0; place < part.rows(); ++place)
                    store(g.dc0 + part.row[place] * hidden_ + panel * width,
                          load(scratch.carry + (panel * part.rows() + place) * width), hidden_ - panel * width);
        if (!g.dh0) return;
        float** rows = const_cast<float**>(scratch.pointers + share.member * 2 * scratch.chunk);
        for (int64_t place = 0; place < part.rows(); ++place) rows[place] = g.dh0 + part.row[place] * hidden_;
        BackwardTile<Cell> tile = {};
        tile.panels = panels_;
        tile.hidden = hidden_;
        tile.next_panel = scratch.chunk * 4 * width;
        tile.seed_stride = panels_ * width;
        tile.carry_panel = part.rows() * width;
        for (int group = first_group(share); group < end_group(share); ++group) {
            const Columns columns = units_[group];
            tile.weights = recurrent(d, columns.first);
            tile.unit = columns.first * width;
            auto run = [&](auto m, int64_t row, bool empty) {
                tile.next = empty ? nullptr : lanes + row * 4 * width;
                tile.seed = empty ? scratch.seed + row * panels_ * width : nullptr;
                tile.carry = scratch.carry + (columns.first * part.rows() + row) * width;
                tile.template finish<m>(columns.count, rows + row);
            };
            for_tiles(live, [&](auto m, int64_t row) { run(m, row, false); });
            for_tiles(part.rows() - live, [&](auto m, int64_t row) { run(m, live + row, true); });
        }
    }

    void unpack(int d, int64_t panel) {
        const Gradients& g = gradients_[d];
        const float* from = weights(scratch_[0], d, panel);
        auto rows = [&](int64_t feature, const int (&gate)[4], int begin, int end, int64_t features, float* to) {
            if (to) unpack_gradient(from + feature * 4 * width, part_floats_, int(scratch_.size()), gate, begin, end, hidden_, panel, features, to);
        };
        rows(0, Cell::x_gate, 0, Cell::x_lanes, input_, g.dw_ih);
        rows(input_, Cell::h_gate, 4 - Cell::h_lanes, 4, hidden_, g.dw_hh);
        rows(input_ + hidden_, Cell::x_gate, 0, Cell::x_lanes, 1, g.db_ih);
        rows(input_ + hidden_, Cell::h_gate, 4 - Cell::h_lanes, 4, 1, g.db_hh);
    }

    int first_group(Share share) const { return share.members == 1 ? 0 : group_of_member_[share.member]; }
    int end_group(Share share) const { return share.members == 1 ? int(units_.size()) : group_of_member_[share.member + 1]; }

    const Tape& tape_;
    const Steps<const float> x_, y_, dy_;
    const Steps<float> dx_;
    const std::vector<Direction>& directions_;
    const std::vector<Gradients>& gradients_;
    const int64_t input_, hidden_, panels_, features_;
    std::vector<Columns> units_, inputs_;
    std::vector<int> group_of_member_;
    int64_t weight_floats_ = 0, part_floats_ = 0, needed_ = 0;
    bool want_weights_ = false;
    Block memory_;
    float *packed_ = nullptr, *weights_ = nullptr;
    std::vector<Scratch> scratch_;
};

template <class Cell>
void backward(const Tape& tape, int threads, Steps<const float> x, Steps<const float> y, Steps<const float> dy,
              Steps<float> dx, const std::vector<Direction>& directions, const std::vector<Gradients>& gradients) {
    BackwardPass<Cell>(tape, x, y, dy, dx, directions, gradients).run(threads);
}

}  // namespace harken
