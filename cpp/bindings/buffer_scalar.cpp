#include "buffer_scalar.hpp"

#include <cmath>
#include <cstring>

#include "buffer_format.hpp"

namespace loomy::py {
namespace {

template <class T>
bool put(void* place, T value) noexcept {
    std::memcpy(place, &value, sizeof value);
    return true;
}

bool does_not_fit(PyObject* value, loomy_dtype dtype) {
    PyObject* text = PyObject_Repr(value);
    if (text == nullptr) { // an int may have more digits than Python shows
        if (PyErr_ExceptionMatches(PyExc_ValueError) == 0) return false;
        PyErr_Clear();
        text = PyUnicode_FromFormat("of type %.100s", Py_TYPE(value)->tp_name);
        if (text == nullptr) return false;
    }
    PyErr_Format(PyExc_ValueError, "%.60U%s does not fit into %s", text,
                 PyUnicode_GET_LENGTH(text) > 60 ? "..." : "", spelling_of(dtype).c_str());
    Py_DECREF(text);
    return false;
}

// With the error set that converting it to a double left: the answer, if it is too large for that.
bool overflow_does_not_fit(PyObject* value, loomy_dtype dtype) {
    if (PyErr_ExceptionMatches(PyExc_OverflowError) == 0) return false;
    PyErr_Clear();
    return does_not_fit(value, dtype);
}

// False if it does not fit; infinity does.
bool narrow(double wide, float& into) noexcept {
    into = static_cast<float>(wide);
    return !std::isinf(into) || std::isinf(wide);
}

bool signed_into(PyObject* value, PyObject* number, loomy_dtype dtype, void* place) {
    int overflow = 0;
    const long long wide = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (wide == -1 && overflow == 0 && PyErr_Occurred() != nullptr) return false;
    const long long limit = dtype.bits == 64 ? 0 : 1LL << (dtype.bits - 1);
    if (overflow != 0 || (limit != 0 && (wide < -limit || wide >= limit))) return does_not_fit(value, dtype);
    switch (dtype.bits) {
        case 8:
            return put(place, static_cast<std::int8_t>(wide));
        case 16:
            return put(place, static_cast<std::int16_t>(wide));
        case 32:
            return put(place, static_cast<std::int32_t>(wide));
        default:
            return put(place, static_cast<std::int64_t>(wide));
    }
}

bool unsigned_into(PyObject* value, PyObject* number, loomy_dtype dtype, void* place) {
    const unsigned long long wide = PyLong_AsUnsignedLongLong(number);
    if (wide == static_cast<unsigned long long>(-1) && PyErr_Occurred() != nullptr) {
        if (!PyErr_ExceptionMatches(PyExc_OverflowError)) return false;
        PyErr_Clear();
        return does_not_fit(value, dtype);
    }
    if (dtype.bits < 64 && (wide >> dtype.bits) != 0) return does_not_fit(value, dtype);
    switch (dtype.bits) {
        case 8:
            return put(place, static_cast<std::uint8_t>(wide));
        case 16:
            return put(place, static_cast<std::uint16_t>(wide));
        case 32:
            return put(place, static_cast<std::uint32_t>(wide));
        default:
            return put(place, static_cast<std::uint64_t>(wide));
    }
}

bool integer_into(PyObject* value, loomy_dtype dtype, void* place) {
    PyObject* const number = PyNumber_Index(value);
    if (number == nullptr) return false;
    const bool done = dtype.code == LOOMY_INT ? signed_into(value, number, dtype, place)
                                              : unsigned_into(value, number, dtype, place);
    Py_DECREF(number);
    return done;
}

bool float_into(PyObject* value, loomy_dtype dtype, void* place) {
    const double wide = PyFloat_AsDouble(value);
    if (wide == -1.0 && PyErr_Occurred() != nullptr) return overflow_does_not_fit(value, dtype);
    if (dtype.bits == 64) return put(place, wide);
    if (dtype.bits == 32) {
        float less = 0;
        return narrow(wide, less) ? put(place, less) : does_not_fit(value, dtype);
    }
    if (PyFloat_Pack2(wide, static_cast<char*>(place), PY_LITTLE_ENDIAN) == 0) return true;
    PyErr_Clear();
    return does_not_fit(value, dtype);
}

bool complex_into(PyObject* value, loomy_dtype dtype, void* place) {
    const Py_complex wide = PyComplex_AsCComplex(value);
    if (wide.real == -1.0 && PyErr_Occurred() != nullptr) return overflow_does_not_fit(value, dtype);
    if (dtype.bits == 128) {
        const double parts[] = {wide.real, wide.imag};
        std::memcpy(place, parts, sizeof parts);
    } else {
        float parts[2];
        if (!narrow(wide.real, parts[0]) || !narrow(wide.imag, parts[1])) return does_not_fit(value, dtype);
        std::memcpy(place, parts, sizeof parts);
    }
    return true;
}

bool bool_into(PyObject* value, void* place) {
    int truth = PyBool_Check(value) != 0 ? value == Py_True : -1;
    Py_buffer view;
    if (truth < 0 && PyObject_CheckBuffer(value) != 0) { // NumPy's bool
        if (PyObject_GetBuffer(value, &view, PyBUF_STRIDES | PyBUF_FORMAT) < 0) return false;
        if (view.ndim == 0 && element_of(view.format, view.itemsize).dtype.code == LOOMY_BOOL)
            truth = *static_cast<const char*>(view.buf) != 0;
        PyBuffer_Release(&view);
    }
    if (truth < 0) {
        PyErr_Format(PyExc_TypeError, "must be a bool, not %.100s", Py_TYPE(value)->tp_name);
        return false;
    }
    return put(place, static_cast<std::uint8_t>(truth));
}

// Many arrays of one element would let themselves be converted, which hides mistakes; and NumPy's complex
// numbers would, to a real one, by losing their imaginary part.
bool is_number(PyObject* value, bool may_be_complex) {
    if (PyFloat_Check(value) != 0 || PyLong_Check(value) != 0) return true;
    bool complex = PyComplex_Check(value) != 0;
    if (!complex && PyObject_CheckBuffer(value) != 0) { // else what it is converted with will tell
        Py_buffer view;
        if (PyObject_GetBuffer(value, &view, PyBUF_STRIDES | PyBUF_FORMAT) < 0) return false;
        const int ndim = view.ndim;
        complex = is_complex(view.format);
        PyBuffer_Release(&view);
        if (ndim != 0) {
            PyErr_Format(PyExc_TypeError, "must be a number, not an array (%.100s of %d dimension%s)",
                         Py_TYPE(value)->tp_name, ndim, ndim == 1 ? "" : "s");
            return false;
        }
    }
    if (!complex || may_be_complex) return true;
    PyErr_Format(PyExc_TypeError, "must be a real number, not a complex one (%.100s)",
                 Py_TYPE(value)->tp_name);
    return false;
}

} // namespace

bool scalar_into(PyObject* value, loomy_dtype dtype, void* place) {
    if (dtype.code == LOOMY_BOOL) return bool_into(value, place);
    if (!is_number(value, dtype.code == LOOMY_COMPLEX)) return false;
    switch (dtype.code) {
        case LOOMY_INT:
        case LOOMY_UINT:
            return integer_into(value, dtype, place);
        case LOOMY_COMPLEX:
            return complex_into(value, dtype, place);
        default:
            return float_into(value, dtype, place);
    }
}

loomy_dtype natural_dtype(PyObject* value) noexcept {
    if (PyBool_Check(value) != 0) return {LOOMY_BOOL, 8, 1};
    if (PyLong_Check(value) != 0) return {LOOMY_INT, 64, 1};
    if (PyFloat_CheckExact(value) != 0) return {LOOMY_FLOAT, 64, 1};
    if (PyComplex_CheckExact(value) != 0) return {LOOMY_COMPLEX, 128, 1};
    return {0, 0, 0};
}

// By name: NumPy may not be there.
bool is_numpy_scalar(PyObject* value) noexcept {
    PyObject* const bases = Py_TYPE(value)->tp_mro;
    for (Py_ssize_t i = 0; bases != nullptr && i < PyTuple_GET_SIZE(bases); ++i) {
        const auto* const base = reinterpret_cast<PyTypeObject*>(PyTuple_GET_ITEM(bases, i));
        if (std::strcmp(base->tp_name, "numpy.generic") == 0) return true;
    }
    return false;
}

} // namespace loomy::py
