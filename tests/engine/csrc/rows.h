// Softmax over random rows, and matrices turned, against double precision; buffers of exactly the size that is told.
#pragma once

#include <stdexcept>

#include "hazards.h"

struct Rows {
    int64_t rows, size;
    std::vector<int64_t> targets;
    Floats logits;

    Rows(Random& random, int64_t rows, int64_t size) : rows(rows), size(size), logits(random.floats(rows * size, 9)) {
        for (int64_t i = 0; i < rows; ++i) targets.push_back(random.below(size));
    }
};

inline void check_close(const char* name, double found, double expected, double error) {
    if (!(std::abs(found - expected) <= error)) throw std::runtime_error(std::string(name) + " of a softmax");
}

inline void check_rows(Random& random, const Rows& given, int threads) {
    const int64_t rows = given.rows, size = given.size;
    Floats gradient = given.logits, chances(rows), turned(rows * size), sums(size), sure(rows), kept = given.logits;
    harken::softmax(false, threads, gradient.data(), rows, size, given.targets.data(), chances.data(), true,
                    turned.data(), sums.data());
    harken::softmax(false, 1 + int(random.below(4)), kept.data(), rows, size, given.targets.data(), sure.data(), false,
                    nullptr, nullptr);
    expect(same(kept, given.logits), "logits that were only read");
    expect(same(sure, chances), "log-probabilities without a gradient");
    std::vector<double> added(size);
    for (int64_t i = 0; i < rows; ++i) {
        double total = 0;
        for (int64_t j = 0; j < size; ++j) total += std::exp(double(given.logits[i * size + j]));
        check_close("log-probability", chances[i], given.logits[i * size + given.targets[i]] - std::log(total), 1e-5);
        for (int64_t j = 0; j < size; ++j) {
            const double expected = std::exp(double(given.logits[i * size + j])) / total - (j == given.targets[i]);
            check_close("gradient", gradient[i * size + j], expected, 1e-6);
            expect(same(&turned[j * rows + i], &gradient[i * size + j], 1), "the gradient turned");
            added[j] += expected;
        }
    }
    for (int64_t j = 0; j < size; ++j) check_close("sum", sums[j], added[j], 1e-6 * double(rows + 1));

    // The same in half the bits: logits that are exactly such numbers.
    std::vector<uint16_t> halves(rows * size);
    Floats exact(rows * size);
    for (size_t i = 0; i < halves.size(); ++i) {
        uint32_t bits;
        std::memcpy(&bits, &given.logits[i], sizeof bits);
        halves[i] = uint16_t(bits >> 16);
        bits &= 0xffff0000u;
        std::memcpy(&exact[i], &bits, sizeof bits);
    }
    harken::softmax(true, threads, halves.data(), rows, size, given.targets.data(), sure.data(), true, nullptr, sums.data());
    harken::softmax(false, threads, exact.data(), rows, size, given.targets.data(), chances.data(), true, nullptr, nullptr);
    expect(same(sure, chances), "log-probabilities of bfloat16");
    for (size_t i = 0; i < halves.size(); ++i) {
        const uint32_t bits = uint32_t(halves[i]) << 16;
        float found;
        std::memcpy(&found, &bits, sizeof found);
        check_close("bfloat16 gradient", found, exact[i], std::abs(double(exact[i])) / 256);
    }

    Floats back(rows * size);
    harken::turn(threads, turned.data(), size, rows, back.data());
    expect(same(back, gradient), "a matrix turned twice");
}
