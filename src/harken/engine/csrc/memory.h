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

#include "vector.h"

namespace harken {

class Pool {
public:
    static Pool& instance() {
        static Pool* pool = new Pool;  // never destroyed: blocks may come back while the process ends
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
        if (floats > 0) data_ = Pool::instance().take(bytes_);
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
        const int64_t size = round_up(floats, 16);
        float* piece = next_;
        if (next_) next_ += size;
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
