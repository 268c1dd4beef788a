// The kernel over random shapes, for sanitizers (`make sanitize`): every tensor against the oracle, every promise of
// bits checked as bits. Links no OpenMP, which ThreadSanitizer does not understand: `parallel` falls back to
// std::thread.
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>

#include "hazards.h"
#include "reference.h"
#include "rows.h"

namespace {

double worst = 0;  // relative error so far

void near(const char* name, const Floats& found, const Doubles& expected) {
    double error = 0, scale = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
        const double apart = std::abs(double(found[i]) - expected[i]);
        error = apart > error || std::isnan(apart) ? apart : error;
        scale = std::max(scale, std::abs(expected[i]));
    }
    if (error == 0) return;
    error /= scale;
    if (!(error <= 1e-5)) throw std::runtime_error(std::string(name) + ": relative error " + std::to_string(error));
    worst = std::max(worst, error);
}

// A direction's real steps, padding as 0.
Floats dense(const Sequence& from, int64_t first, int64_t count, const std::vector<int64_t>& lengths) {
    Floats to(from.batch * from.time * count);
    for (int64_t b = 0; b < from.batch; ++b)
        for (int64_t t = 0; t < lengths[b]; ++t)
            std::copy_n(from.at(b, t) + first, count, to.begin() + (b * from.time + t) * count);
    return to;
}

void check_values(const Problem& problem, const Forward& forward, const Backward& backward) {
    const int64_t hidden = problem.shape.sizes.hidden;
    expect(forward.y.tidy(problem.lengths), "y's gaps or padding");
    expect(!problem.want_dx || backward.dx.tidy(problem.lengths), "dx's gaps or padding");
    Doubles dx(problem.shape.sizes.batch * problem.shape.sizes.time * problem.shape.sizes.input);
    for (size_t d = 0; d < problem.ways.size(); ++d) {
        const Oracle oracle(problem, int(d));
        const Reference& expected = oracle.result();
        near("y", dense(forward.y, d * hidden, hidden, problem.lengths), expected.y);
        near("h_n", forward.finals[d].h, expected.h_n);
        if (problem.lstm()) near("c_n", forward.finals[d].c, expected.c_n);
        const char* names[6] = {"dw_ih", "dw_hh", "db_ih", "db_hh", "dh0", "dc0"};
        for (int i = 0; i < 6; ++i)
            if (!backward.ways[d][i].empty()) near(names[i], backward.ways[d][i], expected.gradients[i]);
        for (size_t i = 0; i < dx.size(); ++i) dx[i] += expected.dx[i];
    }
    if (problem.want_dx) near("dx", dense(backward.dx, 0, backward.dx.features, problem.lengths), dx);
}

// One row by itself gives the same bits.
void check_row(Random& random, const Problem& problem, const Forward& forward) {
    if (problem.lengths.empty()) return;
    const int64_t b = random.below(problem.lengths.size()), hidden = problem.shape.sizes.hidden;
    const Problem alone = problem.alone(random, b);
    const Forward found = run_forward(alone, problem.shape.threads, random.chance(5));
    for (int64_t t = 0; t < problem.lengths[b]; ++t)
        expect(same(found.y.at(0, t), forward.y.at(b, t), forward.y.features), "y depends on batch mates");
    for (size_t d = 0; d < problem.ways.size(); ++d) {
        const Forward::Final &one = found.finals[d], &all = forward.finals[d];
        expect(same(one.h.data(), all.h.data() + b * hidden, hidden), "h_n depends on batch mates");
        if (problem.lstm()) expect(same(one.c.data(), all.c.data() + b * hidden, hidden), "c_n depends on batch mates");
    }
}

// And so do all rows, step by step.
void check_stepper(const Problem& problem, const Forward& forward) {
    const auto& [batch, time, input, hidden] = problem.shape.sizes;
    for (size_t d = 0; d < problem.ways.size(); ++d) {
        const Way& way = problem.ways[d];
        harken::Stepper stepper(problem.shape.cell, batch, input, hidden, way.w_ih.data(), way.w_hh.data(),
                                or_null(way.b_ih), or_null(way.b_hh));
        Floats h = way.h0.empty() ? Floats(batch * hidden) : way.h0, x(batch * input);
        Floats c = !problem.lstm() ? Floats() : way.c0.empty() ? Floats(batch * hidden) : way.c0;
        for (int64_t s = 0; s < time; ++s) {
            auto when = [&](int64_t b) { return way.reverse ? problem.lengths[b] - 1 - s : s; };
            for (int64_t b = 0; b < batch; ++b)
                if (s < problem.lengths[b]) std::copy_n(problem.x.at(b, when(b)), input, x.begin() + b * input);
            stepper.step(x.data(), h.data(), or_null(c));
            for (int64_t b = 0; b < batch; ++b) {
                if (s < problem.lengths[b])
                    expect(same(&h[b * hidden], forward.y.at(b, when(b)) + d * hidden, hidden), "Stepper's h");
                if (s + 1 == problem.lengths[b] && problem.lstm())
                    expect(same(&c[b * hidden], &forward.finals[d].c[b * hidden], hidden), "Stepper's c");
            }
        }
    }
}

