// loomy.CancelHandle, what Context.on_cancel returns.

#include <new>
#include <system_error>

#include "arguments.hpp"
#include "cancel_callback.hpp"
#include "context_object.hpp"

namespace loomy::py {
namespace {

struct handle_object {
    PyObject_HEAD;
    cancel_callback* callback; // owned; null if it was called at once
    PyObject* context;         // keeps the token, and with it the callback, alive
};

PyTypeObject* handle_type = nullptr;

handle_object& handle_of(PyObject* self) noexcept {
    return *reinterpret_cast<handle_object*>(self);
}

PyObject* handle_close(PyObject* self, PyObject*) {
    const handle_object& handle = handle_of(self);
    if (handle.callback != nullptr && handle.context != nullptr) {
        if (handle.callback->close(*context_of(handle.context).token) != 0) return nullptr;
    }
    Py_RETURN_NONE;
}

PyObject* handle_enter(PyObject* self, PyObject*) {
    return Py_NewRef(self);
}

PyObject* handle_exit(PyObject* self, PyObject* const*, Py_ssize_t) {
    return handle_close(self, nullptr);
}

int handle_traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(handle_of(self).context);
    return 0;
}

int handle_clear(PyObject* self) {
    Py_CLEAR(handle_of(self).context);
    return 0;
}

void handle_dealloc(PyObject* self) {
    PyObject_GC_UnTrack(self);
    // The callback stays with the token: who ignores the handle wants to be told all the same.
    if (handle_of(self).callback != nullptr) handle_of(self).callback->release();
    Py_XDECREF(handle_of(self).context);
    PyTypeObject* const type = Py_TYPE(self);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

PyDoc_STRVAR(handle_doc,
             "What `Context.on_cancel` returns: takes the callback back.\n\n"
             "A context manager, closed on exit. Dropping it changes nothing.");

PyDoc_STRVAR(close_doc,
             "close($self, /)\n--\n\n"
             "Take the callback back; when this returns it is not running and will not run.\n\n"
             "Waits for a callback that is running on another thread. Called from the callback itself, it "
             "returns\nat once. Idempotent.");

PyMethodDef handle_methods[] = {
    {"close", handle_close, METH_NOARGS, close_doc},
    {"__enter__", handle_enter, METH_NOARGS, PyDoc_STR("__enter__($self, /)\n--\n\nThe handle itself.")},
    {"__exit__", as_method(handle_exit), METH_FASTCALL,
     PyDoc_STR("__exit__($self, exc_type, exc, traceback, /)\n--\n\nClose the handle.")},
    {nullptr, nullptr, 0, nullptr}};

PyType_Slot handle_slots[] = {{Py_tp_doc, const_cast<char*>(handle_doc)},
                              {Py_tp_methods, handle_methods},
                              {Py_tp_traverse, reinterpret_cast<void*>(handle_traverse)},
                              {Py_tp_clear, reinterpret_cast<void*>(handle_clear)},
                              {Py_tp_dealloc, reinterpret_cast<void*>(handle_dealloc)},
                              {0, nullptr}};

PyType_Spec handle_spec = {
    "loomy.CancelHandle", sizeof(handle_object), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    handle_slots};

// True: the token has the callback, or has called it. False with an error set.
bool add_callback(cancel_token& token, cancel_callback& callback) {
    try {
        // Not added: cancelled already, so it is called here and now.
        if (!token.add(callback)) callback.fired(token.poll());
        return true;
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
    } catch (const std::system_error&) {
        PyErr_SetString(PyExc_RuntimeError,
                        "nothing would notice the context's deadline: the timer thread could not be started. "
                        "The system is out of threads, or the interpreter is exiting");
    }
    callback.abandoned();
    return false;
}

} // namespace

PyTypeObject* make_cancel_handle_type(PyObject* module) {
    handle_type = reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &handle_spec, nullptr));
    return handle_type;
}

PyObject* context_on_cancel(PyObject* self, PyObject* function) {
    if (PyCallable_Check(function) == 0) {
        PyErr_Format(PyExc_TypeError,
                     "on_cancel needs something to call without arguments, got an object of type %s",
                     Py_TYPE(function)->tp_name);
        return nullptr;
    }
    auto* const handle = PyObject_GC_New(handle_object, handle_type);
    if (handle == nullptr) return nullptr;
    handle->callback = new (std::nothrow) cancel_callback(function);
    handle->context = Py_NewRef(self);
    auto* const object = reinterpret_cast<PyObject*>(handle);
    PyObject_GC_Track(object);
    if (handle->callback == nullptr) PyErr_NoMemory();
    if (handle->callback == nullptr || !add_callback(*context_of(self).token, *handle->callback)) {
        Py_DECREF(object);
        return nullptr;
    }
    return object;
}

} // namespace loomy::py
