// Kernels in C++.
#include <loomy/kernel.hpp>

static void saxpy(loomy::range r, loomy::in<double> x, loomy::inout<double> y, double a) {
    for (auto i : r) y[i] += a * x[i];
}
LOOMY_KERNEL(saxpy)

// The sum of each chunk goes to its own place, so that adding those up in order gives the same bits each
// time.
static void partial_sums(loomy::chunk c, loomy::in<double> x, loomy::out_table<double> sums) {
    if (c.number() >= sums.size()) throw loomy::error(LOOMY_EINDEX, "sums has no place for every chunk");
    double sum = 0;
    for (auto i : c.items()) sum += x[i];
    sums[c.number()] = sum;
}
LOOMY_KERNEL_NAMED(partial_sums, partial_sums, 0, LOOMY_K_FIXED)
