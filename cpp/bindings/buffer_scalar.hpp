#pragma once

#include <Python.h>

#include "loomy/kernel.h"

namespace loomy::py {

inline constexpr std::size_t largest_scalar = 16;

// A Python number as C has it. False with TypeError set if it is none, or ValueError if it does not fit.
[[nodiscard]] bool scalar_into(PyObject* value, loomy_dtype dtype, void* place);

// The dtype that a Python number has where nobody says which: b1, i8, f8 or c16; lanes 0 if it is none.
[[nodiscard]] loomy_dtype natural_dtype(PyObject* value) noexcept;

// Whether it is a scalar of NumPy's, which would pass for an array without dimensions as well.
[[nodiscard]] bool is_numpy_scalar(PyObject* value) noexcept;

} // namespace loomy::py
