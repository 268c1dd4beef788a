// The ragged LSTM and GRU on plain float32 pointers, and a softmax: what Python, and anybody else, may call.
//
//   layer.h     what a layer reads and writes
//   vector.h    one processor vector            schedule.h  rows, longest first, dealt to threads
//   gates.h     an LSTM's and a GRU's units     threads.h   PyTorch's pool, and a barrier
//   panels.h    the order of packed weights     memory.h    workspaces that are kept
//   tile.h      the product in registers        products.h  the gradients of weights and inputs
//   functions.h exp, tanh, sigmoid              softmax.h   of logits, and its gradient
//   turn.h      a matrix
//   forward.h, backward.h (backward_tile.h) and stepper.h: the three passes
#pragma once

#include "backward.h"
#include "forward.h"
#include "softmax.h"
#include "stepper.h"

namespace harken {

// What one layer's forward pass keeps for its backward pass.
struct Saved {
    Kind cell;
    Tape tape;
};

// Runs one layer, in one or both directions; direction d writes its outputs at y + d * hidden of every step, and 0 on
// padding. Nothing is allocated while threads run: std::bad_alloc comes out of here, and leaves nothing behind.
inline std::unique_ptr<Saved> forward(Kind cell, const Sizes& sizes, int threads, Steps<const float> x,
                                      const int64_t* lengths, Steps<float> y, const std::vector<Direction>& directions,
                                      bool keep) {
    auto saved = std::make_unique<Saved>(Saved{cell, {}});
    if (cell == Kind::lstm) forward<Lstm>(sizes, threads, x, lengths, y, directions, keep, saved->tape);
    else forward<Gru>(sizes, threads, x, lengths, y, directions, keep, saved->tape);
    return keep ? std::move(saved) : nullptr;
}

// The gradients of everything that is asked for. Reads what was saved without changing it, so it may run again. dx is
// the sum over directions, 0 on padding; dx.data null: not wanted.
inline void backward(const Saved& saved, int threads, Steps<const float> x, Steps<const float> y,
                     Steps<const float> dy, Steps<float> dx, const std::vector<Direction>& directions,
                     const std::vector<Gradients>& gradients) {
    if (saved.cell == Kind::lstm) backward<Lstm>(saved.tape, threads, x, y, dy, dx, directions, gradients);
    else backward<Gru>(saved.tape, threads, x, y, dy, dx, directions, gradients);
}

// As SoftmaxRows has it; the logits are bfloat16, or float32.
inline void softmax(bool half, int threads, void* logits, int64_t rows, int64_t size, const int64_t* targets,
                    float* log_chances, bool gradients, float* turned, float* sums) {
    if (half)
        SoftmaxRows<BFloat16>(static_cast<BFloat16*>(logits), rows, size, targets, log_chances, gradients, turned, sums).run(threads);
    else
        SoftmaxRows<float>(static_cast<float*>(logits), rows, size, targets, log_chances, gradients, turned, sums).run(threads);
}

inline const char* level() {
#if defined(__AVX512F__)
    return "avx512";
#elif defined(__AVX2__)
    return "avx2";
#elif defined(__SSE4_2__)
    return "baseline";
#else
    return "generic";
#endif
}

}  // namespace harken
