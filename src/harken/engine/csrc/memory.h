// Workspaces that are kept between calls. A training step needs the same megabytes again and again; fresh ones would be
// mapped and zeroed by the system page by page, which costs 20-30% of a large forward pass. Large blocks lie in huge pages.
#pragma once

#include <cstdlib>
#include <map>
#include <mutex>
#include <new>
#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1  // as GCC says it
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#include "vector.h"

namespace harken {

// AddressSanitizer takes a pooled block for one long array full of numbers. It is told where blocks and their pieces
// end, and what was in them becomes NaN; elsewhere all this is nothing.
#if defined(__SANITIZE_ADDRESS__)
constexpr int64_t fence = 16;  // floats between pieces
inline void forbid(float* from, float* to) { __asan_poison_memory_region(from, (to - from) * sizeof(float)); }
inline void lend(float* block, int64_t floats, size_t bytes) {
    __asan_unpoison_memory_region(block, bytes);
    std::memset(block, 0xff, bytes);
    forbid(block + floats, block + bytes / sizeof(float));
}
#else
constexpr int64_t fence = 0;
inline void forbid(float*, float*) {}
inline void lend(float*, int64_t, size_t) {}
#endif

class Pool {
public:
    static Pool& instance() {
        static Pool* pool = create();  // never destroyed: blocks may come back while the process ends
        return *pool;
    }

    float* take(size_t& bytes) {
        bytes = rounded(bytes);
        {
            std::lock_guard<std::mutex> lock(mutex_);
            const auto found = idle_.lower_bound(bytes);
            if (found != idle_.end() && found->first <= bytes + bytes / 2) {
                float* block = found->second;
                bytes = found->first;
                idle_bytes_ -= bytes;
                idle_.erase(found);
                return block;
            }
        }
        const size_t alignment = bytes >= huge ? huge : 64;
        void* block = std::aligned_alloc(alignment, round_up(bytes, alignment));
        if (!block) {  // what lies idle may be what is missing
            trim(0);
            block = std::aligned_alloc(alignment, round_up(bytes, alignment));
            if (!block) throw std::bad_alloc();
        }
#if defined(__linux__)
        if (bytes >= huge) madvise(block, bytes, MADV_HUGEPAGE);
#endif
        return static_cast<float*>(block);
    }

    void give_back(float* block, size_t bytes) noexcept {
        forbid(block, block + bytes / sizeof(float));
        try {
            std::lock_guard<std::mutex> lock(mutex_);
            idle_.emplace(bytes, block);
            idle_bytes_ += bytes;
        } catch (...) {
            return std::free(block);
        }
        trim(limit);
    }

    // Frees idle blocks, the largest first, until no more than `keep` bytes lie idle.
    void trim(size_t keep) noexcept {
        std::lock_guard<std::mutex> lock(mutex_);
        while (idle_bytes_ > keep) {
            const auto last = std::prev(idle_.end());
            std::free(last->second);
            idle_bytes_ -= last->first;
            idle_.erase(last);
        }
    }

    size_t idle_bytes() {
        std::lock_guard<std::mutex> lock(mutex_);
        return idle_bytes_;
    }

private:
    static Pool* create() {
#if defined(__unix__) || defined(__APPLE__)
        // A child that is forked while another thread holds the lock would wait for that thread for ever.
        auto unlock = [] { instance().mutex_.unlock(); };
        pthread_atfork([] { instance().mutex_.lock(); }, unlock, unlock);
#endif
        return new Pool;
    }

    static constexpr size_t huge = size_t(2) << 20;
    static constexpr size_t limit = size_t(1) << 30;

    // Sizes in steps of an eighth of their power of two: batches of nearly the same size share blocks.
    static size_t rounded(size_t bytes) {
        size_t step = 64;
        while (step * 16 < bytes) step *= 2;
        return round_up(bytes, bytes >= huge && step < huge ? huge : step);
    }

    std::mutex mutex_;
    std::multimap<size_t, float*> idle_;
    size_t idle_bytes_ = 0;
};

// Floats from the pool, aligned to 64 bytes, with whatever was in them; one owner.
class Block {
public:
    Block() = default;
    explicit Block(int64_t floats) : bytes_(floats * sizeof(float)) {
        if (floats == 0) return;
        if (floats < 0 || floats > int64_t(1) << 60) throw std::bad_alloc();  // a product of sizes that went beyond
        data_ = Pool::instance().take(bytes_);
        lend(data_, floats, bytes_);
    }
    Block(Block&& other) noexcept { swap(other); }
    Block& operator=(Block&& other) noexcept { swap(other); return *this; }
    ~Block() { if (data_) Pool::instance().give_back(data_, bytes_); }
    float* data() const { return data_; }

private:
    void swap(Block& other) { std::swap(data_, other.data_); std::swap(bytes_, other.bytes_); }
    float* data_ = nullptr;
    size_t bytes_ = 0;
};

// Cuts a block into pieces that begin at multiples of 64 bytes. The first pass, without a block, only adds up.
class Cutter {
public:
    explicit Cutter(float* block = nullptr) : next_(block) {}
    float* cut(int64_t floats) {
        const int64_t size = round_up(floats, 16) + fence;
        float* piece = next_;
        if (next_) {
            forbid(next_ + floats, next_ + size);
            next_ += size;
        }
        used_ += size;
        return piece;
    }
    int64_t used() const { return used_; }

private:
    float* next_;
    int64_t used_ = 0;
};

inline size_t pool_bytes() { return Pool::instance().idle_bytes(); }
inline void trim_pool() { Pool::instance().trim(0); }

}  // namespace harken
