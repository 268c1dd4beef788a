// What happens to a unit once its sums are there, and the way back: the only code that knows an LSTM from a GRU.
//
// Each hidden unit has four *lanes*, sums that its tile holds in four registers at the end of the product. Input
// features feed lanes [0, x_lanes), the hidden state lanes [4 - h_lanes, 4):
//
//            lane 0            lane 1   lane 2   lane 3
//   LSTM     i                 f        g        o
//   GRU      n, what x says    r        z        n, what h says (r acts after that product, as in torch)
//
// A sigmoid is a tanh of half its argument, (1 + tanh(x / 2)) / 2: panels.h puts the half into the packed weights.
#pragma once

#include "vector.h"

namespace harken {

// tanh(x) = p / q: the minimax rational that XLA and Eigen use, good to 2e-7 of the value itself, 1 from 7.9 on.
// No exponential, no integer work; NaN stays NaN; and fractions can share one division.
struct Fraction {
    Vec p, q;
};

HARKEN_INLINE Fraction tanh_fraction(Vec x) {
    x = clamp(x, 7.90531110763549805f);
    const Vec s = x * x;
    Vec p = s * -2.76076847742355e-16f + 2.00018790482477e-13f;
    p = p * s + -8.60467152213735e-11f;
    p = p * s + 5.12229709037114e-08f;
    p = p * s + 1.48572235717979e-05f;
    p = p * s + 6.37261928875436e-04f;
    p = p * s + 4.89352455891786e-03f;
    Vec q = s * 1.19825839466702e-06f + 1.18534705686654e-04f;
    q = q * s + 2.26843463243900e-03f;
    q = q * s + 4.89352518554385e-03f;
    return {p * x, q};
}

HARKEN_INLINE Vec tanh(Vec x) {
    const Fraction f = tanh_fraction(x);
    return f.p / f.q;
}

HARKEN_INLINE Vec sigmoid_of_half(Vec tanh_of_half) { return tanh_of_half * 0.5f + 0.5f; }

// Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000.
struct Lstm {
    static constexpr int gates = 4, x_lanes = 4, h_lanes = 4;
    static constexpr int x_gate[4] = {0, 1, 2, 3}, h_gate[4] = {0, 1, 2, 3};  // torch's gate in each lane: i, f, g, o
    static constexpr bool sigmoid[4] = {true, true, false, true};
    static constexpr bool has_cell = true;

    // Sums -> activated lanes, in place; returns h. `state` is c: the old one comes in, the new one goes out.
    static HARKEN_INLINE Vec forward(Vec (&lane)[4], Vec& state, Vec /*h_before*/) {
        const Fraction i = tanh_fraction(lane[0]), f = tanh_fraction(lane[1]);
        const Fraction g = tanh_fraction(lane[2]), o = tanh_fraction(lane[3]);
        // One division for four fractions. No underflow: every q lies between 0.0048 and 1.
        const Vec q_if = i.q * f.q, q_go = g.q * o.q, r = 1.0f / (q_if * q_go);
        const Vec r_if = r * q_go, r_go = r * q_if;
        lane[0] = sigmoid_of_half(i.p * (f.q * r_if));
        lane[1] = sigmoid_of_half(f.p * (i.q * r_if));
        lane[2] = g.p * (o.q * r_go);
        lane[3] = sigmoid_of_half(o.p * (g.q * r_go));
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
    static constexpr bool sigmoid[4] = {false, true, true, false};
    static constexpr bool has_cell = false;

    // Leaves n, r, z and the recurrent part of n (not activated) in the lanes.
    static HARKEN_INLINE Vec forward(Vec (&lane)[4], Vec& /*state*/, Vec h_before) {
        const Fraction r = tanh_fraction(lane[1]), z = tanh_fraction(lane[2]);
        const Vec shared = 1.0f / (r.q * z.q);
        lane[1] = sigmoid_of_half(r.p * (z.q * shared));
        lane[2] = sigmoid_of_half(z.p * (r.q * shared));
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
