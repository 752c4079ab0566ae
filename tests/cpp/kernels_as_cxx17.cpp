// What a user of loomy/kernel.hpp writes.
#include "loomy/kernel.hpp"

#include <cmath>
#include <complex>
#include <cstdint>
#include <ios>
#include <new>
#include <stdexcept>
#include <system_error>

static void saxpy(loomy::range r, loomy::in<double> x, loomy::inout<double> y, double a) {
    for (const auto i : r) y[i] += a * x[i];
}
LOOMY_KERNEL(saxpy)

static void row_sums(const loomy::chunk& c, loomy::in<float, 2> m, loomy::out<double> sums) noexcept {
    for (const auto i : c.items()) {
        double sum = 0;
        for (loomy::index j = 0; j < m.size(1); ++j) sum += static_cast<double>(m(i, j));
        sums[i] = sum;
    }
}
LOOMY_KERNEL(row_sums)

static loomy_status every_type(loomy::range, loomy::in<std::int8_t> a, loomy::in<std::uint16_t> b,
                               loomy::in<std::int64_t, 3> c, loomy::in<bool> d,
                               loomy::in<std::complex<float>, 1, loomy::contiguous> e,
                               loomy::out_table<std::complex<double>> f, bool g, std::int32_t h) {
    (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
    return LOOMY_OK;
}
LOOMY_KERNEL_NAMED(types, every_type, 32, LOOMY_K_FIXED)

static void throws(loomy::range r, std::int64_t which) {
    (void)r;
    switch (which) {
        case 0:
            throw std::bad_alloc();
        case 1:
            throw std::out_of_range("out of range");
        case 2:
            throw std::invalid_argument("invalid");
        case 3:
            throw std::overflow_error("overflow");
        case 4:
            throw std::system_error(std::make_error_code(std::errc::no_such_file_or_directory), "open");
        case 5:
            throw std::logic_error("logic");
        case 6:
            throw loomy::error(LOOMY_EZERODIV, "division by 0 (100 %s)");
        case 7:
            throw loomy::cancelled();
        default:
            throw 7;
    }
}
LOOMY_KERNEL(throws)

// Sums of sums: nested loops, scratch memory, an error in the innermost part.
static void nested(loomy::chunk c, loomy::out<double> y, double bad) {
    for (const auto i : c.items()) {
        double* const parts = c.scratch<double>(4);
        c.parallel_for(0, 4, 1, [&](loomy::range r) {
            for (const auto j : r) {
                if (static_cast<double>(i * 4 + j) == bad)
                    throw std::out_of_range("part " + std::to_string(j));
                parts[j] = static_cast<double>(i * j);
            }
        });
        c.parallel_for(0, 1, 0, [&](loomy::chunk inner) {
            inner.stop_point();
            y[i] = parts[0] + parts[1] + parts[2] + parts[3];
        });
    }
}
LOOMY_KERNEL(nested)

static void polls(loomy::chunk c) {
    for (;;) c.stop_point();
}
LOOMY_KERNEL(polls)
