#include "bound_call.hpp"

#include <array>

#include "gil.hpp"

namespace loomy::py {
namespace {

struct bound_call {
    PyObject_VAR_HEAD PyObject* names; // of the last arguments, a tuple; or null
    PyObject* items[1];                // the function, then the arguments; ob_size of them
};

PyTypeObject bound_call_type = {PyVarObject_HEAD_INIT(nullptr, 0)};

// Those with few arguments are kept for the next ones, as freed results are; see async_result.cpp.
constexpr Py_ssize_t most_items = 4;
constexpr std::size_t most_spares = 64;
std::array<bound_call*, most_spares> spares;
std::size_t spare_count = 0;

bound_call* as_call(PyObject* self) noexcept {
    return reinterpret_cast<bound_call*>(self);
}

bound_call* allocate(Py_ssize_t count) {
    if constexpr (!gil::is_free_threaded) {
        if (count <= most_items && spare_count > 0) {
            bound_call* const self = spares[--spare_count];
            (void)PyObject_InitVar(reinterpret_cast<PyVarObject*>(self), &bound_call_type, count);
            return self;
        }
    }
    const Py_ssize_t room = count <= most_items ? most_items : count;
    bound_call* const self = PyObject_GC_NewVar(bound_call, &bound_call_type, room - 1);
    if (self != nullptr) Py_SET_SIZE(reinterpret_cast<PyObject*>(self), count);
    return self;
}

void dealloc(PyObject* object) {
    bound_call* const self = as_call(object);
    if (PyObject_GC_IsTracked(object) != 0) PyObject_GC_UnTrack(object);
    const Py_ssize_t count = Py_SIZE(object);
    for (Py_ssize_t i = 0; i < count; ++i) Py_DECREF(self->items[i]);
    Py_XDECREF(self->names);
    if constexpr (!gil::is_free_threaded) {
        if (count <= most_items && spare_count < most_spares) {
            spares[spare_count++] = self;
            return;
        }
    }
    PyObject_GC_Del(object);
}

int traverse(PyObject* object, visitproc visit, void* arg) {
    bound_call* const self = as_call(object);
    for (Py_ssize_t i = 0; i < Py_SIZE(object); ++i) Py_VISIT(self->items[i]);
    Py_VISIT(self->names);
    return 0;
}

PyObject* call(PyObject* object, PyObject* args, PyObject* keywords) {
    if (PyTuple_GET_SIZE(args) != 0 || (keywords != nullptr && PyDict_GET_SIZE(keywords) != 0)) {
        PyErr_SetString(PyExc_TypeError, "the call of a job has its arguments already, and takes none");
        return nullptr;
    }
    bound_call* const self = as_call(object);
    const Py_ssize_t named = self->names != nullptr ? PyTuple_GET_SIZE(self->names) : 0;
    return PyObject_Vectorcall(self->items[0], self->items + 1,
                               static_cast<std::size_t>(Py_SIZE(object) - 1 - named), self->names);
}

PyObject* represent(PyObject* object) {
    return PyUnicode_FromFormat("<call of %R with %zd arguments>", as_call(object)->items[0],
                                Py_SIZE(object) - 1);
}

PyObject* get_func(PyObject* object, void*) {
    return Py_NewRef(as_call(object)->items[0]);
}

PyObject* get_args(PyObject* object, void*) {
    bound_call* const self = as_call(object);
    const Py_ssize_t named = self->names != nullptr ? PyTuple_GET_SIZE(self->names) : 0;
    const Py_ssize_t count = Py_SIZE(object) - 1 - named;
    PyObject* const tuple = PyTuple_New(count);
    for (Py_ssize_t i = 0; tuple != nullptr && i < count; ++i)
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(self->items[1 + i]));
    return tuple;
}

PyObject* get_keywords(PyObject* object, void*) {
    bound_call* const self = as_call(object);
    PyObject* const mapping = PyDict_New();
    const Py_ssize_t named = self->names != nullptr ? PyTuple_GET_SIZE(self->names) : 0;
    for (Py_ssize_t i = 0; mapping != nullptr && i < named; ++i) {
        PyObject* const value = self->items[Py_SIZE(object) - named + i];
        if (PyDict_SetItem(mapping, PyTuple_GET_ITEM(self->names, i), value) == 0) continue;
        Py_DECREF(mapping);
        return nullptr;
    }
    return mapping;
}

// The names of functools.partial.
PyGetSetDef properties[] = {
    {"func", get_func, nullptr, PyDoc_STR("What is called."), nullptr},
    {"args", get_args, nullptr, PyDoc_STR("Its arguments without a name, a tuple."), nullptr},
    {"keywords", get_keywords, nullptr, PyDoc_STR("Those with one, a dict."), nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

} // namespace

PyObject* make_bound_call(PyObject* const* args, Py_ssize_t count, PyObject* names) {
    const Py_ssize_t named = names != nullptr ? PyTuple_GET_SIZE(names) : 0;
    bound_call* const self = allocate(count + named);
    if (self == nullptr) return nullptr;
    for (Py_ssize_t i = 0; i < count + named; ++i) self->items[i] = Py_NewRef(args[i]);
    self->names = Py_XNewRef(names);
    return reinterpret_cast<PyObject*>(self);
}

void show_to_hooks(PyObject* payload) noexcept {
    if (Py_TYPE(payload) == &bound_call_type) gil::track(payload);
}

int register_bound_call(PyObject*) {
    PyTypeObject& type = bound_call_type;
    type.tp_name = "loomy.BoundCall";
    type.tp_doc = PyDoc_STR("A job of an executor as its hooks see it: a call with its arguments.");
    type.tp_basicsize = sizeof(bound_call);
    type.tp_itemsize = sizeof(PyObject*);
    type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION;
    type.tp_dealloc = dealloc;
    type.tp_traverse = traverse;
    type.tp_call = call;
    type.tp_repr = represent;
    type.tp_getset = properties;
    return PyType_Ready(&type);
}

} // namespace loomy::py