void check(Random& random, const Problem& problem) {
    const int threads = problem.shape.threads;
    Forward forward = run_forward(problem, threads, true);
    const Backward backward = run_backward(problem, forward, threads);
    check_values(problem, forward, backward);
    expect(same(run_backward(problem, forward, threads), backward), "a second backward pass");
    auto other = [&] { return 1 + int(random.below(4)); };
    expect(same(run_backward(problem, forward, other()), backward), "a backward pass on other threads");
    for (const bool keep : {false, true})
        expect(same(run_forward(problem, other(), keep), forward), "a forward pass on other threads");
    check_row(random, problem, forward);
    check_stepper(problem, forward);
}

std::string describe(const Shape& shape) {
    const auto& [batch, time, input, hidden] = shape.sizes;
    char text[160];
    std::snprintf(text, sizeof text, "%s B=%d T=%d D=%d H=%d directions=%d threads=%d",
                  shape.cell == harken::Kind::lstm ? "LSTM" : "GRU", int(batch), int(time), int(input), int(hidden),
                  shape.directions, shape.threads);
    return text;
}

double work(const Shape& s) {
    return 1.0 * s.directions * s.sizes.batch * s.sizes.time * s.sizes.hidden * (s.sizes.hidden + s.sizes.input);
}

Shape random_shape(Random& random) {
    const int64_t batches[] = {0, 1, 1, 2, 3, 5, 7, 8, 13, 24, 40}, features[] = {1, 3, 15, 16, 17, 33, 64, 65, 100};
    Shape s;
    do {
        s = {random.chance(5) ? harken::Kind::lstm : harken::Kind::gru,
             {batches[random.below(11)], random.below(41), features[random.below(9)], features[random.below(9)]},
             1 + int(random.below(2)), 1 + int(random.below(4))};
    } while (work(s) > 2e6);
    return s;
}

// What small shapes do not reach: weights beyond the fused limit and beyond a core's cache, several chunks, hidden
// units shared by threads, parts that have several members each.
const std::vector<Shape> large = {
    {harken::Kind::lstm, {2, 3, 1025, 33}, 2, 2},  {harken::Kind::gru, {2, 3, 33, 1025}, 1, 3},
    {harken::Kind::lstm, {1, 12, 100, 200}, 1, 4}, {harken::Kind::gru, {8, 5, 100, 260}, 2, 4},
    {harken::Kind::lstm, {60, 2, 64, 257}, 1, 2},  {harken::Kind::gru, {40, 40, 17, 33}, 2, 4},
    {harken::Kind::gru, {24, 6, 65, 100}, 2, 2},
};

}  // namespace

// For hazards::every_allocation_fails: all forms that containers use, so that sanitizers see matching pairs. Not
// inlined, or GCC would see pairs that do not match.
#define HARKEN_NOT_INLINED __attribute__((noinline))
HARKEN_NOT_INLINED void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
    if (allocations_left >= 0 && allocations_left-- == 0) return nullptr;
    return std::malloc(bytes);
}
HARKEN_NOT_INLINED void* operator new(size_t bytes) {
    if (void* memory = operator new(bytes, std::nothrow)) return memory;
    throw std::bad_alloc();
}
HARKEN_NOT_INLINED void operator delete(void* memory) noexcept { std::free(memory); }
HARKEN_NOT_INLINED void operator delete(void* memory, size_t) noexcept { std::free(memory); }

// Too much memory is a null pointer, and not the end.
extern "C" const char* __asan_default_options() {
    return "allocator_may_return_null=1:detect_stack_use_after_return=1";
}
extern "C" const char* __tsan_default_options() { return "allocator_may_return_null=1"; }
extern "C" const char* __ubsan_default_options() { return "print_stacktrace=1"; }

#if defined(__SANITIZE_ADDRESS__)
constexpr const char* kind = "address and undefined";
#elif defined(__SANITIZE_THREAD__)
constexpr const char* kind = "thread";
#else
constexpr const char* kind = "no sanitizer";
#endif

int main(int count, char** arguments) {
    const int cases = count > 1 ? std::atoi(arguments[1]) : 150;
    Random random{std::mt19937_64(1)};
    try {
        hazards::check_all(random);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s: %s\n", harken::level(), error.what());
        return 1;
    }
    for (int i = 0; i < cases; ++i) {
        const Shape shape = i < int(large.size()) ? large[i] : random_shape(random);
        try {
            check(random, Problem(random, shape));
        } catch (const std::exception& error) {
            std::fprintf(stderr, "%s, case %d: %s: %s\n", harken::level(), i, describe(shape).c_str(), error.what());
            return 1;
        }
    }
    for (int i = 0; i < cases; ++i) {
        const int64_t rows = random.below(70), size = 1 + random.below(i % 10 ? 90 : 900);
        const int threads = 1 + int(random.below(4));
        try {
            check_rows(random, Rows(random, rows, size), threads);
        } catch (const std::exception& error) {
            std::fprintf(stderr, "%s: %s, %d rows of %d, threads=%d\n", harken::level(), error.what(), int(rows), int(size), threads);
            return 1;
        }
    }
    std::printf("%s, %s: %d shapes, relative error at most %.1e\n", harken::level(), kind, cases, worst);
    return 0;
}
