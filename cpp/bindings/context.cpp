#include "context.hpp"

#include <new>
#include <string>

#include "arguments.hpp"
#include "cancel_callback.hpp"
#include "context_object.hpp"
#include "deferred.hpp"
#include "errors.hpp"
#include "timeout.hpp"

namespace loomy::py {

PyTypeObject* context_type = nullptr;

PyObject* context_from_token(ref<cancel_token> token, PyObject* values) {
    auto* const self = PyObject_GC_New(context_object, context_type);
    if (self == nullptr) return nullptr;
    self->token = token.release();
    self->values = Py_XNewRef(values);
    self->weak_references = nullptr;
    PyObject_GC_Track(reinterpret_cast<PyObject*>(self));
    return reinterpret_cast<PyObject*>(self);
}

bool is_context(PyObject* object) noexcept {
    return Py_IS_TYPE(object, context_type);
}

cancel_token* context_token(PyObject* context) {
    if (is_context(context)) return context_of(context).token;
    PyErr_Format(PyExc_TypeError, "ctx must be a loomy.Context or None, got an object of type %s",
                 Py_TYPE(context)->tp_name);
    return nullptr;
}

PyObject* context_values(PyObject* context) noexcept {
    return context_of(context).values;
}

PyObject* cancel_error(const cancel_token& token) {
    if (token.poll() == cancel_reason::deadline_exceeded) {
        return errors::make(errors::deadline_exceeded(), nullptr,
                            "the deadline of the context passed; give it more time, or do less in it");
    }
    const std::string why = token.detail();
    if (why.empty()) return errors::make(errors::job_cancelled(), nullptr, "the context was cancelled");
    return errors::make(errors::job_cancelled(), nullptr, "the context was cancelled: %s", why.c_str());
}

namespace {

// str() of the reason; of an exception with its class. Whatever it is, cancelling must go on: an object that
// cannot say what it is becomes its type. False with an error set if something else than an Exception was
// raised.
bool words_of(PyObject* reason, std::string& out) {
    PyObject* text = nullptr;
    if (PyExceptionInstance_Check(reason)) {
        PyObject* const message = PyObject_Str(reason);
        if (message != nullptr) {
            const char* const separator = PyUnicode_GET_LENGTH(message) > 0 ? ": " : "";
            text = PyUnicode_FromFormat("%s%s%U", Py_TYPE(reason)->tp_name, separator, message);
            Py_DECREF(message);
        }
    } else {
        text = PyObject_Str(reason);
    }
    // Backslashes for the lone surrogates that UTF-8 cannot express.
    PyObject* const bytes =
        text != nullptr ? PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace") : nullptr;
    Py_XDECREF(text);
    if (bytes != nullptr) {
        out.assign(PyBytes_AS_STRING(bytes), static_cast<std::size_t>(PyBytes_GET_SIZE(bytes)));
        Py_DECREF(bytes);
        return true;
    }
    if (PyErr_ExceptionMatches(PyExc_Exception) == 0) return false;
    PyErr_Clear();
    out = std::string("an object of type ") + Py_TYPE(reason)->tp_name;
    return true;
}

} // namespace

int cancel_with_reason(cancel_token& token, PyObject* reason) {
    try {
        std::string words;
        // Whether it is cancelled already is asked first: the words may be expensive.
        if (token.poll() != cancel_reason::none) return 0;
        if (reason != nullptr && reason != Py_None && !words_of(reason, words)) return -1;
        return token.cancel(cancel_reason::cancelled, words) ? 1 : 0;
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return -1;
    }
}

namespace {

PyObject* make_context(PyObject* timeout, PyObject* at) {
    deadline relative, absolute;
    if (!parse_timeout(timeout, &relative, "timeout") || !parse_deadline(at, &absolute, "deadline"))
        return nullptr;
    try {
        return context_from_token(cancel_token::make(earlier(relative, absolute)), nullptr);
    } catch (const std::bad_alloc&) {
        return PyErr_NoMemory();
    }
}

} // namespace

PyObject* context_new(PyTypeObject*, PyObject* args, PyObject* kwargs) {
    static const char* names[] = {"timeout", "deadline", nullptr};
    PyObject *timeout = nullptr, *at = nullptr;
    if (PyArg_ParseTupleAndKeywords(args, kwargs, "|O$O:Context", const_cast<char**>(names), &timeout, &at) ==
        0) {
        return nullptr;
    }
    return make_context(timeout, at);
}

// Context(...), when the type itself is called: without a tuple, and without a dict.
PyObject* context_vectorcall(PyObject*, PyObject* const* args, size_t count, PyObject* names) {
    static const argument_names expected{"timeout", "deadline"};
    PyObject* given[2];
    if (!expected.parse("Context", args, PyVectorcall_NARGS(count), names, 0, 1, given)) return nullptr;
    return make_context(given[0], given[1]);
}

int context_traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(context_of(self).values);
    // The functions of a token that only this Context holds are this Context's: typically bound methods of
    // what holds it.
    int stopped = 0;
    context_of(self).token->visit_if_unshared([&](cancel_token::callback& one) {
        auto* const ours = dynamic_cast<cancel_callback*>(&one);
        if (ours != nullptr && stopped == 0) stopped = visit(ours->function(), arg);
    });
    return stopped;
}

int context_clear(PyObject* self) {
    Py_CLEAR(context_of(self).values);
    cancel_token& token = *context_of(self).token;
    for (;;) {
        cancel_callback* first = nullptr;
        token.visit_if_unshared([&](cancel_token::callback& one) {
            if (first != nullptr) return;
            first = dynamic_cast<cancel_callback*>(&one);
            if (first != nullptr) first->retain();
        });
        if (first == nullptr) return 0;
        const bool dropped = first->drop(token);
        first->release();
        if (!dropped) return 0;
    }
}

void context_dealloc(PyObject* self) {
    PyObject_GC_UnTrack(self);
    if (context_of(self).weak_references != nullptr) PyObject_ClearWeakRefs(self);
    Py_XDECREF(context_of(self).values);
    context_of(self).token->release();
    PyTypeObject* const type = Py_TYPE(self);
    PyObject_GC_Del(self);
    Py_DECREF(type);
    deferred::drain(); // the functions that went with the token
}

} // namespace loomy::py
