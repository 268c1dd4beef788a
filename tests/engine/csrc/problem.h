// A random ragged problem for the kernel: exact-size buffers, so that AddressSanitizer sees every overrun, with garbage
// wherever the kernel has no business to read and a mark wherever it has none to write.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "kernel.h"

using Floats = std::vector<float>;

struct Random {
    std::mt19937_64 engine;

    int64_t below(int64_t n) { return int64_t(engine() % uint64_t(n)); }
    bool chance(int64_t of_ten) { return below(10) < of_ten; }
    float uniform(double limit) { return float((double(below(1 << 24)) / (1 << 23) - 1) * limit); }
    Floats floats(int64_t count, double limit) {
        Floats result(count);
        for (float& f : result) f = uniform(limit);
        return result;
    }
};

// A NaN that no arithmetic makes.
inline float untouched() {
    const uint32_t bits = 0x7fc0beef;
    float f;
    std::memcpy(&f, &bits, sizeof f);
    return f;
}
inline bool same(const float* a, const float* b, int64_t count) {
    return count == 0 || std::memcmp(a, b, count * sizeof(float)) == 0;
}
inline bool same(const Floats& a, const Floats& b) {
    return a.size() == b.size() && same(a.data(), b.data(), a.size());
}

// (B, T, features), rows and steps further apart than they need be, either of them outside.
struct Sequence {
    int64_t batch, time, features, row, step;
    Floats data;  // ends with the last step's last number

    Sequence(Random& random, int64_t batch, int64_t time, int64_t features)
        : batch(batch), time(time), features(features) {
        const int64_t gap = random.chance(5) ? random.below(6) : 0, wide_gap = random.chance(5) ? random.below(40) : 0;
        if (random.chance(7)) {
            step = features + gap;
            row = time * step + wide_gap;
        } else {
            row = features + gap;
            step = batch * row + wide_gap;
        }
        if (batch && time) data.assign((batch - 1) * row + (time - 1) * step + features, untouched());
    }

    float* at(int64_t b, int64_t t) { return data.data() + b * row + t * step; }
    const float* at(int64_t b, int64_t t) const { return data.data() + b * row + t * step; }
    harken::Steps<float> steps() { return {data.data(), row, step}; }
    harken::Steps<const float> steps() const { return {data.data(), row, step}; }

    void fill(Random& random, const std::vector<int64_t>& lengths) {
        for (float& f : data) f = random.chance(5) ? untouched() : std::numeric_limits<float>::infinity();
        for (int64_t b = 0; b < batch; ++b)
            for (int64_t t = 0; t < lengths[b]; ++t)
                for (int64_t k = 0; k < features; ++k) at(b, t)[k] = random.uniform(1);
    }

    // Nothing was written between the steps, and padding is 0.
    bool tidy(const std::vector<int64_t>& lengths) const {
        enum { between, number, padding };
        std::vector<char> place(data.size(), between);
        for (int64_t b = 0; b < batch; ++b)
            for (int64_t t = 0; t < time; ++t)
                std::fill_n(place.begin() + (b * row + t * step), features, t < lengths[b] ? number : padding);
        const float mark = untouched(), zero = 0;
        for (size_t i = 0; i < data.size(); ++i)
            if (place[i] != number && !same(&data[i], place[i] == between ? &mark : &zero, 1)) return false;
        return true;
    }
};

// One direction's inputs; empty: null.
struct Way {
    bool reverse;
    Floats w_ih, w_hh, b_ih, b_hh, h0, c0, dh_n, dc_n;
};

struct Shape {
    harken::Kind cell;
    harken::Sizes sizes;
    int directions, threads;
};

struct Problem {
    Shape shape;
    std::vector<int64_t> lengths;
    Sequence x, y, dy, dx;  // y and dx: blank, for runs to copy
    std::vector<Way> ways;
    bool want_dx;
    bool wanted[6];  // w_ih, w_hh, b_ih, b_hh, h0, c0

