// Who computes what, and in which order.
//
// Rows are sorted by length and dealt to *parts*, each of which goes through all time steps of its rows without asking
// anybody: at every step the rows that still run are its first ones, and nothing is computed on padding. Where rows are
// few, the *members* of a part share its rows and split its hidden units; they meet once a step.
#pragma once

#include <algorithm>
#include <memory>
#include <numeric>
#include <vector>

#include "layer.h"
#include "threads.h"
#include "vector.h"

namespace harken {

struct Part {
    std::vector<int64_t> row;     // the batch's row at each place, longest first
    std::vector<int64_t> length;  // its length
    std::vector<int64_t> active;  // how many rows run at step s; one 0 more at the end
    std::vector<int64_t> offset;  // how many (row, step) pairs lie before step s; one more at the end: all of them
    int64_t first = 0;            // how many pairs the parts before this one have

    int64_t rows() const { return int64_t(row.size()); }
    int64_t steps() const { return int64_t(active.size()) - 1; }
    int64_t pairs() const { return offset.back(); }
    // The time at which a direction reads the step'th element of the row at `place`.
    int64_t time(int64_t place, int64_t step, bool reverse) const { return reverse ? length[place] - 1 - step : step; }
};

struct Schedule {
    std::vector<Part> parts;
    int members = 1;    // threads per part
    int64_t pairs = 0;  // real (row, step) pairs in all

    int threads() const { return int(parts.size()) * members; }
};

// Bytes of weights that stay in a core's own cache from one step to the next.
constexpr int64_t private_cache = 800 << 10;

struct Grid {
    int parts, members;
};

// How `threads` share the rows. Weights that stream from memory at every step have to serve many rows to be worth their
// way; others a few. Of the grids that leave parts enough rows, the one that uses most threads; parts before members,
// which have to meet.
inline Grid choose_grid(const Sizes& sizes, int64_t live_rows, int gates, int threads) {
    const bool cached = gates * sizes.hidden * sizes.hidden * 4 <= private_cache;
    const int64_t rows_per_part = cached ? 3 : 4 * tile_rows, panels = vectors(sizes.hidden);
    Grid best{1, 0};
    for (int parts = threads; parts >= 1; --parts) {
        if (parts > 1 && live_rows < parts * rows_per_part) continue;
        const int members = int(std::min<int64_t>(threads / parts, panels));
        if (parts * members > best.parts * best.members) best = {parts, members};
    }
    return best;
}

inline Schedule make_schedule(const Sizes& sizes, const int64_t* lengths, int gates, int threads) {
    Schedule schedule;
    std::vector<int64_t> order(sizes.batch);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return lengths[a] > lengths[b]; });
    const int64_t live = std::count_if(order.begin(), order.end(), [&](int64_t b) { return lengths[b] > 0; });
    schedule.pairs = std::accumulate(lengths, lengths + sizes.batch, int64_t(0));
    // A region costs some microseconds: less work than that is done by whoever asks.
    const double work = 8.0 * double(sizes.hidden) * double(sizes.hidden + sizes.input) * double(schedule.pairs);
    if (work < 400e3) threads = 1;
    const auto [parts, members] = choose_grid(sizes, live, gates, threads);
    schedule.members = members;
    schedule.parts.resize(parts);

    std::vector<int64_t> load(parts, 0);
    for (const int64_t b : order) {  // the next longest row goes to whoever has least to do
        const auto least = std::min_element(load.begin(), load.end());
        Part& part = schedule.parts[least - load.begin()];
        *least += std::max<int64_t>(lengths[b], 1);
        part.row.push_back(b);
        part.length.push_back(lengths[b]);
    }
    int64_t first = 0;
    for (Part& part : schedule.parts) {
        const int64_t steps = part.length.empty() ? 0 : part.length.front();
        part.active.reserve(steps + 1);
        part.offset.reserve(steps + 1);
        int64_t active = part.rows();
        for (int64_t step = 0, pairs = 0; step <= steps; ++step) {
            while (active > 0 && part.length[active - 1] <= step) --active;
            part.active.push_back(active);
            part.offset.push_back(pairs);
            pairs += active;
        }
        part.first = first;
        first += part.pairs();
    }
    return schedule;
}

// One thread's share of a part: a range of its panels of units, and whom it meets. A region that got fewer threads than
// it asked for gives whole parts to one thread each, as their only member.
struct Share {
    int member, members;
    Barrier* barrier;

    void meet() const { barrier->wait(members); }
    // The member's part of `count` things.
    int64_t begin(int64_t count) const { return count * member / members; }
    int64_t end(int64_t count) const { return count * (member + 1) / members; }
};

// Zeros into the padding of the member's rows: `floats` at every step from a row's end to `time`.
inline void clear_padding(const Part& part, Share share, Steps<float> to, int64_t time, int64_t floats) {
    for (int64_t place = share.begin(part.rows()); place < share.end(part.rows()); ++place)
        for (int64_t t = part.length[place]; t < time; ++t) std::memset(to.at(part.row[place], t), 0, floats * sizeof(float));
}

// Runs f(part index, share) for all parts.
template <class F> void run_parts(const Schedule& schedule, int threads, F&& f) {
    const int parts = int(schedule.parts.size());
    std::vector<Barrier> barriers(parts);
    parallel(std::min(threads, schedule.threads()), [&](Worker worker) {
        if (schedule.members > 1 && worker.size == schedule.threads()) {
            const int part = worker.index / schedule.members;
            f(part, Share{worker.index % schedule.members, schedule.members, &barriers[part]});
        } else {
            for (int part = worker.index; part < parts; part += worker.size) f(part, Share{0, 1, &barriers[part]});
        }
    });
}

}  // namespace harken
