// A matrix in memory, turned: blocks of a vector by a vector, in registers.
#pragma once

#include "threads.h"
#include "vector.h"

namespace harken {

// Rows [begin, end) of a matrix (rows, columns), a vector of them at most, become columns of `to` (columns, rows).
inline void turn_rows(const float* from, int64_t rows, int64_t columns, int64_t begin, int64_t end, float* to) {
    const int64_t count = end - begin, whole = columns / width * width;
    for (int64_t j = 0; j < whole; j += width) {
        Vec block[width];
        HARKEN_UNROLL
        for (int k = 0; k < width; ++k) block[k] = load(from + (begin + std::min<int64_t>(k, count - 1)) * columns + j);
        transpose(block);
        HARKEN_UNROLL
        for (int k = 0; k < width; ++k) store(to + (j + k) * rows + begin, block[k], count);
    }
    for (int64_t j = whole; j < columns; ++j)
        for (int64_t i = begin; i < end; ++i) to[j * rows + i] = from[i * columns + j];
}

inline void turn(int threads, const float* from, int64_t rows, int64_t columns, float* to) {
    parallel_for(threads, vectors(rows), [&](int64_t block) {
        turn_rows(from, rows, columns, block * width, std::min(rows, (block + 1) * width), to);
    });
}

}  // namespace harken
