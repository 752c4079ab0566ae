#pragma once

#include <Python.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "buffer_dlpack.hpp"
#include "buffer_scalar.hpp"
#include "loomy/kernel.h"

namespace loomy::py {

// One argument of a launch, held so that its memory stays where it is: a buffer, a DLPack tensor or the value
// of a number. Made and let go attached; what it says may be read by any thread in between.
class held_argument {
  public:
    held_argument() noexcept = default;
    ~held_argument() { let_go(); }
    held_argument(const held_argument&) = delete;
    held_argument& operator=(const held_argument&) = delete;

    // Each fills `out`, whose shape and strides are this object's. False with an error set.

    // Whatever has the buffer protocol or __dlpack__. A buffer that is to be written is asked for as such.
    [[nodiscard]] bool take_array(PyObject* object, bool written, loomy_buffer& out);
    [[nodiscard]] bool take_number(PyObject* object, loomy_dtype dtype, loomy_buffer& out);

    void let_go();

  private:
    enum class kind : std::uint8_t { nothing, buffer, tensor };

    [[nodiscard]] bool take_buffer(PyObject* object, bool written, loomy_buffer& out);
    [[nodiscard]] bool take_lent(PyObject* object, loomy_buffer& out);
    [[nodiscard]] bool describe(loomy_buffer& out, const std::int64_t* shape, const std::int64_t* strides);

    static constexpr std::size_t usual_dimensions = 4;

    kind kind_ = kind::nothing;
    Py_buffer view_;
    lent_tensor tensor_;
    std::array<std::int64_t, 2 * usual_dimensions> lengths_; // shape, then strides
    std::unique_ptr<std::int64_t[]> more_lengths_;           // of more dimensions than usual
    alignas(largest_scalar) std::byte value_[largest_scalar];
};

// What C would call the order of an array: each dimension's step, in bytes, without gaps.
void fill_c_strides(std::int64_t* strides, const std::int64_t* shape, std::int32_t ndim,
                    std::int64_t itemsize) noexcept;

} // namespace loomy::py
