#include "map_iterator.hpp"

#include <new>

#include "errors.hpp"
#include "gil.hpp"
#include "map_state.hpp"
#include "python_module.hpp"

namespace loomy::py {
namespace {

PyObject* map_next(PyObject* self) {
    map_iterator* const iterator = as_map(self);
    if (iterator->state == nullptr || outstanding(iterator, when_stuck::as_pool_says) == 0) return nullptr;
    map_state& map = *iterator->state;
    if (!map.window.has_finished()) {
        wait_begins(map);
        map.busy.store(true, std::memory_order_relaxed);
        int woken = 1;
        do {
            woken = map.window.wait();
        } while (woken > 0 && !map.window.has_finished());
        map.busy.store(false, std::memory_order_relaxed);
        if (woken < 0) {
            PyObject* const raised = errors::take_raised();
            close_map(iterator);
            errors::put_back(raised);
            return nullptr;
        }
        wait_ends(map);
    }
    async_result* const next = map.window.take();
    PyObject* const answer = answer_outside_iteration(next->job);
    Py_DECREF(reinterpret_cast<PyObject*>(next));
    if (answer == nullptr) {
        PyObject* const raised = errors::take_raised();
        close_map(iterator);
        errors::put_back(raised);
    }
    return answer;
}

PyObject* map_self(PyObject* self) {
    return Py_NewRef(self);
}
PyObject* map_enter(PyObject* self, PyObject*) {
    return Py_NewRef(self);
}

template <map_window::cancels what>
PyObject* map_close(PyObject* self) {
    if (as_map(self)->state != nullptr && as_map(self)->state->busy.load(std::memory_order_relaxed)) {
        PyErr_SetString(PyExc_ValueError,
                        "the map is being advanced and cannot be closed by its own payloads");
        return nullptr;
    }
    close_map(as_map(self), what);
    Py_RETURN_NONE;
}

int map_traverse(PyObject* self, visitproc visit, void* arg) {
    const map_state* const state = as_map(self)->state;
    if (state == nullptr) return 0;
    Py_VISIT(state->source);
    Py_VISIT(state->held_back);
    Py_VISIT(state->source_error);
    Py_VISIT(state->context);
    return state->window.traverse(visit, arg);
}

int map_clear(PyObject* self) {
    close_map(as_map(self));
    return 0;
}

void map_dealloc(PyObject* self) {
    PyObject_GC_UnTrack(self);
    if (as_map(self)->weak_references != nullptr) PyObject_ClearWeakRefs(self);
    PyObject* const saved = errors::take_raised();
    close_map(as_map(self));
    errors::put_back(saved);
    PyObject_GC_Del(self);
}

PyObject* map_represent(PyObject* self) {
    const map_state* const state = as_map(self)->state;
    if (state == nullptr) return PyUnicode_FromString("<loomy.MapIterator: ended>");
    return PyUnicode_FromFormat("<loomy.MapIterator of pool '%U': %zu ahead>", state->home->name,
                                state->window.size());
}

// As Python calls them: any thread may, but what is above runs on one at a time.
template <PyObject* (*call)(PyObject*)>
PyObject* one_at_a_time(PyObject* self) {
    return gil::exclusively(self, [self] { return call(self); });
}
template <PyObject* (*call)(PyObject*)>
PyObject* one_at_a_time(PyObject* self, PyObject*) {
    return one_at_a_time<call>(self);
}

PyMethodDef methods[] = {
    {"close", one_at_a_time<map_close<map_window::cancels::queued>>, METH_NOARGS,
     PyDoc_STR("close($self)\n--\n\nEnd the iteration: jobs that have not started are cancelled, those that "
               "run go on.\n\nWhen the task of an async for is cancelled while it waits for a result, the "
               "iteration is ended as well, and the contexts\nof the jobs that run are cancelled.")},
    {"_cancel", one_at_a_time<map_close<map_window::cancels::running_too>>, METH_NOARGS,
     PyDoc_STR("_cancel($self)\n--\n\nAs close(), and the jobs that run are cancelled too.")},
    {"__enter__", map_enter, METH_NOARGS, PyDoc_STR("__enter__($self)\n--\n\nReturn self.")},
    {"__exit__", one_at_a_time<map_close<map_window::cancels::queued>>, METH_VARARGS,
     PyDoc_STR("__exit__($self, exc_type, exc, traceback, /)\n--\n\nclose().")},
    {"_poll", one_at_a_time<map_poll>, METH_NOARGS,
     PyDoc_STR(
         "_poll($self)\n--\n\nAn ended job, a list of jobs to wait for one of, a Context for a wait for "
         "a place, or None at the end.")},
    {"_wait_for_place", map_wait_for_place, METH_O,
     PyDoc_STR("_wait_for_place($self, ctx, /)\n--\n\nBlock until there may be a place in the queue, or the "
               "context ends.")},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS,
     PyDoc_STR("MapIterator[Out], for type hints.")},
    {nullptr, nullptr, 0, nullptr}};

PyAsyncMethods async_methods = {nullptr, map_self, one_at_a_time<map_anext>, nullptr};

PyTypeObject map_type = {PyVarObject_HEAD_INIT(nullptr, 0)};

} // namespace

PyObject* make_map_iterator(python_pool& home, PyObject* payloads, bool ordered, Py_ssize_t buffer,
                            const call_limits& limits) {
    PyObject* const source = PyObject_GetIter(payloads);
    if (source == nullptr) {
        if (PyErr_ExceptionMatches(PyExc_TypeError) && Py_TYPE(payloads)->tp_iter == nullptr) {
            PyErr_Format(PyExc_TypeError, "map() takes an iterable of payloads, not %.100s",
                         Py_TYPE(payloads)->tp_name);
        }
        return nullptr;
    }
    auto* const self = PyObject_GC_New(map_iterator, &map_type);
    if (self == nullptr) {
        Py_DECREF(source);
        return nullptr;
    }
    self->weak_references = nullptr;
    self->state = new (std::nothrow) map_state(home, source, ordered, limits);
    if (self->state == nullptr) {
        Py_DECREF(source);
        PyObject_GC_Del(self);
        return PyErr_NoMemory();
    }
    self->state->fixed_width = buffer > 0;
    self->state->width =
        buffer > 0 ? static_cast<std::size_t>(buffer) : 2 * std::size_t{home.core->size()} + 2;
    PyObject_GC_Track(reinterpret_cast<PyObject*>(self));
    return reinterpret_cast<PyObject*>(self);
}

int register_map_iterator(PyObject* module) {
    PyTypeObject& type = map_type;
    type.tp_name = "loomy.MapIterator";
    type.tp_doc = PyDoc_STR("The results of Pool.map, for use with for and async for.");
    type.tp_basicsize = sizeof(map_iterator);
    type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION;
    type.tp_dealloc = map_dealloc;
    type.tp_traverse = map_traverse;
    type.tp_clear = map_clear;
    type.tp_repr = one_at_a_time<map_represent>;
    type.tp_iter = map_self;
    type.tp_iternext = one_at_a_time<map_next>;
    type.tp_methods = methods;
    type.tp_as_async = &async_methods;
    type.tp_weaklistoffset = offsetof(map_iterator, weak_references);
    if (PyType_Ready(&type) < 0) return -1;
    return PyModule_AddObjectRef(module, "MapIterator", reinterpret_cast<PyObject*>(&type));
}

} // namespace loomy::py
