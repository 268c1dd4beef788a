// What happens to a unit once its sums are there, and the way back: the only code that knows an LSTM from a GRU.
//
// Each hidden unit has four *lanes*, sums that its tile holds in four registers at the end of the product. Input
// features feed lanes [0, x_lanes), the hidden state lanes [4 - h_lanes, 4):
//
//            lane 0            lane 1   lane 2   lane 3
//   LSTM     i                 f        g        o
//   GRU      n, what x says    r        z        n, what h says (r acts after that product, as in torch)
#pragma once

#include "functions.h"

namespace harken {

// Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000.
struct Lstm {
    static constexpr int gates = 4, x_lanes = 4, h_lanes = 4;
    static constexpr int x_gate[4] = {0, 1, 2, 3}, h_gate[4] = {0, 1, 2, 3};  // torch's gate in each lane: i, f, g, o
    static constexpr bool has_cell = true;

    // Sums -> activated lanes, in place; returns h. `state` is c: the old one comes in, the new one goes out.
    static HARKEN_INLINE Vec forward(Vec (&lane)[4], Vec& state, Vec /*h_before*/) {
        lane[0] = sigmoid(lane[0]);
        lane[1] = sigmoid(lane[1]);
        lane[2] = tanh(lane[2]);
        lane[3] = sigmoid(lane[3]);
        state = lane[1] * state + lane[0] * lane[2];
        return lane[3] * tanh(state);
    }

    // dh, and `carry` = dc from the step after, -> the sums' gradient in `lane`, and dc of the step before in `carry`.
    static HARKEN_INLINE void backward(Vec (&lane)[4], Vec dh, Vec& carry, Vec c, Vec c_before, Vec /*h_before*/) {
        const Vec i = lane[0], f = lane[1], g = lane[2], o = lane[3], t = tanh(c);
        const Vec dc = dh * o * (1.0f - t * t) + carry;
        carry = dc * f;
        lane[0] = dc * g * i * (1.0f - i);
        lane[1] = dc * c_before * f * (1.0f - f);
        lane[2] = dc * i * (1.0f - g * g);
        lane[3] = dh * t * o * (1.0f - o);
    }
    // What dh of the step before gets besides the product with the recurrent weights: nothing.
    static HARKEN_INLINE Vec past(Vec /*carry*/) { return Vec{}; }
};

// Cho et al. 2014 in cuDNN's variant: h = (1 - z) n + z h_before, n = tanh(W x + b + r (U h_before + c)).
struct Gru {
    static constexpr int gates = 3, x_lanes = 3, h_lanes = 3;
    static constexpr int x_gate[4] = {2, 0, 1, -1}, h_gate[4] = {-1, 0, 1, 2};  // torch's order: r, z, n
    static constexpr bool has_cell = false;

    // Leaves n, r, z and the recurrent part of n (not activated) in the lanes.
    static HARKEN_INLINE Vec forward(Vec (&lane)[4], Vec& /*state*/, Vec h_before) {
        lane[1] = sigmoid(lane[1]);
        lane[2] = sigmoid(lane[2]);
        lane[0] = tanh(lane[0] + lane[1] * lane[3]);
        return lane[0] + lane[2] * (h_before - lane[0]);
    }

    // `carry` is the part of dh that passed by the gates of the step after.
    static HARKEN_INLINE void backward(Vec (&lane)[4], Vec dh, Vec& carry, Vec /*c*/, Vec /*c_before*/, Vec h_before) {
        const Vec n = lane[0], r = lane[1], z = lane[2], from_h = lane[3];
        dh += carry;
        carry = dh * z;
        const Vec dn = dh * (1.0f - z) * (1.0f - n * n);
        lane[0] = dn;
        lane[1] = dn * from_h * r * (1.0f - r);
        lane[2] = dh * (h_before - n) * z * (1.0f - z);
        lane[3] = dn * r;
    }
    static HARKEN_INLINE Vec past(Vec carry) { return carry; }
};

}  // namespace harken
