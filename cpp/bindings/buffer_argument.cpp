#include "buffer_argument.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "buffer_format.hpp"

namespace loomy::py {
namespace {

std::uint32_t layout_flags(const loomy_buffer& of) noexcept {
    bool gapless = true;
    bool aligned = true;
    bool empty = false;
    const std::int64_t alignment = alignment_of(of.dtype);
    std::int64_t expected = of.itemsize;
    for (std::int32_t d = of.ndim; d-- > 0;) {
        empty = empty || of.shape[d] == 0;
        if (of.shape[d] > 1) {
            gapless = gapless && of.strides[d] == expected;
            aligned = aligned && of.strides[d] % alignment == 0;
        }
        expected *= of.shape[d];
    }
    aligned =
        aligned && reinterpret_cast<std::uintptr_t>(of.data) % static_cast<std::uintptr_t>(alignment) == 0;
    return (gapless || empty ? LOOMY_BUF_C_CONTIG : 0u) | (aligned || empty ? LOOMY_BUF_ALIGNED : 0u);
}

} // namespace

void fill_c_strides(std::int64_t* strides, const std::int64_t* shape, std::int32_t ndim,
                    std::int64_t itemsize) noexcept {
    for (std::int32_t d = ndim; d-- > 0;) {
        strides[d] = itemsize;
        itemsize *= std::max<std::int64_t>(shape[d], 1);
    }
}

bool held_argument::describe(loomy_buffer& out, const std::int64_t* shape, const std::int64_t* strides) {
    const auto count = static_cast<std::size_t>(out.ndim);
    std::int64_t* place = lengths_.data();
    if (count > usual_dimensions) {
        more_lengths_.reset(new (std::nothrow) std::int64_t[2 * count]);
        place = more_lengths_.get();
        if (place == nullptr) {
            PyErr_NoMemory();
            return false;
        }
    }
    std::copy(shape, shape + count, place);
    if (strides != nullptr) {
        std::copy(strides, strides + count, place + count);
    } else {
        fill_c_strides(place + count, shape, out.ndim, out.itemsize);
    }
    out.shape = place;
    out.strides = place + count;
    out.reserved = 0;
    out.flags |= layout_flags(out);
    return true;
}

bool held_argument::take_array(PyObject* object, bool written, loomy_buffer& out) {
    if (PyObject_CheckBuffer(object) != 0) return take_buffer(object, written, out);
    switch (lends_tensors(object)) {
        case 1:
            return take_lent(object, out);
        case 0:
            PyErr_Format(PyExc_TypeError,
                         "must be an array (the buffer protocol, or __dlpack__ on the CPU), not %.100s",
                         Py_TYPE(object)->tp_name);
            return false;
        default:
            return false;
    }
}

bool held_argument::take_buffer(PyObject* object, bool written, loomy_buffer& out) {
    constexpr int how = PyBUF_STRIDES | PyBUF_FORMAT;
    if (PyObject_GetBuffer(object, &view_, written ? how | PyBUF_WRITABLE : how) < 0) {
        // Exporters have each their own error for being read-only. If it is that, the caller says so.
        if (!written || PyErr_ExceptionMatches(PyExc_Exception) == 0) return false;
        PyObject *type = nullptr, *value = nullptr, *traceback = nullptr;
        PyErr_Fetch(&type, &value, &traceback);
        const bool other_reason = PyObject_GetBuffer(object, &view_, how) < 0 || view_.readonly == 0;
        if (other_reason) {
            if (PyErr_Occurred() == nullptr) PyBuffer_Release(&view_);
            PyErr_Restore(type, value, traceback);
            return false;
        }
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(traceback);
    }
    kind_ = kind::buffer;
    const element_type element = element_of(view_.format, view_.itemsize);
    if (element.swapped) {
        PyErr_Format(PyExc_TypeError,
                     "has the byte order of other machines; kernels take this one's, copy it (NumPy: "
                     "x.astype(x.dtype.newbyteorder('=')))");
        return false;
    }
    out.data = view_.buf;
    out.ndim = view_.ndim;
    out.dtype = element.dtype;
    out.itemsize = view_.itemsize;
    out.flags = view_.readonly != 0 ? LOOMY_BUF_READONLY : 0u;
    std::array<std::int64_t, 64> shape{}; // the most that the buffer protocol allows
    std::array<std::int64_t, 64> strides{};
    for (int d = 0; d < view_.ndim; ++d) {
        shape[static_cast<std::size_t>(d)] = view_.shape[d];
        if (view_.strides != nullptr) strides[static_cast<std::size_t>(d)] = view_.strides[d];
    }
    return describe(out, shape.data(), view_.strides != nullptr ? strides.data() : nullptr);
}

bool held_argument::take_lent(PyObject* object, loomy_buffer& out) {
    if (!take_tensor(object, tensor_)) return false;
    kind_ = kind::tensor;
    const std::int64_t itemsize = (std::int64_t{tensor_.dtype.bits} * tensor_.dtype.lanes + 7) / 8;
    out.data = tensor_.data;
    out.ndim = tensor_.ndim;
    out.dtype = tensor_.dtype;
    out.itemsize = itemsize;
    out.flags = tensor_.readonly ? LOOMY_BUF_READONLY : 0u;
    if (tensor_.ndim > 64) {
        PyErr_Format(PyExc_ValueError, "has %d dimensions; 64 are the most", static_cast<int>(tensor_.ndim));
        return false;
    }
    if (tensor_.strides == nullptr) return describe(out, tensor_.shape, nullptr);
    std::array<std::int64_t, 64> strides{};
    for (std::int32_t d = 0; d < tensor_.ndim; ++d)
        strides[static_cast<std::size_t>(d)] = tensor_.strides[d] * itemsize;
    return describe(out, tensor_.shape, strides.data());
}

bool held_argument::take_number(PyObject* object, loomy_dtype dtype, loomy_buffer& out) {
    if (!scalar_into(object, dtype, value_)) return false;
    out.data = value_;
    out.ndim = 0;
    out.dtype = dtype;
    out.itemsize = size_of(dtype);
    out.flags = LOOMY_BUF_READONLY;
    return describe(out, nullptr, nullptr);
}

void held_argument::let_go() {
    switch (std::exchange(kind_, kind::nothing)) {
        case kind::buffer:
            PyBuffer_Release(&view_);
            break;
        case kind::tensor:
            tensor_.give_back();
            break;
        case kind::nothing:
            break;
    }
}

} // namespace loomy::py
