// Threads: one door, `parallel`, through PyTorch's own pool.
//
// PyTorch's idle OpenMP workers spin on the other cores, so a second pool beside them gets no processor. libgomp's
// GOMP_parallel is a stable C symbol; found in the process at run time it shares PyTorch's pool, without linking OpenMP.
#pragma once

#include <algorithm>
#include <atomic>
#include <initializer_list>
#include <system_error>
#include <thread>
#include <vector>
#if defined(__unix__) || defined(__APPLE__)
#include <dlfcn.h>
#include <pthread.h>
#endif

namespace harken {

// One thread's place in a parallel region. `size` is what the region really got, which may be less than was asked for.
struct Worker {
    int index, size;
};

struct OpenMP {
    void (*parallel)(void (*)(void*), void*, unsigned threads, unsigned flags) = nullptr;
    int (*index)() = nullptr;
    int (*size)() = nullptr;
    explicit operator bool() const { return parallel && index && size; }
};

#if defined(__unix__) || defined(__APPLE__)
inline bool from_one_library(std::initializer_list<void*> functions) {
    void* base = nullptr;
    for (void* function : functions) {
        Dl_info info;
        if (!function || !dladdr(function, &info) || (base && base != info.dli_fbase)) return false;
        base = info.dli_fbase;
    }
    return true;
}
#endif

// The libgomp that this process has loaded, if any.
inline OpenMP find_openmp() {
    OpenMP found;
#if defined(__unix__) || defined(__APPLE__)
    found.parallel = reinterpret_cast<decltype(found.parallel)>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
    found.index = reinterpret_cast<decltype(found.index)>(dlsym(RTLD_DEFAULT, "omp_get_thread_num"));
    found.size = reinterpret_cast<decltype(found.size)>(dlsym(RTLD_DEFAULT, "omp_get_num_threads"));
    // All three from one library: another runtime's omp_get_thread_num would call every thread the first.
    if (!from_one_library({reinterpret_cast<void*>(found.parallel), reinterpret_cast<void*>(found.index),
                           reinterpret_cast<void*>(found.size)}))
        found = {};
#endif
    return found;
}

inline OpenMP& openmp() {
    static OpenMP found = find_openmp();
    return found;
}

// A libgomp region in a forked child waits for ever for workers that fork did not copy: there, everything is serial.
inline std::atomic<bool>& forked() {
    static std::atomic<bool> flag{false};
    return flag;
}
inline void watch_forks() {
#if defined(__unix__) || defined(__APPLE__)
    pthread_atfork(nullptr, nullptr, [] { forked() = true; });
#endif
}

template <class F> void parallel_with_std_threads(int threads, F& f) {
    std::atomic<int> size{0};  // 0: not everybody is there yet
    std::vector<std::thread> workers;
    auto work = [&](int index) {
        int all;
        while (!(all = size.load(std::memory_order_acquire))) std::this_thread::yield();
        f(Worker{index, all});
    };
    try {
        workers.reserve(threads - 1);
        while (int(workers.size()) < threads - 1) workers.emplace_back(work, int(workers.size()) + 1);
    } catch (const std::exception&) {
        // The system has no more threads to give, or no memory for them: those that are there do the work.
    }
    size.store(int(workers.size()) + 1, std::memory_order_release);
    f(Worker{0, int(workers.size()) + 1});
    for (auto& worker : workers) worker.join();
}

// Runs f(Worker) on up to `threads` threads at once, and returns when all are done. f must not throw.
template <class F> void parallel(int threads, F&& f) {
    if (threads <= 1 || forked()) return f(Worker{0, 1});
    const OpenMP& omp = openmp();
    if (!omp) return parallel_with_std_threads(threads, f);
    auto body = [](void* data) { (*static_cast<std::remove_reference_t<F>*>(data))(Worker{openmp().index(), openmp().size()}); };
    omp.parallel(body, &f, unsigned(threads), 0);
}

// Runs f(item) for all items, in any order, on up to `threads` threads.
template <class F> void parallel_for(int threads, int64_t items, F&& f) {
    std::atomic<int64_t> next{0};
    parallel(int(std::min<int64_t>(threads, items)), [&](Worker) {
        for (int64_t item; (item = next.fetch_add(1, std::memory_order_relaxed)) < items;) f(item);
    });
}

// Threads that meet after every time step, some microseconds apart: they spin, and give way only when one is late.
class alignas(64) Barrier {
public:
    void wait(int members) {
        if (members == 1) return;
        const uint32_t round = round_.load(std::memory_order_acquire);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == members) {
            arrived_.store(0, std::memory_order_relaxed);
            round_.store(round + 1, std::memory_order_release);
            return;
        }
        for (int spins = 0; round_.load(std::memory_order_acquire) == round;) {
            if (spins == 4000) {
                std::this_thread::yield();
                continue;
            }
            ++spins;
#if defined(__x86_64__)
            __builtin_ia32_pause();
#endif
        }
    }

private:
    alignas(64) std::atomic<int> arrived_{0};
    alignas(64) std::atomic<uint32_t> round_{0};
};

}  // namespace harken
