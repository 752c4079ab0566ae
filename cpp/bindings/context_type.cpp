// loomy.Context as Python sees it: methods, properties, documentation.

#include <Python.h>

#include <structmember.h> // after Python.h

#include <cstddef>
#include <new>
#include <string>

#include "arguments.hpp"
#include "context.hpp"
#include "context_object.hpp"
#include "gil.hpp"
#include "timeout.hpp"

namespace loomy::py {
namespace {

cancel_token& token_of(PyObject* self) noexcept {
    return *context_of(self).token;
}

PyObject* make_child(PyObject* self, deadline until, PyObject* values) {
    try {
        return context_from_token(cancel_token::make(until, &token_of(self)), values);
    } catch (const std::bad_alloc&) {
        return PyErr_NoMemory();
    }
}

PyObject* with_timeout(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    static const argument_names expected{"timeout"};
    PyObject* given[1];
    deadline until;
    if (!expected.parse("with_timeout", args, count, keywords, 1, 1, given) ||
        !parse_timeout(given[0], &until, "timeout"))
        return nullptr;
    return make_child(self, until, context_of(self).values);
}

PyObject* with_deadline(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    static const argument_names expected{"deadline"};
    PyObject* given[1];
    deadline until;
    if (!expected.parse("with_deadline", args, count, keywords, 1, 1, given) ||
        !parse_deadline(given[0], &until, "deadline")) {
        return nullptr;
    }
    return make_child(self, until, context_of(self).values);
}

PyObject* with_cancel(PyObject* self, PyObject*) {
    return make_child(self, deadline::never(), context_of(self).values);
}

PyObject* with_value(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    static const argument_names expected{"key", "value"};
    PyObject* given[2];
    if (!expected.parse("with_value", args, count, keywords, 2, 2, given)) return nullptr;
    const Py_hash_t hash = PyObject_Hash(given[0]);
    if (hash == -1) return nullptr;
    PyObject* const rest = context_of(self).values;
    PyObject* const values =
        Py_BuildValue("OOOn", given[0], given[1], rest != nullptr ? rest : Py_None, hash);
    if (values == nullptr) return nullptr;
    PyObject* const child = make_child(self, deadline::never(), values);
    Py_DECREF(values);
    return child;
}

// Looked up as in a dict: same hash, then identical or equal. New reference; null without an error if not
// found.
PyObject* find_value(PyObject* values, PyObject* key) {
    const Py_hash_t hash = PyObject_Hash(key);
    if (hash == -1) return nullptr;
    for (PyObject* link = values; link != nullptr && link != Py_None; link = PyTuple_GET_ITEM(link, 2)) {
        if (PyLong_AsSsize_t(PyTuple_GET_ITEM(link, 3)) != hash) continue;
        const int equal = PyObject_RichCompareBool(PyTuple_GET_ITEM(link, 0), key, Py_EQ);
        if (equal != 0) return equal > 0 ? Py_NewRef(PyTuple_GET_ITEM(link, 1)) : nullptr;
    }
    return nullptr;
}

PyObject* value(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    static const argument_names expected{"key", "default"};
    PyObject* given[2];
    if (!expected.parse("value", args, count, keywords, 1, 2, given)) return nullptr;
    PyObject* const found = find_value(context_of(self).values, given[0]);
    if (found != nullptr || PyErr_Occurred() != nullptr) return found;
    return Py_NewRef(given[1] != nullptr ? given[1] : Py_None);
}

PyObject* cancel(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    static const argument_names expected{"reason"};
    PyObject* given[1];
    if (!expected.parse("cancel", args, count, keywords, 0, 1, given)) return nullptr;
    const int first = cancel_with_reason(token_of(self), given[0]);
    return first < 0 ? nullptr : PyBool_FromLong(first);
}

PyObject* remaining(PyObject* self, PyObject*) {
    const deadline when = token_of(self).when();
    if (when.is_never()) Py_RETURN_NONE;
    return PyFloat_FromDouble(static_cast<double>(when.remaining_ns()) / 1e9);
}

PyObject* err(PyObject* self, PyObject*) {
    if (token_of(self).check() == cancel_reason::none) Py_RETURN_NONE;
    return cancel_error(token_of(self));
}

PyObject* check(PyObject* self, PyObject*) {
    if (token_of(self).check() == cancel_reason::none) Py_RETURN_NONE;
    PyObject* const error = cancel_error(token_of(self));
    if (error != nullptr) {
        PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error)), error);
        Py_DECREF(error);
    }
    return nullptr;
}

