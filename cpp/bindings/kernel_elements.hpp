#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "kernel_shapes.hpp"
#include "loomy/exec/launch.hpp"
#include "loomy/kernel.h"

namespace loomy::py {

// Where the arguments of a function of single elements are: the inputs, then the output. All arrays have the
// output's shape, numbers stay where they are; items are counted in C order.
class element_walk {
  public:
    static constexpr std::size_t most_arguments = 32;
    static constexpr std::size_t most_dimensions = 64;

    element_walk(const loomy_call* call, std::int64_t item) noexcept
        : args_(call->launch->args), count_(call->launch->nargs), shape_(args_[count_ - 1]) {
        for (std::uint32_t i = 0; i < count_; ++i) at_[i] = static_cast<char*>(args_[i].data);
        for (std::int32_t d = shape_.ndim; d-- > 0;) {
            const std::int64_t length = shape_.shape[d];
            index_[static_cast<std::size_t>(d)] = item % length;
            move(d, item % length);
            item /= length;
        }
    }

    [[nodiscard]] char* at(std::uint32_t argument) const noexcept { return at_[argument]; }
    // From one item to the next along the last dimension, and how many there are to its end.
    [[nodiscard]] std::int64_t step(std::uint32_t argument) const noexcept {
        const loomy_buffer& one = args_[argument];
        return one.ndim == 0 ? 0 : one.strides[one.ndim - 1];
    }
    [[nodiscard]] std::int64_t left_in_row() const noexcept {
        if (shape_.ndim == 0) return 1;
        return shape_.shape[shape_.ndim - 1] - index_[static_cast<std::size_t>(shape_.ndim - 1)];
    }
    // After the last item of a row, or `done` items of it.
    void advance(std::int64_t done) noexcept {
        std::int32_t d = shape_.ndim - 1;
        if (d < 0) return;
        index_[static_cast<std::size_t>(d)] += done;
        move(d, done);
        for (; d > 0 && index_[static_cast<std::size_t>(d)] == shape_.shape[d]; --d) {
            move(d, -shape_.shape[d]);
            index_[static_cast<std::size_t>(d)] = 0;
            ++index_[static_cast<std::size_t>(d - 1)];
            move(d - 1, 1);
        }
    }

  private:
    void move(std::int32_t dimension, std::int64_t by) noexcept {
        for (std::uint32_t i = 0; i < count_; ++i) {
            if (args_[i].ndim != 0) at_[i] += by * args_[i].strides[dimension];
        }
    }

    const loomy_buffer* const args_;
    const std::uint32_t count_;
    const loomy_buffer& shape_;
    std::array<char*, most_arguments> at_;
    std::array<std::int64_t, most_dimensions> index_;
};

// The inputs of one row.
template <class T>
struct input_row {
    std::array<const char*, element_walk::most_arguments> start;
    std::array<std::int64_t, element_walk::most_arguments> step;
    std::uint32_t count;
    void* user;

    [[nodiscard]] T operator()(std::uint32_t input, std::int64_t k) const noexcept {
        return *reinterpret_cast<const T*>(start[input] + k * step[input]);
    }
    [[nodiscard]] std::array<T, element_walk::most_arguments> all(std::int64_t k) const noexcept {
        std::array<T, element_walk::most_arguments> values;
        for (std::uint32_t i = 0; i < count; ++i) values[i] = (*this)(i, k);
        return values;
    }
};

template <class T>
T apply(T (*fn)(T), const input_row<T>& in, std::int64_t k) {
    return fn(in(0, k));
}
template <class T>
T apply(T (*fn)(T, void*), const input_row<T>& in, std::int64_t k) {
    return fn(in(0, k), in.user);
}
template <class T>
T apply(T (*fn)(T, T), const input_row<T>& in, std::int64_t k) {
    return fn(in(0, k), in(1, k));
}
template <class T>
T apply(T (*fn)(T, T, void*), const input_row<T>& in, std::int64_t k) {
    return fn(in(0, k), in(1, k), in.user);
}
template <class T>
T apply(T (*fn)(int, T*), const input_row<T>& in, std::int64_t k) {
    auto values = in.all(k);
    return fn(static_cast<int>(in.count), values.data());
}
template <class T>
T apply(T (*fn)(int, T*, void*), const input_row<T>& in, std::int64_t k) {
    auto values = in.all(k);
    return fn(static_cast<int>(in.count), values.data(), in.user);
}

// How many elements may pass before the next look whether to stop, whatever one costs.
inline constexpr std::int64_t elements_per_look = 256;

template <class T, class Function>
int run_each(const loomy_call* call) {
    const auto& self = *static_cast<const bare_function*>(call->launch->user_data);
    const auto fn = reinterpret_cast<Function>(self.address);
    const error_watch errors = chunk_call::of(call).errors;
    const std::uint32_t inputs = call->launch->nargs - 1;
    element_walk walk(call, call->begin);
    input_row<T> in;
    in.count = inputs;
    in.user = self.user;
    for (std::uint32_t i = 0; i < inputs; ++i) in.step[i] = walk.step(i);
    const std::int64_t out_step = walk.step(inputs);
    for (std::int64_t item = call->begin; item < call->end;) {
        if (loomy_should_stop(call) != 0) return LOOMY_CANCELLED;
        const std::int64_t count = std::min({walk.left_in_row(), call->end - item, elements_per_look});
        for (std::uint32_t i = 0; i < inputs; ++i) in.start[i] = walk.at(i);
        char* out = walk.at(inputs);
        for (std::int64_t k = 0; k < count; ++k, out += out_step) {
            *reinterpret_cast<T*>(out) = apply<T>(fn, in, k);
            // Cython's functions raise whatever they return, and must not be called with an error set.
            if (errors.raised()) [[unlikely]]
                return LOOMY_EPYTHON;
        }
        item += count;
        walk.advance(count);
    }
    return LOOMY_OK;
}

} // namespace loomy::py
