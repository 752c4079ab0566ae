#pragma once

#include <Python.h>

#include <cstdint>

#include "loomy/kernel.h"

namespace loomy::py {

// A tensor that somebody lends through __dlpack__.
struct lent_tensor {
    void* data;
    const std::int64_t* shape;
    const std::int64_t* strides; // in elements; null: C order without gaps
    std::int32_t ndim;
    loomy_dtype dtype;
    bool readonly;
    // To be given back, attached, with give_back.
    void* managed;
    bool versioned;

    void give_back() const;
};

// Whether the object lends tensors. -1 with an error set.
[[nodiscard]] int lends_tensors(PyObject* object);

// Asks for it. False with an error set: BufferError if it is not in the memory of the CPU.
[[nodiscard]] bool take_tensor(PyObject* object, lent_tensor& into);

} // namespace loomy::py