    Problem(Random& random, const Shape& s)
        : shape(s), lengths(s.sizes.batch), x(random, s.sizes.batch, s.sizes.time, s.sizes.input),
          y(random, s.sizes.batch, s.sizes.time, s.sizes.hidden * s.directions),
          dy(random, s.sizes.batch, s.sizes.time, s.sizes.hidden * s.directions),
          dx(random, s.sizes.batch, s.sizes.time, s.sizes.input), want_dx(random.chance(8)) {
        const bool equal = random.chance(2);
        for (int64_t& n : lengths) n = equal ? s.sizes.time : random.chance(1) ? 0 : random.below(s.sizes.time + 1);
        x.fill(random, lengths);
        dy.fill(random, lengths);
        const bool biases = random.chance(7), initial = random.chance(6);
        const int64_t hidden = s.sizes.hidden, gates = hidden * (lstm() ? 4 : 3), states = s.sizes.batch * hidden;
        const double small = 1 / std::sqrt(double(hidden)), small_x = 1 / std::sqrt(double(s.sizes.input));
        for (int d = 0; d < s.directions; ++d) {
            auto maybe = [&](bool given, int64_t count, double limit) {
                return random.floats(given ? count : 0, limit);
            };
            Way way = {s.directions == 2 ? d == 1 : random.chance(3), random.floats(gates * s.sizes.input, 2 * small_x),
                       random.floats(gates * hidden, small), maybe(biases, gates, 1), maybe(biases, gates, 1),
                       maybe(initial, states, 1), maybe(initial && lstm(), states, 2),
                       maybe(random.chance(7), states, 1), maybe(lstm() && random.chance(7), states, 1)};
            ways.push_back(std::move(way));
        }
        const bool weights = random.chance(8);
        for (int i = 0; i < 6; ++i) wanted[i] = (weights || i >= 4) && random.chance(8);
    }

    bool lstm() const { return shape.cell == harken::Kind::lstm; }
    int64_t states() const { return shape.sizes.batch * shape.sizes.hidden; }

    // One row without its batch mates.
    Problem alone(Random& random, int64_t b) const {
        Shape one = shape;
        one.sizes.batch = 1;
        Problem result(random, one);
        result.lengths = {lengths[b]};
        result.x.fill(random, result.lengths);
        for (int64_t t = 0; t < lengths[b]; ++t) std::copy_n(x.at(b, t), x.features, result.x.at(0, t));
        result.ways = ways;
        auto only = [&](Floats& f) {
            const int64_t hidden = shape.sizes.hidden;
            if (!f.empty()) f = Floats(f.begin() + b * hidden, f.begin() + (b + 1) * hidden);
        };
        for (Way& way : result.ways)
            for (Floats* f : {&way.h0, &way.c0, &way.dh_n, &way.dc_n}) only(*f);
        return result;
    }
};

struct Forward {
    struct Final { Floats h, c; };
    Sequence y;
    std::vector<Final> finals;
    std::unique_ptr<harken::Saved> saved;
};

struct Backward {
    Sequence dx;
    std::vector<std::vector<Floats>> ways;  // w_ih, w_hh, b_ih, b_hh, h0, c0 of each direction; empty: not wanted
};

inline const float* or_null(const Floats& f) { return f.empty() ? nullptr : f.data(); }
inline float* or_null(Floats& f) { return f.empty() ? nullptr : f.data(); }

inline std::vector<harken::Direction> directions(const Problem& problem, Forward& run) {
    std::vector<harken::Direction> result;
    for (size_t d = 0; d < problem.ways.size(); ++d) {
        const Way& way = problem.ways[d];
        result.push_back({way.w_ih.data(), way.w_hh.data(), or_null(way.b_ih), or_null(way.b_hh), or_null(way.h0),
                          or_null(way.c0), or_null(run.finals[d].h), or_null(run.finals[d].c), way.reverse});
    }
    return result;
}

inline Forward run_forward(const Problem& problem, int threads, bool keep) {
    Forward run{problem.y, {}, nullptr};
    run.finals.resize(problem.ways.size());
    for (Forward::Final& final : run.finals) {
        final.h.assign(problem.states(), untouched());
        if (problem.lstm()) final.c = final.h;
    }
    run.saved = harken::forward(problem.shape.cell, problem.shape.sizes, threads, problem.x.steps(),
                                problem.lengths.data(), run.y.steps(), directions(problem, run), keep);
    return run;
}

// `forward` is only read.
inline Backward run_backward(const Problem& problem, Forward& forward, int threads) {
    Backward run{problem.dx, {}};
    std::vector<harken::Gradients> gradients;
    for (const Way& way : problem.ways) {
        const size_t bias = way.w_hh.size() / problem.shape.sizes.hidden, states = problem.states();
        const size_t counts[6] = {way.w_ih.size(), way.w_hh.size(), bias, bias, states, problem.lstm() ? states : 0};
        std::vector<Floats> wanted(6);
        for (int i = 0; i < 6; ++i)
            if (problem.wanted[i]) wanted[i].assign(counts[i], untouched());
        run.ways.push_back(std::move(wanted));
        std::vector<Floats>& g = run.ways.back();
        gradients.push_back({or_null(way.dh_n), or_null(way.dc_n), or_null(g[0]), or_null(g[1]), or_null(g[2]),
                             or_null(g[3]), or_null(g[4]), or_null(g[5])});
    }
    const harken::Steps<float> dx = problem.want_dx ? run.dx.steps() : harken::Steps<float>{nullptr, 0, 0};
    const Sequence& y = forward.y;
    harken::backward(*forward.saved, threads, problem.x.steps(), y.steps(), problem.dy.steps(), dx,
                     directions(problem, forward), gradients);
    return run;
}
