#include "kernel_check.hpp"

#include <cstdarg>

#include "buffer_format.hpp"
#include "buffer_overlap.hpp"
#include "errors.hpp"
#include "kernel_elements.hpp"

namespace loomy::py {

// Messages.

std::string argument_check::label(std::uint32_t i) const {
    const auto* const known = kernel_.signature && i < kernel_.signature->parameters.size()
                                  ? &kernel_.signature->parameters[i]
                                  : nullptr;
    if (known != nullptr && !known->name.empty()) return "argument '" + known->name + "'";
    return "argument " + std::to_string(i + 1);
}

bool argument_check::fail(PyObject* type, std::uint32_t i, const char* format, ...) const {
    va_list values;
    va_start(values, format);
    PyObject* const what = PyUnicode_FromFormatV(format, values);
    va_end(values);
    if (what == nullptr) return false;
    PyErr_Format(type, "kernel '%U': %s %U", name_, label(i).c_str(), what);
    Py_DECREF(what);
    return false;
}

bool argument_check::fail_as_set(std::uint32_t i) const {
    PyObject* const raised = errors::take_raised();
    PyObject* type = reinterpret_cast<PyObject*>(Py_TYPE(raised));
    if (type == PyExc_OverflowError) type = PyExc_ValueError; // a number that C has no room for
    PyObject* const what = type == PyExc_TypeError || type == PyExc_ValueError || type == PyExc_BufferError
                               ? PyObject_Str(raised)
                               : nullptr;
    if (what != nullptr) {
        PyErr_Format(type, "kernel '%U': %s %U", name_, label(i).c_str(), what);
        Py_DECREF(what);
    } else {
        PyErr_Clear();
        errors::raise(raised);
    }
    Py_DECREF(raised);
    return false;
}

// How many.

bool argument_check::count_fits() const {
    std::uint32_t least = 0;
    std::uint32_t most = kernel_signature::most_parameters;
    switch (kernel_.rule) {
        case argument_rule::one_block:
            most = 1;
            break;
        case argument_rule::each_element:
            least = kernel_.bare.inputs != 0 ? kernel_.bare.inputs + 1 : 2;
            most = kernel_.bare.inputs != 0 ? least : element_walk::most_arguments;
            break;
        case argument_rule::loop:
            least = 1;
            break;
        case argument_rule::as_declared:
            break;
    }
    if (kernel_.signature) least = most = static_cast<std::uint32_t>(kernel_.signature->parameters.size());
    if (count_ >= least && count_ <= most) return true;
    PyErr_Format(PyExc_TypeError, "kernel '%U' takes %s%u argument%s, got %u", name_,
                 least == most ? "" : (count_ < least ? "at least " : "at most "),
                 count_ < least ? least : most, (count_ < least ? least : most) == 1 ? "" : "s", count_);
    return false;
}

// Each by itself.

bool argument_check::is_written(std::uint32_t i) const noexcept {
    if (kernel_.signature) return kernel_.signature->parameters[i].written;
    return (kernel_.rule == argument_rule::each_element || kernel_.rule == argument_rule::loop) &&
           i + 1 == count_;
}

bool argument_check::take_all(held_argument* held, loomy_buffer* buffers) const {
    for (std::uint32_t i = 0; i < count_; ++i) {
        if (!take(i, held[i], buffers[i])) return false;
    }
    return true;
}

bool argument_check::take(std::uint32_t i, held_argument& held, loomy_buffer& buffer) const {
    if (kernel_.signature) return take_declared(i, kernel_.signature->parameters[i], held, buffer);
    if (kernel_.rule == argument_rule::each_element) return take_element(i, held, buffer);
    if (kernel_.rule == argument_rule::one_block) {
        if (!held.take_array(args_[i], true, buffer)) return fail_as_set(i);
        if ((buffer.flags & LOOMY_BUF_READONLY) != 0)
            return fail(PyExc_BufferError, i,
                        "is read-only, and what a range function is given may be written");
        return check_one_block(i, buffer);
    }
    return take_unchecked(i, held, buffer);
}

// Numbers as what they are, arrays as they come.
bool argument_check::take_unchecked(std::uint32_t i, held_argument& held, loomy_buffer& buffer) const {
    const loomy_dtype natural = natural_dtype(args_[i]);
    if (natural.lanes != 0 && !is_written(i))
        return held.take_number(args_[i], natural, buffer) || fail_as_set(i);
    if (!held.take_array(args_[i], is_written(i), buffer)) return fail_as_set(i);
    if (is_written(i) && (buffer.flags & LOOMY_BUF_READONLY) != 0)
        return fail(PyExc_BufferError, i, "is written to, but it is read-only");
    if (kernel_.rule != argument_rule::loop) return true;
    // It is not told what the elements are, and no worker may touch a reference to an object.
    if (buffer.dtype.code == opaque_code) {
        return fail(PyExc_TypeError, i, "has %s; a NumPy loop without a signature takes numbers",
                    spelling_of(buffer.dtype).c_str());
    }
    if (buffer.ndim > 1) {
        return fail(PyExc_ValueError, i,
                    "has %d dimensions; a NumPy loop without a signature takes one, or numbers",
                    static_cast<int>(buffer.ndim));
    }
    return true;
}

bool argument_check::take_declared(std::uint32_t i, const parameter& as, held_argument& held,
                                   loomy_buffer& buffer) const {
    if (!as.is_array && !as.written) return held.take_number(args_[i], as.dtype, buffer) || fail_as_set(i);
    if (!held.take_array(args_[i], as.written, buffer)) return fail_as_set(i);
    if (!check_array(i, as.dtype, as.written, buffer)) return false;
    if (buffer.ndim != static_cast<std::int32_t>(as.dimensions.size())) {
        return fail(PyExc_ValueError, i, "has %d dimension%s where the kernel takes %d",
                    static_cast<int>(buffer.ndim), buffer.ndim == 1 ? "" : "s",
                    static_cast<int>(as.dimensions.size()));
    }
    if (as.contiguous && (buffer.flags & LOOMY_BUF_C_CONTIG) == 0)
        return fail(PyExc_ValueError, i, "must be C-contiguous; copy it (NumPy: np.ascontiguousarray(x))");
    return kernel_.rule != argument_rule::one_block || check_one_block(i, buffer);
}

// Whatever the signature says: the function gets an address, and no strides.
bool argument_check::check_one_block(std::uint32_t i, const loomy_buffer& buffer) const {
    if ((buffer.flags & LOOMY_BUF_C_CONTIG) != 0) return true;
    return fail(PyExc_ValueError, i, "must be one block of memory, C-contiguous");
}

bool argument_check::take_element(std::uint32_t i, held_argument& held, loomy_buffer& buffer) const {
    const bool output = i + 1 == count_;
    if (!output && (natural_dtype(args_[i]).lanes != 0 || is_numpy_scalar(args_[i])))
        return held.take_number(args_[i], kernel_.bare.element, buffer) || fail_as_set(i);
    if (!held.take_array(args_[i], output, buffer)) return fail_as_set(i);
    return check_array(i, kernel_.bare.element, output, buffer);
}

bool argument_check::check_array(std::uint32_t i, loomy_dtype dtype, bool written,
                                 const loomy_buffer& buffer) const {
    if (!same(buffer.dtype, dtype)) {
        return fail(PyExc_TypeError, i, "has elements of %s where the kernel takes %s",
                    spelling_of(buffer.dtype).c_str(), spelling_of(dtype).c_str());
    }
    if (written && (buffer.flags & LOOMY_BUF_READONLY) != 0)
        return fail(PyExc_BufferError, i, "is written to, but it is read-only");
    if ((buffer.flags & LOOMY_BUF_ALIGNED) == 0)
        return fail(PyExc_ValueError, i,
                    "is misaligned: an element is not at a multiple of %d bytes; copy it",
                    static_cast<int>(alignment_of(dtype)));
    return true;
}

// All together.

bool argument_check::is_by_elements(std::uint32_t i) const noexcept {
    if (kernel_.rule == argument_rule::each_element) return true;
    if (kernel_.rule != argument_rule::loop) return false;
    // A row that is read in another order than it is written, or a table that all items read, is no place for
    // output.
    return !kernel_.signature ||
           (kernel_.bare.along_n[i] && kernel_.signature->parameters[i].dimensions.size() == 1);
}

bool argument_check::overlaps(const loomy_buffer* buffers) const {
    if (!kernel_.signature &&
        (kernel_.rule == argument_rule::as_declared || kernel_.rule == argument_rule::one_block)) {
        return true; // nobody knows what is written
    }
    for (std::uint32_t i = 0; i < count_; ++i) {
        if (!is_written(i)) continue;
        if (may_overlap_itself(buffers[i]))
            return fail(PyExc_ValueError, i, "is written to, but some of its elements share memory");
        for (std::uint32_t k = 0; k < count_; ++k) {
            if (k == i || (k < i && is_written(k)) || !may_overlap(buffers[i], buffers[k])) continue;
            const bool may_be_in_place = is_by_elements(i) && is_by_elements(k) && !is_written(k);
            if (may_be_in_place && is_same_array(buffers[i], buffers[k])) continue;
            return fail(PyExc_ValueError, i, "is written to, but shares memory with %s", label(k).c_str());
        }
    }
    return true;
}

} // namespace loomy::py