PyObject* wait(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    static const argument_names expected{"timeout"};
    PyObject* given[1];
    deadline until;
    if (!expected.parse("wait", args, count, keywords, 0, 1, given) ||
        !parse_timeout(given[0], &until, "timeout"))
        return nullptr;
    cancel_token& token = token_of(self); // the caller holds the Context, also while we are detached
    if (token.check() != cancel_reason::none) Py_RETURN_TRUE;
    const int ended = gil::wait_detached(until, [&](deadline slice) {
        switch (token.wait(slice)) {
            case cancel_wait::cancelled:
                return wait_status::woken;
            case cancel_wait::interrupted:
                return wait_status::interrupted;
            default:
                return wait_status::timed_out;
        }
    });
    return ended < 0 ? nullptr : PyBool_FromLong(ended);
}

PyObject* enter(PyObject* self, PyObject*) {
    return Py_NewRef(self);
}

PyObject* exit(PyObject* self, PyObject* const*, Py_ssize_t) {
    if (cancel_with_reason(token_of(self), nullptr) < 0) return nullptr;
    Py_RETURN_NONE;
}

PyObject* get_cancelled(PyObject* self, void*) {
    return PyBool_FromLong(token_of(self).check() != cancel_reason::none);
}

PyObject* get_deadline(PyObject* self, void*) {
    const deadline when = token_of(self).when();
    if (when.is_never()) Py_RETURN_NONE;
    return PyFloat_FromDouble(monotonic_seconds(when));
}

// Only looks: a repr must not fire callbacks.
PyObject* repr(PyObject* self) {
    const cancel_token& token = token_of(self);
    if (token.poll() == cancel_reason::cancelled) {
        const std::string why = token.detail();
        return PyUnicode_FromFormat("<loomy.Context cancelled%s%s>", why.empty() ? "" : ": ", why.c_str());
    }
    if (token.poll() == cancel_reason::deadline_exceeded || token.when().passed()) {
        return PyUnicode_FromString("<loomy.Context deadline exceeded>");
    }
    if (token.when().is_never()) return PyUnicode_FromString("<loomy.Context no deadline>");
    char seconds[40];
    PyOS_snprintf(seconds, sizeof seconds, "%.3f", static_cast<double>(token.when().remaining_ns()) / 1e9);
    return PyUnicode_FromFormat("<loomy.Context %s s left>", seconds);
}

constexpr int with_keywords = METH_FASTCALL | METH_KEYWORDS;

