#include "ufunc_object.hpp"

#include <structmember.h> // after Python.h

#include <algorithm>
#include <cstddef>
#include <new>

#include "arguments.hpp"
#include "loomy/base/clock.hpp"
#include "python_module.hpp"
#include "ufunc_cost.hpp"
#include "ufunc_numpy.hpp"

namespace loomy::py {
namespace {

struct ufunc_object {
    PyObject_HEAD PyObject* weak_references;
    vectorcallfunc vectorcall;
    vectorcallfunc call_numpy; // of the ufunc that is wrapped
    PyObject* wrapped;
    PyObject* pool;   // or None for the default pool
    PyObject* shared; // loomy._ufunc's function for large calls; None if NumPy is to have them all
    PyTypeObject* array_type;
    ufunc_cost cost;
};

ufunc_object& of(PyObject* self) noexcept {
    return *reinterpret_cast<ufunc_object*>(self);
}

// Whether a call with these operands might compute so many elements; decides most small calls in some
// nanoseconds.
bool may_be_large(PyTypeObject* array_type, PyObject* const* args, Py_ssize_t count) noexcept {
    std::int64_t most = 1; // if those of different shape were broadcast along each other
    const numpy::array* first = nullptr;
    for (Py_ssize_t i = 0; i < count; ++i) {
        if (Py_TYPE(args[i]) != array_type) continue;
        const auto& operand = *reinterpret_cast<const numpy::array*>(args[i]);
        if (first == nullptr) {
            first = &operand;
        } else if (operand.dimensions == first->dimensions &&
                   std::equal(operand.shape, operand.shape + operand.dimensions, first->shape)) {
            continue;
        }
        for (int axis = 0; axis < operand.dimensions; ++axis) {
            most *= operand.shape[axis];
            if (most >= ufunc_cost::least_elements) return true;
        }
    }
    return false;
}

// How many elements it does compute, by NumPy's rules of broadcasting; 0 if the shapes do not fit.
std::int64_t elements_of(PyTypeObject* array_type, PyObject* const* args, Py_ssize_t count) noexcept {
    Py_ssize_t shape[numpy::max_dimensions]; // from the last axis
    int dimensions = 0;
    for (Py_ssize_t i = 0; i < count; ++i) {
        if (Py_TYPE(args[i]) != array_type) continue;
        const auto& operand = *reinterpret_cast<const numpy::array*>(args[i]);
        if (operand.dimensions > numpy::max_dimensions) return 0;
        for (int axis = 0; axis < operand.dimensions; ++axis) {
            const Py_ssize_t length = operand.shape[operand.dimensions - 1 - axis];
            if (axis >= dimensions) {
                shape[axis] = length;
                dimensions = axis + 1;
            } else if (shape[axis] == 1) {
                shape[axis] = length;
            } else if (length != 1 && length != shape[axis]) {
                return 0;
            }
        }
    }
    std::int64_t elements = 1;
    for (int axis = 0; axis < dimensions; ++axis) {
        if (shape[axis] == 0 || elements > PY_SSIZE_T_MAX / shape[axis]) return 0;
        elements *= shape[axis];
    }
    return elements;
}

PyObject* call_numpy_timed(ufunc_object& self, std::int64_t elements, PyObject* const* args,
                           std::size_t flags, PyObject* names) {
    const std::int64_t start = now_ns();
    PyObject* const result = self.call_numpy(self.wrapped, args, flags, names);
    if (result != nullptr) self.cost.add_alone(elements, now_ns() - start);
    return result;
}

PyObject* call_shared(ufunc_object& self, std::int64_t elements, PyObject* const* args, std::size_t flags,
                      PyObject* names) {
    const std::int64_t start = now_ns();
    PyObject* const result = PyObject_Vectorcall(self.shared, args, flags, names);
    if (result != Py_NotImplemented) {
        if (result != nullptr) self.cost.add_shared(elements, now_ns() - start);
        return result;
    }
    Py_DECREF(result);
    return call_numpy_timed(self, elements, args, flags, names);
}

PyObject* call_large(ufunc_object& self, PyObject* const* args, std::size_t flags, PyObject* names) {
    const std::int64_t elements = elements_of(self.array_type, args, PyVectorcall_NARGS(flags));
    if (elements >= ufunc_cost::least_elements && self.shared != Py_None) {
        switch (self.cost.choose(elements)) {
            case ufunc_cost::way::shared:
                return call_shared(self, elements, args, flags, names);
            case ufunc_cost::way::alone_timed:
                return call_numpy_timed(self, elements, args, flags, names);
            case ufunc_cost::way::alone:
                break;
        }
    }
    return self.call_numpy(self.wrapped, args, flags, names);
}

// A small call costs some ten nanoseconds more than NumPy's.
PyObject* call(PyObject* callable, PyObject* const* args, std::size_t flags, PyObject* names) {
    ufunc_object& self = of(callable);
    if (may_be_large(self.array_type, args, PyVectorcall_NARGS(flags)))
        return call_large(self, args, flags, names);
    return self.call_numpy(self.wrapped, args, flags, names);
}

PyObject* make(PyTypeObject* type, PyObject* args, PyObject* keywords) {
    static const char* const names[] = {"ufunc", "pool", nullptr};
    PyObject* wrapped = nullptr;
    PyObject* pool = Py_None;
    if (PyArg_ParseTupleAndKeywords(args, keywords, "O|$O:ufunc", const_cast<char**>(names), &wrapped,
                                    &pool) == 0) {
        return nullptr;
    }
    PyObject* const prepare = borrowed_class("loomy._ufunc", "prepare");
    if (prepare == nullptr) return nullptr;
    PyObject* const given[] = {wrapped, pool};
    PyObject* const prepared = PyObject_Vectorcall(prepare, given, 2, nullptr);
    if (prepared == nullptr) return nullptr;
    PyObject* shared = nullptr;
    PyObject* array_type = nullptr;
    auto* self = PyArg_ParseTuple(prepared, "OO", &shared, &array_type) != 0
                     ? reinterpret_cast<ufunc_object*>(type->tp_alloc(type, 0))
                     : nullptr;
    if (self != nullptr) {
        self->vectorcall = &call;
        self->wrapped = Py_NewRef(wrapped);
        self->pool = Py_NewRef(pool);
        self->shared = Py_NewRef(shared);
        self->array_type = reinterpret_cast<PyTypeObject*>(Py_NewRef(array_type));
        const vectorcallfunc own = PyVectorcall_Function(wrapped);
        self->call_numpy = own != nullptr ? own : &PyObject_Vectorcall;
        new (&self->cost) ufunc_cost;
    }
    Py_DECREF(prepared);
    return reinterpret_cast<PyObject*>(self);
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(of(self).wrapped);
    Py_VISIT(of(self).pool);
    Py_VISIT(of(self).shared);
    return 0;
}

int clear(PyObject* self) {
    // Not to null: it may still be called while the cycle is taken apart.
    Py_XSETREF(of(self).pool, Py_NewRef(Py_None));
    Py_XSETREF(of(self).shared, Py_NewRef(Py_None));
    return 0;
}

void dealloc(PyObject* self) {
    PyTypeObject* const type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (of(self).weak_references != nullptr) PyObject_ClearWeakRefs(self);
    Py_XDECREF(of(self).wrapped);
    Py_XDECREF(of(self).pool);
    Py_XDECREF(of(self).shared);
    Py_XDECREF(of(self).array_type);
    type->tp_free(self);
    Py_DECREF(type);
}

// Whatever else a ufunc has - reduce, outer, nin, types - is NumPy's.
PyObject* get_numpys(PyObject* self, PyObject* name) {
    return PyObject_GetAttr(of(self).wrapped, name);
}

PyObject* get_attribute(PyObject* self, PyObject* name) {
    PyObject* const own = PyObject_GenericGetAttr(self, name);
    if (own != nullptr || PyErr_ExceptionMatches(PyExc_AttributeError) == 0) return own;
    PyErr_Clear();
    return get_numpys(self, name);
}

PyObject* repr(PyObject* self) {
    return PyUnicode_FromFormat(
        of(self).pool == Py_None ? "<loomy.ufunc of %R>" : "<loomy.ufunc of %R on %R>", of(self).wrapped,
        of(self).pool);
}

PyObject* reduce(PyObject* self, PyObject*) {
    if (of(self).pool == Py_None) return Py_BuildValue("O(O)", Py_TYPE(self), of(self).wrapped);
    PyErr_SetString(PyExc_TypeError,
                    "a loomy.ufunc with a pool of its own cannot be pickled or copied; make "
                    "it without pool= to use the default pool of whichever process it is in");
    return nullptr;
}

PyMethodDef methods[] = {
    {"__getattr__", get_numpys, METH_O,
     PyDoc_STR("__getattr__($self, name, /)\n--\n\nAn attribute of the ufunc that it wraps.")},
    {"__reduce__", reduce, METH_NOARGS,
     PyDoc_STR("__reduce__($self, /)\n--\n\nPickled as the ufunc it wraps; TypeError if "
               "it has a pool of its own.")},
    {nullptr, nullptr, 0, nullptr}};

PyMemberDef members[] = {
    {"__wrapped__", T_OBJECT, offsetof(ufunc_object, wrapped), READONLY,
     PyDoc_STR("numpy.ufunc: what computes, and what small calls go to.")},
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(ufunc_object, vectorcall), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(ufunc_object, weak_references), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

PyDoc_STRVAR(
    doc,
    "ufunc(ufunc, /, *, pool=None)\n--\n\n"
    "A NumPy ufunc whose large calls are computed on all workers of a pool, without the GIL.\n\n"
    "Takes any `numpy.ufunc`, those of scipy.special and numba's @vectorize included, and is called like "
    "it:\n"
    "same arguments, same result to the last bit, same errors, warnings and `numpy.errstate`. Plain arrays "
    "of\n"
    "numbers, dates and times are shared out once a call is long enough for that to pay, which it learns "
    "from\n"
    "its calls (about 0.15 ms). Everything else NumPy does alone: small calls, subclasses, objects, "
    "strings,\n"
    "generalized ufuncs, operands that overlap, and the methods, such as `reduce` and `outer`.\n\n"
    "Not for numba's @vectorize(target=\"parallel\"), whose loop starts threads of its own: under numba's "
    "workqueue\n"
    "layer, which is not made for that, the process dies when workers call it at the same time.\n\n"
    "`pool` is a `loomy.Pool`, `None` the default pool; a large call raises PoolNotRunning if it is closed.\n"
    "Raises TypeError for what is no ufunc.");

PyType_Slot slots[] = {{Py_tp_doc, const_cast<char*>(doc)},
                       {Py_tp_new, reinterpret_cast<void*>(make)},
                       {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                       {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                       {Py_tp_clear, reinterpret_cast<void*>(clear)},
                       {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
                       {Py_tp_getattro, reinterpret_cast<void*>(get_attribute)},
                       {Py_tp_repr, reinterpret_cast<void*>(repr)},
                       {Py_tp_methods, methods},
                       {Py_tp_members, members},
                       {0, nullptr}};

PyType_Spec spec = {
    "loomy.ufunc", sizeof(ufunc_object), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_HAVE_VECTORCALL, slots};

PyMethodDef functions[] = {{"_array_layout", array_layout, METH_O, nullptr},
                           {"_run_ufunc_loop", as_method(run_ufunc_loop), METH_FASTCALL, nullptr},
                           {"_run_ufunc_pieces", as_method(run_ufunc_pieces), METH_FASTCALL, nullptr},
                           {nullptr, nullptr, 0, nullptr}};

} // namespace

int register_ufunc(PyObject* module) {
    auto* const type = reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &spec, nullptr));
    if (type == nullptr) return -1;
    const int added = PyModule_AddType(module, type);
    Py_DECREF(type);
    return added < 0 ? -1 : PyModule_AddFunctions(module, functions);
}

} // namespace loomy::py
