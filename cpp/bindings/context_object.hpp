#pragma once

#include <Python.h>

#include "loomy/sync/cancel_token.hpp"

// The layout of loomy.Context and what its files share; others use context.hpp.
namespace loomy::py {

struct context_object {
    PyObject_HEAD;
    cancel_token* token; // owned; never null
    // Immutable chain of (key, value, rest or None, hash of the key), or null. Children share it.
    PyObject* values;
    PyObject* weak_references;
};

[[nodiscard]] inline context_object& context_of(PyObject* self) noexcept {
    return *reinterpret_cast<context_object*>(self);
}

// Set by register_context, once for the process.
extern PyTypeObject* context_type;

// Makes the types. New references; null with an error set.
[[nodiscard]] PyTypeObject* make_context_type(PyObject* module);
[[nodiscard]] PyTypeObject* make_cancel_handle_type(PyObject* module);

// The slots that context_type.cpp puts together; see there for what they do in Python.
PyObject* context_new(PyTypeObject* type, PyObject* args, PyObject* kwargs);
PyObject* context_vectorcall(PyObject* type, PyObject* const* args, size_t count, PyObject* names);
int context_traverse(PyObject* self, visitproc visit, void* arg);
int context_clear(PyObject* self);
void context_dealloc(PyObject* self);

PyObject* context_on_cancel(PyObject* self, PyObject* callback);

} // namespace loomy::py