PyMethodDef methods[] = {
    {"with_timeout", as_method(with_timeout), with_keywords,
     PyDoc_STR("with_timeout($self, /, timeout)\n--\n\n"
               "A child that ends `timeout` seconds from now, or with its parent.\n\n"
               "Zero or less: it has ended already. None or infinity: it ends with its parent. Raises "
               "TypeError for\n"
               "what is no number, ValueError for nan.")},
    {"with_deadline", as_method(with_deadline), with_keywords,
     PyDoc_STR("with_deadline($self, /, deadline)\n--\n\n"
               "A child that ends when `time.monotonic()` reaches `deadline`, or with its parent.\n\n"
               "Raises TypeError for what is no number, ValueError for nan.")},
    {"with_cancel", with_cancel, METH_NOARGS,
     PyDoc_STR("with_cancel($self, /)\n--\n\nA child that can be cancelled without its parent.")},
    {"with_value", as_method(with_value), with_keywords,
     PyDoc_STR("with_value($self, /, key, value)\n--\n\n"
               "A child that carries one more value. Raises TypeError if `key` is not hashable.")},
    {"value", as_method(value), with_keywords,
     PyDoc_STR("value($self, /, key, default=None)\n--\n\n"
               "The value of the nearest context that has `key`, `default` if there is none.\n\n"
               "Keys are compared as in a dict. Raises TypeError if `key` is not hashable.")},
    {"cancel", as_method(cancel), with_keywords,
     PyDoc_STR("cancel($self, /, reason=None)\n--\n\n"
               "Cancel this context and its children. `reason`, any object, becomes part of the error.\n\n"
               "Callbacks run on this thread. True if this call did it; what is cancelled already stays as "
               "it is.")},
    {"remaining", remaining, METH_NOARGS,
     PyDoc_STR(
         "remaining($self, /)\n--\n\nSeconds to the deadline, not less than 0.0; None if there is none.")},
    {"err", err, METH_NOARGS,
     PyDoc_STR(
         "err($self, /)\n--\n\nThe JobCancelled or DeadlineExceeded that `check` would raise, or None.")},
    {"check", check, METH_NOARGS,
     PyDoc_STR("check($self, /)\n--\n\nRaise JobCancelled or DeadlineExceeded if the context has ended.")},
    {"wait", as_method(wait), with_keywords,
     PyDoc_STR("wait($self, /, timeout=None)\n--\n\n"
               "Block until the context has ended; False if `timeout` seconds passed first.\n\n"
               "Other threads run meanwhile; Ctrl-C ends the wait. Raises TypeError and ValueError as\n"
               "`with_timeout` does.")},
    {"on_cancel", context_on_cancel, METH_O,
     PyDoc_STR(
         "on_cancel($self, callback, /)\n--\n\n"
         "Call `callback()` once, on the thread that ends the context; at once if it has ended.\n\n"
         "A passing deadline is noticed by a thread of loomy's own. What the callback raises goes to\n"
         "`sys.unraisablehook`. It is forgotten with the context: keep that, or the handle returned, whose\n"
         "`close` takes the callback back. Raises TypeError if `callback` cannot be called, RuntimeError if\n"
         "there is no thread for the deadline.")},
    {"__enter__", enter, METH_NOARGS, PyDoc_STR("__enter__($self, /)\n--\n\nThe context itself.")},
    {"__exit__", as_method(exit), METH_FASTCALL,
     PyDoc_STR("__exit__($self, exc_type, exc, traceback, /)\n--\n\nCancel the context.")},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef properties[] = {
    {"cancelled", get_cancelled, nullptr,
     PyDoc_STR("bool: whether the context was cancelled or its deadline has passed."), nullptr},
    {"deadline", get_deadline, nullptr,
     PyDoc_STR("float or None: the earliest deadline from here to the root, as `time.monotonic()` reads."),
     nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(context_object, weak_references), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

PyDoc_STRVAR(
    doc,
    "Context(timeout=None, *, deadline=None)\n--\n\n"
    "Deadline, cancellation and values, passed down a call tree.\n\n"
    "`timeout` is in seconds from now, `deadline` a reading of `time.monotonic()`; the earlier counts. None\n"
    "and infinity are no limit, zero or less has passed already. Cancelling a context cancels the children\n"
    "that its `with_...` methods made, at once, from any thread. A context manager: cancelled on exit.\n\n"
    "Raises TypeError for times that are no numbers (a bool is none), ValueError for nan.");

PyType_Slot slots[] = {{Py_tp_doc, const_cast<char*>(doc)},
                       {Py_tp_new, reinterpret_cast<void*>(context_new)},
                       {Py_tp_dealloc, reinterpret_cast<void*>(context_dealloc)},
                       {Py_tp_traverse, reinterpret_cast<void*>(context_traverse)},
                       {Py_tp_clear, reinterpret_cast<void*>(context_clear)},
                       {Py_tp_repr, reinterpret_cast<void*>(repr)},
                       {Py_tp_methods, methods},
                       {Py_tp_getset, properties},
                       {Py_tp_members, members},
                       {0, nullptr}};

PyType_Spec spec = {"loomy.Context", sizeof(context_object), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE, slots};

} // namespace

PyTypeObject* make_context_type(PyObject* module) {
    auto* const type = reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &spec, nullptr));
    if (type != nullptr) type->tp_vectorcall = context_vectorcall; // no slot for it before 3.14
    return type;
}

int register_context(PyObject* module) {
    context_type = make_context_type(module);
    if (context_type == nullptr || PyModule_AddType(module, context_type) != 0) return -1;
    PyTypeObject* const handle = make_cancel_handle_type(module);
    return handle != nullptr ? PyModule_AddType(module, handle) : -1;
}

} // namespace loomy::py
