// What random shapes do not show: threads that nobody has, two callers at once, fork, and no memory.
#pragma once

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <thread>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "problem.h"

inline void expect(bool right, const char* what) {
    if (!right) throw std::runtime_error(what);
}

inline bool same(const Forward& a, const Forward& b) {
    bool equal = same(a.y.data, b.y.data);
    for (size_t d = 0; d < a.finals.size(); ++d)
        equal = equal && same(a.finals[d].h, b.finals[d].h) && same(a.finals[d].c, b.finals[d].c);
    return equal;
}
inline bool same(const Backward& a, const Backward& b) {
    bool equal = same(a.dx.data, b.dx.data);
    for (size_t d = 0; d < a.ways.size(); ++d)
        for (int i = 0; i < 6; ++i) equal = equal && same(a.ways[d][i], b.ways[d][i]);
    return equal;
}

// Counts down the allocations of std:: containers, in this thread; the last one fails. Negative: none does.
inline thread_local int allocations_left = -1;

namespace hazards {

// Both passes give these bits, whatever happens.
struct Passes {
    const Problem& problem;
    Forward forward;
    Backward backward;

    explicit Passes(const Problem& p)
        : problem(p), forward(run_forward(p, p.shape.threads, true)),
          backward(run_backward(p, forward, p.shape.threads)) {}
    bool again(int threads) const {
        Forward found = run_forward(problem, threads, true);
        return same(found, forward) && same(run_backward(problem, found, problem.shape.threads), backward);
    }
};

// A pool like libgomp's, which may give fewer threads than it is asked for.
namespace stingy {
inline thread_local harken::Worker place{0, 1};
inline std::atomic<int> most{1};
inline void parallel(void (*body)(void*), void* data, unsigned threads, unsigned) {
    const int size = std::min(int(threads), most.load());
    std::vector<std::thread> team;
    for (int index = 0; index < size; ++index)
        team.emplace_back([=] {
            place = {index, size};
            body(data);
        });
    for (std::thread& member : team) member.join();
}
}  // namespace stingy

inline void fewer_threads(const Problem& problem) {
    const Passes passes(problem);
    harken::openmp() = {stingy::parallel, [] { return stingy::place.index; }, [] { return stingy::place.size; }};
    for (int size = 1; size <= problem.shape.threads; ++size) {
        stingy::most = size;
        expect(passes.again(problem.shape.threads), "a region that got fewer threads");
    }
    harken::openmp() = {};
}

inline void two_callers(const Problem& problem) {
    Passes passes(problem);
    std::atomic<int> wrong{0};
    auto call = [&] {
        for (int i = 0; i < 5; ++i) {
            wrong += !passes.again(problem.shape.threads);
            wrong += !same(run_backward(problem, passes.forward, problem.shape.threads), passes.backward);
            harken::trim_pool();
        }
    };
    std::thread other(call);
    call();
    other.join();
    expect(wrong == 0, "two callers at once");
}

// The child must come back, and compute alone: libgomp's threads do not live there. Another thread of the parent holds
// the pool's lock half of the time while it forks; it does not allocate, because AddressSanitizer's own locks, GCC 12's
// at least, do not survive a fork. Machines may be slow, hence the long patience.
inline void forked_child(const Problem& problem) {
    const Passes passes(problem);
    std::atomic<bool> done{false};
    std::thread busy([&] { while (!done) harken::pool_bytes(); });
    auto finish = [&](bool right, const char* what) {
        done = true;
        busy.join();
        expect(right, what);
    };
    for (int i = 0; i < 10; ++i) {
        const pid_t child = fork();
        if (child == 0) _exit(harken::forked() && passes.again(problem.shape.threads) ? 0 : 1);
        int status = 0;
        pid_t ended = 0;
        for (int tries = 0; tries < 6000 && !(ended = waitpid(child, &status, WNOHANG)); ++tries) usleep(10000);
        if (!ended) {
            kill(child, SIGKILL);
            waitpid(child, &status, 0);
            return finish(false, "a forked child hangs");
        }
        if (status) return finish(false, "a forked child's result");
    }
    finish(true, "");
}

// Weights of 2^50 bytes, which are never read.
inline void absurd_size() {
    const float number = 0;
    float y = 0;
    const int64_t length = 1;
    bool thrown = false;
    try {
        harken::forward(harken::Kind::lstm, {1, 1, 1, int64_t(1) << 24}, 2, {&number, 1, 1}, &length, {&y, 1, 1},
                        {{&number, &number, nullptr, nullptr, nullptr, nullptr, &y, &y, false}}, true);
    } catch (const std::bad_alloc&) {
        thrown = true;
    }
    expect(thrown, "an absurd size did not raise std::bad_alloc");
}

// Every allocation fails once: std::bad_alloc or, where only a thread was wanted, the right result. AddressSanitizer
// finds what is left behind.
inline void every_allocation_fails(const Problem& problem) {
    Passes passes(problem);
    for (int pass = 0; pass < 2; ++pass)
        for (int n = 0;; ++n) {
            allocations_left = n;
            bool right = true;
            try {
                right = pass ? same(run_backward(problem, passes.forward, problem.shape.threads), passes.backward)
                             : same(run_forward(problem, problem.shape.threads, true), passes.forward);
            } catch (const std::bad_alloc&) {
            }
            const bool failed = allocations_left < 0;
            allocations_left = -1;
            expect(right, "a pass without memory");
            if (!failed) break;
        }
}

// Before anything else is done in a process, so that forks are watched from the beginning.
inline void check_all(Random& random) {
    harken::watch_forks();
    const Shape wide = {harken::Kind::lstm, {12, 20, 33, 65}, 2, 4};
    const Shape narrow = {harken::Kind::gru, {1, 30, 17, 100}, 1, 4};
    for (Shape shape : {wide, narrow}) {
        const Problem problem(random, shape);
        fewer_threads(problem);
        two_callers(problem);
        forked_child(problem);
        every_allocation_fails(problem);
        shape.threads = 9;
        const Problem crowded(random, shape);
        const Passes passes(crowded);
        expect(passes.again(9) && same(run_forward(crowded, 1, true), passes.forward), "more threads than processors");
    }
    absurd_size();
}

}  // namespace hazards
