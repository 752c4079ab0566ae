// Kernels in C++ with loomy/kernel.hpp, and one that is not wrapped by it.
#include <loomy/kernel.hpp>

#include <cstdint>
#include <new>
#include <stdexcept>
#include <system_error>

namespace {

void throw_kind(loomy::range r, std::int64_t kind) {
    for (auto i : r) {
        if (i != 5) continue;
        switch (kind) {
            case 0:
                throw std::runtime_error("runtime");
            case 1:
                throw std::invalid_argument("invalid");
            case 2:
                throw std::out_of_range("range");
            case 3:
                throw std::overflow_error("overflow");
            case 4:
                throw std::bad_alloc();
            case 5:
                throw std::system_error(std::make_error_code(std::errc::io_error), "system");
            case 6:
                throw loomy::error(LOOMY_EZERODIV, "zero");
            case 7:
                throw loomy::error(LOOMY_ENOTIMPL, "later");
            case 8:
                throw 42;
        }
    }
}

void axpy(loomy::range r, loomy::in<double> x, loomy::inout<double> y, double a) {
    for (auto i : r) y[i] += a * x[i];
}

int unwrapped(const loomy_call*) {
    throw std::runtime_error("nobody caught this");
}

} // namespace

LOOMY_KERNEL(throw_kind)
LOOMY_KERNEL(axpy)

extern "C" LOOMY_EXPORT const loomy_kernel* loomy_kernel_unwrapped() {
    static const loomy_kernel kernel = {
        LOOMY_KERNEL_HEADER, "unwrapped", "", nullptr, &unwrapped, nullptr, nullptr, nullptr, 0, 0};
    return &kernel;
}

extern "C" LOOMY_EXPORT int bare_unwrapped(std::intptr_t, std::intptr_t, void*) {
    throw std::logic_error("out of a bare function");
}
