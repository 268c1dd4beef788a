// exp, tanh and sigmoid of a vector.
#pragma once

#include "vector.h"

namespace harken {

// All are good to 3e-7 of their value, also where a gate is nearly shut, and keep NaN. (The smallest sigmoid is 1.6e-38.)

// 2^n exp(r) with |r| <= ln(2) / 2, exp(r) by Cephes' polynomial.
HARKEN_INLINE Vec exp(Vec x) {
    x = clamp(x, 87.0f);                                      // beyond, 2^n is no float
    const float round = 12582912.0f;                          // 1.5 * 2^23: adding it leaves the nearest integer
    const Vec shifted = x * 1.44269504088896341f + round, n = shifted - round;
    const Vec r = x - n * 0.693359375f - n * -2.12194440e-4f; // ln(2) in two parts, the first with few digits
    Vec p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    const IntVec exponent = (reinterpret_cast<IntVec>(shifted) - 0x4B400000 + 127) << 23;
    return p * reinterpret_cast<Vec>(exponent);
}

HARKEN_INLINE Vec sigmoid(Vec x) { return 1.0f / (1.0f + exp(-x)); }

// The minimax rational of Eigen and XLA: quicker than one by exp, and not worse near 0. It is 1 from here on; where a
// product and its sum are rounded separately, from a little earlier.
HARKEN_INLINE Vec tanh(Vec x) {
#if defined(__FMA__) || defined(__aarch64__)
    x = clamp(x, 7.99881172180175781f);
#else
    x = clamp(x, 7.90531110763549805f);
#endif
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
    return p * x / q;
}

}  // namespace harken
