// Rows of logits (n, V), of which only what a cross-entropy needs is wanted: each target's log-probability, and the
// gradient that takes the logits' place. A row is read and written once; in between it lies in the first cache.
//
// Numbers are float32, or bfloat16 on the way in and out: the sums are float32 either way.
#pragma once

#include <cmath>
#include <limits>
#include <type_traits>

#include "functions.h"
#include "memory.h"
#include "threads.h"
#include "turn.h"

namespace harken {

typedef uint16_t BFloat16;
typedef uint16_t HalfVec __attribute__((vector_size(width * 2)));
typedef uint16_t UnalignedHalfVec __attribute__((vector_size(width * 2), aligned(2), may_alias));
typedef uint32_t WordVec __attribute__((vector_size(width * 4)));

// A bfloat16 is the upper half of a float.
HARKEN_INLINE Vec load(const BFloat16* from) {
    const HalfVec halves = *reinterpret_cast<const UnalignedHalfVec*>(from);
    return reinterpret_cast<Vec>(__builtin_convertvector(halves, WordVec) << 16);
}
HARKEN_INLINE Vec load(const BFloat16* from, int64_t count) {
    if (count >= width) return load(from);
    BFloat16 halves[width] = {};
    if (count > 0) std::memcpy(halves, from, count * sizeof(BFloat16));
    return load(halves);
}
// To the nearest, and of two to the even one. NaN stays NaN: those that arithmetic makes end in zeros.
HARKEN_INLINE void store(BFloat16* to, Vec v) {
    const WordVec words = reinterpret_cast<WordVec>(v);
    *reinterpret_cast<UnalignedHalfVec*>(to) = __builtin_convertvector((words + 0x7fff + ((words >> 16) & 1)) >> 16, HalfVec);
}
HARKEN_INLINE void store(BFloat16* to, Vec v, int64_t count) {
    if (count >= width) return store(to, v);
    BFloat16 halves[width];
    store(halves, v);
    if (count > 0) std::memcpy(to, halves, count * sizeof(BFloat16));
}

HARKEN_INLINE Vec larger(Vec a, Vec b) { return a > b ? a : b; }

template <class Number> class SoftmaxRows {
public:
    // log_chances (n,) is written. With `gradients`, the logits become softmax - one at the target; `turned` (V, n), if
    // any, gets the same transposed, and `sums` (V,), if any, their sum over rows.
    SoftmaxRows(Number* logits, int64_t rows, int64_t size, const int64_t* targets, float* log_chances, bool gradients,
                float* turned, float* sums)
        : logits_(logits), rows_(rows), size_(size), padded_(round_up(size, width)), targets_(targets),
          log_chances_(log_chances), gradients_(gradients), turned_(turned), sums_(sums) {}

    void run(int threads) {
        const int64_t blocks = vectors(rows_);
        const int workers = int(std::max<int64_t>(1, std::min<int64_t>(threads, blocks)));
        // The row, and the sums of every worker; nothing is allocated while threads run.
        const int64_t floats = 2 * padded_;
        Block memory(workers * floats);
        parallel(workers, [&](Worker worker) {
            float* row = memory.data() + worker.index * floats;
            float* sums = sums_ ? row + padded_ : nullptr;
            if (sums) std::fill(sums, sums + padded_, 0.0f);
            // A share of its own, whoever is first: the sums are added up in one order.
            const int64_t begin = blocks * worker.index / worker.size, end = blocks * (worker.index + 1) / worker.size;
            for (int64_t i = begin * width; i < std::min(rows_, end * width); ++i) {
                take(i, row, sums);
                if constexpr (std::is_same_v<Number, float>)
                    if (turned_ && ((i + 1) % width == 0 || i + 1 == rows_)) turn_rows(logits_, rows_, size_, i / width * width, i + 1, turned_);
            }
            if (worker.index == 0) used_ = worker.size;
        });
        if (!sums_) return;
        for (int64_t j = 0; j < size_; j += width) {
            Vec sum = {};
            for (int worker = 0; worker < used_; ++worker) sum += load(memory.data() + worker * floats + padded_ + j);
            store(sums_ + j, sum, size_ - j);
        }
    }

private:
    void take(int64_t i, float* row, float* sums) const {
        Number* logits = logits_ + i * size_;
        const float least = -std::numeric_limits<float>::infinity();
        const int64_t whole = size_ / width * width;
        Vec most[4] = {broadcast(least), broadcast(least), broadcast(least), broadcast(least)};
        int64_t j = 0;
        for (; j + 4 * width <= whole; j += 4 * width)
            HARKEN_UNROLL
            for (int k = 0; k < 4; ++k) {
                const Vec x = load(logits + j + k * width);
                store(row + j + k * width, x);
                most[k] = larger(x, most[k]);
            }
        for (; j < size_; j += width) {
            float floats[width];
            store(floats, load(logits + j, size_ - j));
            for (int64_t k = size_ - j; k < width; ++k) floats[k] = least;  // behind the row's end
            store(row + j, load(floats));
            most[0] = larger(load(floats), most[0]);
        }
        float floats[width], largest = least;
        store(floats, larger(larger(most[0], most[1]), larger(most[2], most[3])));
        for (float x : floats) largest = x > largest ? x : largest;

        const float right = row[targets_[i]] - largest;
        Vec total[4] = {};
        for (j = 0; j + 4 * width <= padded_; j += 4 * width)
            HARKEN_UNROLL
            for (int k = 0; k < 4; ++k) total[k] += raised(row + j + k * width, largest);
        for (; j < padded_; j += width) total[0] += raised(row + j, largest);
        store(floats, (total[0] + total[1]) + (total[2] + total[3]));
        float sum = 0;
        for (float x : floats) sum += x;
        log_chances_[i] = right - std::log(sum);
        if (!gradients_) return;

        const float scale = 1 / sum;
        row[targets_[i]] -= sum;
        for (j = 0; j < whole; j += width) {
            const Vec x = load(row + j) * scale;
            store(logits + j, x);
            if (sums) store(sums + j, load(sums + j) + x);
        }
        if (j < size_) {
            const Vec x = load(row + j) * scale;
            store(logits + j, x, size_ - j);
            if (sums) store(sums + j, load(sums + j) + x);
        }
    }

    // exp(x - largest), which it leaves behind. NaN stays NaN, and where the largest is infinite there is nothing else.
    HARKEN_INLINE static Vec raised(float* at, float largest) {
        const Vec x = exp(load(at) - largest);
        store(at, x);
        return x;
    }

    Number* const logits_;
    const int64_t rows_, size_, padded_;
    const int64_t* const targets_;
    float* const log_chances_;
    const bool gradients_;
    float *const turned_, *const sums_;
    int used_ = 1;
};

}  // namespace harken
