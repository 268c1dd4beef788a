// The kernel as a Python module, compiled once per instruction level: HARKEN_MODULE is _native_avx512 or another.
//
// Every pointer comes as an integer, from Tensor.data_ptr(), and 0 is null: a tensor through nanobind's own type costs
// 2 µs, an integer 0.06, and nanobind silently copies what is not contiguous. Nothing is checked here;
// engine/checks.py has done that for native.py and step.py, and nobody else calls.
#include <nanobind/nanobind.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <memory>
#include <tuple>
#include <vector>

#include "kernel.h"

namespace nb = nanobind;

namespace {

using Address = uintptr_t;
using SizesIn = std::tuple<int64_t, int64_t, int64_t, int64_t>;  // batch, time, input, hidden
using StepsIn = std::tuple<Address, int64_t, int64_t>;           // data, and the strides of rows and steps in floats
// w_ih, w_hh, b_ih, b_hh, h0, c0, h_n, c_n, reverse
using DirectionIn = std::tuple<Address, Address, Address, Address, Address, Address, Address, Address, bool>;
// dh_n, dc_n, dw_ih, dw_hh, db_ih, db_hh, dh0, dc0
using GradientsIn = std::tuple<Address, Address, Address, Address, Address, Address, Address, Address>;

const float* in(Address address) { return reinterpret_cast<const float*>(address); }
float* out(Address address) { return reinterpret_cast<float*>(address); }

harken::Kind cell(int number) { return number == 0 ? harken::Kind::lstm : harken::Kind::gru; }

template <class Float> harken::Steps<Float> steps(const StepsIn& from) {
    const auto& [data, row, step] = from;
    return {reinterpret_cast<Float*>(data), row, step};
}

std::vector<harken::Direction> directions(const std::vector<DirectionIn>& from) {
    std::vector<harken::Direction> to;
    to.reserve(from.size());
    for (const auto& [w_ih, w_hh, b_ih, b_hh, h0, c0, h_n, c_n, reverse] : from)
        to.push_back({in(w_ih), in(w_hh), in(b_ih), in(b_hh), in(h0), in(c0), out(h_n), out(c_n), reverse});
    return to;
}

std::vector<harken::Gradients> gradients(const std::vector<GradientsIn>& from) {
    std::vector<harken::Gradients> to;
    to.reserve(from.size());
    for (const auto& [dh_n, dc_n, dw_ih, dw_hh, db_ih, db_hh, dh0, dc0] : from)
        to.push_back({in(dh_n), in(dc_n), out(dw_ih), out(dw_hh), out(db_ih), out(db_hh), out(dh0), out(dc0)});
    return to;
}

std::unique_ptr<harken::Saved> forward(int kind, int threads, bool keep, const SizesIn& sizes, const StepsIn& x,
                                       Address lengths, const StepsIn& y, const std::vector<DirectionIn>& ways) {
    const auto& [batch, time, input, hidden] = sizes;
    return harken::forward(cell(kind), {batch, time, input, hidden}, threads, steps<const float>(x),
                           reinterpret_cast<const int64_t*>(lengths), steps<float>(y), directions(ways), keep);
}

void backward(const harken::Saved& saved, int threads, const StepsIn& x, const StepsIn& y, const StepsIn& dy,
              const StepsIn& dx, const std::vector<DirectionIn>& ways, const std::vector<GradientsIn>& wanted) {
    harken::backward(saved, threads, steps<const float>(x), steps<const float>(y), steps<const float>(dy),
                     steps<float>(dx), directions(ways), gradients(wanted));
}

void softmax(bool half, int threads, Address logits, int64_t rows, int64_t size, Address targets, Address log_chances,
             bool gradients, Address turned, Address sums) {
    harken::softmax(half, threads, reinterpret_cast<void*>(logits), rows, size, reinterpret_cast<const int64_t*>(targets),
                    out(log_chances), gradients, out(turned), out(sums));
}

void turn(int threads, Address from, int64_t rows, int64_t columns, Address to) {
    harken::turn(threads, in(from), rows, columns, out(to));
}

void construct(harken::Stepper* self, int kind, int64_t batch, int64_t input, int64_t hidden, Address w_ih,
               Address w_hh, Address b_ih, Address b_hh) {
    new (self) harken::Stepper(cell(kind), batch, input, hidden, in(w_ih), in(w_hh), in(b_ih), in(b_hh));
}

void step(harken::Stepper& self, Address x, Address h, Address c) { self.step(in(x), out(h), out(c)); }

}  // namespace

NB_MODULE(HARKEN_MODULE, module) {
    // A graph that is still alive when Python ends keeps its Saved alive: no leak that a user should read about.
    nb::set_leak_warnings(false);
    harken::watch_forks();

    using without_gil = nb::call_guard<nb::gil_scoped_release>;
    nb::class_<harken::Saved>(module, "Saved", "What one forward pass keeps for its backward pass.");
    module.def("forward", &forward, without_gil(), "One layer over a ragged batch; Saved if it is to keep.");
    module.def("backward", &backward, without_gil(), "Its gradients, at the addresses that are not 0.");
    module.def("softmax", &softmax, without_gil(), "Log-probabilities of targets; the logits become their gradient.");
    module.def("turn", &turn, without_gil(), "A matrix (rows, columns) as one (columns, rows).");
    nb::class_<harken::Stepper>(module, "Stepper", "One time step at a time, with weights packed once.")
        .def("__init__", &construct)
        .def("step", &step, "Read x (B, D), write h and c (B, H); c is 0 for a GRU.");  // too short to let the GIL go
    module.def("threads_from", [] { return harken::openmp() ? "libgomp" : "std::thread"; });
    module.attr("LEVEL") = harken::level();
}
