// The oracle: the equations of docs/equations.md in double precision, one row, one direction and one step at a time.
#pragma once

#include "problem.h"

using Doubles = std::vector<double>;

struct Reference {
    Doubles y, h_n, c_n, dx;  // (B, T, H), (B, H), (B, H), (B, T, D)
    Doubles gradients[6];     // w_ih, w_hh, b_ih, b_hh, h0, c0
};

class Oracle {
public:
    Oracle(const Problem& problem, int direction)
        : problem_(problem), way_(problem.ways[direction]), offset_(direction * problem.shape.sizes.hidden),
          time_(problem.shape.sizes.time), input_(problem.shape.sizes.input), hidden_(problem.shape.sizes.hidden),
          gates_(problem.lstm() ? 4 : 3) {
        const int64_t batch = problem.shape.sizes.batch, sums = gates_ * hidden_;
        result_.y.resize(batch * time_ * hidden_);
        result_.dx.resize(batch * time_ * input_);
        for (Doubles* states : {&result_.h_n, &result_.c_n, &result_.gradients[4], &result_.gradients[5]})
            states->resize(batch * hidden_);
        const int64_t counts[4] = {sums * input_, sums * hidden_, sums, sums};
        for (int i = 0; i < 4; ++i) result_.gradients[i].resize(counts[i]);
        for (int64_t b = 0; b < batch; ++b) {
            forward(b);
            backward(b);
        }
    }

    const Reference& result() const { return result_; }

private:
    // A step's inputs and activations: what backpropagation through time needs of it.
    struct Step {
        int64_t time;
        Doubles h_before, c_before, gate;  // gate: i, f, g, o; or r, z, n and the recurrent part of n
        Doubles c;
    };

    static double sigmoid(double v) { return 1 / (1 + std::exp(-v)); }
    static double at(const Floats& f, int64_t i) { return f.empty() ? 0 : f[i]; }

    template <class Value>
    Doubles sums(const Floats& weights, const Floats& bias, const Value* in, int64_t columns) const {
        Doubles result(gates_ * hidden_);
        for (int64_t u = 0; u < gates_ * hidden_; ++u) {
            const float* row = weights.data() + u * columns;
            double sum = at(bias, u);
            for (int64_t k = 0; k < columns; ++k) sum += double(row[k]) * double(in[k]);
            result[u] = sum;
        }
        return result;
    }

    void forward(int64_t b) {
        steps_.clear();
        Doubles h(hidden_), c(hidden_);
        for (int64_t u = 0; u < hidden_; ++u) {
            h[u] = at(way_.h0, b * hidden_ + u);
            c[u] = at(way_.c0, b * hidden_ + u);
        }
        for (int64_t n = problem_.lengths[b], s = 0; s < n; ++s) {
            const int64_t t = way_.reverse ? n - 1 - s : s;
            Step step{t, h, c, Doubles(4 * hidden_), {}};
            const Doubles a = sums(way_.w_ih, way_.b_ih, problem_.x.at(b, t), input_);
            const Doubles r = sums(way_.w_hh, way_.b_hh, h.data(), hidden_);
            for (int64_t u = 0; u < hidden_; ++u) {
                double* gate[4];
                double sum[4];
                for (int g = 0; g < 4; ++g) {
                    gate[g] = &step.gate[g * hidden_ + u];
                    sum[g] = g < gates_ ? a[g * hidden_ + u] + r[g * hidden_ + u] : 0;
                }
                if (problem_.lstm()) {
                    for (int g : {0, 1, 3}) *gate[g] = sigmoid(sum[g]);
                    *gate[2] = std::tanh(sum[2]);
                    c[u] = *gate[1] * c[u] + *gate[0] * *gate[2];
                    h[u] = *gate[3] * std::tanh(c[u]);
                } else {
                    for (int g : {0, 1}) *gate[g] = sigmoid(sum[g]);
                    *gate[3] = r[2 * hidden_ + u];
                    *gate[2] = std::tanh(a[2 * hidden_ + u] + *gate[0] * *gate[3]);
                    h[u] = (1 - *gate[1]) * *gate[2] + *gate[1] * h[u];
                }
            }
            step.c = c;
            steps_.push_back(std::move(step));
            std::copy(h.begin(), h.end(), result_.y.begin() + (b * time_ + t) * hidden_);
        }
        std::copy(h.begin(), h.end(), result_.h_n.begin() + b * hidden_);
        std::copy(c.begin(), c.end(), result_.c_n.begin() + b * hidden_);
    }

    void backward(int64_t b) {
        Doubles dh(hidden_), dc(hidden_), da(gates_ * hidden_), dr(gates_ * hidden_);  // da: sums from x; dr: from h
        for (int64_t u = 0; u < hidden_; ++u) {
            dh[u] = at(way_.dh_n, b * hidden_ + u);
            dc[u] = at(way_.dc_n, b * hidden_ + u);
        }
        for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) {
            Doubles past(hidden_);  // what passes to h of the step before without going through the sums
            for (int64_t u = 0; u < hidden_; ++u) {
                const double d = dh[u] + problem_.dy.at(b, step->time)[offset_ + u];
                const double* g = step->gate.data() + u;
                double* to = da.data() + u;
                const int64_t H = hidden_;
                if (problem_.lstm()) {
                    const double i = g[0], f = g[H], n = g[2 * H], o = g[3 * H], t = std::tanh(step->c[u]);
                    const double cell = dc[u] + d * o * (1 - t * t);
                    to[0] = cell * n * i * (1 - i);
                    to[H] = cell * step->c_before[u] * f * (1 - f);
                    to[2 * H] = cell * i * (1 - n * n);
                    to[3 * H] = d * t * o * (1 - o);
                    dc[u] = cell * f;
                } else {
                    const double r = g[0], z = g[H], n = g[2 * H], dn = d * (1 - z) * (1 - n * n);
                    to[0] = dn * g[3 * H] * r * (1 - r);
                    to[H] = d * (step->h_before[u] - n) * z * (1 - z);
                    to[2 * H] = dn;
                    past[u] = d * z;
                }
            }
            dr = da;
            if (!problem_.lstm())
                for (int64_t u = 0; u < hidden_; ++u) dr[2 * hidden_ + u] *= step->gate[u];
            dh = past;
            double* dx = result_.dx.data() + (b * time_ + step->time) * input_;
            Doubles* g = result_.gradients;
            through(way_.w_ih, da, problem_.x.at(b, step->time), input_, dx, g[0], g[2]);
            through(way_.w_hh, dr, step->h_before.data(), hidden_, dh.data(), g[1], g[3]);
        }
        std::copy(dh.begin(), dh.end(), result_.gradients[4].begin() + b * hidden_);
        std::copy(dc.begin(), dc.end(), result_.gradients[5].begin() + b * hidden_);
    }

    // Back through sums = weights in + bias.
    template <class Value>
    static void through(const Floats& weights, const Doubles& dsums, const Value* in, int64_t columns, double* din,
                        Doubles& dweights, Doubles& dbias) {
        for (size_t u = 0; u < dsums.size(); ++u) {
            const double d = dsums[u];
            const float* row = weights.data() + u * columns;
            double* drow = dweights.data() + u * columns;
            dbias[u] += d;
            for (int64_t k = 0; k < columns; ++k) {
                din[k] += d * double(row[k]);
                drow[k] += d * double(in[k]);
            }
        }
    }

    const Problem& problem_;
    const Way& way_;
    const int64_t offset_, time_, input_, hidden_;
    const int gates_;
    std::vector<Step> steps_;
    Reference result_;
};
