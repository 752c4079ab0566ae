#include "buffer_dlpack.hpp"

namespace loomy::py {
namespace {

// The structs of DLPack's dlpack.h, which are its ABI.

struct dl_device {
    std::int32_t type, id;
};
struct dl_tensor {
    void* data;
    dl_device device;
    std::int32_t ndim;
    loomy_dtype dtype;
    std::int64_t* shape;
    std::int64_t* strides;
    std::uint64_t byte_offset;
};
struct dl_managed {
    dl_tensor tensor;
    void* context;
    void (*deleter)(dl_managed*);
};
struct dl_managed_versioned {
    std::uint32_t major, minor;
    void* context;
    void (*deleter)(dl_managed_versioned*);
    std::uint64_t flags;
    dl_tensor tensor;
};

constexpr std::int32_t cpu = 1;
constexpr std::uint64_t flag_read_only = 1;

bool is_on_cpu(PyObject* object) {
    PyObject* const answer = PyObject_CallMethod(object, "__dlpack_device__", nullptr);
    if (answer == nullptr) return false;
    PyObject* const pair = PySequence_Tuple(answer);
    Py_DECREF(answer);
    if (pair == nullptr) return false;
    const long type = PyTuple_GET_SIZE(pair) == 2 ? PyLong_AsLong(PyTuple_GET_ITEM(pair, 0)) : -1;
    Py_DECREF(pair);
    if (type == -1 && PyErr_Occurred() != nullptr) return false;
    if (type == cpu) return true;
    PyErr_Format(PyExc_BufferError,
                 "is on a device (DLPack device type %ld); kernels run on the CPU, copy it there", type);
    return false;
}

// Newer producers are asked for a version that can say that a tensor is read-only.
PyObject* ask(PyObject* object) {
    PyObject* const method = PyObject_GetAttrString(object, "__dlpack__");
    PyObject* const named = method != nullptr ? Py_BuildValue("{s:(ii)}", "max_version", 1, 0) : nullptr;
    PyObject* const none = named != nullptr ? PyTuple_New(0) : nullptr;
    PyObject* capsule = none != nullptr ? PyObject_Call(method, none, named) : nullptr;
    if (capsule == nullptr && none != nullptr && PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Clear();
        capsule = PyObject_CallNoArgs(method);
    }
    Py_XDECREF(none);
    Py_XDECREF(named);
    Py_XDECREF(method);
    return capsule;
}

bool fill(const dl_tensor& from, lent_tensor& into) {
    if (from.ndim < 0 || (from.ndim > 0 && from.shape == nullptr)) {
        PyErr_SetString(PyExc_BufferError, "its DLPack tensor has no shape");
        return false;
    }
    into.data = static_cast<char*>(from.data) + from.byte_offset;
    into.shape = from.shape;
    into.strides = from.strides;
    into.ndim = from.ndim;
    into.dtype = from.dtype;
    return true;
}

} // namespace

int lends_tensors(PyObject* object) {
    PyObject* const method =
        PyObject_GetAttrString(reinterpret_cast<PyObject*>(Py_TYPE(object)), "__dlpack__");
    if (method != nullptr) {
        Py_DECREF(method);
        return 1;
    }
    if (!PyErr_ExceptionMatches(PyExc_AttributeError)) return -1;
    PyErr_Clear();
    return 0;
}

bool take_tensor(PyObject* object, lent_tensor& into) {
    if (!is_on_cpu(object)) return false;
    PyObject* const capsule = ask(object);
    if (capsule == nullptr) return false;
    bool taken = false;
    if (PyCapsule_IsValid(capsule, "dltensor_versioned") != 0) {
        auto* const managed =
            static_cast<dl_managed_versioned*>(PyCapsule_GetPointer(capsule, "dltensor_versioned"));
        if (managed->major != 1) {
            PyErr_Format(PyExc_BufferError, "its DLPack tensor has version %u; version 1 is understood",
                         managed->major);
        } else if (fill(managed->tensor, into)) {
            into.readonly = (managed->flags & flag_read_only) != 0;
            into.managed = managed;
            into.versioned = true;
            taken = PyCapsule_SetName(capsule, "used_dltensor_versioned") == 0;
        }
    } else if (PyCapsule_IsValid(capsule, "dltensor") != 0) {
        auto* const managed = static_cast<dl_managed*>(PyCapsule_GetPointer(capsule, "dltensor"));
        if (fill(managed->tensor, into)) {
            into.readonly = false; // this version cannot say
            into.managed = managed;
            into.versioned = false;
            taken = PyCapsule_SetName(capsule, "used_dltensor") == 0;
        }
    } else {
        PyErr_SetString(PyExc_BufferError, "its __dlpack__() returned something else than a DLPack capsule");
    }
    Py_DECREF(capsule);
    return taken;
}

void lent_tensor::give_back() const {
    if (versioned) {
        auto* const one = static_cast<dl_managed_versioned*>(managed);
        if (one->deleter != nullptr) one->deleter(one);
    } else {
        auto* const one = static_cast<dl_managed*>(managed);
        if (one->deleter != nullptr) one->deleter(one);
    }
}

} // namespace loomy::py
