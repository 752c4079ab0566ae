#pragma once

#include <Python.h>

#include <atomic>
#include <cfenv>
#include <cstdint>
#include <vector>

#include "ufunc_chunks.hpp"
#include "ufunc_numpy.hpp"

namespace loomy::py {

// The inner loop of a ufunc over a whole iteration space, cut into items of about `block` elements that may
// run on any thread in any order. NumPy has resolved types and strides; no element is cast or copied here.
//
// What a loop computes must not depend on the thread. Rounding mode and the like are the thread's, so the
// caller's are lent to whoever runs an item; floating-point flags are collected, for the caller to report.
class ufunc_loop final : public chunk_body {
  public:
    // A multiple of every vector length, so that a loop meets its remainder where NumPy's own call would.
    static constexpr std::int64_t block = 2048;

    // Attached, on the caller's thread. `views` are arrays of one shape, one for each operand, as
    // numpy.nditer orders their axes: the last is the innermost. Clears the caller's flags, as NumPy does
    // before a loop.
    ufunc_loop(const numpy::call_info& info, PyObject* views);

    [[nodiscard]] std::int64_t items() const noexcept { return items_; }
    [[nodiscard]] std::int64_t elements() const noexcept { return rows_ * row_length_; }
    // Runs items [begin, end), detached. False: the loop has failed, or has left a Python error on this
    // thread's state.
    [[nodiscard]] bool run(std::int64_t begin, std::int64_t end) override;

    // FE_* flags that were raised. After all items have run.
    [[nodiscard]] int flags() const noexcept { return flags_.load(std::memory_order_relaxed); }

  private:
    // One call of the loop: `count` elements from `from` on, of row `row`.
    [[nodiscard]] bool run_row(std::int64_t row, std::int64_t from, std::int64_t count) const;

    const numpy::call_info info_;
    std::vector<char*> data_;
    std::vector<Py_ssize_t> inner_strides_;
    std::vector<Py_ssize_t> outer_shape_;
    std::vector<Py_ssize_t> outer_strides_; // [axis][operand]
    std::int64_t rows_ = 1;
    std::int64_t row_length_ = 1;
    std::int64_t blocks_in_row_ = 1; // of a long row
    std::int64_t rows_in_item_ = 1;  // of short rows
    std::int64_t items_ = 0;
    const std::fenv_t environment_;
    std::atomic<int> flags_{0};
};

} // namespace loomy::py
